"""What goes with broken promises: planted harm is found, nothing is found where there is none, complaints are counted by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from motkit.broken_promises import COST, cost_of_breaking, judge_equivalence, later_loyalty
from motkit.complaints import compare_resolution, complaint_promises, measure_complaints
from motkit.differences import risk_difference
from motkit.errors import DesignError, FewEventsWarning, SettingError
from motkit.promise_outcomes import promise_cases
from motkit.promise_register import Promise, read_promises
from motkit.promises import check_promises
from motkit.schema import EVENTS
from motkit.simulate import simulate_customers

REGISTER = read_promises(Path(__file__).parent.parent / "motkit" / "demo" / "promises.toml")
START = datetime(2026, 3, 2, tzinfo=UTC)


def log_of(rows: Any, duration_s: Any = None) -> pl.DataFrame:
    """Events at days after the start."""
    columns = {"customer_id": [row[0] for row in rows], "timestamp": [START + timedelta(days=row[1]) for row in rows], "event": [row[2] for row in rows]}
    return pl.DataFrame(columns | {"channel": ["phone"] * len(rows), "value": [None] * len(rows), "duration_s": duration_s or [None] * len(rows)}, schema=EVENTS)


def test_planted_harm_is_found_and_none_where_nothing_is_planted() -> None:
    harmful = simulate_customers(n=2500, seed=21, broken_promise_hazard_ratio=2.5).events
    cost = cost_of_breaking(harmful, REGISTER["delivery"], "account_closed", lost="tracking_opted_out").row(0, named=True)
    assert cost["hazard_ci_low"] > 1
    assert cost["ci_low"] > 0 > cost["days_ci_high"]
    assert "associated with leaving" in cost["reading"]
    assert "cause" not in cost["reading"]
    covered = 0
    for seed in range(6):
        nothing = simulate_customers(n=1000, seed=30 + seed, null=True, personas_alike=True).events
        row = cost_of_breaking(nothing, REGISTER["delivery"], "account_closed", lost="tracking_opted_out").row(0, named=True)
        covered += row["ci_low"] <= 0 <= row["ci_high"]
    assert covered >= 5


def test_the_clock_starts_when_the_promise_is_due_and_those_gone_by_then_are_in_no_group() -> None:
    rows = [(who, 0, "order") for who in ("ann", "bo", "cy", "di")]
    rows += [("ann", 1, "parcel"), ("ann", 10, "closed"), ("bo", 5, "parcel"), ("cy", 2, "closed"), ("di", 1, "parcel"), ("di", 3.5, "opted out"), ("eve", 30, "look")]
    log = log_of(rows)
    promise = Promise("parcel", "order", "parcel", within_days=3)
    found = later_loyalty(log, promise_cases(log, promise), "closed", lost="opted out")
    assert found.select("customer_id", "outcome", "days", "left").sort("customer_id").rows() == [
        ("ann", "kept", 7.0, True), ("bo", "broken", 27.0, False), ("di", "kept", 0.5, False)
    ]  # fmt: skip


def test_the_difference_is_that_of_the_standardised_risks() -> None:
    events = simulate_customers(n=1500, seed=5).events
    rows = later_loyalty(events, promise_cases(events, REGISTER["callback"]), "account_closed", lost="tracking_opted_out").filter(pl.col("days") > 0)
    direct = risk_difference(rows, "days", "left", "outcome", "kept", 60, strata=["activity"]).row(0, named=True)
    cost = cost_of_breaking(events, REGISTER["callback"], "account_closed", horizon_days=60, lost="tracking_opted_out").row(0, named=True)
    assert (cost["risk_difference"], cost["ci_low"], cost["n_kept"]) == (direct["difference"], direct["ci_low"], direct["n_reference"])


def test_too_few_to_compare_is_said_and_not_computed() -> None:
    log = log_of([("ann", 0, "order"), ("ann", 1, "parcel"), ("bo", 0, "order"), ("bo", 40, "closed")])
    with pytest.warns(FewEventsWarning, match="too few to compare"):
        cost = cost_of_breaking(log, Promise("parcel", "order", "parcel", within_days=3), "closed")
    assert cost.schema == COST
    assert cost["risk_difference"].to_list() == [None]


def test_questions_without_a_horizon_or_an_outcome_are_refused() -> None:
    promise = Promise("parcel", "order", "parcel", within_days=3)
    with pytest.raises(SettingError, match="horizon_days"):
        cost_of_breaking(log_of([("ann", 0, "order")]), promise, "closed", horizon_days=0)
    with pytest.raises(DesignError, match="outcome"):
        cost_of_breaking(log_of([("ann", 0, "order")]), promise, None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.01, 0.01, "safe to scale back"), (-0.02, 0.01, "not shown"), (-0.5, 0.5, "not shown"), (0.02, 0.05, "matters"), (-0.9, -0.3, "matters")],
)
def test_safe_to_scale_back_needs_the_whole_interval_inside_the_margin(low: float, high: float, verdict: str) -> None:
    assert judge_equivalence(low, high, margin=0.02) == verdict


ROWS = [
    ("ann", 0, "complaint"), ("ann", 0.5, "reply"), ("ann", 1, "solved"),
    ("bo", 0, "complaint"), ("bo", 2, "complaint"), ("bo", 3, "solved"),
    ("cy", 0, "complaint"), ("cy", 0.2, "handed on"), ("cy", 0.4, "reply"), ("cy", 4, "solved"),
    ("di", 0, "complaint"), ("eve", 29, "complaint"),
]  # fmt: skip


def test_complaints_are_answered_resolved_and_resolved_at_first_contact_as_counted_by_hand() -> None:
    log = log_of(ROWS)
    asked = complaint_promises("complaint", "reply", "solved", transfers="handed on", answer_hours=24, resolve_days=7)
    table = check_promises(log, asked, START + timedelta(days=30), period=None)
    assert table.select("promise", "n", "still_open").rows() == [("answered", 6, 0), ("resolved", 6, 1), ("resolved_at_first_contact", 6, 1)]
    kept = dict(table.select("promise", "kept").rows())
    assert kept["answered"] == pytest.approx(2 / 6)  # eve's day is over
    assert 4 / 6 < kept["resolved"] <= 4 / 5  # eve may still be helped
    assert kept["resolved_at_first_contact"] < kept["resolved"]


def test_repeats_transfers_and_holds_are_measured() -> None:
    durations = [240.0 if row[2] == "handed on" else None for row in ROWS]
    way = measure_complaints(log_of(ROWS, durations), "complaint", transfers="handed on", holds="handed on", as_of=START + timedelta(days=40))
    assert way.select("measure", "n").rows() == [("repeats", 6), ("transfers", 6), ("holds", 1)]
    assert way["value"].to_list() == pytest.approx([1 / 6, 1 / 6, 240.0])
    assert (way["ci_low"][0], way["ci_high"][0]) != (0, 1)


def test_resolved_against_unresolved_has_a_verdict_by_the_stated_margin() -> None:
    events = simulate_customers(n=1200, seed=8).events
    asked = complaint_promises("support_call", "called_back", "problem_solved", resolve_days=14, lost_by="tracking_opted_out", ended_by="account_closed")
    wide, narrow = (compare_resolution(events, asked, "account_closed", margin, lost="tracking_opted_out") for margin in (0.9, 0.0001))
    assert set(wide["verdict"]) == {"safe to scale back"}
    assert "safe to scale back" not in set(narrow["verdict"])
