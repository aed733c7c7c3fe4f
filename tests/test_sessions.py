"""Sessions against a plain loop, on any log and in any order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SchemaError, SettingError
from motkit.schema import EVENTS, SESSIONS, check_table
from motkit.sessions import number_sessions, session_table, split_sessions, sum_sessions

START = datetime(2026, 3, 2, tzinfo=UTC)
rows = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bo", "cy"]),
        st.sampled_from([0, 1, 29 * 60, 30 * 60, 30 * 60 + 1, 3600, 7200, 7201]) | st.integers(0, 20_000),
        st.sampled_from(["web", "app"]),
        st.none() | st.floats(0, 900, allow_nan=False).map(lambda seconds: round(seconds, 3)),
    ),
    max_size=25,
)


def make_events(drawn: list[tuple[str, int, str, float | None]]) -> pl.DataFrame:
    """Events at seconds after the start, with their number of arrival."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [START + timedelta(seconds=row[1]) for row in drawn],
        "event": ["home"] * len(drawn),
        "channel": [row[2] for row in drawn],
        "value": [None] * len(drawn),
        "duration_s": [row[3] for row in drawn],
    }
    return pl.DataFrame(columns, schema=EVENTS).with_row_index("arrived")


def loop_over(events: pl.DataFrame, gap_minutes: float) -> list[dict[str, Any]]:
    """The independent answer: sessions by a plain loop over sorted rows."""
    table: list[dict[str, Any]] = []
    plain = sorted(events.iter_rows(named=True), key=lambda row: (row["customer_id"], row["timestamp"], row["arrived"]))
    for before, row in zip([None, *plain], plain, strict=False):
        same = before is not None and before["customer_id"] == row["customer_id"]
        silence = (row["timestamp"] - before["timestamp"]).total_seconds() if same and before else None
        if silence is None or silence > gap_minutes * 60:
            number = table[-1]["session"] + 1 if same else 1
            table.append({"customer_id": row["customer_id"], "session": number, "start": row["timestamp"], "n_events": 0, "attention": [], "channel": row["channel"]})
        elif before is not None and before["duration_s"] is None:
            table[-1]["attention"].append(silence)
        if row["duration_s"] is not None:
            table[-1]["attention"].append(row["duration_s"])
        table[-1] |= {"end": row["timestamp"], "n_events": table[-1]["n_events"] + 1}
    for session in table:
        attention = session.pop("attention")
        session["engaged_s"] = sum(attention) if attention else None
    return table


@given(rows, st.sampled_from([30, 0.5, 120]), st.randoms())
@settings(max_examples=30, deadline=None)
def test_sessions_are_those_of_a_plain_loop_in_any_order_of_rows(drawn: Any, gap_minutes: float, chance: Any) -> None:
    events = make_events(drawn)
    expected = pl.DataFrame(loop_over(events, gap_minutes), schema=SESSIONS)
    split = split_sessions(events, gap_minutes)
    shuffled = list(range(events.height))
    chance.shuffle(shuffled)
    tied = events.group_by("customer_id", "timestamp").len().filter(pl.col("len") > 1).height > 0
    numbered_elsewhere = [] if tied else [session_table(split.drop("engaged_s").collect()[shuffled])]
    for table in (session_table(split), session_table(split.collect()[shuffled]), *numbered_elsewhere):
        result = table.collect()
        check_table(result, SESSIONS, "sessions")
        differences = (result["engaged_s"] - expected["engaged_s"]).abs().fill_null(0)
        assert differences.max() is None or differences.max() < 1e-6
        assert result["engaged_s"].is_null().to_list() == expected["engaged_s"].is_null().to_list()
        columns = ["customer_id", "session", "start", "end", "n_events"] + ([] if tied else ["channel"])
        assert result.select(columns).equals(expected.select(columns))


@given(rows)
@settings(max_examples=30, deadline=None)
def test_splitting_keeps_every_row_and_the_order_of_arrival_of_ties(drawn: Any) -> None:
    events = make_events(drawn)
    split = split_sessions(events).collect()
    plain = sorted(events.iter_rows(named=True), key=lambda row: (row["customer_id"], row["timestamp"], row["arrived"]))
    assert split["arrived"].to_list() == [row["arrived"] for row in plain]
    assert split.schema["session"] == pl.UInt32


def test_an_event_exactly_at_the_gap_stays_in_its_session() -> None:
    events = make_events([("ann", 0, "web", None), ("ann", 1800, "web", None), ("ann", 3601, "web", None)])
    assert split_sessions(events, 30).collect()["session"].to_list() == [1, 1, 2]


def test_one_page_alone_has_unknown_attention_not_zero() -> None:
    assert session_table(split_sessions(make_events([("ann", 0, "web", None)]))).collect()["engaged_s"].to_list() == [None]


def test_an_empty_log_gives_an_empty_table_of_the_right_schema() -> None:
    table = session_table(split_sessions(make_events([]))).collect()
    assert table.schema == SESSIONS
    assert table.height == 0


def test_the_codes_of_the_store_give_the_same_sessions_as_text_ids() -> None:
    events = make_events([("ann", s, "web", None) for s in (0, 60, 9000)] + [("bo", 5, "app", 3.0)])
    coded = events.sort("customer_id", "timestamp").with_columns(customer=pl.col("customer_id").rank("dense"))
    summed = sum_sessions(number_sessions(coded.lazy(), 30, "customer"), "customer").collect()
    assert summed["n_events"].to_list() == [2, 1, 1]
    assert summed["engaged_us"].to_list() == [60_000_000, 0, 3_000_000]


@pytest.mark.parametrize("gap_minutes", [0, -1, float("nan")])
def test_a_gap_that_is_no_silence_is_refused(gap_minutes: float) -> None:
    with pytest.raises(SettingError, match="gap_minutes"):
        split_sessions(make_events([]), gap_minutes)


def test_a_table_without_sessions_is_refused_with_what_to_type() -> None:
    with pytest.raises(SchemaError, match=r"missing \['session'\].*\n.*split_sessions"):
        session_table(make_events([]))


def test_no_step_of_sessions_leaves_the_streaming_engine() -> None:
    lazy = make_events([("ann", 0, "web", None)]).lazy()
    for plan in (split_sessions(lazy), session_table(split_sessions(lazy))):
        graph = plan.show_graph(plan_stage="physical", engine="streaming", raw_output=True)
        assert "in-memory-" not in graph.replace("in-memory-source", "")
