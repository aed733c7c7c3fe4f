"""Intents: rules, the sentence model against labelled sentences and against its usual library, and what the numbers mean."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from motkit.errors import DesignError, MissingExtraError, SettingError
from motkit.intents import INTENTS, evaluate_intents, read_intents
from motkit.sentence_model import _find_file, _load, encode_sentences, number_words

REFERENCE = Path(__file__).parent / "reference" / "experiments"
SENTENCES = json.loads((REFERENCE / "text_intents.json").read_text())["sentences"]
FRESH = [row for row in SENTENCES if row["set"].startswith("B")]


def need_model() -> None:
    try:
        _load()
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_rules_are_weak_on_fresh_sentences_and_never_invent_an_intent() -> None:
    found = read_intents([row["text"] for row in FRESH])
    quality = evaluate_intents(found, [row["intent"] for row in FRESH])
    assert 0.15 <= quality.table["recall"][-1] <= 0.6
    assert set(found["intent"].drop_nulls()) <= set(INTENTS)
    assert found.filter("abstained")["intent"].null_count() == found["abstained"].sum()


def test_the_model_finds_seven_in_ten_fresh_intents_and_quickly() -> None:
    need_model()
    quality = evaluate_intents(read_intents([row["text"] for row in FRESH], "meaning"), [row["intent"] for row in FRESH])
    assert quality.table["recall"][-1] >= 0.7
    assert read_intents(["I was charged twice for one ticket", "Nobody has called me back for a week"], "meaning")["intent"].to_list() == ["complaint"] * 2


def test_pieces_of_words_are_those_of_the_usual_library() -> None:
    need_model()
    known, _ = _load()
    wanted = json.loads((REFERENCE / "word_pieces.json").read_text())["ids"]
    assert {text: number_words(text, known) for text in wanted} == wanted


def test_a_sentence_gives_the_same_numbers_alone_and_among_others_and_length_is_one() -> None:
    need_model()
    texts = [row["text"] for row in FRESH[:5]]
    together = encode_sentences(texts)
    assert np.allclose(together, np.vstack([encode_sentences([text]) for text in texts]))
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    assert encode_sentences([]).shape == (0, 384)


def test_own_examples_and_rules_take_the_place_of_those_that_come_with_it() -> None:
    found = read_intents(["My parcel is late"], rules={"delivery": r"parcel"})
    assert found["intent"].to_list() == ["delivery"]
    need_model()
    own = read_intents(["My parcel is late", "I love it"], "meaning", prototypes={"delivery": ["Where is my package?"], "joy": ["This makes me happy"]})
    assert own["intent"].to_list() == ["delivery", "joy"]
    assert read_intents(["My parcel is late"], "meaning", least=0.99)["abstained"].to_list() == [True]


def test_order_is_kept_and_nothing_to_read_gives_nothing() -> None:
    found = read_intents(pl.Series([None, "", "  ", "Please cancel it", None]))
    assert found["intent"].to_list() == [None, None, None, "cancel", None]
    assert read_intents([]).height == 0


def test_the_interval_is_wilsons_and_bad_input_is_told() -> None:
    found = read_intents(["Please cancel it", "Thank you", "Hm"])
    row = evaluate_intents(found, ["cancel", "praise", "need"]).table.row(-1, named=True)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(proportion_confint(2, 3, method="wilson"))
    with pytest.raises(DesignError, match="1 labels for 3 texts"):
        evaluate_intents(found, ["cancel"])
    with pytest.raises(SettingError, match="method"):
        read_intents(["Hm"], "sentiment")
    with pytest.raises(MissingExtraError, match="not installed"):
        _find_file("no_such_package_at_all", "model")
