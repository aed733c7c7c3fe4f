"""Promises against a plain loop, at their stated coverage, by the day, on any log and in any order."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.curves import kaplan_meier, survival_at
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.promise_outcomes import CASES, PromiseWarning, promise_cases
from motkit.promise_register import Promise, as_promises, read_promises
from motkit.promises import attainment, check_promises, reaction_promise, waiting_times
from motkit.schema import EVENTS
from motkit.simulate import simulate_customers
from motkit.store import write_store

START = datetime(2026, 3, 2, tzinfo=UTC)
PARCEL = Promise("parcel", "order", "parcel", within_days=3, broken_by="returned", ended_by="closed", lost_by="opted out")
logs = st.lists(
    st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(0, 14), st.sampled_from(["order", "parcel", "returned", "closed", "opted out"])),
    max_size=14,
    unique=True,
)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def log_of(rows: Any) -> pl.DataFrame:
    """Events at days after the start."""
    columns = {"customer_id": [row[0] for row in rows], "timestamp": [at(row[1]) for row in rows], "event": [row[2] for row in rows]}
    return pl.DataFrame(columns | {"channel": ["web"] * len(rows), "value": [None] * len(rows), "duration_s": [None] * len(rows)}, schema=EVENTS)


def loop_outcome(rows: Any, who: str, made: int, as_of: float) -> str:
    """What became of a case, by looking at its customer's events one after another."""
    order = ["parcel", "returned", "closed", "due", "opted out"]
    outcome = {"parcel": "kept", "returned": "broken", "closed": "left", "due": "broken", "opted out": "lost"}
    own = [(day, order.index(event)) for name, day, event in rows if name == who and day >= made and event in order and day <= as_of]
    own += [(made + 3, order.index("due"))] if made + 3 <= as_of else []
    return outcome[order[min(own)[1]]] if own else "open"


@pytest.mark.filterwarnings("ignore::motkit.promise_outcomes.PromiseWarning")
@given(logs, st.sampled_from([4, 9, 20]), st.randoms())
@settings(max_examples=80, deadline=None)
def test_cases_are_those_of_a_loop_in_any_order_of_rows(drawn: Any, end: int, chance: Any) -> None:
    if not any(row[2] == "order" for row in drawn):
        return
    cases = promise_cases(log_of(drawn), PARCEL, at(end))
    expected = sorted((who, day, loop_outcome(drawn, who, day, end)) for who, day, event in drawn if event == "order" and day <= end)
    assert sorted((row["customer_id"], (row["made_at"] - START).days, row["outcome"]) for row in cases.to_dicts()) == expected
    assert (cases["share_used"].is_between(0, 1)).all()
    chance.shuffle(drawn)
    assert promise_cases(log_of(drawn), PARCEL, at(end)).equals(cases)


@given(logs, st.integers(0, 3), st.sampled_from(["at_least", "at_most"]))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_loop(drawn: Any, limit: int, side: str) -> None:
    drawn = [row for row in drawn if row[2] in ("order", "parcel")]
    if side == "at_least":
        limit += 1
    if {"order", "parcel"} - {row[2] for row in drawn}:
        return
    promise = Promise("many", "order", "parcel", metric="count", within_days=4, **{side: limit})
    cases = promise_cases(log_of(drawn), promise, at(40))
    for row in cases.iter_rows(named=True):
        made = (row["made_at"] - START).days
        n = sum(who == row["customer_id"] and event == "parcel" and made <= day <= made + 4 for who, day, event in drawn)
        assert row["outcome"] == ("kept" if (n >= limit if side == "at_least" else n <= limit) else "broken")


def draw_cases(chance: np.random.Generator, n: int, left: float = 0.0) -> pl.DataFrame:
    """Cases opened over 14 days and due in 5; a log-normal time of median 4 days, sigma 0.8; customers leave at a rate a day."""
    age, days = chance.uniform(0, 14, n), 4 * np.exp(0.8 * chance.standard_normal(n))
    gone = chance.exponential(1 / left, n) if left else np.full(n, np.inf)
    end = np.minimum.reduce([days, age, gone, np.full(n, 5.0)])
    cause = np.where(end == days, 1, np.where(end == gone, 2, 0)).astype(np.int8)
    names = np.where(cause == 1, "kept", np.where(cause == 2, "left", np.where(end == 5, "broken", "open")))
    return pl.DataFrame({"outcome": names, "share_used": end / 5, "cause": cause})


@pytest.mark.parametrize(("left", "truth"), [(0.0, 0.6099), (0.08, 0.4918)])
def test_the_share_kept_is_covered_at_95_per_cent_while_cases_are_open(left: float, truth: float) -> None:
    chance, n, runs = np.random.default_rng(5), 300, 400
    if left:
        days = 4 * np.exp(0.8 * chance.standard_normal(400_000))
        truth = float(np.mean((days <= 5) * np.exp(-left * days)))
    found = pl.concat(attainment(draw_cases(chance, n, left)) for _ in range(runs))
    covered = ((found["ci_low"] <= truth) & (truth <= found["ci_high"])).mean()
    assert isinstance(covered, float)
    assert 0.922 <= covered <= 0.978  # 95 % and 2.6 Monte-Carlo errors
    assert abs(np.mean(found["kept"].to_numpy()) - truth) < 0.005


def test_intervals_are_those_of_the_survival_curve_on_the_log_log_scale() -> None:
    cases = draw_cases(np.random.default_rng(3), 400)
    curve = survival_at(kaplan_meier(cases, "share_used", "cause", interval="log-log"), [1.0])
    assert np.allclose(attainment(cases).select("kept", "ci_low", "ci_high").row(0), 1 - curve.select("survival", "ci_high", "ci_low").to_numpy()[0])
    few_left = cases.with_columns(cause=pl.when(pl.int_range(pl.len()) == 7).then(2).otherwise("cause").cast(pl.Int8))
    assert np.allclose(attainment(few_left).select("kept", "ci_low", "ci_high").row(0), attainment(cases).select("kept", "ci_low", "ci_high").row(0), atol=0.005)


@pytest.mark.parametrize(("kept", "low", "high"), [(0, 0.0, 0.3085), (10, 0.6915, 1.0)])
def test_where_none_or_all_are_kept_the_interval_is_the_exact_one(kept: int, low: float, high: float) -> None:
    # Clopper and Pearson (1934), 0 and 10 of 10 at 95 %
    rows = [(f"c{n}", 0, "order") for n in range(10)] + [(f"c{n}", 1, "parcel") for n in range(kept)] + [("zoe", 20, "parcel")]
    table = check_promises(log_of(rows), Promise("parcel", "order", "parcel", within_days=3), at(20), period=None)
    assert table.select("n", "kept").row(0) == (10, kept / 10)
    assert np.allclose(table.select("ci_low", "ci_high").row(0), (low, high), atol=5e-5)


def test_a_due_date_is_judged_by_the_day_in_its_own_zone() -> None:
    rows = [("ann", 0, "order"), ("bo", 0, "order"), ("cy", 0, "order")]
    late = [("ann", 2 + 21.9 / 24, "parcel"), ("bo", 2 + 22.1 / 24, "parcel"), ("cy", 1, "parcel")]
    log = log_of(rows + late).with_columns(due=pl.when(pl.col("event") == "order").then(pl.date(2026, 3, 4)))
    summer = log.with_columns(pl.col("timestamp").dt.offset_by("30d"), pl.col("due").dt.offset_by("30d"))
    for table, zone, kept in ((log, "UTC", ["ann", "bo", "cy"]), (summer, "Europe/Berlin", ["ann", "cy"]), (log, "Asia/Tokyo", ["cy"])):
        promise = Promise("parcel", "order", "parcel", due="due", time_zone=zone)
        cases = promise_cases(table, promise, datetime(2026, 6, 1, tzinfo=UTC))
        assert cases.filter(pl.col("outcome") == "kept")["customer_id"].sort().to_list() == kept
    instants = log.with_columns(pl.col("due").cast(EVENTS["timestamp"]))
    by_time = promise_cases(instants, Promise("parcel", "order", "parcel", due="due"), at(30))
    by_day = promise_cases(instants, Promise("parcel", "order", "parcel", due="due", by_the_day=True), at(30))
    assert by_time.filter(pl.col("outcome") == "kept")["customer_id"].to_list() == ["cy"]
    assert by_day.filter(pl.col("outcome") == "kept").height == 3


def test_nothing_after_the_end_of_observation_is_looked_at() -> None:
    events = simulate_customers(n=150, seed=3).events
    register = read_promises(Path(__file__).parent.parent / "motkit" / "demo" / "promises.toml")
    end = datetime(2025, 7, 1, tzinfo=UTC)
    known = events.lazy().filter(pl.col("timestamp") <= end).collect()
    for promise in register:
        assert promise_cases(events, promise, end).equals(promise_cases(known, promise, end))


def test_planted_promises_are_found_as_they_were_planted() -> None:
    drawn = simulate_customers(n=900, seed=11)
    truth = drawn.truth.promises.filter(pl.col("promise") == "callback")
    register = read_promises(Path(__file__).parent.parent / "motkit" / "demo" / "promises.toml")
    row = check_promises(drawn.events, register["callback"], period=None).row(0, named=True)
    assert row["ci_low"] <= truth["keep_probability"].mean() <= row["ci_high"]
    halves = check_promises(drawn.events, register["delivery"], by="channel", period="6mo").filter(pl.col("channel") == "web")
    assert halves["ci_high"][1] < halves["ci_low"][0]


def test_a_store_answers_as_its_events_do(tmp_path: Path) -> None:
    events = simulate_customers(n=80, seed=4).events
    store = write_store(events, tmp_path / "store")
    promise = Promise("calls", "support_call", "support_call", metric="count", at_most=0, within_days=7, ended_by="account_closed")
    end = datetime(2026, 1, 1, tzinfo=UTC)
    by = ["promise", "channel", "week"]
    assert check_promises(store, promise, end, by="channel").sort(by).equals(check_promises(events, promise, end, by="channel").sort(by))


def test_an_empty_log_gives_an_empty_table_of_the_same_kind() -> None:
    empty = check_promises(log_of([]), PARCEL, at(3))
    full = check_promises(log_of([("ann", 0, "order"), ("ann", 1, "parcel")]), PARCEL, at(20))
    assert empty.schema == full.schema
    assert empty.is_empty()
    assert promise_cases(log_of([]), PARCEL, at(3)).schema == CASES


def test_an_unknown_key_ties_nobody_to_anybody() -> None:
    rows = [("ann", 0, "order"), ("ann", 1, "parcel"), ("bo", 0, "order"), ("bo", 2, "parcel")]
    log = log_of(rows).with_columns(number=pl.Series([None, None, "7", "7"], dtype=pl.String))
    with pytest.warns(PromiseWarning, match="1 of 2 cases carry no key"):
        cases = promise_cases(log, Promise("parcel", "order", "parcel", within_days=3, key="number"), at(9))
    assert cases.select("customer_id", "outcome").rows() == [("bo", "kept")]


def test_silence_stays_in_the_denominator() -> None:
    rows = [(f"c{n}", 0, "failed") for n in range(8)] + [("c0", 0.2, "helped"), ("c1", 2, "helped")]
    promise = reaction_promise("failed", "helped", within_hours=24)
    assert check_promises(log_of(rows), promise, at(9), period=None).select("n", "kept", "broken").row(0) == (8, 0.125, 7)
    assert waiting_times(promise_cases(log_of(rows), promise, at(9)), shares=[0.1, 0.5])["hours"].to_list() == [pytest.approx(4.8), None]


def test_what_cannot_be_judged_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "promises.toml"
    file.write_text('[refund]\nmade_by = "asked"\nkept_by = "paid"\nwithin_days = 7\nmetric = "soon"\n\n[call]\nmade_by = "call"\nkept_bye = "called"\nwithin_hours = 1\n')
    with pytest.raises(SettingError, match=r"line 5: \[refund\] `metric` = 'soon'.*; line 9: \[call\] `kept_bye`.*near: kept_by"):
        read_promises(file)
    file.write_text("[refund\n")
    with pytest.raises(SettingError, match="it is not TOML"):
        read_promises(file)
    with pytest.raises(SettingError, match="no such file"):
        read_promises(tmp_path / "nothing.toml")
    with pytest.raises(SettingError, match="has within_hours and due"):
        as_promises(Promise("parcel", "order", "parcel", within_hours=2, due="due_at"))
    with pytest.raises(SettingError, match="twice"):
        as_promises([PARCEL, PARCEL])


def test_a_log_in_which_nobody_promises_is_refused() -> None:
    with pytest.raises(DesignError, match="no event is called 'order'"):
        check_promises(log_of([("ann", 0, "orders")]), PARCEL, at(3))
    with pytest.raises(SchemaError, match="missing"):
        check_promises(log_of([("ann", 0, "order")]), Promise("parcel", "order", "parcel", due="due_at"), at(3))
    with pytest.warns(PromiseWarning, match="no event in the log is called parcel"):
        check_promises(log_of([("ann", 0, "order")]), PARCEL, at(3))


def read_receipts(path: Path) -> pl.DataFrame:
    """The cases of a permit office: when they began, when they ended, and the deadline that was promised."""
    text = gzip.decompress(path.read_bytes()).decode()
    heads = [dict(re.findall(r'key="([^"]+)" value="([^"]*)"', trace.split("<event>")[0])) for trace in re.findall(r"<trace>(.*?)</trace>", text, re.DOTALL)]
    columns = {"customer_id": "concept:name", "begun": "startdate", "ended": "enddate", "deadline": "deadline", "channel": "channel"}
    cases = pl.DataFrame([{name: head.get(key) for name, key in columns.items()} for head in heads])
    times = pl.col("begun", "ended", "deadline").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC")
    return cases.with_columns(times)


@pytest.mark.data
def test_the_deadlines_of_a_permit_office_are_a_promise(real_data: Path) -> None:
    cases = read_receipts(real_data / "receipt_coselog.xes.gz")
    begun = cases.select("customer_id", timestamp="begun", event=pl.lit("begun"), channel="channel", deadline="deadline")
    ended = cases.drop_nulls("ended").select("customer_id", timestamp="ended", event=pl.lit("ended"), channel="channel", deadline="deadline")
    log = pl.concat([begun, ended])
    end, zone = datetime(2012, 1, 23, 14, 42, 55, tzinfo=UTC), ZoneInfo("Europe/Amsterdam")
    by_day, by_time = (Promise("decision", "begun", "ended", due="deadline", by_the_day=day, time_zone=zone.key) for day in (True, False))
    whole = check_promises(log, [by_day], end, period=None).row(0, named=True)
    assert cases.filter(pl.col("ended") < pl.col("begun")).height == 2  # nothing keeps a promise before it is made
    rows = cases.filter(pl.col("ended") >= pl.col("begun")).select("ended", "deadline").rows()
    kept = [done.astimezone(zone).date() <= due.astimezone(zone).date() for done, due in rows]
    assert (whole["n"], whole["still_open"]) == (1434, 69)
    assert whole["n"] - whole["still_open"] - whole["broken"] == sum(kept) == 1018
    assert check_promises(log, by_time, end, period=None)["broken"].item() - whole["broken"] == 70  # in time, but after that day's midnight
    assert 0.71 < whole["ci_low"] < whole["kept"] < whole["ci_high"] < 0.77
    assert sum(kept) / whole["n"] < whole["kept"] < sum(kept) / len(kept)  # open cases are neither broken nor forgotten
    by_channel = check_promises(log, by_day, end, by="channel", period=None)
    assert dict(by_channel.select("channel", "n").rows())["Internet"] == 1250
