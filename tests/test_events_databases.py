"""Events from databases: a DuckDB file, a SQLite file, and a PostgreSQL server that is started for the test."""

import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from motkit.errors import MissingExtraError, SourceError
from motkit.events import read_events

ROWS = [(f"00{i % 7}", datetime(2024, 3, 31, 0, 30) + timedelta(minutes=30 * i), ["visit", "buy"][i % 2], i / 4 if i % 2 else None) for i in range(2_500)]
SQL = "CREATE TABLE events (customer_id TEXT, timestamp TIMESTAMP, event TEXT, value DOUBLE PRECISION)"


def expected() -> pl.DataFrame:
    frame = pl.DataFrame(ROWS, schema=["customer_id", "timestamp", "event", "value"], orient="row")
    return read_events(frame, time_zone="UTC", constants={"channel": "app"}).events.collect().sort("timestamp")


def read_all(source: object, **arguments: object) -> pl.DataFrame:
    log = read_events(source, time_zone="UTC", constants={"channel": "app"}, **arguments)
    assert (log.summary.rows_read, log.summary.rejected) == (len(ROWS), 0)
    return log.events.collect().sort("timestamp")


# ---------------------------------------------------------------- DuckDB


@pytest.fixture
def duck(tmp_path: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "log.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(SQL)
        frame = pl.DataFrame(ROWS, schema=["customer_id", "timestamp", "event", "value"], orient="row")  # noqa: F841
        connection.execute("INSERT INTO events SELECT * FROM frame")
        connection.execute('CREATE SCHEMA "my shop"; CREATE TABLE "my shop"."a ""b""" AS SELECT * FROM events')
    return path


def test_a_duckdb_table_and_a_query_give_the_same_events(duck: Path) -> None:
    assert read_all(duck, table="events").equals(expected())
    assert read_all(f"duckdb:///{duck}", query="SELECT * FROM events ORDER BY timestamp DESC;").equals(expected())
    assert read_all(duck, table='my shop.a "b"').equals(expected())
    renamed = duck.rename(duck.with_name("anything.db"))
    assert read_all(renamed, table="events").equals(expected())


def test_a_database_file_is_not_changed_by_reading(duck: Path) -> None:
    with pytest.raises(SourceError, match="the database says"):
        _ = read_events(duck, query="DELETE FROM events").summary
    assert read_all(duck, table="events").height == len(ROWS)


def test_duckdb_says_what_is_missing(duck: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="table='events'"):
        read_events(duck)
    with pytest.raises(SourceError, match="evnts does not exist"):
        read_events(duck, table="evnts")
    with pytest.raises(SourceError, match="the database says"):
        read_events(duck, query="SELEC nothing")
    with pytest.raises(SourceError, match="could not be converted") as refusal:
        read_events(duck, query="SELECT CAST(event AS INTEGER) AS event, customer_id, timestamp FROM events")
    assert "visit" not in str(refusal.value)
    (tmp_path / "broken.duckdb").write_text("this is no database")
    with pytest.raises(SourceError, match="not a valid DuckDB"):
        read_events(tmp_path / "broken.duckdb", table="events")


def test_types_of_duckdb_become_text_and_numbers(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.execute("""CREATE TABLE t AS SELECT 42::HUGEINT AS customer_id, TIMESTAMPTZ '2024-03-05 06:07:08+05:30' AS timestamp,
            'buy'::ENUM('buy', 'visit') AS event, 12.50::DECIMAL(9, 2) AS value, gen_random_uuid() AS id, DATE '2024-01-01' AS day""")
    row = read_events(tmp_path / "t.duckdb", table="t").events.collect().row(0, named=True)
    assert (row["customer_id"], row["event"], row["value"]) == ("42", "buy", 12.5)
    assert row["timestamp"] == datetime(2024, 3, 5, 0, 37, 8, tzinfo=UTC)


# ---------------------------------------------------------------- SQLite


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    pytest.importorskip("adbc_driver_sqlite")
    path = tmp_path / "log.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(SQL)
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", [(i, f"{at:%Y-%m-%d %H:%M:%S}", event, value) for i, at, event, value in ROWS])
    connection.close()
    return path


def test_a_sqlite_file_and_its_address_give_the_same_events(lite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_all(lite, table="events").equals(expected())
    assert read_all(f"sqlite:///{lite}", query="SELECT * FROM events").equals(expected())
    monkeypatch.chdir(lite.parent)
    assert read_all("sqlite:///log.sqlite", table="events").equals(expected())


def test_sqlite_says_what_is_missing(lite: Path) -> None:
    with pytest.raises(SourceError, match="no such table: evnts"):
        read_events(lite, table="evnts")
    with pytest.raises(SourceError, match=r"near: log\.sqlite"):
        read_events(f"sqlite:///{lite.parent}/logs.sqlite", table="events")
    with pytest.raises(SourceError, match=r"there is no such file"):
        read_events("sqlite:///nowhere/logs.sqlite", table="events")


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> str:
    """The address of a real server with a table of events."""
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with dbapi.connect(postgres_server) as connection, connection.cursor() as cursor:
        cursor.execute(SQL)
        frame = pl.DataFrame(ROWS, schema=["customer_id", "timestamp", "event", "value"], orient="row")
        cursor.adbc_ingest("events", frame.to_arrow(), mode="append")
        connection.commit()
    return postgres_server


@pytest.mark.postgres
def test_a_postgresql_query_gives_the_same_events(postgres: str) -> None:
    assert read_all(postgres, table="events").equals(expected())
    assert read_all(postgres, query="SELECT * FROM public.events").equals(expected())


@pytest.mark.postgres
def test_postgresql_says_what_is_wrong_without_the_password(postgres: str) -> None:
    with pytest.raises(SourceError, match='relation "evnts" does not exist') as refusal:
        read_events(postgres, table="evnts")
    assert "secret" not in str(refusal.value)
    with pytest.raises(SourceError, match="the database says") as refusal:
        read_events(postgres.rsplit(":", 1)[0] + ":1/postgres", table="events")
    assert "secret" not in str(refusal.value)


@pytest.mark.postgres
def test_postgresql_types_become_text_and_numbers(postgres: str) -> None:
    query = """SELECT 42::bigint AS customer_id, timestamptz '2024-03-05 06:07:08+05:30' AS timestamp, 'buy'::varchar AS event,
        12.50::numeric(9, 2) AS value, date '2024-01-01' AS day, true AS known"""
    row = read_events(postgres, query=query).events.collect().row(0, named=True)
    assert (row["customer_id"], row["event"], row["value"]) == ("42", "buy", 12.5)
    assert row["timestamp"] == datetime(2024, 3, 5, 0, 37, 8, tzinfo=UTC)


# ---------------------------------------------------------------- without drivers


def test_a_missing_driver_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    (tmp_path / "log.duckdb").write_text("x")
    with pytest.raises(MissingExtraError, match=r"pip install 'motkit\[sql\]'"):
        read_events(tmp_path / "log.duckdb", table="events")


def test_an_unknown_kind_of_address_is_told() -> None:
    with pytest.raises(SourceError, match="this kind of address is unknown") as refusal:
        read_events("mysql://ann:secret@host/shop", table="events")
    assert "secret" not in str(refusal.value)
