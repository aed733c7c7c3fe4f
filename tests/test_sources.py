"""Sources: text as it comes, what is missing is told with near names, and descriptions with their lines."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from motkit.errors import SourceError
from motkit.events import read_events
from motkit.sources import read_source
from motkit.tables import open_table

LOG = "customer_id,timestamp,event\n1,2024-01-01,visit\n2,2024-01-02,buy\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_decides_the_separator(separator: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", f'id{separator}"a{separator}, b; c"{separator}d\n1{separator}2{separator}3\n')
    assert open_table(file).scan().collect().columns == ["id", f"a{separator}, b; c", "d"]
    assert open_table(file, separator="~").head.width == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "cp1252", "latin-1"])
def test_every_encoding_gives_the_same_text(encoding: str, tmp_path: Path) -> None:
    text = "id;naïve;€\n1;Zoë – café;x\n" if encoding != "latin-1" else "id;naïve;e\n1;Zoë - café;x\n"
    raw = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    (tmp_path / "a.csv").write_bytes(raw)
    table = open_table(tmp_path / "a.csv")
    assert table.scan().collect().rows() == [tuple(text.splitlines()[1].split(";"))]
    assert table.scan().collect().columns == text.splitlines()[0].split(";")
    assert any("Windows-1252" in note for note in table.notes) == (encoding in ("cp1252", "latin-1"))


def test_a_late_letter_that_is_not_utf8_is_seen(tmp_path: Path) -> None:
    body = "".join(f"{i},2024-01-01,visit\n" for i in range(40_000))
    (tmp_path / "a.csv").write_bytes(("customer_id,timestamp,event\n" + body + "9,2024-01-01,café\n").encode("cp1252"))
    log = read_events(tmp_path / "a.csv", time_zone="UTC")
    assert log.events.last().collect()["event"].item() == "café"
    assert "a.csv is not UTF-8 and was read as Windows-1252" in log.summary.notes


def test_letters_cut_by_a_chunk_are_whole(tmp_path: Path) -> None:
    body = "".join(f"{i:07},2024-01-01,é\n" for i in range(120_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(("customer_id,timestamp,event\n" + body).encode(), 1))
    assert read_events(tmp_path / "a.csv.gz").events.select(pl.col("event").unique()).collect()["event"].to_list() == ["é"]


def test_ids_keep_zeros_and_quoted_line_breaks_stay_in_their_field(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'customer_id,timestamp,event\n007,2024-01-01,"two\nlines, ""quoted"""\n')
    assert open_table(file).scan().collect().row(0) == ("007", "2024-01-01", 'two\nlines, "quoted"')


def test_a_name_that_comes_twice_is_told_apart(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "a.csv", "id,a,a\n1,2,3\n"))
    assert table.head.columns == table.scan().collect().columns == ["id", "a", "a_duplicated_0"]


def test_json_lines_find_keys_that_come_late(tmp_path: Path) -> None:
    lines = ['{"customer_id": 1, "timestamp": "2024-01-01", "event": "visit"}'] * 3000
    late = '{"customer_id": 1, "timestamp": "2024-01-01", "event": "buy", "value": 2.5}'
    log = read_events(write(tmp_path / "a.jsonl", "\n".join([*lines, late])), duplicates="keep")
    assert log.events.collect()["value"].to_list()[-1] == 2.5


# ---------------------------------------------------------------- what is missing


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "events.csv", LOG)
    with pytest.raises(SourceError, match=r"near: events\.csv"):
        read_events(tmp_path / "event.csv")
    with pytest.raises(SourceError, match="does not exist either"):
        read_events(tmp_path / "nowhere" / "event.csv")


BAD_FILES = {
    "empty": ("a.csv", b"", "is empty (0 bytes)"),
    "blank": ("a.csv", b" \n\n", "holds no text"),
    "unknown": ("a.dat", b"PK\x03\x04", "source_format="),
    "workbook": ("a.xlsx", b"PK\x03\x04", "It is a workbook: save the sheet with the rows as CSV"),
    "no parquet": ("a.parquet", b"not parquet at all", "cannot be read"),
    "no json": ("a.jsonl", b'{"a": \n', "no record can be read"),
    "cut gzip": ("a.csv.gz", gzip.compress(LOG.encode() * 9)[:-20], "cannot be read to its end"),
    "no gzip": ("a.csv.gz", b"customer_id", "cannot be read to its end"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_each_bad_file_is_told_in_one_paragraph(name: str, tmp_path: Path) -> None:
    file, content, message = BAD_FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(SourceError) as refusal:
        _ = read_events(tmp_path / file).summary
    assert message in str(refusal.value)
    assert str(refusal.value).count("\n") == 1
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_folders_and_patterns_without_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no Parquet file"):
        read_events(tmp_path / "empty")
    with pytest.raises(SourceError, match="no file matches"):
        read_events(tmp_path / "*.parquet")
    write(tmp_path / "a.csv", LOG)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="several formats"):
        read_events(tmp_path)
    write(tmp_path / "b.csv", "other,columns\n1,2\n")
    with pytest.raises(SourceError, match=r"b\.csv has the columns"):
        read_events(tmp_path / "*.csv")
    with pytest.raises(SourceError, match="no tables to query"):
        read_events(tmp_path / "a.csv", table="events")
    with pytest.raises(SourceError, match="neither a path nor a table"):
        read_events(7)


def test_wrong_encodings_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,é\n".encode("cp1252"))
    with pytest.raises(SourceError, match="'klingon' is unknown"):
        open_table(tmp_path / "a.csv", encoding="klingon")
    with pytest.raises(SourceError, match="not utf-8"):
        open_table(tmp_path / "a.csv", encoding="utf-8")


def test_mixed_types_in_a_pandas_column_are_told() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(SourceError, match="one type") as refusal:
        read_events(pandas.DataFrame({"customer_id": [1, "secret name"], "timestamp": ["2024-01-01"] * 2, "event": ["a", "b"]}))
    assert "secret name" not in str(refusal.value)


# ---------------------------------------------------------------- descriptions

BASE = 'path = "a.csv"\n[time]\nzone = "UTC"\n'
FAULTS = {
    "not toml": ("path = a.csv\n", "is not TOML"),
    "unknown key": (BASE + "zome = 1\n", "line 4: `time.zome` is not a key"),
    "wrong type": ('path = "a.csv"\n[time]\nday_first = "perhaps"\n', "line 3: `time.day_first` = 'perhaps'"),
    "wrong zone": ('path = "a.csv"\n[time]\nzone = "Mars"\n', "line 3: `time.zone` = 'Mars'"),
    "in a part": ('[[parts]]\npath = "a.csv"\n[[parts]]\npaht = "b.csv"\n', "line 4: `parts.paht` is not a key"),
    "parts no list": ('parts = "a.csv"\n', "line 1: `parts` is not a list"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_description_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    text, message = FAULTS[name]
    with pytest.raises(SourceError) as refusal:
        read_source(write(tmp_path / "source.toml", text))
    assert message in str(refusal.value)
    assert str(tmp_path / "source.toml") in str(refusal.value)


def test_a_missing_description_is_told(tmp_path: Path) -> None:
    write(tmp_path / "source.toml", BASE)
    with pytest.raises(SourceError, match=r"near: source\.toml"):
        read_source(tmp_path / "sorce.toml")


BAD_SQL = {
    "broken": ('[expressions]\nvalue = "1 +"\n', "SQL"),
    "no column": ('[expressions]\nvalue = "price * 2"\n', "price"),
    "no cast": ('[expressions]\nvalue = "CAST(event AS DOUBLE)"\n', "TRY_CAST"),
    "no rule": ('[reject]\nbad = "nonsense >"\n', "SQL"),
    "no lookup column": ('join = [{ path = "look.csv", on = ["kind"] }]\n', "to join on"),
    "lookup not unique": ('join = [{ path = "look.csv", on = ["event"] }]\n', "is not unique"),
    "no lookup": ('join = [{ path = "lok.csv", on = ["event"] }]\n', "near: look.csv"),
    "no type column": ('[types]\nprice = "number"\n', "price"),
    "origins alone": ('columns.timestamp = "n"\n[time]\nunit = "d"\n[time.origins]\na = 2024-01-01\n', "origin_column"),
}


@pytest.mark.parametrize("name", BAD_SQL)
def test_what_a_description_cannot_do_is_told_before_anything_is_read(name: str, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "customer_id,timestamp,event,n\n1,2024-01-01,visit,1\n")
    write(tmp_path / "look.csv", "event,what\nvisit,see\nvisit,look\n")
    text, message = BAD_SQL[name]
    with pytest.raises(SourceError) as refusal:
        read_events(write(tmp_path / "source.toml", 'path = "a.csv"\n' + text))
    assert message in str(refusal.value)
    assert "visit" not in str(refusal.value)


def test_a_description_uses_all_its_keys(tmp_path: Path) -> None:
    write(tmp_path / "log.txt", "who|when|what|n|code\n1|01.02.2024 10:00|a|2|x\n2|01.02.2024 11:00|b|x|y\n3|01.02.2024 12:00|c|4|z\n")
    write(tmp_path / "codes.csv", "code,kind\nx,first\ny,second\n")
    text = """
    path = "log.txt"
    separator = "|"
    join = [{ path = "codes.csv", on = ["code"] }]
    columns = { customer_id = "who", timestamp = "when", event = "what" }
    constants = { channel = "app", shop = 3 }
    types = { n = "integer" }
    expressions = { value = "n * 2", size = "CASE WHEN n > 3 THEN 'big' ELSE 'small' END" }
    maps = { event = { a = "arrive", c = "leave" } }
    reject = { "no kind" = "kind IS NULL" }
    time = { zone = "Europe/Berlin", day_first = true }
    """
    log = read_events(write(tmp_path / "source.toml", "\n".join(line.strip() for line in text.splitlines())))
    row = log.events.collect().row(0, named=True)
    assert row == {
        "customer_id": "1", "timestamp": datetime(2024, 2, 1, 9, tzinfo=UTC), "event": "arrive", "channel": "app", "value": 4.0, "duration_s": None,
        "n": 2, "code": "x", "kind": "first", "size": "small", "shop": 3,
    }  # fmt: skip
    assert log.summary.rejected_by_reason == {"n is not an integer": 1, "no kind": 1}
    assert log.rejected.columns == ["reason", "row", "who", "when", "what", "n", "code"]


def test_parts_are_one_log_whose_rows_are_counted_on(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", LOG)
    write(tmp_path / "b.csv", "customer_id,at,event\n2,2024-02-01,buy\n,2024-02-02,buy\n")
    text = 'time.zone = "UTC"\n[[parts]]\npath = "a.csv"\n[[parts]]\npath = "b.csv"\nname = "second"\ncolumns.timestamp = "at"\n'
    log = read_events(write(tmp_path / "source.toml", text))
    assert (log.summary.rows_read, log.summary.customers) == (4, 2)
    assert log.rejected.select("reason", "row", "part").rows() == [("no customer", 3, "second")]
    assert log.rows.collect()["row"].to_list() == [0, 1, 2, 3]
    assert log.raw_columns == ["customer_id", "timestamp", "event", "at"]


def test_paths_are_found_from_the_description_from_a_folder_or_given(tmp_path: Path) -> None:
    description = write(tmp_path / "here" / "source.toml", BASE)
    write(tmp_path / "here" / "a.csv", LOG)
    write(tmp_path / "there" / "a.csv", LOG + "3,2024-01-03,visit\n")
    write(tmp_path / "other.csv", LOG + "3,2024-01-03,visit\n4,2024-01-03,visit\n")
    assert read_events(description).summary.events == 2
    assert read_events(read_source(description)).summary.events == 2
    assert read_events(tmp_path / "there", description=description).summary.events == 3
    assert read_events(tmp_path / "other.csv", description=description).summary.events == 4
    assert read_events(description, time_zone="Asia/Tokyo").summary.first == datetime(2023, 12, 31, 15, tzinfo=UTC)
    with pytest.raises(SourceError, match="no path"):
        read_events(write(tmp_path / "bare.toml", '[time]\nzone = "UTC"\n'))


def test_a_column_without_a_name_is_carried_along(tmp_path: Path) -> None:
    text = "".join(f"{number},{line}\n" if number else f",{line}\n" for number, line in enumerate(LOG.splitlines()))
    assert read_events(write(tmp_path / "a.csv", text)).events.collect()[""].to_list() == ["1", "2"]
