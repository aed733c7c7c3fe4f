"""Flows from step to step against a plain loop; what goes in comes out."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SettingError
from motkit.flows import ENDED, step_flows
from motkit.paths import step_matrix
from motkit.schema import EVENTS
from motkit.store import write_store

START = datetime(2026, 3, 2, tzinfo=UTC)
paths_of_customers = st.lists(st.lists(st.sampled_from(["look", "buy", "call", "chat"]), min_size=1, max_size=7), max_size=5)


def make_events(paths: list[list[str]]) -> pl.DataFrame:
    rows = [(f"c{who}", START + timedelta(minutes=k), event) for who, path in enumerate(paths) for k, event in enumerate(path)]
    columns: dict[str, Any] = {name: [row[k] for row in rows] for k, name in enumerate(["customer_id", "timestamp", "event"])}
    columns |= {"channel": ["web"] * len(rows), "value": [None] * len(rows), "duration_s": [None] * len(rows)}
    return pl.DataFrame(columns, schema=EVENTS)


def loop_flows(paths: list[list[str]], steps: int, start: str | None) -> Counter[tuple[int, str, str]]:
    cut = [path[path.index(start) :] if start else path for path in paths if not start or start in path]
    return Counter((k + 1, path[k], path[k + 1] if k + 1 < len(path) else ENDED) for path in cut for k in range(min(len(path), steps - 1)))


@given(paths_of_customers, st.integers(2, 5), st.sampled_from([None, "call"]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_flows_are_those_of_a_plain_loop_in_any_order_of_rows(paths: Any, steps: int, start: Any, chance: Any) -> None:
    events = make_events(paths)
    if start and start not in events["event"]:
        return
    order = list(range(events.height))
    chance.shuffle(order)
    table = step_flows(events[order], steps, start=start)
    assert {row[:3]: row[3] for row in table.iter_rows()} == loop_flows(paths, steps, start)


@given(paths_of_customers, st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_what_goes_into_a_step_comes_out_of_it_and_the_rest_is_one_bucket(paths: Any, most: int) -> None:
    table = step_flows(make_events(paths), 4, most)
    into = table.filter(pl.col("to_event") != ENDED).group_by(step=pl.col("step") + 1, event="to_event").agg(pl.col("n").sum())
    out = table.group_by("step", event="from_event").agg(pl.col("n").sum())
    both = into.filter(pl.col("step") < 4).join(out.filter(pl.col("step") > 1), on=["step", "event"], how="full")
    assert both.filter(pl.col("n").ne_missing(pl.col("n_right"))).height == 0
    assert len({*table["from_event"], *table["to_event"]} - {ENDED, "other"}) <= most


def test_flows_agree_with_the_step_matrix_and_the_store(tmp_path: Path) -> None:
    events = make_events([["look", "buy"], ["look"], ["call", "look", "buy", "call"]] * 3)
    table, matrix = step_flows(events, 4), step_matrix(events, 4)
    for step in (1, 2, 3):
        assert table.filter(step=step)["n"].sum() == matrix.filter(pl.col("step") == step, pl.col("event").is_not_null())["n"].sum()
    assert step_flows(write_store(events, tmp_path / "store"), 4).equals(table)


def test_what_is_no_flow_is_refused() -> None:
    with pytest.raises(SettingError, match="2 or more"):
        step_flows(make_events([]), 1)
    with pytest.raises(SettingError, match="no event is called"):
        step_flows(make_events([["look"]]), start="lok")
