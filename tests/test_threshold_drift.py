"""Thresholds of successive quarters: one that moves is seen to move, one that stays is not."""

from datetime import date

import polars as pl
import pytest

from motkit.errors import DesignError, SchemaError
from motkit.simulate import simulate_onboarding
from motkit.threshold_drift import watch_thresholds


def draw_quarters(days: list[int], seed: int, n: int = 4000) -> pl.DataFrame:
    """Sign-ups of successive quarters, each with a threshold of its own."""
    parts = [
        simulate_onboarding(n, seed=seed + number, threshold_day=day).with_columns(started=pl.lit(date(2025, 1 + 3 * number, 5)))
        for number, day in enumerate(days)
    ]
    return pl.concat(parts)


def test_a_threshold_that_moves_is_seen_to_move_and_one_that_stays_is_not() -> None:
    moved = watch_thresholds(draw_quarters([14, 14, 5], 1), strata=["persona"])
    assert moved.moved
    assert moved.common_days == ()
    assert "has moved" in moved.reading
    stays = [watch_thresholds(draw_quarters([14, 14, 14], 10 * seed, 2000), strata=["persona"]).moved for seed in range(2, 8)]
    assert sum(bool(one) for one in stays) <= 1


def test_sign_ups_without_a_date_or_of_one_quarter_are_refused() -> None:
    rows = draw_quarters([14], 1, 200)
    with pytest.raises(DesignError, match="one quarter"):
        watch_thresholds(rows, strata=["persona"])
    with pytest.raises(SchemaError, match="missing"):
        watch_thresholds(rows.drop("started"), strata=["persona"])
    with pytest.raises(SchemaError, match="needs dates"):
        watch_thresholds(rows.with_columns(started=1), strata=["persona"])
