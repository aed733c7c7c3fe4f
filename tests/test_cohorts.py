"""Cohorts against a plain loop, on any log and in any order."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.cohorts import cohort_retention
from motkit.errors import SchemaError, SettingError
from motkit.events import read_events
from motkit.schema import EVENTS
from motkit.store import write_store

START = datetime(2025, 11, 20, tzinfo=UTC)
TABLE = {
    **{"cohort": pl.Date, "period": pl.Int32, "n": pl.UInt32, "active": pl.UInt32},
    **{"retention": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "followed_up": pl.Boolean},
}
logs = st.lists(st.tuples(st.sampled_from(["ann", "bo", "cy", "di"]), st.integers(0, 24 * 150)), max_size=25)
periods = st.sampled_from(["1w", "1mo"])


def make_events(drawn: list[tuple[str, int]], start: datetime = START) -> pl.DataFrame:
    """Events at hours after the start."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [start + timedelta(hours=row[1]) for row in drawn],
        "event": ["visit"] * len(drawn),
        "channel": ["web"] * len(drawn),
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS)


def begin(at: date, period: str) -> date:
    """The first day of the week or month of a day."""
    return at - timedelta(days=at.weekday()) if period == "1w" else at.replace(day=1)


def after(day: date, period: str) -> date:
    """The first day of the next period."""
    return day + timedelta(days=7) if period == "1w" else (day + timedelta(days=32)).replace(day=1)


def loop_cohorts(drawn: list[tuple[str, int]], period: str) -> list[tuple[Any, ...]]:
    """Cohorts by a plain loop: `cohort, period, n, active, retention, followed_up`."""
    times = {who: [START + timedelta(hours=hour) for name, hour in drawn if name == who] for who, _ in drawn}
    active = {who: {begin(at.date(), period) for at in own} for who, own in times.items()}
    table, end = [], max((at for own in times.values() for at in own), default=START)
    for cohort in sorted({min(days) for days in active.values()}):
        members = [days for days in active.values() if min(days) == cohort]
        day, number = cohort, 0
        while day <= end.date():
            over = datetime.combine(after(day, period), datetime.min.time(), UTC) <= end
            came = sum(day in days for days in members)
            table.append((cohort, number, len(members), came, came / len(members) if over else None, over))
            day, number = after(day, period), number + 1
    return table


@given(logs, periods, st.randoms())
@settings(max_examples=40, deadline=None)
def test_cohorts_are_those_of_a_plain_loop_in_any_order_of_rows(drawn: Any, period: Any, chance: Any) -> None:
    table = cohort_retention(make_events(drawn), period)
    assert table.schema == pl.Schema(TABLE)
    assert table.drop("ci_low", "ci_high").rows() == loop_cohorts(drawn, period)
    chance.shuffle(drawn)
    assert cohort_retention(make_events(drawn), period).equals(table)


@given(logs, periods)
@settings(max_examples=20, deadline=None)
def test_counts_of_disjoint_customers_add_up_at_the_same_end(drawn: Any, period: Any) -> None:
    events, end, keys = make_events(drawn), START + timedelta(days=150), ["cohort", "period"]
    parts = [events.filter(pl.col("customer_id") == "ann"), events.filter(pl.col("customer_id") != "ann")]
    added = pl.concat([cohort_retention(part, period, end) for part in parts]).group_by(keys).agg(pl.col("n", "active").sum())
    assert added.sort(keys).equals(cohort_retention(events, period, end).select(*keys, "n", "active"))


def test_a_period_that_is_not_over_is_unknown_and_not_lost() -> None:
    events = make_events([("ann", 0), ("bo", 1), ("ann", 24 * 15)])
    table = cohort_retention(events)
    assert table.select("period", "n", "active", "retention", "followed_up").rows() == [(0, 2, 2, 1.0, True), (1, 2, 1, None, False)]
    ended = cohort_retention(events, as_of=datetime(2026, 1, 1))
    assert ended.select("period", "retention", "followed_up").rows() == [(0, 1.0, True), (1, 0.5, True)]
    assert 0 < ended["ci_low"][1] < 0.5 < ended["ci_high"][1] < 1
    early = cohort_retention(events, as_of=START + timedelta(hours=0.5))
    assert early.select("n", "followed_up").rows() == [(1, False)]


def test_a_log_of_many_years_and_before_1970_keeps_all_its_periods() -> None:
    old = make_events([("ann", 0), ("ann", 24 * 365 * 60)], datetime(1960, 2, 29, tzinfo=UTC))
    weeks = cohort_retention(old, "1w")
    assert weeks["cohort"].unique().to_list() == [date(1960, 2, 29)]
    assert weeks.height == 365 * 60 // 7 + 1
    assert weeks.filter(pl.col("active") > 0)["period"].to_list() == [0, weeks.height - 1]


def test_a_store_answers_as_its_events_do(tmp_path: Path) -> None:
    events = make_events([(f"user {k % 9}", k * k % 3600) for k in range(80)])
    store = write_store(events, tmp_path / "store")
    for log in (store, store.events):
        assert cohort_retention(log, "1w").equals(cohort_retention(events, "1w"))


def test_customers_who_come_at_random_are_retained_as_often_as_planted() -> None:
    chance, customers, weeks, p = np.random.default_rng(2), 4000, 8, 0.3
    came = chance.random((customers, weeks)) < p
    came[:, 0] = True
    who, week = np.nonzero(came)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    events = make_events([(str(a), int(b) * 168 + int(a) % 168) for a, b in zip(who, week, strict=True)], monday)
    table = cohort_retention(events, "1w", as_of=monday + timedelta(weeks=weeks)).filter(pl.col("period") > 0)
    assert table["followed_up"].to_list() == [True] * (weeks - 1)
    z = (table["retention"].to_numpy() - p) / (p * (1 - p) / customers) ** 0.5
    assert np.abs(z).max() < 3.5
    assert table["active"].to_list() == came[:, 1:].sum(axis=0).tolist()


def test_other_periods_and_frames_that_are_no_log_are_refused() -> None:
    days: Any = "1d"
    with pytest.raises(SettingError, match="'1d' is unknown"):
        cohort_retention(make_events([]), days)
    with pytest.raises(SchemaError, match="missing"):
        cohort_retention(pl.DataFrame({"event": ["look"]}))


def test_no_step_of_cohorts_leaves_the_streaming_engine(tmp_path: Path) -> None:
    from motkit.cohorts import _count_active
    from motkit.paths import ordered_rows

    events = make_events([("ann", 0), ("ann", 400)])
    for log in (events.lazy(), write_store(events, tmp_path / "store")):
        for period in ("1w", "1mo"):
            graph = _count_active(ordered_rows(log), period).show_graph(plan_stage="physical", engine="streaming", raw_output=True)
            assert graph is not None
            assert "in-memory-" not in graph.replace("in-memory-source", "")


@pytest.mark.data
def test_the_cohorts_of_a_shop_hold_every_customer_once(real_data: Path) -> None:
    events = read_events(real_data / "ecom_retentioneering.csv.gz").events
    table = cohort_retention(events)
    assert table.filter(pl.col("period") == 0)["n"].sum() == events.select(pl.col("customer_id").n_unique()).collect().item()
    assert table.filter(~pl.col("followed_up"))["retention"].null_count() == table.filter(pl.col("period") == 0).height
