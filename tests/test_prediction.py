"""Scores of predictions agree with R and with plain loops over pairs; planted risks are called well calibrated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from motkit.cox import cox
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.hazards import grouped_hazard, person_periods, spline_columns
from motkit.prediction import brier, calibration, calibration_at, concordance, cumulative_auc

FOLDER = Path(__file__).parent / "reference" / "survival"
REFS: dict[str, Any] = json.loads((FOLDER / "refs.json").read_text())
RISKS, HORIZONS = ["risk180", "risk365", "risk540"], [180, 365, 540]


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / f"{name}.csv", null_values=["NA"])


def expected(case: str) -> Any:
    return REFS[case]["expected"]


def customers(seed: int, n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(1)
    life, seen = rng.exponential(40 * np.exp(-0.8 * x)), rng.uniform(5, 100, n)
    risk = 1 - np.exp(-30 / (40 * np.exp(-0.8 * x)))
    return pl.DataFrame({"days": np.ceil(np.minimum(life, seen)), "churned": life <= seen, "x": x, "risk": risk})


# Agreement with R


def test_brier_scores_with_censoring_agree_with_r() -> None:
    found, wanted = brier(read("lung_risk"), "time", "event", RISKS, HORIZONS), expected("ipcw_brier_auc_lung")
    np.testing.assert_allclose(found["brier"], wanted["brier"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["brier_null"], wanted["brier_null"], rtol=0, atol=1e-12)


def test_auc_with_censoring_agrees_with_r() -> None:
    found = cumulative_auc(read("lung_risk"), "time", "event", RISKS, HORIZONS)
    np.testing.assert_allclose(found["auc"], expected("ipcw_brier_auc_lung")["auc"], rtol=0, atol=1e-12)


def test_both_concordances_agree_with_r() -> None:
    wanted, found = expected("concordance_lung"), concordance(read("lung_risk"), "time", "event", "lp").row(0, named=True)
    assert found["concordance"] == pytest.approx(wanted["harrell"], abs=1e-12)
    assert found["std_error"] == pytest.approx(wanted["se"], abs=1e-10)
    assert [found[k] for k in ("concordant", "discordant", "tied")] == [wanted["counts"][k] for k in ("concordant", "discordant", "tied.x")]
    other = concordance(read("lung_risk"), "time", "event", "lp", method="uno")
    assert other["concordance"][0] == pytest.approx(wanted["uno"], abs=1e-10)


def test_calibration_agrees_with_r() -> None:
    """R's C index puts predictions into narrow bins first, so it agrees to 1e-3 only; ours is exact, see the next test."""
    wanted, found = expected("valprob"), calibration(read("calibration_p_y"), "p", "y")
    for ours, theirs in (("intercept", "Intercept"), ("slope", "Slope"), ("brier", "Brier"), ("e_mean", "Eavg"), ("e_90", "E90"), ("e_max", "Emax"), ("p_value", "U:p")):
        assert getattr(found, ours) == pytest.approx(wanted[theirs], abs=1e-9), ours
    assert found.auc == pytest.approx(wanted["C (ROC)"], abs=1e-3)


def test_the_auc_of_known_outcomes_counts_all_pairs() -> None:
    table = read("calibration_p_y")
    one, zero = (table.filter(pl.col("y") == k)["p"].to_numpy() for k in (1, 0))
    pairs = (one[:, None] > zero).mean() + (one[:, None] == zero).mean() / 2
    assert calibration(table, "p", "y").auc == pytest.approx(pairs, abs=1e-12)


def test_the_regression_on_counts_agrees_with_r_on_counts_and_on_rows() -> None:
    wanted = expected("cloglog_lung")
    found = grouped_hazard(read("lung_personperiod_agg"), ["age", "sex"], events="y")
    np.testing.assert_allclose(found["coef"][:2], wanted["coef_agg"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["coef"][:2], wanted["coef_age_sex"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["std_error"][:2], wanted["se_agg"], rtol=1e-6)
    assert found["coef"][2] == pytest.approx(wanted["intercept"], abs=1e-8)


def test_counts_of_periods_are_those_of_r() -> None:
    found = person_periods(read("lung"), "time", "event", width=30, by=["age", "sex"], periods=20)
    wanted = read("lung_personperiod_agg").rename({"y": "events"}).sort("period", "age", "sex")
    assert_frame_equal(found.select("period", "age", "sex", "n", "events"), wanted.select("period", "age", "sex", "n", "events"), check_dtypes=False)


def test_splines_agree_with_r() -> None:
    wanted, table = expected("rcs_lung_age"), spline_columns(read("lung"), "age")
    np.testing.assert_allclose(table.head(5).select("age", "age_s1", "age_s2").to_numpy(), wanted["basis_first5"], rtol=1e-10, atol=1e-12)
    fit = cox(table, "time", "event", ["age", "age_s1", "age_s2", "sex"])
    np.testing.assert_allclose(fit.table["coef"], wanted["coef"], rtol=0, atol=1e-5)
    assert fit.log_likelihood == pytest.approx(wanted["loglik"][1], abs=1e-8)


# Agreement with plain loops


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_concordance_is_the_count_of_all_pairs(seed: int) -> None:
    table = customers(seed, 120).with_columns(pl.col("days") // 4)
    rows = list(table.select("days", "churned", "x").iter_rows())
    good = bad = tied = 0
    for time, died, x in rows:
        for other, other_died, other_x in rows:
            if died and (time < other or (time == other and not other_died)):
                good, bad, tied = good + (x > other_x), bad + (x < other_x), tied + (x == other_x)
    found = concordance(table, "days", "churned", "x").row(0, named=True)
    assert (found["concordant"], found["discordant"], found["tied"]) == (good, bad, tied)


def test_without_censoring_the_brier_score_is_the_plain_mean() -> None:
    table = customers(4).with_columns(churned=True)
    lost = (table["days"] <= 30).cast(pl.Float64)
    assert brier(table, "days", "churned", "risk", 30)["brier"][0] == pytest.approx(((lost - table["risk"]) ** 2).mean())


# Laws


def test_the_order_of_rows_does_not_matter() -> None:
    table, other = customers(5), customers(5).sample(fraction=1, shuffle=True, seed=2)
    for call in (
        lambda t: brier(t, "days", "churned", "risk", 30),
        lambda t: cumulative_auc(t, "days", "churned", "x", [10, 30]),
        lambda t: concordance(t, "days", "churned", "x", method="uno"),
        lambda t: calibration_at(t, "days", "churned", "risk", 30),
        lambda t: person_periods(t, "days", "churned", 7, ["x"]),
    ):
        assert_frame_equal(call(table), call(other))


def test_turning_a_score_around_turns_its_order_around() -> None:
    table = customers(6).with_columns(back=-pl.col("x"))
    for call in (lambda x: concordance(table, "days", "churned", x)["concordance"][0], lambda x: cumulative_auc(table, "days", "churned", x, 20)["auc"][0]):
        assert call("x") + call("back") == pytest.approx(1)


# Null data and planted truth


def test_a_score_without_meaning_is_half_right_at_the_stated_rate() -> None:
    inside = {"auc": 0, "concordance": 0}
    for seed in range(300):
        table = customers(seed, 200).with_columns(x=pl.col("x").shuffle(seed))
        for name, found in (("auc", cumulative_auc(table, "days", "churned", "x", 30)), ("concordance", concordance(table, "days", "churned", "x"))):
            inside[name] += found["ci_low"][0] <= 0.5 <= found["ci_high"][0]
    assert 0.91 <= inside["auc"] / 300 <= 0.985
    assert 0.91 <= inside["concordance"] / 300 <= 0.985


def test_true_risks_are_well_calibrated() -> None:
    rng = np.random.default_rng(7)
    p = rng.beta(2, 5, 10_000)
    found = calibration(pl.DataFrame({"p": p, "y": rng.random(10_000) < p}), "p", "y")
    assert found.slope_ci[0] < 1 < found.slope_ci[1]
    assert found.intercept_ci[0] < 0 < found.intercept_ci[1]
    assert found.e_90 < 0.03
    assert found.p_value > 0.01
    groups = calibration_at(customers(8, 5000), "days", "churned", "risk", 30)
    assert (groups["predicted"] - groups["observed"]).abs().max() < 0.06


def test_grouped_hazards_find_the_planted_ratio() -> None:
    table = customers(9, 20_000).with_columns(high=pl.col("x") > 0)
    both = grouped_hazard(person_periods(table, "days", "churned", 5, ["high"]), ["high"])
    fit = cox(table, "days", "churned", ["high"]).table
    assert both["coef"][0] == pytest.approx(fit["coef"][0], abs=0.05)
    assert both["std_error"][0] == pytest.approx(fit["std_error"][0], rel=0.05)


# Refusals


def test_risks_and_horizons_that_cannot_be_are_refused() -> None:
    table = customers(1)
    with pytest.raises(DesignError, match=r"\['days'\] are not within 0 and 1"):
        brier(table, "days", "churned", "days", 30)
    with pytest.raises(DesignError, match="nobody is observed beyond 5000"):
        cumulative_auc(table, "days", "churned", "x", 5000)
    with pytest.raises(DesignError, match=r"no event by 0\.5"):
        brier(table, "days", "churned", "risk", 0.5)
    with pytest.raises(SchemaError, match="`word` is String, needs numbers"):
        concordance(table.with_columns(word=pl.lit("a")), "days", "churned", "word")
    with pytest.raises(SettingError, match="2 risks for 3 horizons"):
        brier(table, "days", "churned", ["risk", "x"], [1, 2, 3])
    with pytest.raises(SettingError, match="needs 'harrell' or 'uno'"):
        concordance(table, "days", "churned", "x", method="gonen")
    with pytest.raises(DesignError, match="no two customers"):
        concordance(table.with_columns(none=0), "days", "none", "x")


def test_predictions_and_outcomes_that_cannot_be_are_refused_with_all_faults() -> None:
    table = pl.DataFrame({"p": [0.0, 0.5, 0.7], "y": [1, 1, 1]})
    with pytest.raises(DesignError, match="1 of `p` are not between 0 and 1; `y` is 1 in all rows"):
        calibration(table, "p", "y")
    with pytest.raises(DesignError, match="`p` is not within 0 and 1"):
        calibration_at(pl.DataFrame({"days": [1, 2], "churned": [1, 0], "p": [20, 30]}), "days", "churned", "p", 1)


def test_counts_that_cannot_be_are_refused() -> None:
    cells = pl.DataFrame({"period": [1, 1], "n": [5, 3], "events": [2, 4], "high": [0, 1]})
    with pytest.raises(DesignError, match="more events than customers"):
        grouped_hazard(cells, ["high"])
    with pytest.raises(SchemaError, match=r"missing \['plan'\]"):
        grouped_hazard(cells, ["plan"])
    with pytest.raises(SettingError, match="needs a time above 0"):
        person_periods(customers(1), "days", "churned", -1)
    with pytest.raises(SettingError, match="needs 3 to 7"):
        spline_columns(customers(1), "x", knots=9)
