"""The hazard of engagement: cells by a plain loop, risks that are right on average also for customers who are lost."""

import math
from collections import Counter
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.curves import cumulative_incidence
from motkit.engagement_hazard import _cells, _followed, _times, fit_engagement_hazard
from motkit.engagement_model import fit_engagement
from motkit.errors import DesignError, SettingError
from motkit.simulate import Simulation, simulate_customers


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 60), st.integers(0, 1)), min_size=1, max_size=30), st.sampled_from([1.0, 7.0]))
def test_cells_are_those_of_a_plain_loop(rows: list[tuple[float, int]], width: float) -> None:
    there, died = Counter[int](), Counter[int]()
    for days, event in rows:
        last = max(math.ceil(days / width), 1) if event else math.floor(days / width)
        for period in range(1, min(last, 5) + 1):
            there[period] += 1
            died[period] += event and period == last
    table = pl.DataFrame({"customer_id": ["x"] * len(rows), "_line": [0.5] * len(rows), "_days": [r[0] for r in rows], "_event": [r[1] for r in rows]})
    found = _cells(table, width, 5, 1)
    assert {period: (n, events) for _, period, n, events in found.rows()} == {period: (there[period], died[period]) for period in there}


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate_customers(n=1200, seed=11)


def test_risks_are_right_on_average_and_the_lost_are_followed_as_long_as_they_can_be(made: Simulation) -> None:
    model = fit_engagement(made.events, "purchase", horizon_days=28, as_of=made.end, half_life_days=14)
    lost = ["account_closed", "tracking_opted_out"]
    hazard = fit_engagement_hazard(model, made.events, made.end, lost=lost)
    at, log = model.landmarks[-1], made.events.lazy()
    for days in (7, 21):
        risk = hazard.risk(log, at, days)
        seen = _times(risk.with_columns(_line=0.0), _followed(log, at, at + timedelta(days=days), ["purchase"], lost), days)
        curve = cumulative_incidence(seen.with_columns(pl.col("_event").cast(pl.Int64)), "_days", "_event")
        share, error = curve.filter(pl.col("cause") == 1).select("incidence", "std_error").row(-1)
        assert abs(risk["risk"].mean() - share) < 4 * error + 0.01


def test_row_order_and_later_events_change_nothing(made: Simulation) -> None:
    cut = made.start + timedelta(days=250)
    past = made.events.filter(pl.col("timestamp") <= cut)
    model = fit_engagement(past, "purchase", horizon_days=28, as_of=cut, half_life_days=14)
    first = fit_engagement_hazard(model, past, cut)
    other = fit_engagement_hazard(model, made.events.sample(fraction=1, shuffle=True, seed=1).sort("customer_id", maintain_order=True), cut)
    assert np.allclose(first.coefficients["coef"], other.coefficients["coef"], atol=0.02)
    assert first.cells["n"].sum() == other.cells["n"].sum()


def test_what_cannot_be_followed_is_refused(made: Simulation) -> None:
    model = fit_engagement(made.events, "purchase", horizon_days=28, as_of=made.end, half_life_days=14)
    with pytest.raises(SettingError, match="period_days"):
        fit_engagement_hazard(model, made.events, made.end, period_days=0)
    with pytest.raises(DesignError, match="whole period"):
        fit_engagement_hazard(model, made.events, model.landmarks[0], period_days=7)
    with pytest.raises(SettingError, match="known are 8 periods"):
        fit_engagement_hazard(model, made.events, made.end).risk(made.events, made.end, 57)
