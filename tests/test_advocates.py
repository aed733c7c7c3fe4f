"""Advocates: the spread of rates is found again, intervals cover, and customers who are alike do not stand out."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from motkit.advocates import find_advocates, fit_gamma_poisson
from motkit.errors import DesignError, SchemaError
from motkit.schema import EVENTS

END = datetime(2026, 1, 1, tzinfo=UTC)


def draw(n: int, shape: float, rate: float, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Customers who are watched for a month to two years and post at rates of their own; the rates are given, too."""
    rng = np.random.default_rng(seed)
    years, true = rng.uniform(1 / 12, 2, n), rng.gamma(shape, 1 / rate, n)
    counts = rng.poisson(true * years)
    who = np.concatenate([np.arange(n), np.repeat(np.arange(n), counts)])
    back = np.concatenate([years, np.repeat(years, counts) * rng.random(counts.sum())])
    at = [END - timedelta(days=float(y) * 365.25) for y in back]
    kinds = ["sign_up"] * n + ["review"] * int(counts.sum())
    log = pl.DataFrame({"customer_id": [f"c{w:05}" for w in who], "timestamp": at, "event": kinds, "channel": "web"})
    log = log.with_columns(value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64)).cast(dict(EVENTS))
    return log.select(*EVENTS), true


def test_the_spread_of_rates_is_found_again_and_nine_in_ten_intervals_hold_the_rate() -> None:
    log, true = draw(4000, 0.6, 1.5, 1)
    found = find_advocates(log, {"reviews": "review"}, END)
    assert found.mean_per_year == pytest.approx(0.4, rel=0.08)
    assert found.shape == pytest.approx(0.6, rel=0.15)
    rows = found.table.sort("customer_id")
    assert ((rows["ci_low"].to_numpy() <= true) & (true <= rows["ci_high"].to_numpy())).mean() == pytest.approx(0.9, abs=0.02)
    chosen = true[rows["advocate"].to_numpy()]
    assert (chosen > found.mean_per_year).mean() > 0.95


def test_the_likelihood_is_that_of_the_negative_binomial() -> None:
    from scipy.stats import nbinom

    rng = np.random.default_rng(2)
    years, counts = rng.uniform(0.1, 2, 500), rng.poisson(0.8, 500).astype(float)
    a, b = fit_gamma_poisson(counts, years)
    level = lambda a, b: nbinom.logpmf(counts, a, b / (b + years)).sum()  # noqa: E731
    assert all(level(a, b) >= level(a * f, b * g) - 1e-6 for f in (0.95, 1, 1.05) for g in (0.95, 1, 1.05))


def test_customers_who_are_alike_do_not_stand_out() -> None:
    log, _ = draw(1500, 500.0, 1000.0, 3)
    assert find_advocates(log, {"reviews": "review"}, END).table["advocate"].mean() < 0.01


def test_acts_add_up_over_kinds_order_does_not_matter_and_later_acts_are_not_seen() -> None:
    log, _ = draw(300, 0.6, 1.5, 4)
    rule = {"reviews": pl.col("event") == "review", "again": ["review", "other"]}
    found = find_advocates(log, rule, END - timedelta(days=60)).table
    assert found["acts"].sum() == found["reviews"].sum() == log.filter(pl.col("event") == "review", pl.col("timestamp") <= END - timedelta(days=60)).height
    assert found.equals(find_advocates(log.sample(fraction=1, shuffle=True, seed=0).lazy(), rule, END - timedelta(days=60)).table)


def test_a_log_without_acts_or_columns_is_refused() -> None:
    log, _ = draw(50, 0.6, 1.5, 5)
    with pytest.raises(DesignError, match="nobody did"):
        find_advocates(log, {"reviews": "praise"}, END)
    with pytest.raises(SchemaError):
        find_advocates(log.drop("channel"), {"reviews": "review"}, END)
