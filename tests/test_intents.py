"""Intents: rules, the sentence model against labelled sentences and against its usual library, and what the numbers mean."""

import gzip
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from motkit.errors import DesignError, MissingExtraError, SchemaError, SettingError
from motkit.intents import INTENTS, SENTIMENTS, evaluate_intents, read_intents
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


def test_the_model_finds_seven_in_ten_fresh_intents_each_kind_counted_alike() -> None:
    need_model()
    quality = evaluate_intents(read_intents([row["text"] for row in FRESH], "meaning"), [row["intent"] for row in FRESH])
    assert quality.accuracy >= 0.7
    assert quality.macro_f1 >= 0.7
    assert quality.abstained <= 0.1
    assert read_intents(["I was charged twice for one ticket", "Nobody has called me back for a week"], "meaning")["intent"].to_list() == ["complaint"] * 2


def test_a_sentence_takes_at_most_fifteen_milliseconds_of_a_processor() -> None:
    need_model()
    texts = [row["text"] for row in SENTENCES]
    read_intents(texts[:1], "meaning")

    def seconds() -> float:
        begin = time.process_time()
        read_intents(texts, "meaning", sentiment=True)
        return time.process_time() - begin

    assert min(seconds() for _ in range(3)) / len(texts) <= 0.015


def test_the_model_abstains_more_the_clearer_it_has_to_be_and_is_right_more_often_where_it_answers() -> None:
    need_model()
    texts, labels = [row["text"] for row in SENTENCES], [row["intent"] for row in SENTENCES]
    easy, strict = (evaluate_intents(read_intents(texts, "meaning", margin=margin), labels) for margin in (0.0, 0.1))
    assert strict.abstained > easy.abstained + 0.1
    assert strict.table["precision"][-1] > easy.table["precision"][-1]


def test_sentiment_is_a_column_beside_intents_that_changes_none_and_hears_few_complaints() -> None:
    texts = [row["text"] for row in FRESH]
    plain, both = read_intents(texts), read_intents([*texts, None], sentiment=True)
    assert both.head(len(texts)).drop("sentiment").equals(plain)
    assert set(both["sentiment"].drop_nulls()) <= set(SENTIMENTS.values())
    assert both["sentiment"][-1] is None
    told = {"neu": 0, "pos": 1, "neg": -1}
    quality = evaluate_intents(both.head(len(texts)), [told[row["sentiment"]] for row in FRESH], "sentiment")
    assert 0.4 <= quality.accuracy <= 0.75  # weak, as it is said to be
    complaints = both.head(len(texts)).filter(pl.Series([row["intent"] == "complaint" for row in FRESH]))
    assert (complaints["sentiment"] == -1).mean() < 0.5
    assert read_intents(["It is not good, never helpful"], sentiment=True)["sentiment"].to_list() == [-1.0]


@pytest.mark.data
@pytest.mark.parametrize(("method", "most"), [("rules", 56), ("meaning", 25)])
def test_sentiment_of_reviews_is_better_than_a_coin_and_far_from_sure(real_data: Path, method: str, most: int) -> None:
    if method == "meaning":
        need_model()
    with gzip.open(real_data / "amazon_all_beauty_5.json.gz", "rt") as lines:
        reviews = pl.DataFrame([(row["overall"], (row.get("reviewText") or "").strip()) for row in map(json.loads, lines)], schema=["stars", "text"], orient="row").unique("text", maintain_order=True)
    cross, glad = (reviews.filter((pl.col("text") != "") & rule).head(most) for rule in (pl.col("stars") <= 2, pl.col("stars") >= 4))
    found = read_intents([*cross["text"], *glad["text"]], method, sentiment=True)
    quality = evaluate_intents(found, [-1] * cross.height + [1] * glad.height, "sentiment")
    row = quality.table.row(-1, named=True)
    assert quality.n == 2 * most
    assert row["recall"] > 0.55
    assert row["ci_high"] < 0.85


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


def test_quality_is_that_of_a_plain_count_and_bad_input_is_told() -> None:
    found = read_intents(["Please cancel it", "Thank you", "Hm", "Thanks"])
    quality = evaluate_intents(found, ["cancel", "praise", "need", "cancel"])
    row = quality.table.row(-1, named=True)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(proportion_confint(2, 4, method="wilson"))
    cells = {one["intent"]: (one["recall"], one["precision"], one["f1"]) for one in quality.table.iter_rows(named=True)}
    assert cells["cancel"] == pytest.approx((1 / 2, 1.0, 2 / 3))
    assert cells["praise"] == pytest.approx((1.0, 1 / 2, 2 / 3))
    assert cells["need"] == (0.0, 0.0, 0.0)
    assert quality.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert (quality.accuracy, quality.abstained) == (0.5, 0.25)
    with pytest.raises(DesignError, match="1 labels for 4 texts"):
        evaluate_intents(found, ["cancel"])
    with pytest.raises(SchemaError, match="sentiment=True"):
        evaluate_intents(found, ["cancel"] * 4, "sentiment")


def test_what_cannot_be_read_is_told_at_once() -> None:
    with pytest.raises(SettingError, match=r"method is 'sentiment'.*2 texts are no texts.*'own' cannot be read"):
        read_intents(["Hm", 3, b"x"], "sentiment", rules={"own": "(a"})
    with pytest.raises(SettingError, match="texts is one str"):
        read_intents("Hm")
    with pytest.raises(SettingError, match="'own' needs a list of examples"):
        read_intents(["Hm"], "meaning", prototypes={"own": "one sentence"})
    with pytest.raises(MissingExtraError, match="not installed"):
        _find_file("no_such_package_at_all", "model")
