"""Funnels against a search over all starts, on any log and in any order."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import DesignError, FewEventsWarning, SchemaError, SettingError
from motkit.events import read_events
from motkit.funnels import funnel, log_end, time_to_convert
from motkit.intervals import add_wilson
from motkit.schema import EVENTS
from motkit.store import write_store

START = datetime(2026, 3, 2, tzinfo=UTC)
TABLE = {"step": pl.UInt32, "event": pl.String, "customers": pl.UInt32, "share": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}
logs = st.lists(
    st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(0, 12), st.sampled_from(["look", "buy", "call", "chat"])),
    max_size=16,
    unique_by=lambda row: row[:2],
)
paths = st.lists(st.sampled_from(["look", "buy", "call"]), min_size=1, max_size=4)
limits = st.sampled_from([None, 0, 1, 2.5, 4, 7])


def make_events(drawn: list[tuple[str, int, str]]) -> pl.DataFrame:
    """Events at days after the start."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [START + timedelta(days=row[1]) for row in drawn],
        "event": [row[2] for row in drawn],
        "channel": ["web"] * len(drawn),
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS)


def reaches(own: list[tuple[int, str]], steps: list[str], limit: float, ordered: bool) -> bool:
    """Try every choice of one row a step: are they in order, and close enough?"""
    choices = product(*([row for row in enumerate(own) if row[1][1] == step] for step in steps))
    for chosen in choices:
        places, days = [place for place, _ in chosen], [row[0] for _, row in chosen]
        if (not ordered or all(a < b for a, b in pairwise(places))) and max(days) - min(days) <= limit:
            return True
    return False


def loop_funnel(drawn: list[tuple[str, int, str]], steps: list[str], limit: float | None, ordered: bool) -> list[int]:
    """Customers at each step by trying all starts."""
    own = {who: sorted((day, event) for name, day, event in drawn if name == who) for who, _, _ in drawn}
    most = float("inf") if limit is None else limit
    return [sum(reaches(rows, steps[:k], most, ordered) for rows in own.values()) for k in range(1, len(steps) + 1)]


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
@given(logs, paths, limits, st.booleans(), st.randoms())
@settings(max_examples=80, deadline=None)
def test_a_funnel_is_that_of_a_search_over_all_starts_in_any_order_of_rows(drawn: Any, steps: Any, limit: Any, ordered: bool, chance: Any) -> None:
    steps = steps if ordered else list(dict.fromkeys(steps))
    table = funnel(make_events(drawn), steps, limit, ordered)
    assert table.schema == pl.Schema(TABLE)
    assert table["customers"].to_list() == loop_funnel(drawn, steps, limit, ordered)
    assert table["event"].to_list() == steps
    chance.shuffle(drawn)
    assert funnel(make_events(drawn), steps, limit, ordered).equals(table)


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
@given(logs, paths, limits)
@settings(max_examples=20, deadline=None)
def test_funnels_of_disjoint_customers_add_up(drawn: Any, steps: Any, limit: Any) -> None:
    parts = [[row for row in drawn if (row[0] == "ann") == mine] for mine in (True, False)]
    added = sum(np.array(funnel(make_events(part), steps, limit)["customers"]) for part in parts)
    whole = funnel(make_events(drawn), steps, limit)["customers"]
    assert np.array_equal(added, whole.to_numpy())


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
@pytest.mark.parametrize("ordered", [True, False])
def test_a_store_answers_as_its_events_do_also_for_a_step_that_nobody_made(tmp_path: Path, ordered: bool) -> None:
    chance = np.random.default_rng(1)
    kinds = ["look", "buy", "call", "chat"]
    drawn = [(f"user {who}", int(day), kinds[kind]) for who in range(40) for day, kind in enumerate(chance.integers(0, 4, 9))]
    events = make_events(drawn)
    store = write_store(events, tmp_path / "store")
    steps = ["look", "call", "buy", "no such event"]
    table = funnel(events, steps, 3, ordered)
    assert table["customers"].to_list() == loop_funnel(drawn, steps, 3, ordered)
    assert table["customers"].to_list()[3] == 0
    for log in (store, store.events, events.lazy()):
        assert funnel(log, steps, 3, ordered).equals(table)
    assert time_to_convert(store, steps[:3]).equals(time_to_convert(events, steps[:3]))


def test_a_step_exactly_at_the_limit_counts_and_a_microsecond_later_does_not() -> None:
    events = make_events([("ann", 0, "look"), ("ann", 7, "buy")])
    late = events.with_columns(pl.when(pl.col("event") == "buy").then(pl.col("timestamp") + pl.duration(microseconds=1)).otherwise("timestamp"))
    assert funnel(events, ["look", "buy"], 7)["customers"].to_list() == [1, 1]
    with pytest.warns(FewEventsWarning, match="nobody reached"):
        assert funnel(late, ["look", "buy"], 7)["customers"].to_list() == [1, 0]


def test_a_log_where_nobody_starts_has_zero_customers_and_no_share() -> None:
    with pytest.warns(FewEventsWarning, match=r"nobody reached \['look', 'buy'\]"):
        table = funnel(make_events([]), ["look", "buy"], 7)
    assert table.schema == pl.Schema(TABLE)
    assert table.rows() == [(1, "look", 0, None, None, None), (2, "buy", 0, None, None, None)]


def test_intervals_are_those_printed_by_newcombe() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score, without continuity correction)
    table = add_wilson(pl.DataFrame({"did": [15, 0, 81], "of": [148, 20, 263]}), "did", "of")
    expected = [(0.0624, 0.1605), (0.0, 0.1611), (0.2553, 0.3662)]
    assert np.allclose(table.select("ci_low", "ci_high").rows(), expected, atol=5e-5)


def test_events_in_no_order_reach_the_second_step_as_often_as_chance_says() -> None:
    chance, customers = np.random.default_rng(5), 20_000
    first, second = chance.random((2, customers)) * 10
    events = pl.concat(
        pl.DataFrame({"customer_id": pl.int_range(customers, eager=True).cast(pl.String), "event": [kind] * customers, "at": at})
        for kind, at in (("look", first), ("buy", second))
    ).select(
        "customer_id",
        pl.lit(START).cast(EVENTS["timestamp"]).alias("timestamp") + pl.duration(microseconds=(pl.col("at") * 86_400e6).cast(pl.Int64)),
        "event",
        channel=pl.lit("web"),
        value=pl.lit(None, pl.Float64),
        duration_s=pl.lit(None, pl.Float64),
    )
    table = funnel(events, ["look", "buy"], 2)
    truth = (10 * 2 - 2**2 / 2) / 10**2
    assert table["ci_low"][1] < truth < table["ci_high"][1]
    both = funnel(events, ["look", "buy"], 2, ordered=False)
    assert both["ci_low"][1] < 2 * truth < both["ci_high"][1]


def test_who_may_still_come_is_censored_and_not_lost() -> None:
    events = make_events([("ann", 0, "look"), ("ann", 4, "buy"), ("bo", 8, "look"), ("cy", 9, "buy"), ("di", 1, "look"), ("di", 9, "look")])
    curve = time_to_convert(events, ["look", "buy"])
    assert curve.filter(pl.col("events") > 0).select("time", "at_risk", "survival").rows() == [(4.0, 2.0, 0.5)]
    assert curve["time"].to_list()[-1] == 8.0
    early = time_to_convert(events, ["look", "buy"], as_of=START + timedelta(days=3))
    assert early["events"].sum() == 0
    assert early["time"].max() == 3.0


def test_a_wait_nobody_begins_is_refused() -> None:
    with pytest.raises(DesignError, match="nobody makes the first step"):
        time_to_convert(make_events([("ann", 0, "buy")]), ["look", "buy"])
    with pytest.raises(SettingError, match="two or more"):
        time_to_convert(make_events([]), ["look"])


def test_an_end_of_observation_is_a_time_or_a_date() -> None:
    day: Any = "2026-03-02"
    assert log_end(make_events([]), START) == log_end(make_events([]), START.date()) == log_end(make_events([("ann", 0, "look")]))
    assert log_end(make_events([])) == 0
    with pytest.raises(SettingError, match="as_of: it is str"):
        log_end(make_events([]), day)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"steps": []}, "steps"),
        ({"steps": "look"}, "steps"),
        ({"steps": ["look", "look"], "ordered": False}, "twice"),
        ({"steps": ["look"], "within_days": -1}, "within_days"),
        ({"steps": ["look"], "within_days": float("nan")}, "within_days"),
        ({"steps": ["look"], "confidence": 1}, "confidence"),
    ],
)
def test_settings_that_make_no_funnel_are_refused(call: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        funnel(make_events([]), **call)


def test_a_frame_that_is_no_log_is_refused() -> None:
    with pytest.raises(SchemaError, match="missing"):
        funnel(pl.DataFrame({"event": ["look"]}), ["look"])


def test_no_step_of_a_funnel_leaves_the_streaming_engine(tmp_path: Path) -> None:
    from motkit.funnels import _carry_sets, _carry_starts, _count_reached, _step_rows

    events = make_events([("ann", 0, "look"), ("ann", 4, "buy")])
    for log in (events.lazy(), write_store(events, tmp_path / "store")):
        for carry in (_carry_starts, _carry_sets):
            plan = _count_reached(carry(*_step_rows(log, ["look", "buy"]), 7), 2)
            graph = plan.show_graph(plan_stage="physical", engine="streaming", raw_output=True)
            assert graph is not None
            assert "in-memory-" not in graph.replace("in-memory-source", "")


@pytest.mark.data
def test_the_funnel_of_a_shop_only_narrows(real_data: Path) -> None:
    events = read_events(real_data / "ecom_retentioneering.csv.gz").events
    steps = ["catalog", "cart", "purchase"]
    free, week = (funnel(events, steps, limit)["customers"].to_list() for limit in (None, 7))
    assert free == sorted(free, reverse=True)
    assert all(a >= b > 0 for a, b in zip(free, week, strict=True))
