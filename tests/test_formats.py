"""Formats: every export reads, counts add up, what is broken is a row with its reason, and XES and OCEL come back the same."""

import csv
import gzip
import json
import random
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light_study import run_stages

import motkit
from motkit import views
from motkit.__main__ import main
from motkit.app import PAGES
from motkit.consents import CONSENTS, gather_consents
from motkit.errors import MotkitError, SchemaError, SourceError
from motkit.events import EventLog, read_events
from motkit.formats import ADAPTERS, describe_format, list_formats
from motkit.ocel import read_ocel, write_ocel
from motkit.overview_page import OVERVIEW_PAGE
from motkit.page_parts import pages_for
from motkit.page_shelf import Shelf, show_look
from motkit.page_viewer import PageViewer, Visit
from motkit.schema import EVENTS
from motkit.settings import Settings
from motkit.stages import STAGES
from motkit.study import Study
from motkit.xes import write_xes

MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def check_counts(log: EventLog) -> EventLog:
    """Rows read are events and rejected rows, and each has its row number."""
    summary = log.summary
    assert summary.rows_read == summary.events + summary.rejected == log.events.collect().height + log.rejected.height
    assert sum(summary.rejected_by_reason.values()) == summary.rejected
    return log


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records), encoding="utf-8")
    return path


SAMPLES = {
    "amplitude/amplitude_event_data.csv": ("amplitude", 10, 10),
    "ga4/fivetran_ga4_event_data.csv": ("ga4", 6, 6),
    "ga4/ga4_bigquery_event_row.jsonl": ("ga4", 1, 1),
    "ga4/ga4_bigquery_event_row_rawnames.jsonl": ("ga4", 1, 1),
    "klaviyo/event.csv": ("klaviyo", 3, 3),
    "matomo/amazon_cloudfront_web.log": ("weblog", 1, 1),
    "matomo/caddy_json.log": ("weblog", 3, 1),
    "matomo/iis.log": ("weblog", 1, 1),
    "matomo/live_getLastVisitsDetails.xml": ("matomo", 1, 0),
    "matomo/logs_to_tests.log": ("weblog", 4, 3),
    "matomo/nginx_json.log": ("weblog", 2, 2),
    "mixpanel/event.csv": ("mixpanel", 5, 5),
    "posthog/posthog_capture_events.jsonl": ("posthog", 5, 5),
    "segment/example_segment_pages.csv": ("segment_warehouse", 1, 1),
    "segment/test-context-track.json": ("segment", 1, 1),
    "segment/test-enqueue-alias.json": ("segment", 1, 1),
    "segment/test-enqueue-group.json": ("segment", 1, 1),
    "segment/test-enqueue-identify.json": ("segment", 1, 1),
    "segment/test-enqueue-page.json": ("segment", 1, 1),
    "segment/test-enqueue-screen.json": ("segment", 1, 1),
    "segment/test-enqueue-track.json": ("segment", 1, 1),
    "segment/test-many-track.json": ("segment", 3, 1),
    "snowplow/snowplow_web_events.csv": ("snowplow", 160, 157),
    "running-example.xes": ("xes", 42, 42),
}


@pytest.mark.data
@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_recognised_and_its_counts_add_up(name: str, real_data: Path) -> None:
    title, rows, events = SAMPLES[name]
    log = check_counts(read_events(real_data / "formats" / name))
    assert (log.summary.rows_read, log.summary.events) == (rows, events)
    assert f"read as {ADAPTERS[title].title}: 100% of its marks are there, sure" in " ".join(log.summary.notes)


def run_to_page(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> Study:
    """What `motkit run` makes of a file, with the stages that make customers only, and the page that opens on it."""
    monkeypatch.setattr("motkit.study.STAGES", tuple(stage for stage in STAGES if stage.name in ("sessions", "engagement", "customers")))
    monkeypatch.setattr("sys.argv", ["motkit", "run", "--events", str(path), "--out", str(folder / "study"), "--quiet", *more])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.err) == (0, "")
    study = motkit.open_study(folder / "study")
    page = PageViewer(OVERVIEW_PAGE, Visit(Shelf(study)))
    assert unescape(views.overview(study).sentence) in unescape(page.head.object)
    note = next(note for note in study.table("log_notes")["note"] if note.startswith("read as "))
    assert note in told.out
    assert note.partition("; source_format=")[0].removeprefix("r") in views.data_quality(study).footing
    return study


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name, (_, _, events) in SAMPLES.items() if events])
def test_every_sample_with_an_event_runs_from_the_command_to_the_page(name: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = run_to_page(real_data / "formats" / name, tmp_path, monkeypatch, capsys)
    assert study.table("log_summary")["events"].item() == SAMPLES[name][2]
    assert study.table("customers").height > 0


@pytest.mark.data
@pytest.mark.parametrize("name", ["snowplow/snowplow_web_events.csv", "klaviyo/event.csv"])
def test_a_small_sample_runs_through_every_stage_and_fills_or_explains_every_view(name: str, real_data: Path, tmp_path: Path) -> None:
    study = motkit.run_study(Settings(), real_data / "formats" / name, tmp_path / "study", progress=False)
    assert study.table("log_summary")["events"].item() == SAMPLES[name][2]
    assert ("consents" in study.tables) == name.startswith("snowplow")
    for plan in pages_for(PAGES, study):
        for look in plan.looks:
            shown = show_look(look, study)
            assert shown.view.empty or shown.table, look


@pytest.mark.data
@pytest.mark.parametrize("name", ["helpdesk_italian.xes.gz", "receipt_coselog.xes.gz"])
def test_a_real_log_of_processes_has_as_many_events_as_its_text(name: str, real_data: Path) -> None:
    text = gzip.decompress((real_data / name).read_bytes()).decode()
    log = check_counts(read_events(real_data / name))
    assert log.summary.events == len(re.findall(r"<event>", text))
    assert log.summary.customers == len(set(re.findall(r'<trace>\s*(?:<[^>]*/>\s*)*?<string key="concept:name" value="([^"]*)"', text)))


@pytest.mark.data
def test_the_events_of_the_receipt_log_are_those_of_a_plain_tree(real_data: Path) -> None:
    import xml.etree.ElementTree as ET

    space = "{http://www.xes-standard.org/}"
    expected = []
    for trace in ET.fromstring(gzip.decompress((real_data / "receipt_coselog.xes.gz").read_bytes())).iter(f"{space}trace"):
        own = {one.get("key"): one.get("value") for one in trace if one.tag != f"{space}event"}
        for event in trace.iter(f"{space}event"):
            values = {one.get("key"): one.get("value") or "" for one in event}
            when = datetime.fromisoformat(values["time:timestamp"]).astimezone(UTC)
            expected.append((own["concept:name"], when, values["concept:name"], own["channel"], values["lifecycle:transition"]))
    log = read_events(real_data / "receipt_coselog.xes.gz")
    assert log.events.select("customer_id", "timestamp", "event", "channel", "lifecycle").collect().rows() == expected
    assert log.events.collect_schema()["case:deadline"] == pl.Datetime("us", "UTC")


@pytest.mark.data
@pytest.mark.parametrize("name", ["receipt_coselog.xes.gz", "formats/running-example.xes"])
def test_a_real_log_comes_back_from_xes_as_it_was(name: str, real_data: Path, tmp_path: Path) -> None:
    events = read_events(real_data / name).events.collect().sort("customer_id", "timestamp", maintain_order=True)
    again = read_events(write_xes(events, tmp_path / "again.xes.gz")).events.collect()
    assert again.select(events.columns).equals(events)


@pytest.mark.data
def test_an_attribute_of_a_case_may_be_the_customer(real_data: Path) -> None:
    log = read_events(real_data / "helpdesk_italian.xes.gz", columns={"customer_id": "customer"})
    events = log.events.collect()
    assert events["session_id"].n_unique() == 4580
    assert events["customer_id"].n_unique() == log.summary.customers < 4580


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=8).filter(lambda text: re.search(r"[A-Za-z]{2}\d", text) is not None)
named = st.sampled_from(["ann", "bo", 'c"<&', "dé 漢", "x\ty"])
event_rows = st.lists(
    st.tuples(named, st.integers(0, 10**9), st.sampled_from(["look", "pay & go", "<b>"]), st.sampled_from(["web", "shop"]), st.one_of(st.none(), st.floats(-1e9, 1e9)), st.one_of(st.none(), st.floats(0, 1e6)), st.one_of(st.none(), st.integers(-(2**60), 2**60)), st.one_of(st.none(), st.booleans())),
    min_size=1,
    max_size=20,
)


def as_events(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {**EVENTS, "step": pl.Int64(), "known": pl.Boolean()}
    made = [(who, MOMENT + timedelta(microseconds=us), what, where, value, duration, step, known) for who, us, what, where, value, duration, step, known in rows]
    return pl.DataFrame(made, schema=schema, orient="row").sort("customer_id", "timestamp", maintain_order=True)


@settings(max_examples=12, deadline=None)
@given(event_rows)
def test_any_events_come_back_from_xes_and_from_ocel_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    events, folder = as_events(rows), tmp_path_factory.mktemp("trip")
    for path in (write_xes(events, folder / "a.xes"), write_ocel(events, folder / "a.json"), write_ocel(events, folder / "a.xmlocel"), write_ocel(events, folder / "a.sqlite")):
        again = check_counts(read_events(path)).events.collect()
        for column in events.columns:
            if column in again.columns or events[column].count():
                assert again[column].to_list() == events[column].to_list(), (path.name, column)


def test_an_object_centric_log_with_several_items_counts_an_event_once(tmp_path: Path) -> None:
    def event(name: str, who: list[str], minute: int) -> dict[str, Any]:
        links = [{"objectId": one, "qualifier": "buyer"} for one in who] + [{"objectId": item, "qualifier": None} for item in ("i1", "i2", "o1")]
        return {"id": name, "type": "pay", "time": f"2026-03-01T10:{minute:02}:00Z", "attributes": [{"name": "amount", "value": 5.5}], "relationships": links}

    things = [{"id": one, "type": kind, "attributes": [], "relationships": []} for one, kind in [("ann", "customer"), ("bo", "customer"), ("i1", "item"), ("i2", "item"), ("o1", "order")]]
    kinds = [{"name": "pay", "attributes": [{"name": "amount", "type": "float"}]}]
    content = {"objectTypes": [], "eventTypes": kinds, "objects": things, "events": [event("e1", ["ann"], 1), event("e2", ["ann", "bo"], 2), event("e3", [], 3), event("e1", ["ann"], 1)]}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(content))
    log = check_counts(read_events(path))
    assert log.summary.rejected_by_reason == {"several customers": 1, "no customer": 1, "exact duplicate": 1}
    assert log.events.select("customer_id", "event", "amount", "ocel:order", "event_id").collect().rows() == [("ann", "pay", 5.5, "o1", "e1")]
    assert "from the schema, not tried on real data" in log.summary.notes[0]
    by_order = read_events(path, columns={"customer_id": "ocel:order"})
    assert by_order.events.collect()["customer_id"].to_list() == ["o1", "o1"]
    path.write_text(json.dumps(content | {"events": content["events"][:3]}))
    for name in ("again.xml", "again.sqlite"):
        assert read_ocel(write_ocel(read_ocel(path), tmp_path / name)).relations.equals(read_ocel(path).relations)


def message(**changes: Any) -> dict[str, Any]:
    return {"type": "track", "event": "buy", "messageId": "m1", "userId": "ann", "anonymousId": "d1", "timestamp": "2026-03-01T10:00:00Z", "sentAt": "2026-03-01T10:00:01Z", "properties": {"revenue": 5}, "context": {}} | changes


def test_broken_lines_become_rows_with_their_reason_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [message(), '{"type": "track", ', 5, message(messageId="m2", userId=None), message(messageId="m3", properties={"revenue": "much"}), message(messageId="m1", sentAt="2026-03-01T10:00:09Z")]
    path = write_lines(tmp_path / "a.jsonl", [*lines, message(messageId="m4", timestamp=5, sentAt=None)])
    path.write_text(path.read_text() + '{"type": "tra')
    log = check_counts(read_events(path))
    assert log.summary.rejected_by_reason == {
        "malformed JSON": 1, "truncated file": 1, "not a record": 1, "unparsable time": 1, "value is not a number": 1, "duplicate messageId": 1,
    }  # fmt: skip
    assert log.events.select("customer_id", "value", "event_id").collect().rows() == [("ann", 5.0, "m1"), ("d1", 5.0, "m2")]
    assert log.rejected.filter(reason="malformed JSON")["malformed"].item() == '{"type": "track",'
    assert "malformed" not in log.events.collect_schema()


def test_a_compressed_file_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [message(messageId=f"m{n}", anonymousId=str(hash(str(n)))) for n in range(3000)])
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "b.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    log = check_counts(read_events(tmp_path / "b.jsonl.gz"))
    assert 500 < log.summary.events < 3000
    assert log.summary.rejected_by_reason["truncated file"] >= 1
    events = pl.concat([as_events([(f"c{n}", n, "look", "web", None, None, n, None) for n in range(3000)])])
    whole = write_xes(events, tmp_path / "a.xes.gz").read_bytes()
    (tmp_path / "b.xes.gz").write_bytes(whole[: len(whole) // 2])
    log = check_counts(read_events(tmp_path / "b.xes.gz"))
    assert 500 < log.summary.events < 3000
    assert log.summary.rejected_by_reason == {"truncated file": 1}


def test_times_of_another_unit_are_rejected(tmp_path: Path) -> None:
    def event(time: Any, name: str) -> dict[str, Any]:
        return {"event": "look", "properties": {"distinct_id": "ann", "time": time, "$insert_id": name, "mp_lib": "web"}}

    seconds = 1_770_000_000
    log = check_counts(read_events(write_lines(tmp_path / "a.jsonl", [event(seconds, "a"), event(seconds + 1, "b"), event(seconds + 2, "c"), event(seconds * 1000, "d"), event("soon", "e")])))
    assert log.summary.events == 3
    assert log.summary.rejected_by_reason == {"time in another unit": 1, "unparsable time": 1}
    millis = [event(seconds * 1000, "a"), event(seconds * 1000 + 1, "b"), event(seconds, "c")]
    log = check_counts(read_events(write_lines(tmp_path / "b.jsonl", millis)))
    assert log.summary.rejected_by_reason == {"time in another unit": 1}
    assert log.summary.first == datetime.fromtimestamp(seconds, UTC)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["s", "ms", "us", "text", "object", "missing"])), min_size=1, max_size=12), st.sampled_from(["ga4", "matomo"]))
def test_where_a_format_has_one_unit_every_time_of_another_is_a_rejected_row(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], name: str) -> None:
    own, size = {"ga4": "us", "matomo": "s"}[name], {"s": 1, "ms": 1_000, "us": 1_000_000}
    times = [(1_770_000_000 + second) * size[kind] if kind in size else {"text": "soon", "object": {"at": 1}, "missing": None}[kind] for second, kind in rows]
    if name == "ga4":
        base = {"event_name": "look", "user_pseudo_id": "d", "event_params": [], "stream_id": "s", "platform": "WEB"}
        records: list[Any] = [base | {"event_timestamp": time, "event_bundle_sequence_id": n} for n, time in enumerate(times)]
    else:
        records = [MATOMO | {"actionDetails": [{"type": "action", "timestamp": time, "pageId": n}]} for n, time in enumerate(times)]
    log = check_counts(read_events(write_lines(tmp_path_factory.mktemp("units") / "a.jsonl", records), source_format=name))
    wanted = [datetime.fromtimestamp(1_770_000_000 + second, UTC) for second, kind in rows if kind == own]
    assert log.events.collect()["timestamp"].to_list() == wanted
    assert set(log.rejected["reason"]) <= {"time in another unit", "unparsable time", "no time", "duplicate device, time, event, bundle and page"}


def test_a_raw_export_with_repeats_is_deduplicated_by_its_four_fields(tmp_path: Path) -> None:
    def event(name: str, person: str, extra: int) -> dict[str, Any]:
        return {"event": "look", "properties": {"distinct_id": person, "time": 1_770_000_000, "$insert_id": name, "mp_lib": "web", "mp_processing_time_ms": extra}}

    log = read_events(write_lines(tmp_path / "a.jsonl", [event("a", "ann", 9), event("a", "ann", 1), event("a", "bo", 1), event("b", "ann", 1)]))
    assert log.summary.rejected_by_reason == {"duplicate event, person, time and insert id": 1}
    assert log.rejected["properties.mp_processing_time_ms"].to_list() == ["9"]


def test_nested_parquet_reads_like_its_json(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        values = {"string_value": None, "int_value": None, "float_value": None, "double_value": None}
        params = [{"key": "ga_session_id", "value": values | {"int_value": 77}}, {"key": "engagement_time_msec", "value": values | {"int_value": 1500}}]
        return {"event_timestamp": 1_770_000_000_000_000 + number, "event_name": "page_view", "user_pseudo_id": "d1", "user_id": None if number else "ann", "event_bundle_sequence_id": 1, "platform": "WEB", "event_params": params, "stream_id": "s", "user_first_touch_timestamp": 1, "device": {"category": "desktop"}, "geo": {"country": "DE"}, "traffic_source": {"medium": "organic"}}  # fmt: skip

    rows = [row(0), row(1), row(1)]
    json_log = read_events(write_lines(tmp_path / "a.jsonl", rows))
    pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"user_id": pl.String}).write_parquet(tmp_path / "a.parquet")
    table_log = read_events(tmp_path / "a.parquet")
    wanted = ["customer_id", "timestamp", "event", "channel", "duration_s", "session_id", "anonymous_id"]
    for log in (json_log, table_log):
        assert check_counts(log).summary.rejected_by_reason == {"exact duplicate": 1}
    assert json_log.events.select(wanted).collect().equals(table_log.events.select(wanted).collect())
    assert json_log.events.collect()["session_id"].to_list() == ["d1.77"] * 2
    assert json_log.events.collect()["customer_id"].to_list() == ["ann", "d1"]


XDM = {"_id": "x1", "timestamp": "2026-03-01T10:00:00Z", "eventType": "commerce.purchases", "producedBy": "self", "identityMap": {"ECID": [{"id": "e1"}], "crm": [{"id": "ann", "primary": True}]}, "commerce": {"order": {"priceTotal": 9.5}}, "channel": {"_id": "web"}}
CLOUD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "time": "2026-03-01T10:00:00Z", "subject": "ann", "data": {"value": 9.5}}
RUDDER = message() | {"rudderId": "r1", "channel": "web", "originalTimestamp": "2026-03-01T10:00:00Z", "properties": {"revenue": 9.5}}
POSTHOG_LATE = {"uuid": "u1", "event": "look", "distinct_id": "ann", "properties": {"$lib": "web", "value": 9.5}, "sent_at": "2026-03-01T10:00:05Z", "offset": 5000, "now": "2026-03-01T10:00:06Z"}
AMPLITUDE = {"amplitude_id": 5, "device_id": "d", "user_id": "ann", "event_type": "look", "event_time": "2026-03-01 10:00:00.000", "client_event_time": "2026-03-01 10:00:00", "client_upload_time": "2026-03-06 10:00:00", "server_upload_time": "2026-03-06 10:00:00", "session_id": -1, "event_properties": {"revenue": 9.5}, "platform": "web", "$insert_id": "i"}
MATOMO = {"idVisit": 4, "idSite": 1, "visitorId": "aa", "userId": "ann", "visitIp": "1.2.3.4", "visitCount": 1, "referrerType": "web", "actionDetails": [{"type": "action", "timestamp": 1772359200, "timeSpent": "20", "pageId": 1, "eventValue": 9.5}, {"type": "action", "timestamp": 1772359220, "timeSpent": "0", "pageId": 2}]}
KLAVIYO = {"data": [{"type": "event", "id": "k1", "attributes": {"uuid": "k", "datetime": "2026-03-01T10:00:00Z", "event_properties": {"$value": "$9.50"}}, "relationships": {"profile": {"data": {"id": "ann"}}, "metric": {"data": {"id": "paid"}}}}]}
RECORDS = {"xdm": XDM, "cloudevents": CLOUD, "rudderstack": RUDDER, "segment": message(properties={"revenue": 9.5}, channel="web"), "posthog": POSTHOG_LATE, "amplitude": AMPLITUDE, "matomo": MATOMO, "klaviyo": KLAVIYO}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_each_format_gives_its_customer_time_channel_and_value(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "a.json", tmp_path / "b.jsonl"):
        path.write_text(json.dumps(RECORDS[name], indent=1 if path.suffix == ".json" else None))
        log = check_counts(read_events(path))
        first = log.events.collect().row(0, named=True)
        assert (first["customer_id"], first["timestamp"], first["value"]) == ("ann", datetime(2026, 3, 1, 10, tzinfo=UTC), 9.5)
        assert first["channel"] in ("web", "/shop", "unknown")
        assert f"read as {ADAPTERS[name].title}" in log.summary.notes[0]
        assert ("from the schema" in log.summary.notes[0]) == (not ADAPTERS[name].tried)


def write_built(name: str, folder: Path) -> Path:
    """An export of a format that is built from the schema, or has a form of its own."""
    events = as_events([(f"c{n % 3}", n, "look", "web", 1.0, None, n, None) for n in range(6)])
    if name in RECORDS:
        return write_lines(folder / "a.jsonl", [RECORDS[name]])
    if name.startswith("ocel"):
        return write_ocel(events, folder / name)
    if name == "retentioneering":
        frame = events.select(user_id="customer_id", event="event", timestamp=pl.col("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S.%6f"), event_type=pl.lit("raw"))
        frame.write_csv(folder / "a.csv")
        return folder / "a.csv"
    return write_matomo_tables(folder)


def write_matomo_tables(folder: Path) -> Path:
    """Three tables as a database's export has them: binary ids, one name an id, the seconds of a page on the action after it."""
    pl.DataFrame({"idvisit": [7, 8], "idvisitor": [b"\xab\x01\x02\x03\x04\x05\x06\x07", b"\x01" * 8], "user_id": ["ann", None], "referer_type": [2, 1]}).write_parquet(folder / "matomo_log_visit.parquet")
    pl.DataFrame({"idaction": [1, 2, 3, 4, 5], "name": ["shop.org/a", "Basket", "cart", "add", "shop.org/b.pdf"], "type": [1, 4, 10, 11, 3]}).write_parquet(folder / "matomo_log_action.parquet")
    actions = [
        (1, 7, "2026-03-01 10:00:00", 1, 2, None, None, 0, None),
        (3, 8, "2026-03-01 10:00:05", 5, None, None, None, 0, None),
        (2, 7, "2026-03-01 10:00:20", 1, 2, 3, 4, 20, 9.5),
    ]
    names = ["idlink_va", "idvisit", "server_time", "idaction_url", "idaction_name", "idaction_event_category", "idaction_event_action", "time_spent_ref_action", "custom_float"]
    pl.DataFrame(actions, schema=names, orient="row").write_parquet(folder / "matomo_log_link_visit_action.parquet")
    return folder


BUILT = (*RECORDS, "ocel.json", "ocel.xmlocel", "ocel.sqlite", "retentioneering", "matomo_tables")


@pytest.mark.parametrize("name", BUILT)
def test_every_other_format_runs_from_the_command_to_the_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study, adapter = run_to_page(write_built(name, tmp_path), tmp_path, monkeypatch, capsys), ADAPTERS[name.partition(".")[0]]
    note = study.table("log_notes")["note"][0]
    assert f"read as {adapter.title}: 100% of its marks are there, sure" in note or name in ("xdm", "cloudevents", "klaviyo", "matomo", "posthog", "segment", "rudderstack", "amplitude")
    assert ("not tried on real data" in note) == (not adapter.tried)
    assert study.table("customers").height == (3 if name.startswith(("ocel", "ret")) else 2 if name == "matomo_tables" else 1)


def test_every_format_runs_to_the_page_in_one_of_these_tests() -> None:
    tried = {title for title, _, events in SAMPLES.values() if events} | {name.partition(".")[0] for name in BUILT}
    assert tried == set(ADAPTERS)


def test_matomos_tables_become_actions_with_names_and_the_seconds_spent_on_them(tmp_path: Path) -> None:
    log = check_counts(read_events(write_matomo_tables(tmp_path)))
    assert log.events.select("customer_id", "event", "channel", "duration_s", "value", "anonymous_id", "session_id").collect().rows() == [
        ("ann", "action", "search", 20.0, None, "ab01020304050607", "7"),
        ("ann", "cart.add", "search", None, 9.5, "ab01020304050607", "7"),
        ("0101010101010101", "download", "direct", None, None, "0101010101010101", "8"),
    ]
    (tmp_path / "matomo_log_action.parquet").unlink()
    with pytest.raises(SourceError, match="there is no log_action"):
        read_events(tmp_path / "matomo_log_link_visit_action.parquet")


def test_consents_that_a_format_carries_become_intervals_of_the_study(tmp_path: Path) -> None:
    def at(day: int) -> str:
        return f"2026-03-0{day}T10:00:00Z"

    def segment(day: int, ads: bool) -> dict[str, Any]:
        return message(messageId=f"m{day}", timestamp=at(day), context={"consent": {"categoryPreferences": {"Ads": ads}}})

    def ga4(day: int, ads: str) -> dict[str, Any]:
        micros = str(1_772_359_200_000_000 + (day - 1) * 86_400_000_000)
        return {"event_timestamp": micros, "event_name": "look", "user_pseudo_id": "ann", "event_bundle_sequence_id": str(day), "event_params": [], "stream_id": "s", "platform": "WEB", "privacy_info": {"ads_storage": ads, "analytics_storage": "Unset"}}

    def rudder(day: int, listed: list[str]) -> dict[str, Any]:
        return RUDDER | {"messageId": f"m{day}", "timestamp": at(day), "originalTimestamp": at(day), "context": {"consentManagement": {"allowedConsentIds": listed}}}

    def warehouse(day: int, ads: bool) -> dict[str, Any]:
        return {"id": f"m{day}", "anonymous_id": "d", "user_id": "ann", "received_at": at(day), "sent_at": at(day), "timestamp": at(day), "original_timestamp": at(day), "event": "look", "context_ip": "1.2.3.4", "context_consent_category_preferences_ads": ads}

    def xdm(day: int, ads: str) -> dict[str, Any]:
        return XDM | {"_id": f"x{day}", "timestamp": at(day), "consents": {"Ads": {"val": ads}}}

    said = {
        "segment": [segment(1, True), segment(2, True), segment(3, False)],
        "ga4": [ga4(1, "Yes"), ga4(2, "Unset"), ga4(3, "No")],
        "rudderstack": [rudder(1, ["ads"]), rudder(2, ["ads"]), rudder(3, [])],
        "segment_warehouse": [warehouse(1, True), warehouse(2, True), warehouse(3, False)],
        "xdm": [xdm(1, "y"), xdm(2, "u"), xdm(3, "n")],
    }
    for name, records in said.items():
        study = run_stages({"sessions"}, Settings(), read_events(write_lines(tmp_path / f"{name}.jsonl", records)), tmp_path / name)
        consents = study.table("consents")
        days = [(row["valid_from"].day, row["valid_to"].day if row["valid_to"] else None, row["given"]) for row in consents.iter_rows(named=True)]
        assert days == [(1, 3, True), (3, None, False)], name
        assert set(consents["purpose"].str.to_lowercase()) <= {"ads", "ads_storage"}
        assert "name" not in study.problems
        again = run_stages({"sessions"}, Settings(), read_events(tmp_path / f"{name}.jsonl"), tmp_path / name)
        assert again.manifest["stages"]["consents"]["reused"]
    given = pl.DataFrame({"customer_id": ["ann"], "purpose": ["mail"], "channel": [None], "valid_from": [MOMENT], "valid_to": [None], "given": [True], "source": ["a form"]}, schema=CONSENTS)
    told = run_stages({"sessions"}, Settings(), read_events(tmp_path / "segment.jsonl"), tmp_path / "segment", consents=given)
    assert told.table("consents")["source"].to_list() == ["a form"]


@pytest.mark.data
def test_consents_of_real_events_are_those_of_a_plain_loop(real_data: Path) -> None:
    path = real_data / "formats/snowplow/snowplow_web_events.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    field = next(name for name in rows[0] if "consent_preferences" in name)
    said = {(row["user_id"], row["derived_tstamp"]): json.loads(row[field])[0]["consent_scopes"] for row in rows if row[field]}
    purposes = sorted({one for listed in said.values() for one in listed})
    expected: dict[tuple[str, str], list[tuple[datetime, bool]]] = {}
    for (who, when), listed in sorted(said.items(), key=lambda item: item[0][1]):
        for purpose in purposes:
            held = expected.setdefault((who, purpose), [])
            if not held or held[-1][1] != (purpose in listed):
                held.append((datetime.fromisoformat(when).replace(tzinfo=UTC), purpose in listed))
    consents = gather_consents(read_events(path).events)
    found = {key: list(zip(part["valid_from"], part["given"], strict=True)) for key, part in consents.partition_by("customer_id", "purpose", as_dict=True).items()}
    assert found == expected
    assert len(found) == 4


def test_the_last_page_of_a_visit_has_no_measured_time(tmp_path: Path) -> None:
    log = read_events(write_lines(tmp_path / "a.jsonl", [MATOMO]))
    assert log.events.collect()["duration_s"].to_list() == [20.0, None]


def test_events_that_came_late_are_counted_and_kept(tmp_path: Path) -> None:
    log = read_events(write_lines(tmp_path / "a.jsonl", [AMPLITUDE]))
    assert log.events.collect()["late_s"].to_list() == [5 * 86_400.0]
    assert log.events.collect()["session_id"].to_list() == [None]
    assert any("1 events arrived more than 3 days after" in note for note in log.summary.notes)


def test_the_same_event_id_stays_with_the_row_that_was_collected_first(tmp_path: Path) -> None:
    columns = {"event_id": ["a", "a", "b", None, None], "collector_tstamp": ["2026-03-01 10:00:05", "2026-03-01 10:00:01", "2026-03-01 10:00:02", "2026-03-01 10:00:03", "2026-03-01 10:00:04"]}
    frame = pl.DataFrame(columns | {"derived_tstamp": columns["collector_tstamp"], "user_id": [None, None, "ann", "bo", "bo"], "domain_userid": ["d1", "d1", "d1", None, None], "domain_sessionid": None, "network_userid": "n", "event": "page_view", "event_name": "page_view", "app_id": "shop", "platform": "web", "dvce_created_tstamp": None})
    frame.write_csv(tmp_path / "a.csv")
    log = check_counts(read_events(tmp_path / "a.csv"))
    assert log.rejected.select("reason", "row").rows() == [("duplicate event_id", 0)]
    assert log.events.collect()["customer_id"].to_list() == ["d1", "ann", "bo", "bo"]


def test_the_pipelines_own_table_without_a_header_reads_too(tmp_path: Path) -> None:
    from motkit.formats import _ENRICHED

    values = {"event_id": "a", "collector_tstamp": "2026-03-01 10:00:00", "derived_tstamp": "2026-03-01 10:00:00", "domain_userid": "d1", "event_name": "page_view", "platform": "web"}
    line = "\t".join(values.get(name, "") for name in _ENRICHED)
    (tmp_path / "good.tsv").write_text(f"{line}\n{line[:-3]}\nshort\tline\n")
    log = check_counts(read_events(tmp_path / "good.tsv"))
    assert log.summary.rejected_by_reason == {"malformed line": 2}
    assert log.events.collect()["customer_id"].to_list() == ["d1"]


BOMBS = {
    "an entity bomb": '<!DOCTYPE log [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><log><trace><event><string key="concept:name" value="&b;"/></event></trace></log>',
    "an outer entity": '<!DOCTYPE log [<!ENTITY a SYSTEM "file:///etc/passwd">]><log><trace><event><string key="x" value="y"/></event></trace></log>',
    "an outer document type": '<!DOCTYPE log SYSTEM "http://example.org/a.dtd"><log></log>',
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("suffix", ["xes", "xmlocel"])
def test_xml_with_entities_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(BOMBS[name])
    with pytest.raises(SourceError, match="entities"):
        _ = read_events(path).summary


def test_attributes_of_a_wrong_type_and_broken_xml_become_rejected_rows(tmp_path: Path) -> None:
    event = '<event><string key="concept:name" value="look"/><date key="time:timestamp" value="2026-03-01T10:00:00Z"/>{}</event>'
    path = tmp_path / "a.xes"
    path.write_text(f'<log><trace><string key="concept:name" value="ann"/>{event.format("")}{event.format("""<int key="n" value="x"/>""")}</trace><trace>{event.format("")}</wrong>')
    log = check_counts(read_events(path))
    assert log.summary.rejected_by_reason == {"malformed XML": 1, "wrong type": 1, "no customer": 1}
    assert log.summary.events == 1


def test_life_cycle_points_are_a_column_and_a_note(tmp_path: Path) -> None:
    event = '<event><string key="concept:name" value="look"/><date key="time:timestamp" value="2026-03-01T10:00:00Z"/><string key="lifecycle:transition" value="{}"/></event>'
    path = tmp_path / "a.xes"
    path.write_text(f'<log><trace><string key="concept:name" value="ann"/>{event.format("start")}{event.format("complete")}</trace></log>')
    log = read_events(path)
    assert log.events.collect()["lifecycle"].to_list() == ["start", "complete"]
    assert any("1 complete, 1 start" in note for note in log.summary.notes)


def test_a_description_or_columns_win_over_a_guess(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [POSTHOG_LATE, POSTHOG_LATE | {"uuid": "u2"}])
    given = {"customer_id": "uuid", "timestamp": "now", "event": "event"}
    assert read_events(path, columns=given).summary.customers == 2
    assert not any("PostHog" in note for note in read_events(path, columns=given).summary.notes)
    named = read_events(path, columns=given, source_format="posthog")
    assert named.summary.customers == 2
    assert "as named" in named.summary.notes[0]


def test_a_plain_log_is_not_taken_for_another_systems(tmp_path: Path) -> None:
    made = motkit.simulate_customers(n=60, seed=1).events.lazy().collect()
    made.write_parquet(tmp_path / "a.parquet")
    assert not any("read as" in note for note in read_events(tmp_path / "a.parquet").summary.notes)


def test_a_list_of_plain_records_reads_without_a_format(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"user_id": "ann", "time": "2026-03-01", "action": "look", "deep": {"x": 1}}], indent=1))
    log = check_counts(read_events(path))
    assert log.events.select("customer_id", "deep.x").collect().rows() == [("ann", "1")]


def test_each_format_has_a_page_and_a_wrong_name_is_told() -> None:
    table = list_formats()
    assert table["format"].to_list() == list(ADAPTERS)
    for name in ADAPTERS:
        page = describe_format(name)
        assert page.mapping.height == len(ADAPTERS[name].columns)
        assert all(trap in str(page) for trap in ADAPTERS[name].traps)
        assert "<table>" in page._repr_html_()
    assert set(table.filter(tried_on="from the schema, not tried on real data")["format"]) == {"rudderstack", "xdm", "cloudevents", "ocel", "matomo_tables"}
    with pytest.raises(SourceError, match="Formats are ga4"):
        describe_format("ga5")
    with pytest.raises(SourceError, match="those of systems are ga4"):
        read_events(pl.DataFrame({"a": [1]}), source_format="ga5")


def test_writing_refuses_what_would_not_come_back(tmp_path: Path) -> None:
    events = as_events([("ann", 1, "look", "web", None, None, 1, None), ("ann", 2, "look", "web", None, None, 2, None)])
    with pytest.raises(SchemaError, match="changes within a case"):
        write_xes(events.rename({"step": "case:step"}), tmp_path / "a.xes")
    for write in (write_xes, write_ocel):
        with pytest.raises(SchemaError, match="nested"):
            write(events.with_columns(list=pl.concat_list("step")), tmp_path / "a.json")


def damage(content: bytes, chance: random.Random) -> bytes:
    """What goes wrong with a file on its way: cut, torn, mixed, in another encoding, with other values."""
    lines, place = content.split(b"\n"), chance.randrange(len(content))
    number = chance.randrange(len(lines))
    numbers = list(re.finditer(rb"\d{3,}", content)) or [re.match(b"", content)]
    chosen = chance.choice(numbers)
    assert chosen is not None
    other = chance.choice([b"abc", b"1e999", b"-1", b"9" * 30, b"NaN", b"null", b'"\\ud800"', b"{}", b"[]"])
    ways = [
        content[:place],
        content[:place] + bytes(chance.randrange(256) for _ in range(3)) + content[place:],
        content[:place] + content[place + chance.randrange(40) :],
        b"\n".join([*lines[:number], b'{"a": ', *lines[number:]]),
        b"\n".join([*lines[:number], lines[number][: len(lines[number]) // 2], *lines[number + 1 :]]),
        content[: chosen.start()] + other + content[chosen.end() :],
        content[: chosen.start()] + chosen.group()[:10] + b"000" * chance.randrange(3) + content[chosen.end() :],
        content.decode("utf-8", "replace").encode("utf-16"),
        content.replace(b'"', b"'", chance.randrange(1, 4)),
        content.replace(b"\n", b"\r\n"),
        content[:place] + b"\0" + content[place:],
        content + content,
    ]
    return chance.choice(ways)


def write_all_kinds(folder: Path) -> list[Path]:
    """A small file of each kind that is read in a way of its own."""
    events = as_events([(f"c{n % 3}", n, "look", "web", 1.0, None, n, None) for n in range(6)])
    log = '1.2.3.4 - - [01/Mar/2026:10:00:0{} +0000] "GET /a HTTP/1.1" 200 5 "-" "Firefox"\n'
    table = events.with_columns(pl.col("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S")).write_csv()
    visits = "<result>" + "".join(f"<row><idVisit>{n}</idVisit><visitIp>1.2.3.4</visitIp><visitorId>a</visitorId><fingerprint>f</fingerprint><serverTimestamp>177235920{n}</serverTimestamp><visitCount>1</visitCount><referrerType>web</referrerType><idSite>1</idSite><actionDetails><row><type>action</type><timestamp>177235920{n}</timestamp></row></actionDetails></row>" for n in range(4)) + "</result>"
    texts = {"a.csv": table, "b.log": "".join(log.format(n) for n in range(6)), "c.xml": visits}
    for name, text in texts.items():
        (folder / name).write_text(text)
    made = [write_lines(folder / f"{name}.jsonl", [record, *[json.loads(json.dumps(record).replace("ann", f"bo{n}")) for n in range(3)]]) for name, record in RECORDS.items()]
    made += [write_xes(events, folder / "d.xes"), write_ocel(events, folder / "e.jsonocel", {"customer_id": "customer"}), write_ocel(events, folder / "f.xmlocel", {"customer_id": "customer"})]
    return [*(folder / name for name in texts), *made]


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_file_is_read_with_counts_that_add_up_or_refused_with_one_message(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for path in write_all_kinds(tmp_path):
        torn = path.with_name(f"torn_{path.name}")
        torn.write_bytes(damage(path.read_bytes(), chance))
        try:
            log = check_counts(read_events(torn))
        except MotkitError:
            continue
        events = log.events.collect()
        assert events.select("customer_id", "timestamp", "event").null_count().sum_horizontal().item() == 0
        assert log.rejected["reason"].null_count() == 0


def test_a_quote_that_does_not_close_is_told_with_its_line_and_without_its_text(tmp_path: Path) -> None:
    rows = [f"u{n},2026-01-01 10:0{n}:00,look,x\n" for n in range(8)]
    rows[4] = 'u4,2026-01-01 10:04:00,look,"secret\n'
    (tmp_path / "a.csv").write_text("user_id,time,event,note\n" + "".join(rows))
    with pytest.raises(SourceError, match=r"a quote does not close; lines with an odd number of quotes: 6\.") as refusal:
        read_events(tmp_path / "a.csv").summary  # noqa: B018
    assert "secret" not in str(refusal.value)
    for head, told in [("\n", "first line is empty"), ('user_id,"time\n', "quote in its first line"), ("", "names look like values")]:
        (tmp_path / "b.csv").write_text(head + "".join(rows[:3]))
        with pytest.raises(SourceError, match=told) as refusal:
            read_events(tmp_path / "b.csv").summary  # noqa: B018
        assert "u1" not in str(refusal.value)


def test_half_a_character_and_a_time_that_is_none_do_not_stop_the_rest(tmp_path: Path) -> None:
    log = check_counts(read_events(write_lines(tmp_path / "a.jsonl", [json.dumps(message()).replace('"ann"', '"an\\ud800n"'), message(messageId="m2")])))
    assert sorted(log.events.collect()["customer_id"]) == ["an?n", "ann"]
    hit = {"ts": 1_770_000_000.5, "request": {"remote_ip": "1.2.3.4", "method": "GET", "uri": "/a", "headers": {}}, "status": 200}
    log = check_counts(read_events(write_lines(tmp_path / "b.log", [hit, hit | {"ts": 1_770_000_000_500_000}, hit | {"ts": "soon"}])))
    assert log.summary.rejected_by_reason == {"unparsable time": 2}


def test_the_first_times_may_be_missing_in_a_list_that_is_broken_there(tmp_path: Path) -> None:
    rows = [AMPLITUDE | {"user_id": f"u{n}", "$insert_id": f"i{n}"} for n in range(6)]
    text = json.dumps(rows, indent=1).replace('"user_id": "u0"', "'user_id: \"u0\"").replace('"user_id": "u2"', '{}: "u2"')
    (tmp_path / "a.json").write_text(text)
    log = check_counts(read_events(tmp_path / "a.json"))
    assert log.summary.events == 4
    assert log.summary.rejected_by_reason == {"malformed JSON": 2}
