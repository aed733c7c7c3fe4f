"""Views and pages of tests and words: the gate before the difference, the interval before p, small groups hidden."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from made_study import MadeStudy

from motkit import experiment_views as views
from motkit.app import check_pages
from motkit.errors import SettingError
from motkit.experiment_page import EXPERIMENT_PAGE, WORDS_PAGE
from motkit.page_parts import look_at
from motkit.pages import PAGES

SUMMARY: dict[str, Any] = {"control": "control", "kind": "rate", "outcome": "purchase", "within_days": 28.0, "cluster": "", "covariate": "", "sound": True, "sample_ratio_p": 0.5,
                           "notes": [], "n": 1020, "no_arm": 3, "no_start": 10, "not_followed": 20, "reading": "Do not read the differences: uneven."}  # fmt: skip


def made_study(low: float = 0.01, mails: int = 520, rare: int = 5, **changed: Any) -> MadeStudy:
    arms = pl.DataFrame({"outcome": "outcome", "arm": ["control", "new_mail"], "n": [500, mails], "value": [0.2, 0.26], "difference": [None, 0.06], "ci_low": [None, low], "ci_high": [None, 0.11],
                         "ratio": [None, 1.3], "ratio_ci_low": [None, 1.05], "ratio_ci_high": [None, 1.6], "std_error": 0.1, "p_value": [None, 0.02], "p_adjusted": [None, 0.02]})  # fmt: skip
    levels = pl.DataFrame({"outcome": "outcome", "cap": [0.0, 1.0, 2.0], "n": [300, 280, 40], "value": [0.2, 0.25, 0.3], "smooth": [0.2, 0.25, 0.3], "ci_low": [0.15, 0.2, -0.1], "ci_high": [0.25, 0.3, 0.7]})
    steps = pl.DataFrame({"outcome": "outcome", "from_cap": [0.0, 1.0], "to_cap": [1.0, 2.0], "per_contact": [0.05, 0.05], "ci_low": [-0.02, -0.3], "ci_high": [0.12, 0.4]})
    often = {"reading": "Confounded: nothing was dealt.", "randomised": False, "n": 620, "within_days": 28.0, "most": 2, "outcome": "purchase"}
    rules = pl.DataFrame({"arm": "new_mail", "rule": ["nobody", "all", "by score"], "contacted": [0.0, 1.0, 0.4], "value": [0.2, 0.26, 0.24], "ci_low": 0.1, "ci_high": 0.3,
                          "against_all": [-0.06, 0.0, -0.02], "against_all_ci_low": [-0.11, 0.0, -0.06], "against_all_ci_high": [-0.01, 0.0, 0.02]})  # fmt: skip
    tenths = pl.DataFrame({"arm": "new_mail", "group": [1, 2], "n": [500, 520], "predicted": [0.1, 0.02], "observed": [0.08, 0.04], "ci_low": [0.02, 0.03], "ci_high": [0.14, 0.1]})
    weeks = [("whole", None, 120), ("month", date(2026, 3, 1), 120), ("week", date(2026, 3, 2), 60), ("week", date(2026, 3, 9), 60)]
    told = [(by, day, intent, n if intent != "go" else rare, n if intent != "go" else rare) for by, day, n in weeks for intent in ("complaint", "buy", "go", None)]
    words = pl.DataFrame(told, schema={"by": pl.String, "period": pl.Date, "intent": pl.String, "n": pl.Int64, "customers": pl.Int64}, orient="row").with_columns(texts=400, abstained=0.3, method=pl.lit("rules"))
    frames = {
        "experiment": arms, "experiment_summary": pl.DataFrame([SUMMARY | changed], schema_overrides={"notes": pl.List(pl.String)}), "frequency": levels, "frequency_marginal": steps,
        "frequency_summary": pl.DataFrame([often]), "uplift_rules": rules, "uplift_tenths": tenths, "uplift_summary": pl.DataFrame([{"arm": "new_mail", "n": 1020, "reading": "No better."}]), "intents": words,
    }  # fmt: skip
    return MadeStudy(frames, {"as_of": "2026-06-30", "settings": {"study": {"min_cell": 11, "confidence": 0.95}}})


def test_the_difference_comes_with_its_interval_first_and_p_last() -> None:
    sentence = views.arms_compared(made_study()).sentence
    assert "a difference was found" in sentence
    assert sentence.index("6.0 percentage points more than control") < sentence.index("95% interval 1.0 to 11.0 more") < sentence.index("26.0% against 20.0%") < sentence.index("p = 0.02")
    assert "no difference was found" in views.arms_compared(made_study(low=-0.01)).sentence


def test_a_closed_gate_shows_no_difference() -> None:
    study = made_study(sound=False, sample_ratio_p=1e-9)
    assert views.arms_as_meant(study).sentence.startswith("No: ")
    view = views.arms_compared(study)
    assert view.empty.startswith("Do not read")
    assert not view.table.width


def test_small_arms_and_intents_are_hidden_and_not_to_be_worked_out() -> None:
    small = views.arms_compared(made_study(mails=7))
    assert small.empty
    assert small.table["difference"].null_count() == 2
    told = views.intents_told(made_study())
    assert "go" in told.table.filter(pl.col("n").is_null())["intent"].to_list()
    assert told.table["n"].null_count() >= 2
    assert "go" in views.intents_told(made_study(rare=30)).table.drop_nulls("n")["intent"].to_list()


def test_who_was_left_out_and_the_unit_that_was_dealt_are_said() -> None:
    footing = views.arms_as_meant(made_study()).footing
    assert "10 never started" in footing
    assert "households" in footing
    assert "household" in views.arms_as_meant(made_study(cluster="household")).footing


def test_contacts_that_chance_did_not_deal_are_called_confounded_and_intervals_stay_within_all_and_none() -> None:
    view = views.contact_response(made_study())
    assert view.sentence.startswith("Confounded")
    assert "confounded" in view.title
    assert view.table["ci_low"].min() == 0
    assert "2 or more" in view.footing


def test_scores_that_hold_are_counted_and_an_unknown_arm_is_refused() -> None:
    assert views.response_by_score(made_study()).sentence.startswith("In 1 of 2 groups")
    with pytest.raises(SettingError, match="arm"):
        views.who_responds(made_study(), arm="letter")


def test_intents_are_told_by_week_or_by_month_where_weeks_are_small() -> None:
    study = made_study(rare=30)
    assert set(views.intents_by_week(study).table["by"]) == {"week"}
    study.frames["intents"] = study.frames["intents"].with_columns(customers=pl.when(pl.col("by") == "week").then(4).otherwise("customers"))
    assert set(views.intents_by_week(study).table["by"]) == {"month"}
    assert set(views.intents_by_week(study, intents=["buy"]).table["intent"]) == {"buy"}


def test_without_tables_every_view_says_what_to_do_and_every_picture_is_drawn() -> None:
    assert check_pages(PAGES)
    for plan in (EXPERIMENT_PAGE, WORDS_PAGE):
        assert plan in PAGES
        for look in plan.looks:
            assert any(word in look_at(look, MadeStudy({})).empty for word in ("settings", "[experiments]", "motkit run"))
            for study in (made_study(), made_study(mails=7), MadeStudy({})):
                view = look_at(look, study)
                assert view.empty or "n = " in view.footing
                if look.draw:
                    assert look.draw(view) is not None
