"""What is planted: cohorts of known hazard, found again by counting; effects as steps, as a plain loop makes them."""

from datetime import UTC as UTC_ZONE
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SettingError
from motkit.planted import (
    MOMENTS,
    PERSONAS,
    PROMISES,
    TEXTS,
    SimulationPlan,
    add_step,
    by_persona,
    draw_churn_day,
    planted_tables,
    simulate_onboarding,
)
from motkit.schema import ONBOARDING, check_table


def test_what_is_planted_is_complete():
    assert sum(persona.share for persona in PERSONAS) == pytest.approx(1)
    for persona in PERSONAS:
        assert sum(persona.landing) == pytest.approx(1)
        assert sum(persona.intents) == pytest.approx(1)
    assert len({moment.event for moment in MOMENTS}) == len(MOMENTS)
    assert {"delivery", "refund", "callback"} == {promise.name for promise in PROMISES}
    assert len(TEXTS) == len(PERSONAS[0].intents) + 1  # 'delay' follows broken promises


@pytest.mark.parametrize("null", [False, True])
def test_the_tables_of_a_plan_say_what_has_an_effect(null):
    plan = SimulationPlan(datetime(2025, 1, 1, tzinfo=UTC_ZONE), 365, by_persona((8, 20, 14)), by_persona(2), 1.5, 0.2, 240, null, False)
    tables = planted_tables(plan)
    assert tables["personas"]["threshold_day"].to_list() == [8, 20, 14]
    assert tables["personas"]["late_hazard_ratio"].to_list() == ([1, 1, 1] if null else [2, 2, 2])
    assert (tables["moments"]["kind"] != "none").sum() == (0 if null else 6)
    assert tables["change"].height == (0 if null else 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=12))
def test_an_effect_begins_on_the_day_after_its_first_cause_and_once_only(found):
    who, day = (np.array([pair[i] for pair in found], dtype=np.int64) for i in (0, 1))
    steps = np.zeros((4, 6))
    add_step(steps, who, day, 1.0)
    effect = np.zeros((4, 6))
    for customer in range(4):
        for column in range(6):  # the day of tenure `column + 1`
            effect[customer, column] = any(c == customer and d < column + 1 for c, d in found)
    assert np.array_equal(steps.cumsum(axis=1), effect)


def test_a_hazard_that_changes_daily_gives_its_survival_curve():
    rng, days = np.random.default_rng(0), 60
    log_ratio = np.where(np.arange(days) < 20, np.log(5.0), np.log(20.0))
    drawn = draw_churn_day(rng, np.tile(log_ratio, (40_000, 1)))
    survival, alive = [], 1.0
    for day in range(1, days + 1):
        alive *= np.exp(-np.exp(log_ratio[day - 1]) * (0.0022 * np.exp(-day / 100) + 0.0004))
        survival.append(alive)
    seen = np.array([(drawn > day).mean() for day in range(1, days + 1)])
    assert np.abs(seen - survival).max() < 4 * np.sqrt(0.25 / 40_000)


def onboarding_log_ratio(cohort: pl.DataFrame, day: int) -> tuple[float, float]:
    """Late against on time after `day`, by counting days at risk: log ratio and its standard error."""
    after = cohort.filter(pl.col("exit_day") > day).with_columns(late=pl.col("onboarded_day").fill_null(9999) > day)
    at_risk = (pl.col("exit_day") - pl.max_horizontal("entry_day", pl.lit(day))).sum()
    rates = after.group_by("late").agg(left=pl.col("event_kind").sum().cast(pl.Float64), at_risk=at_risk).sort("late")
    (early, early_days), (late, late_days) = rates.select("left", "at_risk").iter_rows()
    return float(np.log(late / late_days) - np.log(early / early_days)), float(np.sqrt(1 / early + 1 / late))


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 0.0), (1.5, 0.3), (2.0, 0.0)])
def test_the_planted_onboarding_ratio_is_found_by_counting(ratio, share):
    cohort = simulate_onboarding(20_000, seed=4, late_hazard_ratio=ratio, delayed_entry_share=share, personas_alike=True)
    log_ratio, std_error = onboarding_log_ratio(cohort, 14)
    assert abs(log_ratio - np.log(ratio)) < 3.5 * std_error


def test_each_persona_may_have_its_own_threshold_and_ratio():
    cohort = simulate_onboarding(30_000, seed=5, threshold_day=(8, 20, 14), late_hazard_ratio=(1.2, 1.5, 2.2))
    for persona, day, ratio in zip(PERSONAS, (8, 20, 14), (1.2, 1.5, 2.2), strict=True):
        log_ratio, std_error = onboarding_log_ratio(cohort.filter(pl.col("persona") == persona.name), day)
        assert abs(log_ratio - np.log(ratio)) < 3.5 * std_error


def test_a_cohort_has_the_schema_and_only_customers_under_observation():
    cohort = simulate_onboarding(5000, seed=6, delayed_entry_share=0.3)
    check_table(cohort, ONBOARDING, "cohort")
    assert (cohort["exit_day"] > cohort["entry_day"]).all()
    assert (cohort["onboarded_day"] <= cohort["exit_day"]).all()
    assert 4500 < cohort.height < 5000
    assert 0.2 < cohort["event_kind"].mean() < 0.35
    assert cohort.equals(simulate_onboarding(5000, seed=6, delayed_entry_share=0.3))
    assert not cohort.equals(simulate_onboarding(5000, seed=7, delayed_entry_share=0.3))


def test_a_cohort_names_all_parameters_out_of_range():
    with pytest.raises(SettingError, match="`n` = 0: needs 1 or more"):
        simulate_onboarding(n=0)
    with pytest.raises(SettingError) as error:
        simulate_onboarding(n=0, seed=-1, threshold_day=0.5, late_hazard_ratio=(1, 2), delayed_entry_share=1.5)
    assert len(error.value.faults) == 5
