"""Live signals: replaying a log event by event, late events too, gives what the whole log gives."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import motkit
from motkit.errors import SettingError
from motkit.live_signals import LiveSignals, fading_totals, start_live_signals
from motkit.schema import EVENTS

START = datetime(2026, 3, 2, tzinfo=UTC)
MARKS = {"visits": 3.0, "engaged_minutes": 30.0, "purchases": 0.5}
SHARED = ["visits", "engaged_minutes", "depth", "purchases", "value", "events", "visits_decayed", "engaged_minutes_decayed", "purchases_decayed", "recency_days", "tenure_days"]
Row = tuple[str, datetime, str, float | None]

steps = st.tuples(st.sampled_from("ab"), st.integers(0, 400), st.sampled_from(["look", "buy", "call"]), st.integers(0, 300))


def frame(rows: list[Row]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema={"customer_id": pl.String, "timestamp": EVENTS["timestamp"], "event": pl.String, "value": pl.Float64}, orient="row")
    return table.with_columns(channel=pl.lit("web"), duration_s=pl.lit(None, pl.Float64)).select(*EVENTS)


def replay(rows: list[Row], **kwargs: object) -> LiveSignals:
    live = LiveSignals(purchase="buy", full_marks=MARKS, **kwargs)
    for row in rows:
        live.observe(*row)
    return live


def batch(rows: list[Row], at: datetime, half_life_days: float = 14.0) -> pl.DataFrame:
    table = motkit.score_engagement(frame(rows), at, half_life_days, full_marks=MARKS, purchase="buy")
    return table.select("customer_id", *SHARED, "score").sort("customer_id")


def same(live: pl.DataFrame, whole: pl.DataFrame) -> None:
    shown = live.select(pl.col(name).cast(whole.schema[name]) for name in whole.columns).with_columns(pl.col(pl.Float64).fill_nan(None))
    assert_frame_equal(shown, whole, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25))
def test_any_order_of_arrival_within_the_lateness_gives_the_batch(drawn: list[tuple[str, int, str, int]]) -> None:
    rows = [(who, START + timedelta(minutes=minute * 7), event, 5.0 if event == "buy" else None, late) for who, minute, event, late in drawn]
    arrived = [row[:4] for row in sorted(rows, key=lambda row: row[1] + timedelta(minutes=row[4]))]
    at = START + timedelta(days=3)
    live = replay(arrived, late_hours=5.0)
    assert live.too_late == 0
    same(live.table(at), batch(arrived, at))
    one = live.signals("a", at)
    assert not one or one["score"] == pytest.approx(live.table(at).filter(customer_id="a")["score"][0], rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(steps, min_size=2, max_size=25), st.integers(1, 20))
def test_states_built_from_a_log_go_on_as_if_they_had_seen_it(drawn: list[tuple[str, int, str, int]], cut: int) -> None:
    rows = sorted((who, START + timedelta(minutes=minute * 7), event, None) for who, minute, event, _ in drawn)
    rows.sort(key=lambda row: row[1])
    before, after, at = rows[:cut], rows[cut:], START + timedelta(days=2)
    built = start_live_signals(frame(before), late_hours=2.0, purchase="buy", full_marks=MARKS)
    for row in after:
        built.observe(*row)
    same(built.table(at), batch(rows, at))


def test_a_long_log_with_late_events_keeps_to_the_batch_over_many_half_lives() -> None:
    chance = np.random.default_rng(0)
    n = 4000
    minutes = np.sort(chance.integers(0, 700 * 1440, n))
    order = np.argsort(minutes + chance.exponential(60, n).clip(max=600))
    rows = [(f"c{chance.integers(0, 20)}", START + timedelta(minutes=int(minutes[k])), "buy" if k % 7 == 0 else "look", 1.5) for k in order]
    at = START + timedelta(days=701)
    live = replay(rows, half_life_days=1.0, late_hours=11.0)
    assert live.too_late == 0
    same(live.table(at), batch(rows, at, 1.0))


def test_what_comes_too_late_counts_for_all_but_sessions_and_is_told() -> None:
    on_time = [("a", START + timedelta(days=day), "look", None) for day in (0, 5, 9)]
    live = replay([*on_time, ("a", START + timedelta(minutes=5), "look", None)], late_hours=1.0)
    assert live.too_late == 1
    assert (live.signals("a", START + timedelta(days=10))["events"], live.signals("a", START + timedelta(days=10))["visits"]) == (4, 3)


def test_totals_are_those_of_a_loop_and_kinds_are_bits() -> None:
    rows = [("a", START, "look", None), ("a", START + timedelta(days=14), "buy", None), ("b", START, "look", None)]
    totals = fading_totals(frame(rows), origin=START).collect().sort("customer")
    assert totals["weighed"].to_list() == pytest.approx([3.0, 1.0])
    assert totals["kinds"].to_list() == [0b11, 0b10]
    with pytest.raises(SettingError, match="64 kinds of event, needs 63 or fewer"):
        fading_totals(frame([("a", START, f"event {k}", None) for k in range(64)]))
