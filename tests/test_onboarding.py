"""Onboarding against plain loops over random messy logs, its laws, censoring, null data and refusals."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import DesignError, SchemaError, SettingError
from motkit.onboarding import LEFT_OUT, OnboardingTable, follow_up, loyalty_curve, onboarding_curve, onboarding_table
from motkit.schema import EVENTS, ONBOARDING

DAY0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
Row = tuple[str, int, str, str]  # customer, hours since DAY0, event, channel

rows_of_a_log = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.one_of(st.integers(0, 60 * 24), st.integers(0, 60).map(lambda day: day * 24)),
        st.sampled_from(["sign_up", "visit", "visit", "order", "cancel"]),
        st.sampled_from(["web", "app"]),
    ),
    min_size=1,
    max_size=40,
)
designs = st.fixed_dictionaries(
    {
        "start": st.sampled_from([None, "sign_up", ["sign_up", "visit"]]),
        "milestone": st.sampled_from([None, "order", ["order", "subscribe"]]),
        "churn": st.sampled_from([None, "cancel"]),
        "churn_after_days": st.sampled_from([None, 5, 10.5]),
    }
).filter(lambda design: design["churn"] or design["churn_after_days"])


def as_log(rows: list[Row]) -> pl.DataFrame:
    """Rows as `EVENTS`."""
    full = [(who, DAY0 + hour * HOUR, event, channel, None, None) for who, hour, event, channel in rows]
    return pl.DataFrame(full, schema=EVENTS, orient="row")


def names(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def follow_by_hand(
    rows: list[Row], design: dict, end: int, starts: dict[str, tuple[int, int | None]] | None = None, knows_before: bool = False, at_milestone: bool = False
) -> tuple[dict[str, tuple], dict[str, int]]:
    """One customer after the other, one event after the other, in hours."""
    kept, left_out = {}, dict.fromkeys(LEFT_OUT, 0)
    log_begins = min(hour for _, hour, *_ in rows)
    for who in sorted({row[0] for row in rows} | set(starts or {})):
        mine = sorted((hour, event, channel) for customer, hour, event, channel in rows if customer == who)
        before = None
        if starts is not None:
            start, before = starts.get(who, (None, None))
        else:
            start = next((hour for hour, event, _ in mine if design["start"] is None or event in names(design["start"])), None)
        if start is None:
            left_out["no start event"] += 1
            continue
        if start > end:
            left_out["start after as_of"] += 1
            continue
        mine = [row for row in mine if start <= row[0] <= end]
        alive = [hour for hour, *_ in mine]
        onboarded = next((hour for hour, event, _ in mine if event in names(design["milestone"])), None)
        if design["milestone"] is None:
            onboarded = next((b for a, b in pairwise(alive) if b - a > 0.5), None)
        if before is not None and start <= before <= end:
            onboarded = before if onboarded is None else min(before, onboarded)
        out, kind, silence = end, 0, design["churn_after_days"]
        for hour, event, _ in mine:
            if event in names(design["churn"]):
                out, kind = hour, 1
                break
        lost = False
        if silence is not None:
            gap = silence * 24
            first = alive[0] if alive else end
            lost = start < log_begins and first - log_begins > gap
            signs = ([start] if start >= log_begins else [] if alive else [log_begins]) + alive
            for this, after in pairwise([*signs, end]):
                if after - this > gap:
                    if this + gap < out or kind == 0:
                        out, kind = min(out, this + gap), 1
                    break
        entry_day = max(0, ceil((log_begins - start) / 24))
        if at_milestone and start < log_begins and onboarded is not None and not knows_before:
            entry_day = max(entry_day, ceil((onboarded - start) / 24))
        exit_day = ceil((out - start) / 24)
        if start < log_begins and onboarded is None and not knows_before:
            left_out["onboarding may lie before the log"] += 1
        elif lost:
            left_out["silent when the log began"] += 1
        elif exit_day <= entry_day:
            left_out["no follow-up after the start"] += 1
        else:
            day = ceil((onboarded - start) / 24) if onboarded is not None and onboarded <= out else None
            kept[who] = (entry_day, exit_day, kind, day)
    return kept, left_out


def as_dict(result: OnboardingTable) -> dict[str, tuple]:
    return {row[0]: row[1:5] for row in result.table.rows()}


@settings(max_examples=120, deadline=None)
@given(rows=rows_of_a_log, design=designs, share=st.floats(0, 1))
def test_the_table_equals_a_plain_loop_over_customers_and_events(rows: list[Row], design: dict, share: float) -> None:
    hours = [row[1] for row in rows]
    end = int(min(hours) + share * (max(hours) + 24 * 12 - min(hours)))
    result = onboarding_table(as_log(rows), **design, as_of=DAY0 + end * HOUR)
    kept, left_out = follow_by_hand(rows, design, end)
    assert as_dict(result) == kept
    assert dict(result.left_out.rows()) == left_out
    assert result.table.height + result.left_out["customers"].sum() == result.customers == len({row[0] for row in rows})
    assert result.table.schema == ONBOARDING


@settings(max_examples=120, deadline=None)
@given(
    rows=rows_of_a_log,
    design=designs,
    length=st.integers(0, 24 * 80),
    starts=st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(-24 * 30, 24 * 70), st.none() | st.integers(-24 * 40, 24 * 70))),
    knows=st.booleans(),
    at_milestone=st.booleans(),
)
def test_starts_from_elsewhere_equal_a_plain_loop_with_late_entries(
    rows: list[Row], design: dict, length: int, starts: dict[str, tuple[int, int | None]], knows: bool, at_milestone: bool
) -> None:
    end = min(hour for _, hour, *_ in rows) + length
    table = pl.DataFrame(
        [(who, DAY0 + a * HOUR, None if b is None else DAY0 + b * HOUR) for who, (a, b) in starts.items()],
        schema={"customer_id": pl.String, "timestamp": EVENTS["timestamp"], "onboarded_at": EVENTS["timestamp"]},
        orient="row",
    )
    table = table if knows else table.drop("onboarded_at")
    known = starts if knows else {who: (a, None) for who, (a, _) in starts.items()}
    result = onboarding_table(as_log(rows), **(design | {"start": table}), as_of=DAY0 + end * HOUR, enter_at_milestone=at_milestone)
    kept, left_out = follow_by_hand(rows, design, end, known, knows, at_milestone)
    assert as_dict(result) == kept
    assert dict(result.left_out.rows()) == left_out
    assert result.table.height + result.left_out["customers"].sum() == result.customers


@settings(max_examples=20, deadline=None)
@given(rows=rows_of_a_log, design=designs, seed=st.integers(0, 99))
def test_row_order_laziness_and_later_events_change_nothing(rows: list[Row], design: dict, seed: int) -> None:
    log, end = as_log(rows), DAY0 + max(row[1] for row in rows) * HOUR
    result = onboarding_table(log, **design, as_of=end, by="channel")
    shuffled = log.sample(fraction=1, shuffle=True, seed=seed)
    later = log.with_columns(pl.col("timestamp") + timedelta(days=90), channel=pl.lit("phone"))
    for other in (shuffled, shuffled.lazy(), pl.concat([log, later])):
        again = onboarding_table(other, **design, as_of=end, by="channel")
        assert again.table.equals(result.table)
    assert onboarding_table(shuffled, **design, as_of=end, by="channel").left_out.equals(result.left_out)


@settings(max_examples=15, deadline=None)
@given(rows=rows_of_a_log, design=designs)
def test_splitting_the_log_by_customers_and_concatenating_gives_the_same(rows: list[Row], design: dict) -> None:
    log, end = as_log(rows), DAY0 + 70 * 24 * HOUR
    whole = onboarding_table(log, **design, as_of=end)
    parts = [onboarding_table(part, **design, as_of=end) for part in log.partition_by("customer_id")]
    assert pl.concat([part.table for part in parts]).sort("customer_id").equals(whole.table)
    assert sum(part.left_out["customers"] for part in parts).to_list() == whole.left_out["customers"].to_list()
    assert sum(part.customers for part in parts) == whole.customers


@settings(max_examples=40, deadline=None)
@given(rows=rows_of_a_log, design=designs, cut=st.integers(0, 70 * 24))
def test_cutting_the_log_equals_the_full_follow_up_restricted_to_the_cut(rows: list[Row], design: dict, cut: int) -> None:
    cut = max(cut, min(row[1] for row in rows))
    full = onboarding_table(as_log(rows), **design, as_of=DAY0 + 100 * 24 * HOUR)
    part = onboarding_table(as_log([row for row in rows if row[1] <= cut]), **design, as_of=DAY0 + cut * HOUR)
    starts = {}
    for who, hour, event, _ in rows:
        if design["start"] is None or event in names(design["start"]):
            starts[who] = min(hour, starts.get(who, hour))
    expected = {}
    for who, (entry, last, kind, onboarded) in as_dict(full).items():
        seen = ceil((cut - starts[who]) / 24)
        if seen > 0:
            shown = None if onboarded is None or onboarded > seen else onboarded
            expected[who] = (entry, min(last, seen), kind if last <= seen else 0, shown)
    found = as_dict(part)
    assert found.keys() == expected.keys()
    for who, row in found.items():
        last_day = ceil((cut - starts[who]) / 24)
        same_day = last_day in (expected[who][1], expected[who][3])
        assert row == expected[who] or same_day, "only what happens on the day of the cut itself may be seen or not"


def log_of(*rows: Row) -> pl.DataFrame:
    return as_log(list(rows))


SIGNED = ("a", 0, "sign_up", "web")


def test_day_d_is_the_dth_24_hours_after_the_start() -> None:
    for hours, day in [(0, 0), (1, 1), (24, 1), (25, 2), (48, 2)]:
        log = log_of(SIGNED, ("a", hours, "order", "web"))
        result = onboarding_table(log, "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=9))
        assert result.table["onboarded_day"].to_list() == [day]
        assert result.table["exit_day"].to_list() == [9]


def test_silence_of_exactly_the_limit_is_not_churn_and_a_microsecond_more_is() -> None:
    for more, expected in [(0, (7, 0)), (1, (7, 1))]:
        end = DAY0 + timedelta(days=7, microseconds=more)
        table = onboarding_table(log_of(SIGNED), "sign_up", "order", churn_after_days=7, as_of=end).table
        assert table.select("exit_day", "event_kind").row(0) == expected


def test_the_earlier_of_churn_and_silence_counts() -> None:
    log = log_of(SIGNED, ("a", 24, "visit", "web"), ("a", 40 * 24, "cancel", "web"))
    for silence, day in [(5, 6), (60, 40), (None, 40)]:
        table = onboarding_table(log, "sign_up", "order", churn="cancel", churn_after_days=silence, as_of=DAY0 + timedelta(days=50)).table
        assert table["exit_day"].to_list() == [day]


def test_onboarding_after_the_exit_is_unknown_even_on_the_same_day() -> None:
    log = log_of(SIGNED, ("a", 3, "cancel", "web"), ("a", 5, "order", "web"))
    assert onboarding_table(log, "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=9)).table.rows() == [("a", 0, 1, 1, None)]


def test_a_milestone_before_the_start_is_not_counted_but_noted() -> None:
    log = log_of(("a", 0, "order", "web"), ("a", 24, "sign_up", "web"), ("a", 72, "order", "web"))
    result = onboarding_table(log, "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=9))
    assert result.table["onboarded_day"].to_list() == [2]
    assert "1 customers have a milestone or an end before their start" in repr(result)


def test_a_column_to_split_by_has_its_value_of_the_start() -> None:
    log = log_of(("a", 0, "visit", "phone"), ("a", 1, "sign_up", "store"), ("a", 2, "sign_up", "app"), ("a", 3, "order", "app"))
    result = onboarding_table(log.with_columns(start=pl.col("event")), "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=9), by=["channel", "start"])
    assert result.table.select("channel", "start").row(0) == ("store", "sign_up")
    assert result.table.columns == [*ONBOARDING, "channel", "start"]


def test_a_column_of_the_table_of_starts_is_taken_from_there() -> None:
    starts = pl.DataFrame({"customer_id": ["a", "b"], "timestamp": [DAY0, DAY0], "plan": ["free", None]}).cast({"timestamp": EVENTS["timestamp"]})
    result = onboarding_table(log_of(SIGNED, ("a", 30, "order", "app")), starts, "order", churn="cancel", as_of=DAY0 + timedelta(days=9), by=["plan", "channel"])
    assert result.table.select("plan", "channel").rows() == [("free", "web"), (None, None)]
    curve = loyalty_curve(result, by="plan")
    assert curve["plan"].unique().sort().to_list() == ["free", "not known"]


def test_observation_that_begins_later_makes_late_entries() -> None:
    log = log_of(SIGNED, ("a", 30 * 24, "order", "web"), ("b", 0, "sign_up", "web"), ("b", 24, "cancel", "web"))
    result = onboarding_table(log, "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=40), observed_from=DAY0 + timedelta(days=10))
    assert result.table.rows() == [("a", 10, 40, 0, 30)]
    assert dict(result.left_out.rows())["no follow-up after the start"] == 1
    assert "1 customers enter late" in repr(result)


def test_events_that_end_observation_censor_and_do_not_count_as_churn() -> None:
    log = log_of(SIGNED, ("a", 24, "order", "web"), ("a", 60, "opt_out", "web"), ("b", 0, "sign_up", "web"), ("b", 30, "cancel", "web"), ("b", 60, "opt_out", "web"))
    more = log_of(("c", 0, "sign_up", "web"), ("c", 30, "cancel", "web"), ("c", 30, "opt_out", "web"), ("d", 0, "sign_up", "web"), ("d", 50, "opt_out", "web"), ("d", 90, "order", "web"))
    end = DAY0 + timedelta(days=40)
    table = onboarding_table(pl.concat([log, more]), "sign_up", "order", churn="cancel", churn_after_days=10, as_of=end, lost="opt_out").table
    assert table.rows() == [("a", 0, 3, 0, 1), ("b", 0, 2, 1, None), ("c", 0, 2, 1, None), ("d", 0, 3, 0, None)]
    silent = onboarding_table(log, "sign_up", "order", churn="cancel", churn_after_days=10, as_of=end).table
    assert silent.row(0) == ("a", 0, 13, 1, 1)


def test_a_loss_before_the_silence_is_complete_hides_the_silence() -> None:
    log = log_of(SIGNED, ("a", 24, "visit", "web"), ("a", 20 * 24, "opt_out", "web"))
    for lost, expected in ((["opt_out"], (11, 1)), (["opt_out", "visit"], (1, 0))):
        table = onboarding_table(log, "sign_up", "order", churn_after_days=10, as_of=DAY0 + timedelta(days=40), lost=lost).table
        assert table.select("exit_day", "event_kind").row(0) == expected


def test_late_starters_enter_at_their_milestone_unless_onboarding_is_known() -> None:
    starts = pl.DataFrame({"customer_id": ["a", "b"], "timestamp": [DAY0 - timedelta(days=10)] * 2}).cast({"timestamp": EVENTS["timestamp"]})
    log = log_of(("x", 0, "visit", "web"), ("a", 5 * 24, "order", "web"))
    question = {"milestone": "order", "churn": "cancel", "as_of": DAY0 + timedelta(days=30)}
    result = onboarding_table(log, starts, **question)
    assert result.table.rows() == [("a", 15, 40, 0, 15)]
    assert "1 of those enter on the day of their milestone" in repr(result)
    assert onboarding_table(log, starts, enter_at_milestone=False, **question).table.rows() == [("a", 10, 40, 0, 15)]
    known = starts.with_columns(onboarded_at=pl.lit(None, EVENTS["timestamp"]))
    assert onboarding_table(log, known, **question).table.rows() == [("a", 10, 40, 0, 15), ("b", 10, 40, 0, None)]


def many_with(persona: pl.Expr, n: int = 40) -> pl.DataFrame:
    rows = [row for number in range(n) for row in ((f"c{number:02}", number, "sign_up", "web"), (f"c{number:02}", number + 50, "order", "app"))]
    return log_of(*rows).with_columns(persona=persona)


def test_a_column_that_is_filled_after_the_start_is_refused() -> None:
    question = {"start": "sign_up", "milestone": "order", "churn": "cancel", "as_of": DAY0 + timedelta(days=30), "by": "persona"}
    later = many_with(pl.when(pl.col("event") == "order").then(pl.lit("loyal")))
    with pytest.raises(DesignError, match="`persona` is empty at the start and filled later for 40 of 40 customers"):
        onboarding_table(later, **question)
    once = many_with(pl.when((pl.col("event") == "sign_up") & (pl.col("customer_id") == "c00")).then(None).otherwise(pl.lit("new")))
    result = onboarding_table(once, **question)
    assert "`persona` is not known at the start for 1 customers, only later" in repr(result)
    assert result.table["persona"].to_list() == [None] + ["new"] * 39


def test_a_column_that_changes_after_the_start_is_noted_and_its_first_value_is_used() -> None:
    changing = many_with(pl.when(pl.col("event") == "order").then(pl.lit("loyal")).otherwise(pl.lit("new")))
    result = onboarding_table(changing, "sign_up", "order", churn="cancel", as_of=DAY0 + timedelta(days=30), by=["persona", "channel"])
    assert result.table.select("persona", "channel").unique().rows() == [("new", "web")]
    assert "`persona` changes after the start for 40 customers; the value at the start is used" in repr(result)


def test_an_empty_log_gives_an_empty_table_with_the_right_schema() -> None:
    result = onboarding_table(as_log([]), None, None, churn="cancel", churn_after_days=3, as_of=DAY0, by="channel")
    assert result.table.schema == pl.Schema({**ONBOARDING, "channel": pl.String})
    assert result.customers == 0
    assert "0 customers" in repr(result)


REFUSED = [
    ({"milestone": "cancel"}, DesignError, "['cancel'] is both `milestone` and `churn`"),
    ({"milestone": ["order", "sign_up"]}, DesignError, "['sign_up'] is both `start` and `milestone`"),
    ({"start": "cancel"}, DesignError, "['cancel'] is both `start` and `churn`"),
    ({"churn": None}, DesignError, "it is not said when a customer has left"),
    ({"lost": "cancel"}, DesignError, "['cancel'] is both `lost` and `churn`"),
    ({"lost": ["order", "sign_up"]}, DesignError, "['sign_up'] is both `start` and `lost`"),
    ({"by": "persona"}, DesignError, "there is no column `persona` to split by"),
    ({"by": "timestamp"}, DesignError, "`timestamp` cannot be split by"),
    ({"as_of": DAY0 - timedelta(days=1)}, DesignError, "`as_of` lies before the log"),
    ({"observed_from": DAY0 + timedelta(days=99)}, DesignError, "`as_of` lies before `observed_from`"),
    ({"churn_after_days": 0}, SettingError, "needs a number above 0"),
    ({"churn_after_days": -3.0}, SettingError, "needs a number above 0"),
    ({"gap_minutes": 0, "milestone": None}, SettingError, "`gap_minutes` is 0"),
    ({"as_of": "2026-01-09"}, SettingError, "needs a datetime or a date"),
    ({"start": pl.DataFrame({"customer_id": ["a"]})}, SchemaError, "missing ['timestamp']"),
]


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED)
def test_a_design_that_cannot_be_answered_is_refused(change: dict, kind: type[Exception], message: str) -> None:
    design = {"start": "sign_up", "milestone": "order", "churn": "cancel", "as_of": DAY0 + timedelta(days=9)} | change
    with pytest.raises(kind) as caught:
        onboarding_table(log_of(SIGNED), **design)
    assert message in str(caught.value)


def test_all_faults_of_a_design_are_told_at_once_and_no_data() -> None:
    with pytest.raises(DesignError) as caught:
        onboarding_table(log_of(SIGNED), "order", "order", as_of=DAY0, by=["persona", "exit_day"])
    assert len(caught.value.faults) == 5
    assert "web" not in str(caught.value)


def test_a_missing_column_of_events_is_a_schema_error() -> None:
    with pytest.raises(SchemaError, match="missing"):
        onboarding_table(log_of(SIGNED).drop("channel"), None, "order", churn="cancel", as_of=DAY0)


def simulated(n: int, seed: int, entry: bool = False) -> pl.DataFrame:
    """A table with independent onboarding, churn and censoring, in whole days."""
    draw = np.random.default_rng(seed)
    onboard, churn = np.ceil(draw.exponential(12, n)), np.ceil(draw.exponential(40, n))
    seen = draw.integers(20, 90, n)
    entered = np.where(draw.random(n) < 0.4, draw.integers(0, 25, n), 0) if entry else np.zeros(n, int)
    out = np.minimum(churn, seen)
    table = pl.DataFrame(
        {
            "customer_id": [f"{i:06}" for i in range(n)],
            "entry_day": entered,
            "exit_day": out,
            "event_kind": (churn <= seen).astype(int),
            "onboarded_day": np.where(onboard <= out, onboard, np.nan),
            "group": np.where(draw.random(n) < 0.5, "x", "y"),
        }
    ).with_columns(pl.col("onboarded_day").fill_nan(None))
    return table.cast(dict(ONBOARDING)).filter(pl.col("exit_day") > pl.col("entry_day"))


def incidence_by_hand(table: pl.DataFrame) -> dict[int, tuple[float, float]]:
    """Aalen and Johansen day by day: share onboarded and share churned first."""
    people = []
    for _, entry, out, kind, onboarded, *_ in table.rows():
        if onboarded is not None and entry > 0 and onboarded <= entry:
            continue
        people.append((entry if entry else -1, onboarded, 1) if onboarded is not None else (entry if entry else -1, out, 2 * kind))
    free, shares, curve = 1.0, [0.0, 0.0], {}
    for day in range(0, max(p[1] for p in people) + 1):
        at_risk = sum(entry < day <= out for entry, out, _ in people)
        ended = [sum(out == day and cause == c for _, out, cause in people) for c in (1, 2)]
        for c in (0, 1):
            shares[c] += free * ended[c] / at_risk if at_risk else 0
        free *= 1 - sum(ended) / at_risk if at_risk else 1
        curve[day] = (shares[0], shares[1])
    return curve


@pytest.mark.parametrize("entry", [False, True])
def test_the_onboarding_curve_equals_aalen_johansen_day_by_day(entry: bool) -> None:
    table = simulated(300, 5, entry)
    table = table.with_columns(onboarded_day=pl.when(pl.int_range(pl.len()) % 20 == 0).then(0).otherwise("onboarded_day").cast(pl.Int32))
    by_hand, curve = incidence_by_hand(table), onboarding_curve(table)
    for cause in (1, 2):
        for day, share in curve.filter(pl.col("cause") == cause).select("time", "incidence").rows():
            assert share == pytest.approx(by_hand[int(day)][cause - 1], abs=1e-12)
    assert curve["time"].min() == 0


def test_curves_carry_the_number_of_customers_and_the_follow_up() -> None:
    table = simulated(400, 1)
    for curve in (onboarding_curve(table, "group"), loyalty_curve(table, "group")):
        by_group = dict(table.group_by("group").len().rows())
        assert dict(curve.select("group", "n").unique().rows()) == by_group
        assert {"at_risk", "ci_low", "ci_high", "follow_up_median_days", "follow_up_max_days"} <= set(curve.columns)


def test_follow_up_is_the_reverse_kaplan_meier_median() -> None:
    table = simulated(4000, 3)
    summary = follow_up(table).row(0, named=True)
    assert 50 <= summary["follow_up_median_days"] <= 58  # the planted end of observation is uniform on 20..89
    assert table["exit_day"].median() < 35
    assert summary["customers"] == summary["churned"] + summary["censored"] == table.height


def test_nobody_onboarded_or_nobody_there_is_said_plainly() -> None:
    table = simulated(50, 2)
    with pytest.raises(DesignError, match="nobody was onboarded"):
        onboarding_curve(table.with_columns(onboarded_day=pl.lit(None, pl.Int32)))
    with pytest.raises(DesignError, match="no customer is under observation"):
        loyalty_curve(table.clear())
    with pytest.raises(SchemaError, match="persona"):
        loyalty_curve(table, by="persona")


def test_groups_that_differ_in_name_only_have_intervals_that_overlap_as_often_as_stated() -> None:
    outside, trials = 0, 120
    for seed in range(trials):
        curve = loyalty_curve(simulated(500, 1000 + seed), "group").filter(pl.col("time") <= 15)
        at = curve.group_by("group").agg(pl.col("survival", "std_error").last()).sort("group")
        gap = at["survival"][0] - at["survival"][1]
        outside += abs(gap) > 1.96 * float((at["std_error"] ** 2).sum()) ** 0.5
    assert outside / trials <= 0.11  # 5 % nominal; a binomial count above this has a chance below 0.5 %


def test_a_planted_onboarding_time_is_found_again_under_censoring() -> None:
    curve = onboarding_curve(simulated(20_000, 9)).filter(pl.col("outcome") == "onboarded", pl.col("time") == 20)
    onboard, churn = 1 - np.exp(-1 / 12), 1 - np.exp(-1 / 40)  # daily chances of the planted laws
    truth, free = 0.0, 1.0
    for _ in range(20):
        truth, free = truth + free * onboard, free * (1 - onboard) * (1 - churn)
    low, high = curve.select("ci_low", "ci_high").row(0)
    assert low - 0.005 <= truth <= high + 0.005


def test_customers_who_entered_late_do_not_look_loyal_once_they_enter_at_their_milestone() -> None:
    draw = np.random.default_rng(4)
    n = 6000
    started = draw.integers(-60, 1, n)
    onboard, churn = draw.exponential(15, n), draw.exponential(40, n)
    alive = started + churn > 0
    rows = [("anchor", 0, "visit", "web")]
    for i in np.flatnonzero(alive):
        for name, days in (("order", started[i] + onboard[i]), ("cancel", started[i] + churn[i])):
            if 0 <= days <= 60 and (name == "cancel" or onboard[i] < churn[i]):
                rows.append((f"{i}", round(days * 24), name, "web"))
    starts = pl.DataFrame({"customer_id": [f"{i}" for i in np.flatnonzero(alive)], "timestamp": [DAY0 + 24 * int(started[i]) * HOUR for i in np.flatnonzero(alive)]})
    starts = starts.cast({"timestamp": EVENTS["timestamp"]})
    hazards = []
    for at_milestone in (False, True):
        table = onboarding_table(as_log(rows), starts, "order", churn="cancel", as_of=DAY0 + timedelta(days=60), enter_at_milestone=at_milestone).table
        table = table.filter(pl.col("entry_day") > 0)
        hazards.append(table["event_kind"].sum() / (table["exit_day"] - table["entry_day"]).sum())
    assert hazards[0] < 0.8 / 40  # kept because they lived to see the milestone
    assert hazards[1] == pytest.approx(1 / 40, rel=0.1)


@pytest.mark.data
def test_real_shoppers_are_all_accounted_for_and_later_days_only_add_to_what_was_known(real_data: Path) -> None:
    raw = pl.read_csv(real_data / "ecom_retentioneering.csv.gz")
    events = raw.select(
        customer_id="user_id",
        timestamp=pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC"),
        event="event",
        channel="platform",
        value=pl.lit(None, pl.Float64),
        duration_s=pl.lit(None, pl.Float64),
    )
    end = events["timestamp"].max()
    result = onboarding_table(events, None, None, churn_after_days=30, as_of=end, by="channel")
    assert result.customers == 600 == result.table.height + result.left_out["customers"].sum()
    earlier = onboarding_table(events, None, None, churn_after_days=30, as_of=end - timedelta(days=60))
    both = earlier.table.join(result.table, on="customer_id", suffix="_later")
    same = both.filter(pl.col("event_kind") == 1)
    assert same.height > 50
    assert same["exit_day"].equals(same["exit_day_later"].rename("exit_day"))
    assert (both["exit_day"] <= both["exit_day_later"]).all()
    assert loyalty_curve(result, "channel")["n"].unique().sum() == 600
