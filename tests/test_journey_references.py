"""Steps, sessions, step matrix and funnels on a real shop against the counts of retentioneering and pm4py."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from motkit.events import read_events
from motkit.funnels import funnel
from motkit.lifts import step_lifts
from motkit.paths import step_matrix, transitions
from motkit.sessions import split_sessions
from motkit.store import write_store

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "tests" / "reference" / "journeys"


@pytest.fixture(scope="module")
def events() -> pl.LazyFrame:
    return split_sessions(read_events(ROOT / "data" / "ecom_retentioneering.csv.gz").events).collect().lazy()


@pytest.mark.parametrize(("within", "steps", "paths"), [("customer", 30_476, 600), ("session", 27_471, 3_605)])
def test_steps_and_sessions_are_those_of_retentioneering_and_pm4py(events: pl.LazyFrame, within: Any, steps: int, paths: int) -> None:
    known = pl.read_csv(REFERENCE / "ecom_transitions.csv").filter(within=within).sort("from_event", "to_event")
    table = transitions(events, within).collect().sort("from_event", "to_event")
    assert table.select("from_event", "to_event").equals(known.select("from_event", "to_event"))
    assert table["n"].to_list() == known["n_retentioneering"].to_list() == known["n_pm4py"].to_list()
    assert table["n"].sum() == steps
    assert (table["median_s"] - known["median_s"]).abs().max() < 1e-6
    assert events.select("customer_id", *(["session"] if within == "session" else [])).unique().collect().height == paths
    if within == "customer":
        assert table["customers"].to_list() == known["paths"].to_list()


def test_the_step_matrix_is_that_of_retentioneering(events: pl.LazyFrame) -> None:
    known = pl.read_csv(REFERENCE / "ecom_step_matrix.csv").sort("step", "event")
    table = step_matrix(events, 8).drop_nulls("event").sort("step", "event")
    assert table.select("event", "n").rows() == known.select("event", "n").rows()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_funnels_are_those_of_retentioneering_also_from_a_store(events: pl.LazyFrame, number: int, tmp_path: Path) -> None:
    known = pl.read_csv(REFERENCE / "ecom_funnels.csv").filter(funnel=number)
    for log in (events, write_store(events, tmp_path / "store")):
        assert funnel(log, known["event"].to_list())["customers"].to_list() == known["customers"].to_list()


def test_the_sum_of_expected_steps_is_the_sum_of_steps(events: pl.LazyFrame) -> None:
    table = step_lifts(events, min_customers=2)
    from_single = transitions(events).collect().filter(pl.col("customers") < 2)["n"].sum()
    assert table["expected"].sum() == pytest.approx(30_476, abs=30 + from_single)
