"""The canonical store: nothing lost, order kept, memory bounded by buckets."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motkit import store as store_module
from motkit.errors import SchemaError, StudyError
from motkit.schema import EVENTS, STORE, check_table
from motkit.store import open_store, write_store

rows = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bo", "Zoë", "0017", "17"]),
        st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)) | st.just(datetime(2026, 1, 1)),
        st.sampled_from(["home", "call"]),
        st.sampled_from(["web", "store"]),
    ),
    max_size=30,
)


def make_events(drawn: list[tuple[str, datetime, str, str]]) -> pl.DataFrame:
    """Events with their number of arrival in an extra column."""
    columns = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [row[1].replace(tzinfo=UTC) for row in drawn],
        "event": [row[2] for row in drawn],
        "channel": [row[3] for row in drawn],
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS).with_row_index("arrived")


@given(rows)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_holds_the_same_rows_in_the_order_of_a_plain_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[str, datetime, str, str]]) -> None:
    events = make_events(drawn)
    plain = sorted(events.iter_rows(named=True), key=lambda row: (row["customer_id"], row["timestamp"], row["arrived"]))
    for rows_a_bucket in (100, 4):
        monkeypatch.setattr(store_module, "ROWS_A_BUCKET", rows_a_bucket)
        store = write_store(events, tmp_path / "store")
        check_table(store.events, STORE, "store")
        stored = store.add_ids(store.events.with_columns(pl.col("event", "channel").cast(pl.String))).collect()
        assert sorted(stored["customer_id"].unique()) == sorted({row["customer_id"] for row in plain})
        for customer, own in stored.group_by("customer_id"):
            expected = [row["arrived"] for row in plain if row["customer_id"] == customer[0]]
            assert own["arrived"].to_list() == expected
        codes = store.events.collect()["customer"]
        assert codes.is_sorted()
        assert codes.n_unique() == codes.len() == 0 or codes.max() == codes.n_unique() - 1


def test_a_customer_lies_in_one_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ROWS_A_BUCKET", 7)
    drawn = [(f"c{n % 9}", datetime(2026, 1, 1 + n % 20), "home", "web") for n in range(60)]
    store = write_store(make_events(drawn), tmp_path / "store")
    assert len(store.parts) > 3
    places = [set(pl.read_parquet(part)["customer"]) for part in store.parts]
    assert sum(len(place) for place in places) == len(set().union(*places)) == 9


def test_an_empty_log_makes_an_empty_store_of_the_right_schema(tmp_path: Path) -> None:
    store = write_store(make_events([]), tmp_path / "store")
    check_table(store.events, STORE, "store")
    assert store.events.collect().height == 0


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    write_store(make_events([("ann", datetime(2026, 1, 1), "home", "web")] * 3), tmp_path / "store")
    store = write_store(make_events([("bo", datetime(2026, 1, 1), "home", "web")]), tmp_path / "store")
    assert store.customers.collect()["customer_id"].to_list() == ["bo"]
    assert [place.name for place in tmp_path.iterdir()] == ["store"]


def test_an_own_column_named_customer_is_kept_beside_the_code(tmp_path: Path) -> None:
    events = make_events([("ann", datetime(2026, 1, 1), "home", "web")]).with_columns(customer=pl.lit("Ann A."))
    assert write_store(events, tmp_path / "store").events.collect()["customer_"].to_list() == ["Ann A."]


def test_a_table_that_is_no_log_is_refused_with_all_its_faults(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"missing \['channel'\].*`value` is String"):
        write_store(make_events([]).drop("channel").cast({"value": pl.String}), tmp_path / "store")


def test_a_folder_without_a_store_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no canonical store"):
        open_store(tmp_path)


@pytest.mark.parametrize("statistics", [True, False])
def test_the_last_time_is_that_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statistics: bool) -> None:
    monkeypatch.setattr("motkit.store.ROWS_A_BUCKET", 40)
    plain = pl.LazyFrame.sink_parquet
    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", lambda frame, path, **options: plain(frame, path, **options | {"statistics": statistics}))
    at = [datetime(1960, 1, 1), *(datetime(1969, 1, 1 + k % 28, k % 24, microsecond=k) for k in range(100))]
    log = pl.DataFrame({"customer_id": [f"c{k % 9}" for k in range(101)], "timestamp": at, "event": "look", "channel": "web", "value": None, "duration_s": None}, schema=EVENTS)
    assert write_store(log, tmp_path / "store").last_us() == log["timestamp"].to_physical().max()
    assert write_store(log.head(0), tmp_path / "store").last_us() is None
