"""Times: the standard library reads the same, in every form, order and zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.sources import TimeRules
from motkit.times import add_times, read_texts

moments = st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31))
FORMS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S UTC", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f+00:00"]
CLOCKS = [" %H:%M:%S", " %I:%M:%S %p", " %I:%M:%S%p", "T%H:%M:%S"]


def read(texts: list[str | None], rules: TimeRules) -> list[datetime | None]:
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    return add_times(frame.lazy(), "t", rules, frame["t"], "test").collect()["\0timestamp"].to_list()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(moments, st.sampled_from(FORMS)), min_size=1, max_size=20))
def test_iso_forms_mixed_in_one_column_read_as_they_were_written(written: list[tuple[datetime, str]]) -> None:
    texts = [moment.strftime(form) for moment, form in written]
    expected = [(moment if "%f" in form else moment.replace(microsecond=0)).replace(tzinfo=UTC) for moment, form in written]
    assert read(texts, TimeRules(zone="UTC")) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(moments, st.sampled_from("/.-"), st.sampled_from(CLOCKS), st.sampled_from(["%Y", "%y"])), min_size=1, max_size=20), st.booleans())
def test_day_and_month_read_in_the_order_that_is_told(written: list[tuple[datetime, str, str, str]], day_first: bool) -> None:
    order = ["%d", "%m"] if day_first else ["%m", "%d"]
    texts = [moment.strftime(mark.join([*order, year]) + clock) for moment, mark, clock, year in written]
    years = [moment.replace(microsecond=0, tzinfo=UTC) for moment, *_ in written]
    assert read(texts, TimeRules(zone="UTC", day_first=day_first)) == [year if year.year >= 1969 else None for year in years]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(moments, st.integers(-14 * 60, 14 * 60)), min_size=1, max_size=20))
def test_offsets_are_taken_off(written: list[tuple[datetime, int]]) -> None:
    texts = [f"{moment:%Y-%m-%dT%H:%M:%S}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" for moment, minutes in written]
    assert read(texts, TimeRules(zone="Asia/Tokyo")) == [datetime.fromisoformat(text).astimezone(UTC) for text in texts]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.datetimes(datetime(2024, 3, 30), datetime(2024, 4, 1)) | st.datetimes(datetime(2024, 10, 26), datetime(2024, 10, 28)), min_size=1, max_size=20))
def test_local_times_are_put_on_utc_as_the_standard_library_does(written: list[datetime]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    frame = pl.DataFrame({"t": written}, schema={"t": pl.Datetime("us")})
    placed = add_times(frame.lazy(), "t", TimeRules(zone="Europe/Berlin"), frame["t"], "test").collect()
    for moment, utc, gap, twice in placed.rows():
        local = moment.replace(tzinfo=zone)
        skipped = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment
        assert gap == skipped
        assert utc == (None if skipped else local.astimezone(UTC))
        assert twice == (not skipped and local.utcoffset() != local.replace(fold=1).utcoffset())


@pytest.mark.parametrize("text", ["2024-02-30", "24-02-2024 25:00", "2024-01-01 10:61", "13:00 PM", "2024-01-01 13:00 PM", "2024-13-01", "1709618828", "", "now", "2024-01-01 10:00:00 CET", "2024-01-01T"])
def test_what_is_no_time_is_null(text: str) -> None:
    assert read(["2024-01-01 00:00:00", text], TimeRules())[1] is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-01T10:00:00.5Z", datetime(2024, 1, 1, 10, 0, 0, 500_000)),
        ("2024-01-01 10:00:00,25", datetime(2024, 1, 1, 10, 0, 0, 250_000)),
        ("2024-01-01 10:00:00.999999999", datetime(2024, 1, 1, 10, 0, 0, 999_999)),
        (" 2024-01-01 10:00 ", datetime(2024, 1, 1, 10)),
        ("1/2/24 12:30 am", datetime(2024, 1, 2, 0, 30)),
        ("1/2/24 12:30 p.m.", datetime(2024, 1, 2, 12, 30)),
        ("2024-01-01T10:00:00-0500", datetime(2024, 1, 1, 15)),
        ("2024-01-01 10:00:00+02", datetime(2024, 1, 1, 8)),
        ("01/02/69", datetime(1969, 1, 2)),
    ],
)
def test_each_form_reads_alike_with_and_without_a_quick_format(text: str, moment: datetime) -> None:
    texts = pl.Series([text])
    for quick in (None, "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M"):
        assert read_texts(texts, TimeRules(), quick)["wall"].item() == moment, quick


def test_result_does_not_depend_on_what_stands_first() -> None:
    texts = ["2024-01-01 10:00:00", "01/02/2024 10:00", "2024-01-01T10:00:00.125Z", "03-04-24"] * 60
    forward, backward = read(texts, TimeRules(day_first=True)), read(texts[::-1], TimeRules(day_first=True))
    assert forward == backward[::-1]


def test_relative_days_count_from_an_origin_in_its_zone() -> None:
    frame = pl.DataFrame({"d": [0, 1, None]})
    rules = TimeRules(unit="d", origin=datetime(2024, 3, 30), zone="Europe/Berlin")
    placed = add_times(frame.lazy(), "d", rules, frame["d"], "test").collect()["\0timestamp"].to_list()
    assert placed == [datetime(2024, 3, 29, 23, tzinfo=UTC), datetime(2024, 3, 30, 23, tzinfo=UTC), None]
    assert placed[1] - placed[0] == timedelta(days=1)
