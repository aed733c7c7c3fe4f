"""Life cycles folded, rare events bundled and conversations summed, against plain loops; nothing is lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SchemaError, SettingError
from motkit.paths import transitions
from motkit.schema import EVENTS
from motkit.store import write_store
from motkit.tidying import bundle_rare, conversation_table, fold_lifecycle

START = datetime(2026, 3, 2, tzinfo=UTC)


def make_events(drawn: list[tuple[str, int, str]], **also: Any) -> pl.DataFrame:
    """Events at minutes after the start, with further columns."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [START + timedelta(minutes=row[1]) for row in drawn],
        "event": [row[2] for row in drawn],
        "channel": ["web"] * len(drawn),
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS).with_columns(**{name: pl.Series(values, dtype=pl.String) for name, values in also.items()})


rows = st.lists(
    st.tuples(st.sampled_from(["ann", "bo"]), st.integers(0, 500), st.sampled_from(["fix", "check"]), st.sampled_from(["schedule", "start", "complete", None])),
    max_size=16,
    unique_by=lambda row: row[:2],
)


@given(rows, st.randoms())
@settings(max_examples=40, deadline=None)
def test_activities_are_those_of_a_plain_loop_and_every_row_is_counted(drawn: Any, chance: Any) -> None:
    activities: dict[Any, list[tuple[int, str | None]]] = {}
    seen: dict[Any, int] = {}
    for number, (who, minute, event, state) in enumerate(sorted(drawn, key=lambda row: row[:2])):
        key = (who, event, "alone", number)
        if state:
            seen[who, event, state] = seen.get((who, event, state), 0) + 1
            key = (who, event, "nth", seen[who, event, state])
        activities.setdefault(key, []).append((minute, state))
    expected = []
    for (who, event, *_), states in activities.items():
        done = [minute for minute, state in states if state == "complete"]
        at = done[0] if done else states[-1][0]
        expected.append((who, START + timedelta(minutes=at), event, len(states)))
    chance.shuffle(drawn)
    table = fold_lifecycle(make_events([row[:3] for row in drawn], lifecycle=[row[3] for row in drawn])).collect()
    assert sorted(table.select("customer_id", "timestamp", "event", "folded").rows()) == sorted(expected)
    assert table["folded"].sum() == len(drawn)


def test_an_empty_log_folds_to_none_with_the_same_columns() -> None:
    table = fold_lifecycle(make_events([], lifecycle=[])).collect()
    assert table.height == 0
    assert table.columns == [*EVENTS, "lifecycle", "started_at", "folded"]


def test_bundling_keeps_the_total_also_in_a_store(tmp_path: Path) -> None:
    events = make_events([("ann", k, name) for k, name in enumerate("aaabbcd")])
    for log in (events, write_store(events, tmp_path / "store")):
        steps = transitions(bundle_rare(log, most=2)).collect()
        assert steps["n"].sum() == 6
        assert set(steps["to_event"]) == {"a", "b", "other"}
    counts = bundle_rare(events, most=1, keep=["d"]).collect()["event"].value_counts().rows()
    assert dict(counts) == {"a": 3, "d": 1, "other": 3}


def test_conversations_of_two_customers_with_one_id_are_two() -> None:
    talk = make_events([("ann", 0, "ask"), ("bo", 1, "ask"), ("ann", 5, "answer")], conversation_id=["1", "1", "1"])
    table = conversation_table(talk).collect()
    assert table.select("customer_id", "turns").rows() == [("ann", 2), ("bo", 1)]
    assert table["longest_wait_s"].to_list() == [300.0, None]


def test_turns_without_an_id_join_nothing() -> None:
    talk = make_events([("ann", 0, "ask"), ("ann", 5, "ask")], conversation_id=[None, None])
    assert conversation_table(talk).collect().height == 0


def test_what_cannot_be_tidied_is_refused() -> None:
    with pytest.raises(SchemaError, match="lifecycle"):
        fold_lifecycle(make_events([]))
    with pytest.raises(SchemaError, match="conversation_id"):
        conversation_table(make_events([]))
    with pytest.raises(SettingError, match="most"):
        bundle_rare(make_events([]), most=0)
    with pytest.raises(SettingError, match="follow_up_hours"):
        conversation_table(make_events([], conversation_id=[]), follow_up_hours=0)
