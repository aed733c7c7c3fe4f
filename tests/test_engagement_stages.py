"""Stages of engagement: the study says what the functions say, and which score it shows."""

import warnings
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from motkit.advocates import find_advocates
from motkit.engagement import score_engagement
from motkit.engagement_model import fit_engagement
from motkit.errors import StatisticalWarning
from motkit.index_sensitivity import score_sensitivity
from motkit.sessions import split_sessions
from motkit.settings import Settings, read_settings
from motkit.simulate import Simulation, simulate_customers
from motkit.study import DEMO_SETTINGS, Study, run_study
from motkit.visit_hours import visit_clock
from motkit.whole_visit import last_page_versus_whole


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate_customers(n=400, seed=5)


@pytest.fixture(scope="module")
def study(made: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Study:
    chosen = replace(Settings(), engagement=DEMO_SETTINGS.engagement)
    return run_study(chosen, made.events, tmp_path_factory.mktemp("engaged") / "study", progress=False, profiles=made.profiles)


def test_the_score_of_the_study_is_that_of_the_fitted_model_and_says_so(study: Study, made: Simulation) -> None:
    asked = DEMO_SETTINGS.engagement
    last = made.events["timestamp"].max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StatisticalWarning)
        model = fit_engagement(made.events, asked.outcome, 28, last, gone=asked.gone, signals={"replies": asked.replies})
    own = model.score(made.events, last).sort("customer_id")
    table = study.table("engagement")
    shown = table.filter(pl.col("basis") == "chance of purchase within 28 days")
    assert_frame_equal(shown.select("customer_id", "score", "level"), own.select("customer_id", "score", "level"))
    gone = made.events.filter(pl.col("event").is_in(list(asked.gone)))["customer_id"].unique()
    rest = table.filter(pl.col("basis") == "left out: gone")
    assert set(rest["customer_id"]) == set(gone)
    assert rest["level"].unique().to_list() == ["dormant"]
    assert study.table("engagement_validation")["auc"][0] == model.validation["auc"][0]
    reasons = study.table("engagement_reasons")
    parts = [name for name in reasons.columns if name not in ("customer_id", "logit", "probability")]
    assert reasons.select((pl.sum_horizontal(parts) - pl.col("logit")).abs().max()).item() < 1e-9


def test_the_other_tables_are_those_of_their_functions(study: Study, made: Simulation) -> None:
    asked, last = DEMO_SETTINGS.engagement, made.events["timestamp"].max()
    assert study.table("visit_clock").equals(visit_clock(study.table("sessions"), made.profiles))
    pages = last_page_versus_whole(split_sessions(made.events).filter(pl.col("event").is_in(list(asked.pages))))
    assert_frame_equal(study.table("last_pages"), pages.table)
    assert study.table("last_page_summary").row(0, named=True)["disagree"] == pages.disagree
    assert_frame_equal(study.table("advocates"), find_advocates(made.events, {"brand_mention": "brand_mention"}, last).table)
    assert_frame_equal(study.table("index_sensitivity"), score_sensitivity(score_engagement(made.events, last)))
    assert study.table("rfm").height == study.table("repeat_buying").height


def test_without_an_outcome_the_score_is_the_index_and_says_so(made: Simulation, tmp_path: Path) -> None:
    study = run_study(Settings(), made.events, tmp_path / "study", progress=False)
    assert study.table("engagement")["basis"].unique().to_list() == ["uncalibrated index"]
    assert not {"engagement_model", "advocates"} & set(study.tables)


def test_a_log_too_short_to_learn_from_keeps_the_index_and_tells_why(made: Simulation, tmp_path: Path) -> None:
    chosen = read_settings(overrides={"engagement.outcome": "purchase", "engagement.outcome_within_days": "300"})
    study = run_study(chosen, made.events, tmp_path / "study", progress=False)
    assert "landmark" in study.problems["engagement_model"]
    assert study.table("engagement")["basis"].unique().to_list() == ["uncalibrated index"]
