"""Events: every row is an event or has one reason, whatever the source; a plain loop says the same."""

import gc
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motkit.counting
from motkit.errors import SettingError, SourceError
from motkit.events import EventLog, read_events
from motkit.rows import NO_CUSTOMER
from motkit.schema import EVENTS, REJECTED

HERE = Path(__file__).parent
IDS = ["u1", "u2", "007", " u1", "", "  ", "NA", "null", "None", "n/a", "nan", None, "\\N", "Nancy"]
TIMES = [
    "2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-03-05T06:07:08Z", "2024-03-05 06:07", "2024-03-05", "2024-01-01 00:00:00",
    "2023-12-31 23:59:59", "2024-02-30", "soon", "", "NA", None, "2025-01-01 00:00:00", "2024-03-05T06:07:08.123456", "2024-03-05T06:07:08+05:30",
]  # fmt: skip
EVENT_NAMES = ["visit", "buy", "", " ", None, "NA"]
VALUES = ["1.5", "", None, "abc", "inf", "nan", "-3", "1,5"]
DURATIONS = ["1", "0", "-1", "x", None, ""]
BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = ["customer_id", "timestamp", "event", "value", "duration_s"]


def is_missing(text: str | None) -> bool:
    return text is None or text.strip().lower() in {"", *NO_CUSTOMER}


def plain_time(text: str) -> datetime | str | None:
    """A time by the standard library; 'gap' for one that Berlin skips."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo:
        return moment.astimezone(UTC)
    local = moment.replace(tzinfo=BERLIN)
    back = local.astimezone(UTC).astimezone(BERLIN).replace(tzinfo=None)
    return local.astimezone(UTC) if back == moment else "gap"


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def plain_reason(row: tuple[str | None, ...], start: datetime, end: datetime) -> str | None:
    """The reason of one row by a plain loop's rules."""
    customer, time, event, value, duration = row
    if is_missing(customer):
        return "no customer"
    if time is None or is_missing(time):
        return "no time"
    moment = plain_time(time)
    if moment is None:
        return "unparsable time"
    if event is None or not event.strip():
        return "no event"
    if isinstance(moment, str):
        return "time does not exist in Europe/Berlin"
    if not start <= moment < end:
        return "outside the observation window"
    if not is_missing(value) and not is_number(value or ""):
        return "value is not a number"
    if not is_missing(duration) and not is_number(duration or ""):
        return "duration is not a number"
    return "negative duration" if not is_missing(duration) and float(duration or 0) < 0 else None


def without_commas(rows: list[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """The rows with a point for the decimal comma of `1,5`, unless another number of its column has a point."""
    columns = list(zip(*rows, strict=True))
    points = [any("." in (text or "") and is_number(text or "") for text in column) for column in columns]
    return [tuple(text.replace(",", ".") if text == "1,5" and not point else text for text, point in zip(row, points, strict=True)) for row in rows]


def plain_read(rows: list[tuple[str | None, ...]], start: datetime, end: datetime) -> list[str | None]:
    """The reason of each row, exact duplicates included."""
    seen: set[tuple[str | None, ...]] = set()
    reasons = []
    for row, read in zip(rows, without_commas(rows), strict=True):
        reason = plain_reason(read, start, end)
        if reason is None and row in seen:
            reason = "exact duplicate"
        if reason is None:
            seen.add(row)
        reasons.append(reason)
    return reasons


messy_rows = st.lists(st.tuples(*(st.sampled_from(pool) for pool in (IDS, TIMES, EVENT_NAMES, VALUES, DURATIONS))), max_size=60)


@settings(max_examples=40, deadline=None)
@given(messy_rows)
def test_a_plain_loop_gives_the_same_reason_for_every_row(rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    log = read_events(frame, time_zone="Europe/Berlin", start="2024-01-01", end="2025-01-01")
    expected = plain_read(rows, datetime(2024, 1, 1, tzinfo=BERLIN), datetime(2025, 1, 1, tzinfo=BERLIN))
    reasons = dict(log.rejected.select("row", "reason").iter_rows())
    assert [reasons.get(row) for row in range(len(rows))] == expected
    events = log.events.collect()
    assert log.summary.rows_read == len(rows) == len(events) + len(log.rejected) == log.summary.events + log.summary.rejected
    assert events["timestamp"].to_list() == [plain_time(row[1] or "") for row, reason in zip(rows, expected, strict=True) if reason is None]
    assert sum(log.summary.rejected_by_reason.values()) == log.summary.rejected
    assert log.summary.customers == events["customer_id"].n_unique()
    assert log.rejected.select(COLUMNS).rows() == [row for row, reason in zip(rows, expected, strict=True) if reason]


@settings(max_examples=15, deadline=None)
@given(messy_rows)
def test_the_internal_rows_carry_the_same_reasons_but_no_duplicates(rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    log = read_events(frame, time_zone="UTC")
    told = log.rows.collect(engine="streaming")
    assert told["row"].to_list() == list(range(len(rows)))
    rejected = log.rejected.filter(pl.col("reason") != "exact duplicate")
    assert told.filter(pl.col("reason").is_not_null()).select("row", "reason").rows() == rejected.select("row", "reason").rows()


@pytest.fixture
def shop() -> pl.DataFrame:
    """A clean log with an exact duplicate and ids that start with zeros."""
    times = [datetime(2024, 3, 5, 6, 7, 8) + timedelta(hours=hour) for hour in range(5)]
    return pl.DataFrame(
        {
            "customer_id": ["007", "007", "8", "9", "9"],
            "timestamp": [*times[:4], times[3]],
            "event": ["visit", "buy", "visit", "a \"quoted\"\nbreak", "a \"quoted\"\nbreak"],
            "channel": ["web", "store", None, "web", "web"],
            "value": [None, 12.5, None, 3.0, 3.0],
            "page": ["a", "b", "c", "d", "d"],
        }
    )  # fmt: skip


def same_everywhere(log: EventLog) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    return log.events.collect().rows(), log.rejected.select("reason", "row").rows()


def test_every_kind_of_source_gives_identical_events(shop: pl.DataFrame, tmp_path: Path) -> None:
    import gzip

    expected = same_everywhere(read_events(shop, time_zone="UTC"))
    assert expected[1] == [("exact duplicate", 4)]
    shop.write_csv(tmp_path / "a.csv")
    shop.write_csv(tmp_path / "semicolon.csv", separator=";", include_bom=True)
    shop.write_csv(tmp_path / "tabs.tsv", separator="\t")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "utf16.csv").write_bytes((tmp_path / "a.csv").read_text().encode("utf-16"))
    shop.write_parquet(tmp_path / "a.parquet")
    shop.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    shop.write_ipc(tmp_path / "a.arrow")
    for half, rows in enumerate((shop.head(2), shop.tail(3))):
        (tmp_path / "folder" / f"day={half}").mkdir(parents=True)
        rows.write_parquet(tmp_path / "folder" / f"day={half}" / "part.parquet")
        rows.write_parquet(tmp_path / f"piece{half}.parquet")
    for name in ("a.csv", "semicolon.csv", "tabs.tsv", "a.csv.gz", "utf16.csv", "a.parquet", "a.jsonl", "b.ndjson.gz", "a.arrow", "piece*.parquet"):
        assert same_everywhere(read_events(tmp_path / name, time_zone="UTC")) == expected, name
    hive = read_events(tmp_path / "folder", time_zone="UTC")
    assert hive.events.drop("day").collect().rows() == expected[0]
    assert hive.events.collect()["day"].to_list() == [0, 0, 1, 1]
    pieces = [tmp_path / "piece0.parquet", tmp_path / "piece1.parquet"]
    for frame in (shop.lazy(), shop.to_pandas(), shop.to_arrow(), shop.to_arrow().to_reader(max_chunksize=2), pieces):
        assert same_everywhere(read_events(frame, time_zone="UTC")) == expected, type(frame)


def test_events_have_their_schema_and_then_the_further_columns(shop: pl.DataFrame) -> None:
    log = read_events(shop)
    schema = log.events.collect_schema()
    assert list(schema.items())[: len(EVENTS)] == list(EVENTS.items())
    assert schema.names()[len(EVENTS) :] == ["page"]
    assert log.events.collect()["channel"].to_list() == ["web", "store", "unknown", "web"]
    assert {name: log.rejected.schema[name] for name in REJECTED} == dict(REJECTED)
    assert log.raw_columns == shop.columns
    assert any("taken as UTC" in note for note in log.summary.notes)
    assert "1 events without a channel have 'unknown'" in log.summary.notes


def test_no_rows_in_gives_no_events_with_the_right_schema(shop: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("customer_id,timestamp,event\n")
    for source in (shop.clear(), tmp_path / "a.csv"):
        log = read_events(source)
        assert list(log.events.collect().schema.items())[: len(EVENTS)] == list(EVENTS.items())
        assert (log.summary.rows_read, log.summary.events, log.summary.first) == (0, 0, None)
        assert any("has no rows" in note for note in log.summary.notes)


def test_opening_reads_nothing_but_the_first_rows(tmp_path: Path) -> None:
    lines = ["customer_id,timestamp,event", *(f"u{i},2024-01-01 00:00:00,visit" for i in range(5000)), "u,2024-01-01,visit,too,many"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    log = read_events(tmp_path / "a.csv")
    assert "not read yet" in repr(log)
    with pytest.raises(SourceError, match="line 5002 has 5 fields, the header has 3"):
        _ = log.events


def test_the_log_is_read_once(shop: pl.DataFrame) -> None:
    calls = []

    def noted(batch: pl.Series) -> pl.Series:
        calls.append(len(batch))
        return batch

    lazy = shop.lazy().with_columns(pl.col("page").map_batches(noted, return_dtype=pl.String, is_elementwise=True))
    log = read_events(lazy)
    _ = log.summary
    before = len(calls)
    _ = log.summary, log.rejected, log.events, log.summary
    assert len(calls) == before


def test_a_hash_that_collides_rejects_no_row(shop: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motkit.counting, "_hash_row", lambda columns: pl.lit(7, pl.UInt64).repeat_by(1).explode().alias("\0hash") + pl.col(columns[0]).str.len_bytes() * 0)
    assert read_events(shop).rejected.select("reason", "row").rows() == [("exact duplicate", 4)]


def test_duplicates_are_the_same_when_hashes_are_looked_at_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"customer_id": [str(i % 70) for i in range(500)], "timestamp": ["2024-01-01"] * 500, "event": [str(i % 3) for i in range(500)]})
    whole = read_events(frame).rejected
    monkeypatch.setattr(motkit.counting, "_HASHES_AT_ONCE", 64)
    assert read_events(frame).rejected.equals(whole)
    assert len(whole) == 500 - 210


def test_only_columns_in_full_agreement_are_duplicates_and_the_first_stays() -> None:
    frame = pl.DataFrame({"customer_id": ["a"] * 4, "timestamp": ["2024-01-01"] * 4, "event": ["x"] * 4, "page": ["1", None, None, "1"]})
    assert read_events(frame).rejected["row"].to_list() == [2, 3]
    assert read_events(frame, duplicates="keep").summary.events == 4


def test_events_outlive_their_log_and_the_temporary_file_goes_with_them(shop: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip
    import tempfile

    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(shop.write_csv().encode()))
    events = read_events(tmp_path / "a.csv.gz").events.select("event")
    gc.collect()
    assert events.collect(engine="streaming").height == 4
    assert list((tmp_path / "temp").glob("*/0.csv"))
    del events
    gc.collect()
    assert not list((tmp_path / "temp").iterdir())


def test_whole_number_ids_lose_their_fraction_and_text_ids_keep_zeros() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"customer_id": [17850.0, None, 12.5], "timestamp": ["2024-01-01"] * 3, "event": ["a"] * 3})
    log = read_events(frame)
    assert log.events.collect()["customer_id"].to_list() == ["17850", "12.5"]
    assert log.rejected["reason"].to_list() == ["no customer"]
    assert read_events(pl.DataFrame({"customer_id": [7], "timestamp": ["2024-01-01"], "event": [3]})).events.collect().row(0)[:3:2] == ("7", "3")


@pytest.mark.parametrize(("unit", "number"), [("s", 1709618828), ("ms", 1709618828000), ("us", 1709618828000000), ("s", 1709618828.0), ("d", 19787.254953703705)])
def test_numbers_become_times_by_their_unit(unit: str, number: float) -> None:
    frame = pl.DataFrame({"customer_id": ["a"], "timestamp": [number], "event": ["x"]})
    moment = read_events(frame, time_unit=unit).events.collect()["timestamp"].item()
    assert abs(moment - datetime(2024, 3, 5, 6, 7, 8, tzinfo=UTC)) < timedelta(milliseconds=1)
    text = frame.with_columns(pl.col("timestamp").cast(pl.String))
    assert abs(read_events(text, time_unit=unit).events.collect()["timestamp"].item() - moment) < timedelta(milliseconds=1)


def test_numbers_beyond_any_calendar_are_unparsable() -> None:
    frame = pl.DataFrame({"customer_id": ["a"] * 4, "timestamp": [1e30, -1e18, float("nan"), 0.0], "event": ["x"] * 4})
    assert read_events(frame, time_unit="s").rejected["reason"].to_list() == ["unparsable time", "unparsable time", "no time"]


def test_a_log_that_shows_the_order_of_day_and_month_is_read_in_it() -> None:
    frame = pl.DataFrame({"customer_id": ["a", "b"], "timestamp": ["13/02/2024", "01/02/2024"], "event": ["x", "y"]})
    log = read_events(frame)
    assert log.summary.rejected == 0
    assert log.events.collect()["timestamp"].dt.month().to_list() == [2, 2]
    assert any("day first, as the times with a number above 12 show" in note for note in log.summary.notes)
    assert read_events(frame, day_first=False).summary.rejected == 1


def test_the_order_of_day_and_month_is_found_beyond_the_first_rows_and_in_expressions(tmp_path: Path) -> None:
    rows = [f"c{k};0{1 + k % 9}.03.2025;09:15;buy" for k in range(1500)] + ["last;29.03.2025;10:00;buy"]
    (tmp_path / "log.csv").write_text("\n".join(["who;day;clock;what", *rows]) + "\n", encoding="utf-8")
    described = "path = 'log.csv'\n[columns]\ncustomer_id = 'who'\nevent = 'what'\n[expressions]\ntimestamp = \"day || ' ' || clock\"\n"
    (tmp_path / "source.toml").write_text(described, encoding="utf-8")
    log = read_events(tmp_path / "source.toml")
    assert log.summary.rejected == 0
    assert log.events.select(pl.col("timestamp").dt.month().unique()).collect()["timestamp"].to_list() == [3]


def test_a_log_that_shows_both_orders_is_told_of_but_not_guessed() -> None:
    frame = pl.DataFrame({"customer_id": ["a", "b", "c"], "timestamp": ["13/02/2024", "02/13/2024", "01/02/2024"], "event": ["x", "y", "z"]})
    log = read_events(frame)
    assert log.rejected["reason"].to_list() == ["unparsable time"]
    assert sorted(log.events.collect()["timestamp"].dt.month()) == [1, 2]
    assert any("day_first=True" in note for note in log.summary.notes)
    assert any("99/99/9999" in note for note in log.summary.notes)


def test_summaries_show_themselves_as_text_and_html(shop: pl.DataFrame) -> None:
    log = read_events(shop)
    assert re.search(r"rows read +5\nevents +4\n", str(log.summary))
    assert "<th" in log._repr_html_()
    assert "exact duplicate" in log.summary._repr_html_()
    assert "rows read" in repr(log)


def test_names_taken_by_motkit_are_kept_beside_theirs() -> None:
    frame = pl.DataFrame({"who": ["a", ""], "timestamp": ["2024-01-01"] * 2, "event": ["x"] * 2, "value": ["5", "6"], "row": [8, 9], "reason": ["q", "r"]})
    log = read_events(frame, columns={"customer_id": "who", "value": None})
    row = log.events.collect().row(0, named=True)
    assert (row["value"], row["value_raw"], row["row_raw"], row["reason_raw"]) == (None, "5", 8, "q")
    assert log.rejected.row(0, named=True) == {"reason": "no customer", "row": 1, "who": "", "timestamp": "2024-01-01", "event": "x", "value": "6", "row_raw": 9, "reason_raw": "r"}


REFUSALS = {
    "a wrong zone": ({"time_zone": "Europe/Londn"}, SourceError, "Europe/London"),
    "a wrong unit": ({"time_unit": "seconds"}, SourceError, "time.unit"),
    "a wrong format": ({"source_format": "excel"}, SourceError, "format"),
    "a wrong window": ({"start": "soon"}, SettingError, "start = 'soon' is no date"),
    "a wrong column": ({"columns": {"event": "evnt"}}, SourceError, "there is no column 'evnt' for 'event'"),
    "a wrong name": ({"columns": {"evnt": "event"}}, SourceError, "none of"),
    "a nested column": ({"columns": {"event": "list"}}, SourceError, "List"),
    "a time of no type": ({"columns": {"timestamp": "flag"}}, SourceError, "holds no times"),
    "numbers without unit": ({"columns": {"timestamp": "number"}}, SourceError, "time_unit='s'"),
    "a value that is none": ({"columns": {"value": "flag"}}, SourceError, "no number"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_is_one_paragraph_that_says_what_to_type(name: str) -> None:
    arguments, kind, message = REFUSALS[name]
    frame = pl.DataFrame({"customer_id": ["a"], "timestamp": ["2024-01-01"], "event": ["x"], "list": [[1]], "flag": [True], "number": [5]})
    with pytest.raises(kind) as refusal:
        read_events(frame, **arguments)
    assert message in str(refusal.value)
    assert str(refusal.value).count("\n") == 1
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_several_columns_that_could_be_the_customer_are_asked_about() -> None:
    with pytest.raises(SourceError, match=r"for 'customer_id' there are \['user_id', 'client_id'\]"):
        read_events(pl.DataFrame({"user_id": ["a"], "client_id": ["b"], "time": ["2024-01-01"], "event": ["x"]}))


def test_numbers_written_as_text_need_their_unit_too() -> None:
    with pytest.raises(SourceError, match="cannot be guessed"):
        read_events(pl.DataFrame({"customer_id": ["a"], "timestamp": ["1709618828"], "event": ["x"]}))
    day = pl.DataFrame({"customer_id": ["a"], "timestamp": ["20240131"], "event": ["x"]})
    assert read_events(day, time_format="%Y%m%d").events.collect()["timestamp"].item() == datetime(2024, 1, 31, tzinfo=UTC)


@pytest.mark.data
def test_the_online_shop_loses_its_thirty_copies(real_data: Path) -> None:
    log = read_events(real_data, description=HERE / "sources/ecom/source.toml")
    assert (log.summary.rows_read, log.summary.events, log.summary.rejected_by_reason) == (31_106, 31_076, {"exact duplicate": 30})
    assert log.summary.customers == 600


@pytest.mark.data
def test_every_line_of_the_online_retail_data_is_accounted_for(real_data: Path) -> None:
    log = read_events(real_data, description=HERE / "sources/online_retail/source.toml")
    assert log.summary.rows_read == 541_909
    assert log.summary.rejected_by_reason == {"no customer": 135_080, "price is not above 0": 40, "exact duplicate": 5_225}
    counts = dict(log.events.group_by("event").len().collect().iter_rows())
    assert counts == {"cancellation": 8_872, "purchase": 392_692}
    assert not log.events.select(pl.col("customer_id").str.contains(".", literal=True).any()).collect().item()
    assert log.summary.first == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert log.summary.last == datetime(2011, 12, 9, 12, 50, tzinfo=UTC)


@pytest.mark.data
def test_four_tables_of_the_open_university_are_one_log(real_data: Path) -> None:
    log = read_events(real_data / "oulad", description=HERE / "sources/oulad/source.toml")
    assert (log.summary.rows_read, log.summary.events) == (753_564 + 3 * 2_515, 759_224)
    assert log.summary.rejected_by_reason == {"no time": 1, "did not unregister": 1_884}
    first = log.events.filter((pl.col("event") == "register") & (pl.col("customer_id") == "11391/AAA/2013J")).collect()
    assert first["timestamp"].item() == datetime(2013, 10, 1, tzinfo=UTC) - timedelta(days=159)
    assert set(log.rejected["part"]) == {"registrations", "unregistrations"}
    clicks = log.events.filter(pl.col("event").str.starts_with("click ")).select(pl.len(), pl.col("value").sum()).collect()
    raw = pl.scan_parquet(real_data / "oulad/studentVle.parquet").select(pl.len(), pl.col("sum_click").sum()).collect()
    assert clicks.row(0) == raw.row(0)


@pytest.mark.parametrize("day_first", [True, False])
def test_times_that_could_be_read_in_two_orders_say_which_was_taken(day_first: bool) -> None:
    log = read_events(pl.DataFrame({"customer_id": ["a"], "timestamp": ["03/04/2024 10:00"], "event": ["buy"]}), day_first=day_first)
    assert log.summary.first == datetime(2024, *((4, 3) if day_first else (3, 4)), 10, tzinfo=UTC)
    assert f"times such as 01/02/2024 were read with the {'day' if day_first else 'month'} first" in log.summary.notes


def test_every_kind_of_space_is_no_event() -> None:
    """What begins like a space is looked at, whatever space it is; names that only hold one are names."""
    spaces = [chr(code) for code in range(0x3001) if chr(code).isspace() and not 0x1C <= code <= 0x1F]
    names = ["", *spaces, *(space + space for space in spaces), *(space + "buy" for space in spaces), "buy", "Ärger", "~", "\x7f", "!"]
    log = read_events(pl.DataFrame({"customer_id": [f"c{k}" for k in range(len(names))], "timestamp": datetime(2026, 1, 1), "event": names}))
    assert log.events.collect()["event"].to_list() == [name for name in names if name.strip() != ""]
    assert log.summary.rejected_by_reason == {"no event": 1 + 2 * len(spaces)}
    assert log.summary.customers == len(names) - log.summary.rejected
