"""Repeat buying against published numbers, a walk through simulated futures, laws of the fit and of bins, refusals."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from motkit.errors import DesignError, SchemaError, SettingError
from motkit.repeat_buying import RepeatBuying, _log_likelihood, buying_summary, fit_bgnbd, fit_gamma_gamma, rfm
from motkit.schema import EVENTS

REFERENCE = Path(__file__).parent / "reference" / "personas_engagement"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def cdnow() -> pl.DataFrame:
    return pl.read_csv(REFERENCE / "cdnow_x_tx_T_zbar.csv")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((REFERENCE / "bgnbd_cdnow_expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("modified", [False, True])
def test_parameters_are_those_of_lifetimes_and_of_the_paper(cdnow: pl.DataFrame, expected: dict[str, Any], modified: bool) -> None:
    fit = fit_bgnbd(cdnow["x"], cdnow["t_x"], cdnow["T"], modified=modified)
    model = "mbgnbd" if modified else "bgnbd"
    for name, value in expected[model].items():
        assert getattr(fit, name) == pytest.approx(value, abs=1e-4)
    for row in expected["p_alive"]:
        past = row["x"], row["tx"], row["T"]
        assert fit.alive(*past)[0] == pytest.approx(row[model], abs=1e-5)
        if not modified:
            assert fit.expected(39, *past)[0] == pytest.approx(row["E39_bgnbd"], abs=1e-5)
    if not modified:
        assert fit.log_likelihood == pytest.approx(expected["bgnbd_loglik"], abs=1e-4)
        assert [round(value, 3) for value in (fit.r, fit.alpha, fit.a, fit.b)] == pytest.approx([0.243, 4.414, 0.793, 2.426], abs=1e-3)


def test_values_are_those_of_lifetimes(cdnow: pl.DataFrame, expected: dict[str, Any]) -> None:
    fit = fit_gamma_gamma(cdnow["x"], cdnow["zbar"])
    assert (fit.p, fit.q, fit.v) == pytest.approx(tuple(expected["gamma_gamma"][name] for name in "pqv"), abs=1e-3)
    assert fit.log_likelihood == pytest.approx(expected["gamma_gamma_loglik"], abs=1e-3)
    assert fit.n == expected["gamma_gamma_n"]
    mean_of_all = fit.p * fit.v / (fit.q - 1)
    assert fit.expected([0, 10_000], [None, 50.0]) == pytest.approx([mean_of_all, 50.0], rel=1e-2)


@pytest.mark.parametrize("modified", [False, True])
def test_futures_played_out_agree_with_the_formulas(modified: bool) -> None:
    model, rng, n = RepeatBuying(0.9, 5.0, 1.4, 3.0, 0.0, 0, modified), np.random.default_rng(2), 400_000
    pace, chance = rng.gamma(model.r, 1 / model.alpha, n), rng.beta(model.a, model.b, n)
    alive, now = ~((rng.random(n) < chance) & modified), np.zeros(n)
    past, future = np.zeros(n), np.zeros(n)
    living = alive.copy()  # alive at the age of 20
    while alive.any():
        now = now + rng.exponential(1 / pace)
        alive = alive & (now <= 30)
        past += alive & (now <= 20)
        future += alive & (now > 20)
        stops = alive & (rng.random(n) < chance)
        living &= ~(stops & (now <= 20))
        alive = alive & ~stops
    none = past == 0  # of whom the last purchase is known: at 0
    assert living[none].mean() == pytest.approx(model.alive(0, 0, 20)[0], abs=0.006)
    assert future[none].mean() == pytest.approx(model.expected(10, 0, 0, 20)[0], rel=0.03)


@pytest.mark.parametrize("modified", [False, True])
def test_the_slope_of_the_likelihood_is_that_of_its_values(cdnow: pl.DataFrame, modified: bool) -> None:
    columns = (*(cdnow[name].cast(pl.Float64).to_numpy() for name in ("x", "t_x", "T")), np.ones(len(cdnow)))
    theta = np.array([-1.0, 1.2, 0.1, 0.4])
    steps = np.eye(4) * 1e-5
    ups, downs = ([_log_likelihood(theta + sign * step, *columns, modified)[0] for step in steps] for sign in (1, -1))
    numeric = (np.array(ups) - np.array(downs)) / 2e-5
    assert _log_likelihood(theta, *columns, modified)[1] == pytest.approx(numeric, rel=1e-5)


def test_order_weights_and_the_unit_of_time_do_not_matter(cdnow: pl.DataFrame) -> None:
    fit = fit_bgnbd(cdnow["x"], cdnow["t_x"], cdnow["T"])
    grouped = cdnow.group_by("x", "t_x", "T").len()
    again = fit_bgnbd(grouped["x"], grouped["t_x"], grouped["T"], weight=grouped["len"])
    days = fit_bgnbd(cdnow["x"], cdnow["t_x"] * 7, cdnow["T"] * 7)
    for other, unit in ((again, 1), (days, 7)):
        assert (other.r, other.alpha / unit, other.a, other.b) == pytest.approx((fit.r, fit.alpha, fit.a, fit.b), rel=1e-4)
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)
    assert days.log_likelihood == pytest.approx(fit.log_likelihood - cdnow["x"].sum() * np.log(7), abs=1e-4)


def test_a_hundred_thousand_customers_take_less_than_three_seconds(cdnow: pl.DataFrame) -> None:
    many = cdnow[np.random.default_rng(0).integers(0, len(cdnow), 100_000)]
    begin = time.process_time()
    fit_bgnbd(many["x"], many["t_x"], many["T"])
    assert time.process_time() - begin < 3


def test_chances_lie_between_none_and_one_and_fall_with_silence() -> None:
    model = RepeatBuying(0.25, 4.4, 0.8, 2.4, 0.0, 0, True)
    ages = np.linspace(10, 500, 50)
    alive = model.alive(np.full(50, 3), np.full(50, 10.0), ages)
    assert ((alive > 0) & (alive < 1)).all()
    assert (np.diff(alive) < 0).all()
    assert model.expected(0, 3, 10, 20)[0] == pytest.approx(0)
    near_one = [RepeatBuying(0.25, 4.4, a, 2.4, 0.0, 0, False).expected(10, 3, 10, 20)[0] for a in (0.9999, 1.0, 1.0001)]
    assert near_one[1] == pytest.approx(np.mean(near_one), rel=1e-4)


def test_impossible_rows_are_refused_all_at_once() -> None:
    with pytest.raises(DesignError) as caught:
        fit_bgnbd([1, 0, 2, -1], [9, 1, 0, 0], [8, 8, 8, 8])
    assert len(caught.value.faults) == 4
    with pytest.raises(DesignError, match="nobody bought again"):
        fit_bgnbd([0, 0], [0, 0], [5, 6])
    with pytest.raises(DesignError, match="lengths 1, 2 and 2 differ"):
        fit_bgnbd([0], [0, 0], [5, 6])
    with pytest.raises(DesignError, match="needs 2 numbers of 0 or more"):
        fit_bgnbd([0, 1], [0, 2], [5, 6], weight=[1, -1])
    with pytest.raises(DesignError, match="20 are the least"):
        fit_gamma_gamma([1, 2], [5.0, 6.0])


def test_a_summary_counts_days_and_looks_at_nothing_later() -> None:
    rows = [("a", 0.0, 5.0), ("a", 0.4, 7.0), ("a", 10.0, 8.0), ("b", 3.0, None)]
    log = pl.DataFrame([(who, START + timedelta(days=day), "order", "web", value, None) for who, day, value in rows], schema=EVENTS, orient="row")
    at = START + timedelta(days=14)
    table = buying_summary(log, at, "order", unit_days=1)
    assert table.rows() == [("a", 1, 10.0, 14.0, 8.0, 4.0, 2, 20.0), ("b", 0, 0.0, 11.0, None, 11.0, 1, 0.0)]
    later = pl.concat([log, log.with_columns(pl.col("timestamp") + timedelta(days=15))]).reverse()
    assert_frame_equal(buying_summary(later, at, "order", unit_days=1), table, check_exact=True)
    assert buying_summary(log.clear(), at).schema == table.schema
    with pytest.raises(SchemaError):
        buying_summary(log.drop("value"), at)
    with pytest.raises(SettingError, match="unit_days"):
        buying_summary(log, at, unit_days=0)


def test_customers_with_the_same_number_get_the_same_points(cdnow: pl.DataFrame) -> None:
    reference = json.loads((REFERENCE / "rfm_ties_expected.json").read_text(encoding="utf-8"))
    table = cdnow.select(customer_id=pl.col("ID").cast(pl.String), last_days=pl.col("T") - pl.col("t_x"), n_days="x", total_value="zbar")
    points, cuts = rfm(table)
    assert cuts.filter(measure="frequency")["n"].to_list() == reference["average_rank_score_counts"]
    assert points.with_columns(table["n_days"]).group_by("n_days").agg(pl.col("frequency").n_unique())["frequency"].unique().to_list() == [1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=30), st.integers(2, 6))
def test_points_rise_with_the_number_and_come_again_from_the_cuts(rows: list[tuple[int, int, int]], bins: int) -> None:
    table = pl.DataFrame(rows, schema=["last_days", "n_days", "total_value"], orient="row").with_row_index("customer_id").with_columns(pl.col("customer_id").cast(pl.String))
    points, cuts = rfm(table, bins=bins)
    for column, name, sign in (("last_days", "recency", -1), ("n_days", "frequency", 1), ("total_value", "value", 1)):
        ranks = (table[column] * sign).rank("average")
        assert points[name].to_list() == [-int(-rank * bins // len(table)) for rank in ranks]
    assert_frame_equal(rfm(table, bins=bins, cuts=cuts)[0], points)
    assert_frame_equal(rfm(table.head(1), bins=bins, cuts=cuts)[0], points.head(1))


def test_points_of_unknown_measures_are_refused() -> None:
    with pytest.raises(SettingError) as caught:
        rfm(pl.DataFrame({"customer_id": ["a"], "last_days": [1], "n_days": [1]}), columns={"likes": "n"}, bins=1)
    assert len(caught.value.faults) == 4
