"""How long until a moment: shares by a plain loop, who never has it is counted, laws, and charts of timing that speak when they should."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from motkit.arrivals import moment_waits, previous_moments
from motkit.errors import DesignError, SchemaError
from motkit.promise_register import Promise
from motkit.schema import EVENTS
from motkit.store import write_store
from motkit.watch import Watch, watch

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
END = BEGIN + timedelta(days=330)


def draw(seed: int, customers: int = 1500, slower: float = 1.0) -> pl.DataFrame:
    """Customers who come at any time and stay for a while; each basket is paid for with a chance of 0.7, from day 200 on later."""
    chance = np.random.default_rng(seed)
    start, stay, eager = chance.uniform(0, 330, customers), chance.exponential(200, customers), chance.gamma(2, 0.5, customers)
    who = np.array([f"c{number:04}" for number in range(customers)])
    parts = [(who, start, "sign_up"), (who, start + stay, "closed")]
    for event, rate in (("basket", 1 / 40), ("help", 1 / 80)):
        times = chance.poisson(rate * eager * stay)
        whose = np.repeat(np.arange(customers), times)
        at = start[whose] + chance.random(len(whose)) * stay[whose]
        parts.append((who[whose], at, event))
        if event == "basket":
            paid = chance.random(len(whose)) < 0.7
            wait = chance.lognormal(-1, 1.2, len(whose)) * np.where(at > 200, slower, 1.0)
            parts.append((who[whose][paid], (at + wait)[paid], "paid"))
    rows = pl.concat([pl.DataFrame({"customer_id": ids, "day": days}).with_columns(event=pl.lit(event)) for ids, days, event in parts])
    channel = pl.Series(np.where(chance.random(rows.height) < 0.6, "web", "app"))
    at = pl.lit(BEGIN) + pl.duration(microseconds=(pl.col("day") * 86_400_000_000).cast(pl.Int64))
    rows = rows.with_columns(timestamp=at.cast(EVENTS["timestamp"]), channel=channel).filter(pl.col("timestamp") < END)
    return rows.select("customer_id", "timestamp", "event", "channel", value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


def loop_waits(log: pl.DataFrame, moment: str, previous: str | None) -> list[tuple[float, int]]:
    """Each customer's first wait in a plain loop: days, and 1 if it came, 2 if the customer left, 0 if it goes on."""
    found = []
    for (_, ), rows in log.sort("timestamp").group_by("customer_id"):
        events = list(rows.select("timestamp", "event").iter_rows())
        begin = next((at for at, event in events if event == (previous or "sign_up")), None)
        if begin is None:
            continue
        came, left = (next((at for at, event in events if event == name and at >= begin), None) for name in (moment, "closed"))
        ends = [(at, cause) for at, cause in ((came, 1), (left, 2), (END, 0)) if at is not None]
        at, cause = min(ends, key=lambda one: (one[0], {1: 0, 2: 1, 0: 2}[one[1]]))
        found.append(((at - begin) / timedelta(days=1), cause))
    return found


def loop_share(waits: list[tuple[float, int]], day: float) -> float:
    """The share with the moment by a day, by the estimator of Aalen and Johansen in a loop."""
    share, here = 0.0, 1.0
    for time in sorted({days for days, _ in waits if days <= day}):
        at_risk = sum(days >= time for days, _ in waits)
        came, left = (sum(days == time and cause == kind for days, cause in waits) for kind in (1, 2))
        share, here = share + here * came / at_risk, here * (1 - (came + left) / at_risk)
    return share


@pytest.mark.parametrize("previous", [None, "basket"], ids=["from the start", "from the basket"])
def test_shares_are_those_of_a_plain_loop(previous: str | None) -> None:
    log = draw(1, 150)
    found = moment_waits(log, as_of=END, start="sign_up", ended_by="closed")
    row = found.summary.row(by_predicate=(pl.col("moment") == "paid") & (pl.col("since") == (previous or "the start")), named=True)
    waits = loop_waits(log, "paid", previous)
    assert (row["n"], row["came"], row["left"]) == (len(waits), *(sum(cause == kind for _, cause in waits) for kind in (1, 2)))
    for day in (1, 7, 28):
        assert row[f"share_{day}d"] == pytest.approx(loop_share(waits, day), abs=1e-12)
        assert row[f"ci_low_{day}d"] < row[f"share_{day}d"] < row[f"ci_high_{day}d"]
    curve = found.curves.filter(moment="paid", since=previous or "the start")
    assert (curve["share"].diff().drop_nulls() >= 0).all()
    if row["half_days"] is not None:
        assert loop_share(waits, row["half_days"]) == pytest.approx(0.5, abs=0.02)


def test_who_never_has_it_stays_in_the_denominator() -> None:
    log = draw(2, 300)
    row = moment_waits(log, "paid", END, start="sign_up", ended_by="closed").summary.row(0, named=True)
    completed = [days for days, cause in loop_waits(log, "paid", None) if cause == 1]
    assert sum(days <= 28 for days in completed) / len(completed) > 1.3 * row["share_28d"]  # what the completed alone would say


def test_the_order_of_rows_and_what_comes_later_change_nothing(tmp_path: Path) -> None:
    log = draw(3, 200)
    known = {"as_of": BEGIN + timedelta(days=200), "start": "sign_up", "ended_by": "closed"}
    plain = moment_waits(log, **known)
    store = write_store(log, tmp_path / "store")
    for other in (log.sample(fraction=1, shuffle=True, seed=1).lazy(), log.filter(pl.col("timestamp") <= known["as_of"]), store):
        assert moment_waits(other, **known).summary.equals(plain.summary)


def test_customers_who_may_be_older_than_the_log_are_left_out_without_a_start() -> None:
    log = draw(4, 300)
    first = log.group_by("customer_id").agg(pl.col("timestamp").min())
    settled = first.filter(pl.col("timestamp") >= first["timestamp"].min() + timedelta(days=28)).height
    assert moment_waits(log, "paid").summary["n"][0] == settled


def test_the_moment_before_is_the_commonest_or_none() -> None:
    before = previous_moments(draw(5, 400).lazy(), ["basket", "help", "paid"])
    assert dict(before.select("moment", "previous").rows())["paid"] == "basket"
    assert previous_moments(draw(5, 400).lazy(), ["basket", "help", "paid"], least_share=1.0).is_empty()


def test_what_the_log_does_not_have_is_refused() -> None:
    log = draw(6, 20)
    with pytest.raises(DesignError, match="no event is called 'payed'"):
        moment_waits(log, "payed")
    with pytest.raises(SchemaError, match="timestamp"):
        moment_waits(log.drop("timestamp"))


# charts


def timing(log: pl.DataFrame) -> Watch:
    return watch(log, moments=["basket", "help", "paid"], outcome="closed", start="sign_up", kinds=["timing"], days_between_false_alarms=1000)


def test_a_moment_that_comes_later_is_flagged_and_the_clock_is_named() -> None:
    seen = timing(draw(0, slower=4.0))
    first = seen.alarms.row(0, named=True)
    assert (first["moment"], first["segment"], first["direction"]) == ("paid", "since: basket", "down")
    assert date(2026, 7, 24) <= first["at"] <= date(2026, 8, 21)  # slower from 24 July on
    assert set(seen.charts["segment"]) >= {"since: the start", "since: basket"}
    unknown = watch(draw(0), moments=["paid", "basket"], kinds=["timing"])
    assert set(unknown.charts["segment"]) == {"since: basket", "since: paid"}  # old customers would be a poor reference for new ones


def test_charts_of_timing_speak_falsely_no_more_often_than_they_say() -> None:
    results = [timing(draw(seed, 700)) for seed in range(100, 112)]
    assert np.mean([one.alarms.height > 0 for one in results]) <= results[0].false_alarm_rate


def test_a_channel_that_only_now_reports_or_falls_silent_moves_no_timing() -> None:
    log = draw(7)
    day = (pl.col("timestamp") - BEGIN).dt.total_days()
    only_now = timing(log.filter((pl.col("channel") == "web") | (day >= 150)))
    silent = timing(log.filter((pl.col("channel") == "web") | (day < 200)))
    assert only_now.coverage["what"].to_list() == ["only reports since"]
    assert silent.coverage["what"].to_list() == ["silent since"]
    assert only_now.alarms.is_empty()
    assert silent.alarms.is_empty()


def test_promises_are_watched_as_moments_are() -> None:
    log = draw(8)
    promise = Promise("quick", "basket", "paid", kind="tacit", within_days=2)
    charts = watch(log, moments=["help"], promises=promise, outcome="closed", start="sign_up").charts
    kinds = {(moment, kind) for moment, kind in charts.select("moment", "kind").rows() if moment != "help"}
    assert kinds == {("quick, made", "rate"), ("quick, made", "mix"), ("quick", "kept"), ("quick", "timing"), ("quick, broken", "effect")}
    watched = watch(log, moments=["help", "basket"], promises=promise, outcome="closed", start="sign_up").charts
    assert "quick, made" not in set(watched["moment"])
