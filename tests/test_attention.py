"""Attention from heartbeats: a plain loop, laws, and the study that takes them out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.attention import fold_pings
from motkit.errors import SettingError
from motkit.schema import EVENTS
from motkit.sessions import session_table, split_sessions
from motkit.settings import read_settings
from motkit.study import run_study

START = datetime(2026, 3, 1, tzinfo=UTC)
Row = tuple[str, int, str]
rows_of = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9000), st.sampled_from(["page", "ping", "ping"])), max_size=40)


def as_log(rows: list[Row]) -> pl.DataFrame:
    columns = {"customer_id": [r[0] for r in rows], "timestamp": [START + timedelta(seconds=r[1]) for r in rows], "event": [r[2] for r in rows]}
    frame = pl.DataFrame(columns, schema={name: EVENTS[name] for name in columns})
    return frame.with_columns(channel=pl.lit("web"), value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


def plain(rows: list[Row]) -> list[tuple[str, int, str, float | None]]:
    """The same in a loop: customer, second, event, seconds of attention."""
    made: list[tuple[str, int, str, float | None]] = []
    for customer in "ab":
        own = sorted(((s, n, kind) for n, (who, s, kind) in enumerate(rows) if who == customer), key=lambda row: row[:2])
        pages: list[list[tuple[int, str]]] = []
        for place, (second, _, kind) in enumerate(own):
            new = place == 0 or second - own[place - 1][0] > 1800
            if kind == "page" or new:
                pages.append([])
            pages[-1].append((second, kind))
        for place, page in enumerate(pages):
            pings = {second // 10 for second, kind in page if kind == "ping"}
            after = pages[place + 1][0][0] if place + 1 < len(pages) else None
            to_next = after - page[-1][0] if after is not None and after - page[-1][0] <= 1800 else None
            made.append((customer, page[0][0], page[0][1], 10.0 * (len(pings) - 1) + 5 if pings else to_next))
    return made


@settings(max_examples=60, deadline=None)
@given(rows_of)
def test_pages_get_the_seconds_that_a_plain_loop_gives(rows: list[Row]) -> None:
    found = fold_pings(split_sessions(as_log(rows)), ["ping"]).collect()
    at = (pl.col("timestamp") - START).dt.total_seconds()
    assert found.select("customer_id", at, "event", "engaged_s").rows() == plain(rows)
    assert found.schema == split_sessions(as_log(rows)).collect_schema()


def test_a_log_without_pings_stays_as_it_is_and_a_known_duration_too() -> None:
    log = as_log([("a", 0, "page"), ("a", 60, "page"), ("a", 65, "ping")]).with_columns(duration_s=pl.Series([12.0, 33.0, None]))
    numbered = split_sessions(log)
    assert fold_pings(numbered, ["beat"]).collect().equals(numbered.collect())
    assert fold_pings(numbered, ["ping"]).collect()["engaged_s"].to_list() == [12.0, 33.0]


def test_a_reader_who_stays_for_hours_is_in_one_visit_and_has_a_last_page() -> None:
    log = as_log([("a", 0, "page"), *(("a", second, "ping") for second in range(10, 7200, 10))])
    visit = session_table(fold_pings(split_sessions(log), ["ping"])).collect().row(0, named=True)
    assert (visit["n_events"], visit["engaged_s"]) == (1, 10 * 718 + 5.0)


def test_a_study_takes_pings_out_and_counts_pages(tmp_path: Path) -> None:
    rows = [(who, second, kind) for who in "ab" for second, kind in ((0, "page"), (4, "ping"), (15, "ping"), (400, "page"))]
    chosen = read_settings(overrides={"sessions.pings": "pi*"})
    sessions = run_study(chosen, as_log(rows), tmp_path / "study", progress=False).table("sessions")
    assert sessions.select("n_events", "engaged_s").rows() == [(2, 15.0), (2, 15.0)]


@pytest.mark.parametrize("change", [{"heartbeat_s": 0}, {"min_visit_s": -1}])
def test_times_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="heartbeat_s"):
        fold_pings(split_sessions(as_log([])), ["ping"], **change)
