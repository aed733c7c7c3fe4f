"""Satisfaction beside the time to onboard: bands by a plain loop, the interval covers, and shuffled answers give nothing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr, ttest_1samp

from motkit.errors import DesignError, SchemaError, SettingError
from motkit.satisfaction import satisfaction_by_onboarding


def draw(n: int, slope: float, seed: int) -> pl.DataFrame:
    """Onboarding days and answers from 1 to 5 that fall by `slope` a day; an eighth is not onboarded, a tenth says nothing."""
    rng = np.random.default_rng(seed)
    day, stars = rng.integers(1, 40, n), np.zeros(n)
    stars = np.clip(np.round(3.5 - slope * (day - 20) + rng.normal(0, 1, n)), 1, 5)
    return pl.DataFrame({"onboarded_day": day, "stars": stars}).with_columns(
        onboarded_day=pl.when(pl.Series(rng.random(n)) > 0.125).then("onboarded_day"),
        stars=pl.when(pl.Series(rng.random(n)) > 0.1).then("stars"),
    )


def test_bands_hold_everybody_who_answered_once_and_means_are_those_of_scipy() -> None:
    table = draw(500, 0.03, 1)
    found = satisfaction_by_onboarding(table, "stars")
    answered = table.drop_nulls("stars")
    assert found.table["n"].sum() == answered.height
    assert found.unanswered == table.height - answered.height
    for row in found.table.iter_rows(named=True):
        own = [s for d, s in answered.rows() if (d is None if row["day_from"] is None else d is not None and row["day_from"] <= d <= row["day_to"])]
        span = ttest_1samp(own, 0).confidence_interval(0.95)
        assert row["n"] == len(own)
        assert (row["mean"], row["ci_low"], row["ci_high"]) == pytest.approx((np.mean(own), span.low, span.high))


def test_the_rank_correlation_is_that_of_scipy_and_order_does_not_matter() -> None:
    table = draw(300, 0.05, 2)
    found = satisfaction_by_onboarding(table, "stars")
    both = table.drop_nulls()
    assert found.rank_correlation == pytest.approx(spearmanr(both["onboarded_day"], both["stars"]).statistic)
    assert satisfaction_by_onboarding(table.sample(fraction=1, shuffle=True, seed=3), "stars").rank_correlation == pytest.approx(found.rank_correlation)
    assert "less satisfied" in found.reading


def test_answers_dealt_at_random_give_about_one_false_alarm_in_twenty() -> None:
    alarms = [satisfaction_by_onboarding(draw(120, 0.0, seed), "stars").p_value < 0.05 for seed in range(400)]
    assert 0.02 <= np.mean(alarms) <= 0.085


def test_days_that_many_share_are_one_band_and_few_answers_have_no_interval() -> None:
    table = pl.DataFrame({"onboarded_day": [1] * 50 + [2], "stars": [4, 5] * 25 + [1]})
    found = satisfaction_by_onboarding(table, "stars")
    assert found.table["band"].to_list() == ["day 1", "day 2"]
    assert found.table.row(1)[3:] == (1, 1.0, None, None)
    assert satisfaction_by_onboarding(table.head(5), "stars").rank_correlation is None


def test_bad_input_is_told() -> None:
    table = draw(30, 0, 0)
    with pytest.raises(SchemaError, match="missing `rating`"):
        satisfaction_by_onboarding(table, "rating")
    with pytest.raises(SchemaError, match="needs a number"):
        satisfaction_by_onboarding(table.cast({"stars": pl.String}), "stars")
    with pytest.raises(SettingError, match="bands = 0"):
        satisfaction_by_onboarding(table, "stars", bands=0)
    with pytest.raises(DesignError, match="none of 30"):
        satisfaction_by_onboarding(table.with_columns(stars=None).cast({"stars": pl.Float64}), "stars")


@pytest.mark.data
def test_staff_who_were_promoted_late_are_asked_how_satisfied_they_are(real_data: Path) -> None:
    staff = pl.read_csv(real_data / "hr_attrition_ibm.csv.gz")
    found = satisfaction_by_onboarding(staff, "JobSatisfaction", onboarded="YearsSinceLastPromotion")
    assert found.n == staff.height == 1470
    assert abs(found.rank_correlation) < 0.1
