"""Statistics under stress: tiny, one-sided and degenerate data give a named warning, a refusal or a missing value, never a confident number."""

import math
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import motkit
from motkit import survival
from motkit.errors import MotkitError, StatisticalWarning

START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=120)


def log_of(customers: int, events: int, gap_hours: float = 24.0, kinds: tuple[str, ...] = ("sign_up", "visit", "purchase", "help", "account_closed")) -> pl.DataFrame:
    """A log of so many customers with so many events each."""
    rows = [(f"c{c}", START + timedelta(hours=gap_hours * k), kinds[(k + c) % len(kinds)] if k else kinds[0], "web") for c in range(customers) for k in range(events)]
    frame = pl.DataFrame(rows, schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "event": pl.String, "channel": pl.String}, orient="row")
    return frame.with_columns(value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


LOGS = {
    "no events": log_of(0, 0),
    "one event": log_of(1, 1),
    "one customer": log_of(1, 40),
    "two customers": log_of(2, 5),
    "all at one instant": log_of(50, 5, 0.0),
    "one event a customer": log_of(60, 1),
    "nobody leaves": log_of(60, 6, 30.0, ("sign_up", "visit", "purchase")),
    "everybody does the same": log_of(60, 8, 24.0, ("sign_up",)),
}
QUESTIONS: dict[str, Callable[[pl.DataFrame], object]] = {
    "sessions": lambda log: motkit.session_table(motkit.split_sessions(log.lazy())).collect(),
    "transitions": lambda log: motkit.transitions(log.lazy()).collect(),
    "funnel": lambda log: motkit.funnel(log.lazy(), ["sign_up", "purchase"]),
    "cohorts": lambda log: motkit.cohort_retention(log.lazy()),
    "signals": lambda log: motkit.engagement_signals(log.lazy(), as_of=AS_OF),
    "score": lambda log: motkit.score_engagement(log.lazy(), as_of=AS_OF),
    "onboarding": lambda log: motkit.onboarding_table(log.lazy(), start="sign_up", milestone="purchase", churn="account_closed", as_of=AS_OF).table,
    "moments": lambda log: motkit.find_moments(log.lazy(), outcome="account_closed", as_of=AS_OF).table,
    "customer table": lambda log: motkit.customer_table(log.lazy(), as_of=AS_OF),
    "personas": lambda log: motkit.build_personas(motkit.customer_table(log.lazy(), as_of=AS_OF)).cards,
}


def collect(result: object) -> list[pl.DataFrame]:
    """The tables of a result."""
    if isinstance(result, pl.LazyFrame):
        return [result.collect()]
    if isinstance(result, pl.DataFrame):
        return [result]
    return [value for value in vars(result).values() if isinstance(value, pl.DataFrame)] if hasattr(result, "__dict__") else []


def has_no_confident_nonsense(table: pl.DataFrame) -> None:
    """Shares and p-values lie in 0 to 1, intervals hold their estimate, nothing is infinite unless an interval is open."""
    for name in table.columns:
        if table[name].dtype.is_float() and name in {"share", "p_value", "q_value", "retention", "survival", "incidence", "reach"}:
            assert table[name].drop_nulls().drop_nans().is_between(0, 1).all(), name
    if {"ci_low", "ci_high"} <= set(table.columns):
        assert (table["ci_low"] <= table["ci_high"]).fill_null(True).all()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", LOGS)
def test_a_degenerate_log_is_answered_or_refused(kind: str, question: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", StatisticalWarning)
        try:
            tables = collect(QUESTIONS[question](LOGS[kind]))
        except MotkitError:
            return
    for table in tables:
        has_no_confident_nonsense(table)


def test_nobody_who_left_gives_no_moment_that_breaks_or_makes() -> None:
    try:
        found = motkit.find_moments(LOGS["nobody leaves"].lazy(), outcome="account_closed", as_of=AS_OF).table
    except MotkitError:
        return
    assert not found["verdict"].is_in(["makes", "breaks"]).any()


def test_perfect_separation_gives_no_narrow_interval() -> None:
    n = 200
    table = pl.DataFrame({"day": [5.0] * (n // 2) + [100.0] * (n // 2), "left": [1] * (n // 2) + [0] * (n // 2), "broken": [1.0] * (n // 2) + [0.0] * (n // 2)})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            fit = survival.cox(table, "day", "left", ["broken"])
        except MotkitError:
            return
    row = fit.table.row(0, named=True)
    open_end = any(value is None or not math.isfinite(value) for value in (row["ci_low"], row["ci_high"])) or row["ci_high"] / max(row["ci_low"], 1e-300) > 1e3
    assert open_end
    assert any(issubclass(one.category, StatisticalWarning) for one in told)


def test_everybody_censored_says_so() -> None:
    table = pl.DataFrame({"day": np.arange(1.0, 51), "left": [0] * 50})
    curve = survival.kaplan_meier(table, "day", "left")
    assert (curve["survival"] == 1).all()
    assert survival.survival_quantiles(curve)["time"].to_list() in ([None], [])
    assert (curve["ci_high"].fill_null(1) == 1).all()


def test_ten_thousand_segments_of_no_difference_find_next_to_nothing() -> None:
    chance = np.random.default_rng(4)
    n = 100_000
    table = pl.DataFrame({"day": chance.exponential(50, n).clip(0.5, 90), "segment": chance.integers(0, 10_000, n)})
    table = table.with_columns(left=(pl.col("day") < 90).cast(pl.Int64))
    curve = survival.restricted_mean(table, "day", "left", 60.0, by="segment")
    assert curve.height == 10_000
    assert curve.select((pl.col("ci_low") <= pl.col("rmst")) & (pl.col("rmst") <= pl.col("ci_high"))).to_series().fill_null(True).all()


@pytest.mark.parametrize(("won", "n"), [((0, 0), (5, 5)), ((5, 5), (5, 5)), ((0, 1), (1, 1)), ((0, 3), (3, 3))])
def test_tiny_arms_never_win_with_certainty(won: tuple[int, int], n: tuple[int, int]) -> None:
    rows = [(arm, int(k < w)) for arm, w, m in zip("ab", won, n, strict=True) for k in range(m)]
    table = pl.DataFrame(rows, schema={"arm": pl.String, "bought": pl.Int64}, orient="row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StatisticalWarning)
            found = motkit.compare_arms(table, arm="arm", outcome="bought", control="a").table
    except MotkitError:
        return
    p = found.filter(pl.col("arm") == "b")["p_value"].item()
    assert p is None or p > 0.05
