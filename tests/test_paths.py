"""Steps and step matrices against plain loops, on any log and in any order."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SchemaError, SettingError
from motkit.events import read_events
from motkit.paths import ordered_rows, step_matrix, transitions
from motkit.schema import EVENTS
from motkit.sessions import number_sessions, split_sessions
from motkit.store import write_store

START = datetime(2026, 3, 2, tzinfo=UTC)
rows = st.lists(
    st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(0, 9000), st.sampled_from(["look", "buy", "call"])),
    max_size=25,
    unique_by=lambda row: row[:2],
)
STEPS = {"from_event": pl.String, "to_event": pl.String, "n": pl.UInt32, "customers": pl.UInt32, "share": pl.Float64, "median_s": pl.Float64}
MATRIX = {"step": pl.UInt32, "event": pl.String, "n": pl.UInt32, "share": pl.Float64}


def make_events(drawn: list[tuple[str, int, str]]) -> pl.DataFrame:
    """Events at seconds after the start."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [START + timedelta(seconds=row[1]) for row in drawn],
        "event": [row[2] for row in drawn],
        "channel": ["web"] * len(drawn),
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS)


def paths_of(events: pl.DataFrame, within: str) -> list[list[dict[str, Any]]]:
    """The independent answer's paths: rows of a customer, or of a session, in order."""
    ordered = events.sort("customer_id", "timestamp", maintain_order=True)
    keys = ["customer_id", "session"] if within == "session" else ["customer_id"]
    return [part.to_dicts() for part in ordered.partition_by(keys, maintain_order=True)] if ordered.height else []


def loop_steps(paths: list[list[dict[str, Any]]]) -> list[tuple[Any, ...]]:
    """Steps by a plain loop."""
    gaps: dict[tuple[str, str], list[float]] = {}
    who: dict[tuple[str, str], set[str]] = {}
    for path in paths:
        for a, b in pairwise(path):
            pair = (a["event"], b["event"])
            gaps.setdefault(pair, []).append((b["timestamp"] - a["timestamp"]).total_seconds())
            who.setdefault(pair, set()).add(a["customer_id"])
    leaving = Counter({pair[0]: 0 for pair in gaps})
    for pair, times in gaps.items():
        leaving[pair[0]] += len(times)
    table = [(*pair, len(times), len(who[pair]), len(times) / leaving[pair[0]], median(times)) for pair, times in gaps.items()]
    return sorted(table, key=lambda row: (row[0], -row[2], row[1]))


def loop_matrix(paths: list[list[dict[str, Any]]], steps: int) -> list[tuple[Any, ...]]:
    """The step matrix by a plain loop, without rows of zero."""
    table = []
    for step in range(steps) if paths else ():
        counts = Counter(path[step]["event"] if step < len(path) else None for path in paths)
        table += [(step + 1, event, n, n / len(paths)) for event, n in counts.items()]
    return sorted(table, key=lambda row: (row[0], -row[2], row[1] or ""))


@given(rows, st.sampled_from(["customer", "session"]), st.randoms())
@settings(max_examples=30, deadline=None)
def test_steps_and_matrices_are_those_of_a_plain_loop_in_any_order_of_rows(drawn: Any, within: Any, chance: Any) -> None:
    events = split_sessions(make_events(drawn), 10).collect()
    paths = paths_of(events, within)
    order = list(range(events.height))
    chance.shuffle(order)
    for log in (events, events[order]):
        assert transitions(log, within).collect().schema == pl.Schema(STEPS)
        assert transitions(log, within).collect().rows() == loop_steps(paths)
        matrix = step_matrix(log, 4, within)
        assert matrix.schema == pl.Schema(MATRIX)
        assert matrix.filter(pl.col("n") > 0).rows() == loop_matrix(paths, 4)
        assert set(matrix.group_by("step").agg(pl.col("n").sum())["n"]) == ({len(paths)} if paths else set())


@given(rows)
@settings(max_examples=20, deadline=None)
def test_counts_of_disjoint_customers_add_up_to_those_of_all(drawn: Any) -> None:
    events = make_events(drawn)
    parts = [events.filter(pl.col("customer_id") == "ann"), events.filter(pl.col("customer_id") != "ann")]
    counts, keys = pl.col("n", "customers").sum(), ["from_event", "to_event"]
    added = pl.concat([transitions(part).collect() for part in parts]).group_by(keys).agg(counts)
    whole = transitions(events).collect().select(*keys, "n", "customers")
    assert added.sort(keys).equals(whole.sort(keys))
    matrices = pl.concat([step_matrix(part, 3) for part in parts]).group_by("step", "event").agg(pl.col("n").sum())
    assert matrices.sort("step", "event").equals(step_matrix(events, 3).select("step", "event", "n").sort("step", "event"))


def test_events_of_the_same_microsecond_count_in_their_order_of_arrival() -> None:
    events = make_events([("ann", 5, "look"), ("ann", 5, "buy"), ("ann", 5, "call")])
    assert [row[:2] for row in transitions(events).collect().rows()] == [("buy", "call"), ("look", "buy")]


def test_a_store_and_its_rows_answer_as_the_events_do(tmp_path: Path) -> None:
    drawn = [(f"user {k % 7}", k * 37 % 5000, ["look", "buy", "call"][k % 5 % 3]) for k in range(90)]
    events = make_events(drawn)
    store = write_store(events, tmp_path / "store")
    for log in (store, store.events):
        assert transitions(log).collect().equals(transitions(events).collect())
        assert step_matrix(log, 5).equals(step_matrix(events, 5))
    numbered = number_sessions(store.events, 10, "customer")
    split = split_sessions(events, 10)
    assert transitions(numbered, "session").collect().equals(transitions(split, "session").collect())
    assert step_matrix(numbered, 5, "session").equals(step_matrix(split, 5, "session"))


def test_events_in_no_order_have_shares_that_centre_on_how_common_the_next_event_is() -> None:
    chance, n, p = np.random.default_rng(3), 60_000, [0.5, 0.3, 0.2]
    kinds = chance.choice(["look", "buy", "call"], n, p=p)
    columns = {"customer_id": pl.Series(chance.integers(0, 6000, n)).cast(pl.String), "event": kinds, "channel": ["web"] * n}
    at = pl.Series(chance.integers(0, 10**12, n)).cast(EVENTS["timestamp"])
    events = pl.DataFrame(columns).with_columns(timestamp=at, value=None, duration_s=None).cast(EVENTS).select(*EVENTS)
    steps = transitions(events).collect().join(pl.DataFrame({"to_event": ["look", "buy", "call"], "p": p}), on="to_event")
    leaving = pl.col("n").sum().over("from_event")
    z = steps.select((pl.col("share") - pl.col("p")) / (pl.col("p") * (1 - pl.col("p")) / leaving).sqrt()).to_series().to_numpy()
    assert steps.height == 9
    assert np.abs(z).max() < 3.5
    assert abs(z.mean()) < 1
    first = step_matrix(events, 1).filter(pl.col("event") == "look")["share"].item()
    assert abs(first - 0.5) < 3.5 * (0.25 / 6000) ** 0.5


def test_sessions_that_are_not_numbered_are_refused_with_what_to_type() -> None:
    with pytest.raises(SchemaError, match=r"missing \['session'\].*\n.*split_sessions"):
        transitions(make_events([]), within="session")


def test_a_frame_that_is_no_log_is_refused() -> None:
    with pytest.raises(SchemaError, match="missing"):
        transitions(pl.DataFrame({"event": ["look"]}))
    with pytest.raises(SchemaError, match="`customer` is Int64"):
        ordered_rows(pl.DataFrame({"customer": [1]}))


@pytest.mark.parametrize(("call", "said"), [({"within": "visit"}, "within"), ({"steps": 0}, "`steps` is 0")])
def test_settings_out_of_range_are_refused(call: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        step_matrix(make_events([]), **call)


def test_only_the_median_of_a_step_leaves_the_streaming_engine(tmp_path: Path) -> None:
    from motkit.paths import _coded_rows, _pair_rows, _step_counts

    events = make_events([("ann", 0, "look"), ("ann", 9, "buy")])
    store = write_store(events, tmp_path / "store")
    for log in (events.lazy(), store, split_sessions(events), number_sessions(store.events, 30, "customer")):
        coded, names = _coded_rows(log, "customer")
        counted = _pair_rows(coded).group_by("pair").agg(pl.len(), pl.col("customer").n_unique())
        for plan in (counted, _step_counts(coded, 4).join(names, on="code", how="left")):
            graph = plan.show_graph(plan_stage="physical", engine="streaming", raw_output=True)
            assert graph is not None
            assert "in-memory-" not in graph.replace("in-memory-source", "")


@pytest.mark.data
def test_the_steps_of_a_shop_add_up_to_its_events_less_its_customers(real_data: Path) -> None:
    events = read_events(real_data / "ecom_retentioneering.csv.gz").events
    size = events.select(pl.len(), customers=pl.col("customer_id").n_unique()).collect()
    steps, matrix = transitions(events).collect(), step_matrix(events)
    assert steps["n"].sum() == size["len"].item() - size["customers"].item()
    assert matrix.group_by("step").agg(pl.col("n").sum())["n"].unique().to_list() == [size["customers"].item()]
