"""Each rule at one instant against truth tables, and against counting by hand."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.policy import DAY_US, NEVER, QuietRule, Window
from motkit.rule_kernels import (
    Clock,
    calendar_free,
    consent_free,
    from_us,
    has_consent,
    hold_free,
    holdout_bucket,
    period_of,
    quiet_free,
    rolling_free,
    to_us,
    valid_free,
    zone_clock,
)

REFERENCE = Path(__file__).parent / "reference" / "decisions"
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "America/Nuuk"]


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a truth table."""
    with (REFERENCE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clock_of(name: str) -> Clock:
    """The clock of a zone that exists."""
    clock = zone_clock(name)
    assert clock is not None
    return clock


def us(text: str) -> int:
    """An ISO time as microseconds."""
    return to_us(datetime.fromisoformat(text))


def minutes(text: str) -> int:
    """A local time as minutes of the day."""
    return int(text[:2]) * 60 + int(text[3:])


@pytest.mark.parametrize("row", read_rows("caps_rolling.csv"), ids=lambda row: row["case"])
def test_a_rolling_cap_blocks_as_its_truth_table_says(row: dict[str, str]) -> None:
    stamps, t = sorted(second * 10**6 for second in json.loads(row["history_offsets_s"])), int(row["t_offset_s"])
    free = rolling_free(stamps, t, int(row["window_s"]) * 10**6, int(row["max"]) - int(row["candidate_counts"]))
    assert ("block" if free > t else "allow") == row["expected"]


@pytest.mark.parametrize("row", read_rows("caps_calendar_vs_rolling.csv"), ids=lambda row: f"{row['tz']} {row['candidate_utc']}")
def test_a_calendar_day_is_that_of_the_customers_clock_and_differs_from_24_hours(row: dict[str, str]) -> None:
    sent, t = us(row["prev_sent_utc"]), us(row["candidate_utc"])
    say = lambda free: "block" if free > t else "allow"  # noqa: E731
    assert say(rolling_free([sent], t, DAY_US, 0)) == row["max1_rolling_24h"]
    assert say(calendar_free([sent], t, Window(1, "cd"), 0, clock_of(row["tz"]))) == row["max1_calendar_day"]


@pytest.mark.parametrize("row", read_rows("suppression_latched.csv"), ids=lambda row: row["case"])
def test_a_hold_lasts_as_its_truth_table_says(row: dict[str, str]) -> None:
    stamps, t = [round(day * DAY_US) for day in json.loads(row["reject_days"])], round(float(row["t_day"]) * DAY_US)
    free = hold_free(stamps, t, int(row["window_d"]) * DAY_US, int(row["n"]) - 1, int(row["hold_d"]) * DAY_US)
    assert ("block" if free > t else "allow") == row["expected"]


@pytest.mark.parametrize("row", read_rows("consent.csv"), ids=lambda row: row["case"])
def test_consent_holds_as_its_truth_table_says(row: dict[str, str]) -> None:
    grants = [grant for grant in json.loads(row["grants(from,to,purpose,channel,given)"]) if grant[2:4] == [row["purpose"], row["channel"]]]
    rows = [(us(start), us(end) if end else NEVER, given) for start, end, _, _, given in grants]
    assert ("allow" if has_consent(rows, us(row["t"])) else "block") == row["expected"]
    assert (consent_free(rows, us(row["t"])) == us(row["t"])) == (row["expected"] == "allow")


@pytest.mark.parametrize("row", read_rows("quiet_hours.csv"), ids=lambda row: f"{row['tz']} {row['t_utc']}")
def test_quiet_hours_follow_the_wall_clock_through_every_change(row: dict[str, str]) -> None:
    rule = QuietRule("quiet", minutes(row["start"]), minutes(row["end"]))
    free = quiet_free(rule, us(row["t_utc"]), clock_of(row["tz"]))
    assert ("quiet" if free > us(row["t_utc"]) else "open") == row["expected"]
    assert free == us(row["next_allowed_utc"])


@pytest.mark.parametrize("night", json.loads((REFERENCE / "quiet_night_length.json").read_text()), ids=lambda night: f"{night['tz']} {night['night_of']}")
def test_a_night_is_shorter_or_longer_when_clocks_change(night: dict[str, Any]) -> None:
    rule = QuietRule("quiet", minutes(night["start"]), minutes(night["end"]))
    start = to_us(datetime.fromisoformat(f"{night['night_of']}T{night['start']}").replace(tzinfo=ZoneInfo(night["tz"])))
    assert (quiet_free(rule, start, clock_of(night["tz"])) - start) / 3.6e9 == night["hours"]


def test_buckets_of_a_holdout_are_those_of_the_hash_and_salts_are_apart() -> None:
    reference = json.loads((REFERENCE / "holdout_hash.json").read_text())
    for vector in reference["vectors"]:
        assert holdout_bucket(vector["id"], vector["salt"]) == vector["bucket"]
    n, share = reference["check"]["n"], reference["check"]["share"]
    first = [holdout_bucket(str(k), "g2026") < share for k in range(n // 5)]
    again = [holdout_bucket(str(k), "other") < share for k in range(n // 5)]
    assert abs(sum(first) / len(first) - share) < 0.005
    assert abs(sum(a and b for a, b in zip(first, again, strict=True)) / len(first) - share**2) < 0.0015


def test_clocks_change_when_the_zone_changes() -> None:
    rows = read_rows("tz_offsets_2026.csv")
    for zone in {row["tz"] for row in rows}:
        own = [row for row in rows if row["tz"] == zone]
        for row in own:
            assert clock_of(zone).local(us(row["from_utc"])) - us(row["from_utc"]) == int(row["offset_minutes"]) * 60_000_000
            assert row is own[0] or us(row["from_utc"]) in clock_of(zone).starts


instants = st.integers(to_us(datetime(2026, 1, 1)), to_us(datetime(2026, 12, 30)))


@given(st.sampled_from(ZONES), instants, st.integers(0, 1439), st.integers(0, 1439), st.sets(st.integers(0, 6), min_size=1))
@settings(max_examples=150, deadline=None)
def test_quiet_ends_at_the_first_minute_that_a_walk_along_the_clock_finds_open(zone: str, t: int, start: int, end: int, days: set[int]) -> None:
    if start == end:
        return
    rule, minute = QuietRule("quiet", start, end, tuple(sorted(days))), 60_000_000

    def quiet(at: int) -> bool:
        local = datetime.fromtimestamp(at // 10**6, UTC).astimezone(ZoneInfo(zone))
        now, weekday = local.hour * 60 + local.minute, local.weekday()
        if start < end:
            return start <= now < end and weekday in days
        return (now >= start and weekday in days) or (now < end and (weekday - 1) % 7 in days)

    at = t
    while quiet(at):
        at = at - at % minute + minute
    assert quiet_free(rule, t, clock_of(zone)) == at


@given(st.lists(st.integers(0, 60), max_size=12), st.integers(0, 60), st.integers(1, 20), st.integers(0, 3), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_count_is_free_from_the_first_instant_at_which_counting_allows(drawn: list[int], t: int, window: int, most: int, own: bool) -> None:
    stamps = sorted(drawn)

    def blocked(at: int) -> bool:
        return sum(at - window < stamp <= min(at, t) for stamp in stamps) + own > most

    free = rolling_free(stamps, t, window, most - own)
    if own and most == 0:
        assert free == NEVER
        return
    assert free == next(at for at in range(t, 200) if not blocked(at))


@given(st.lists(st.integers(0, 60), max_size=12), st.integers(0, 80), st.integers(1, 20), st.integers(0, 3), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_a_hold_is_what_its_definition_says(drawn: list[int], t: int, window: int, most: int, hold: int) -> None:
    stamps = sorted(drawn)
    latched = [s for s in stamps if s <= t and sum(s - window < other <= s for other in stamps) > most and t - hold < s]
    assert hold_free(stamps, t, window, most, hold) == max(latched, default=t - hold) + hold


@given(st.sampled_from(ZONES), instants, st.lists(st.integers(0, 40 * 24), max_size=8), st.sampled_from(["cd", "cw", "cm"]), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_a_calendar_window_counts_local_dates(zone: str, t: int, hours: list[int], unit: str, length: int, room: int) -> None:
    stamps, clock = sorted(t - hour * 3_600_000_000 for hour in hours), clock_of(zone)

    def period(at: int) -> int:
        day = datetime.fromtimestamp(at / 10**6, UTC).astimezone(ZoneInfo(zone)).date()
        week = (day - timedelta(days=day.weekday())).toordinal() // 7
        return {"cd": day.toordinal(), "cw": week, "cm": day.year * 12 + day.month}[unit]

    counted = sum(period(stamp) > period(t) - length for stamp in stamps)
    free = calendar_free(stamps, t, Window(length, unit), room, clock)
    assert (free > t) == (counted > room)
    if free > t:
        assert sum(period(stamp) > period(free) - length for stamp in stamps) <= room
        assert sum(period(stamp) > period(free - 1) - length for stamp in stamps) > room
        assert period_of(clock.local(free), unit) == period_of(clock.local(free - 1), unit) + 1


def test_validity_starts_on_its_first_instant_and_is_over_on_its_last() -> None:
    assert (valid_free(5, 9, 4), valid_free(5, 9, 5), valid_free(5, 9, 8), valid_free(5, 9, 9)) == (5, 5, 8, NEVER)
    assert from_us(NEVER) is None
