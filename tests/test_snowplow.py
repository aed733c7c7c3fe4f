"""Snowplow's rules on its own sample of edge cases: each held against a plain loop over the file and an answer counted by hand."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from motkit.attention import fold_pings
from motkit.events import EventLog, read_events
from motkit.identity import last_login, stitch_identities
from motkit.sessions import split_sessions

pytestmark = pytest.mark.data
Row = dict[str, str]
PAGE = "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0"


@pytest.fixture(scope="module")
def sample(real_data: Path) -> Path:
    return real_data / "formats/snowplow/snowplow_web_events.csv"


@pytest.fixture(scope="module")
def rows(sample: Path) -> list[Row]:
    """The rows of the file as they are."""
    with sample.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def log(sample: Path) -> EventLog:
    return read_events(sample)


def kept(rows: list[Row]) -> list[Row]:
    """Of rows with one event id the first that the collector saw, and of those the first in the file."""
    best: dict[str, int] = {}
    for place, row in enumerate(rows):
        held = best.get(row["event_id"])
        if held is None or row["collector_tstamp"] < rows[held]["collector_tstamp"]:
            best[row["event_id"]] = place
    return [row for place, row in enumerate(rows) if best[row["event_id"]] == place]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_of_a_duplicated_event_id_the_first_that_the_collector_saw_is_the_event(log: EventLog, rows: list[Row]) -> None:
    assert (log.summary.rows_read, log.summary.events, log.summary.rejected_by_reason) == (160, 157, {"duplicate event_id": 3})
    assert log.rejected["row"].to_list() == [5, 59, 61]  # counted by hand: one came 2.5 s later, two at the same instant
    assert log.events.collect()["event_id"].to_list() == [row["event_id"] for row in kept(rows)]


def test_every_event_has_the_customer_the_time_the_name_and_the_channel_of_its_row(log: EventLog, rows: list[Row]) -> None:
    wanted = [
        (row["user_id"] or row["domain_userid"] or row["network_userid"], moment(row["derived_tstamp"] or row["collector_tstamp"]), row["event_name"] or row["event"], row["platform"])
        for row in kept(rows)
    ]
    assert log.events.select("customer_id", "timestamp", "event", "channel").collect().rows() == wanted
    counts = dict(log.events.collect()["event"].value_counts().iter_rows())
    assert (counts["page_view"], counts["page_ping"], counts["event"]) == (49, 8, 6)  # of 50 views one is a duplicate; structured ones are called `event`


def test_a_missing_session_and_a_missing_page_stay_missing_and_join_nobody(log: EventLog, rows: list[Row]) -> None:
    events = log.events.collect()
    assert events["session_id"].to_list() == [row["domain_sessionid"] or None for row in kept(rows)]
    assert events.filter(pl.col("session_id").is_null())["user_id"].to_list() == ["NULL domain_sessionid"]

    def page_of(text: str) -> str | None:
        inner = json.loads(text)[0]
        return (inner[0] if isinstance(inner, list) else inner)["id"]

    assert events["page_view_id"].to_list() == [page_of(row[PAGE]) for row in kept(rows)]
    assert events.filter(pl.col("page_view_id").is_null()).select("user_id", "event").rows() == [("NULL page_view_id", "page_view")]


def test_without_logins_the_cookie_is_the_customer_and_without_a_cookie_the_networks_id(rows: list[Row], tmp_path: Path) -> None:
    bare = [row | {"user_id": ""} for row in rows]
    with (tmp_path / "bare.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(bare)
    log = read_events(tmp_path / "bare.csv")
    wanted = [row["domain_userid"] or row["network_userid"] for row in kept(bare)]
    assert log.events.collect()["customer_id"].to_list() == wanted
    assert log.summary.customers == len(set(wanted)) == 43  # 42 cookies, and one visitor without


def test_rows_without_any_id_are_rejected_and_never_become_one_customer(rows: list[Row], tmp_path: Path) -> None:
    nobody = {"user_id": "", "domain_userid": "", "network_userid": "", "domain_sessionid": ""}
    table = pl.DataFrame([row | (nobody if place in (1, 7, 42) else {}) for place, row in enumerate(rows)])
    table.write_csv(tmp_path / "log.csv")
    log = read_events(tmp_path / "log.csv")
    assert log.summary.rejected_by_reason == {"no customer": 3, "duplicate event_id": 3}
    assert log.rejected.filter(reason="no customer")["row"].to_list() == [1, 7, 42]


def test_a_page_ping_is_time_on_its_page_and_no_step(log: EventLog) -> None:
    numbered = split_sessions(log.events)
    folded = fold_pings(numbered, ["page_ping"]).collect()
    no_edge = folded.filter(customer_id="No edge cases")
    assert no_edge["event"].to_list() == ["page_view", "event", "page_view", "data_structures_workflow", "page_view", "page_view", "page_ping", "page_ping"]
    # five heartbeats after the last page, in five stretches of ten seconds: 4 * 10 + 5; two more come alone, seven hours and two days later
    assert no_edge["engaged_s"].to_list()[-3:] == [45.0, 5.0, 5.0]
    # a ping two days after its page does not stretch the first visit
    stray = folded.filter(customer_id="stray page ping")
    assert stray.select("event", "session").rows() == [("page_view", 1), ("event", 1), ("page_ping", 2)]
    assert log.events.collect().filter(user_id="stray page ping")["page_view_id"].n_unique() == 1


def test_what_the_device_sent_more_than_three_days_late_is_counted(log: EventLog, rows: list[Row]) -> None:
    late = [row["event_id"] for row in kept(rows) if (moment(row["dvce_sent_tstamp"]) - moment(row["dvce_created_tstamp"])).total_seconds() > 3 * 86_400]
    assert log.events.collect().filter(pl.col("late_s") > 3 * 86_400)["event_id"].to_list() == late
    assert len(late) == 3
    assert any("3 events arrived more than 3 days" in note for note in log.summary.notes)


def test_users_are_stitched_by_the_last_login_as_the_vendor_does_and_by_evidence(log: EventLog, rows: list[Row]) -> None:
    events, last = log.events.collect(), dict[str, str]()
    for row in sorted(kept(rows), key=lambda row: row["collector_tstamp"]):
        if row["domain_userid"] and row["user_id"]:
            last[row["domain_userid"]] = row["user_id"]
    assert dict(last_login(events).select("domain_userid", "user_id").iter_rows()) == last
    shared = next(row["domain_userid"] for row in rows if row["user_id"] == "user stitch - session: 1st id: 1")
    assert last[shared] == "user stitch - session: 2nd id: 10"  # the vendor gives all ten logins' events to the last
    found = stitch_identities(events, ["user_id", "domain_userid"])
    assert found.blocked.filter(key="domain_userid").select("value", "reason").rows() == [(shared, "shared value")]
    people = found.apply(events).collect()
    assert people.filter(domain_userid=shared)["customer_id"].n_unique() == 10
    rotating = people.filter(user_id="Rotating domain_userid per session")
    assert (rotating["domain_userid"].n_unique(), rotating["customer_id"].n_unique()) == (3, 1)
    assert people.filter(user_id="NULL domain_userid")["customer_id"].to_list() == ["NULL domain_userid"]
