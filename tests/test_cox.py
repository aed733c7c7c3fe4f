"""Cox models agree with R for ties, strata, entry, clusters and the test of proportional hazards, and refuse bad tables."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.optimize import minimize

from motkit.cox import CoxFit, cox
from motkit.errors import ConvergenceWarning, DesignError, SchemaError, SettingError

FOLDER = Path(__file__).parent / "reference" / "survival"
REFS: dict[str, Any] = json.loads((FOLDER / "refs.json").read_text())


def read(name: str) -> pl.DataFrame:
    text = {"transplant": pl.String} if name == "heart" else None
    return pl.read_csv(FOLDER / f"{name}.csv", null_values=["NA", ""], schema_overrides=text)


def expected(case: str) -> Any:
    return REFS[case]["expected"]


def agrees(fit: CoxFit, wanted: dict[str, Any]) -> None:
    """Coefficients to 1e-6, errors to 1e-6 and whole tests to 1e-5 relative: R stops its iterations earlier than we do."""
    np.testing.assert_allclose(fit.table["coef"], np.atleast_1d(wanted["coef"]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(fit.table["std_error"], np.atleast_1d(wanted["se"]), rtol=1e-6)
    np.testing.assert_allclose([fit.log_likelihood_null, fit.log_likelihood], wanted["loglik"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(fit.tests["statistic"][1:], [wanted["wald"], wanted["score"]], rtol=1e-5)
    assert (fit.n, fit.events) == (wanted["n"], wanted["nevent"])


FIVE = ["trt", "karno", "diagtime", "age", "prior"]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_both_tie_rules_agree_with_r(ties: Any) -> None:
    agrees(cox(read("veteran"), "time", "status", FIVE, ties=ties), expected(f"cox_veteran_{ties}"))


def test_strata_agree_with_r() -> None:
    fit = cox(read("veteran"), "time", "status", ["trt", "karno", "age"], strata="celltype")
    agrees(fit, expected("cox_veteran_strata"))
    assert fit.baseline_hazard().columns == ["celltype", "time", "hazard"]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_errors_that_are_robust_to_clusters_agree_with_r(ties: Any) -> None:
    wanted = expected("cox_rats_cluster")[ties]
    fit = cox(read("rats").filter(pl.col("sex") == "f"), "time", "status", "rx", cluster="litter", ties=ties)
    agrees(fit, wanted)
    assert fit.table["robust_std_error"][0] == pytest.approx(wanted["robust_se"], rel=1e-7)
    assert fit.table["z"][0] == pytest.approx(wanted["coef"] / wanted["robust_se"], rel=1e-6)


def test_a_trait_that_changes_agrees_with_r() -> None:
    fit = cox(read("heart"), "stop", "event", ["age", "year", "surgery", "transplant"], entry="start")
    agrees(fit, expected("cox_td_heart"))
    assert fit.table["covariate"][-1] == "transplant=1"


def test_the_baseline_respects_entry_as_r_does() -> None:
    wanted = expected("cox_baseline_delayed_entry")
    fit = cox(read("heart"), "stop", "event", ["age", "year", "surgery", "transplant"], entry="start")
    steps = fit.baseline_hazard()
    found = [steps.filter(pl.col("time") <= time)["hazard"][-1] for time in wanted["times"]]
    np.testing.assert_allclose(found, wanted["cumhaz"], rtol=1e-9)


def test_waiting_for_a_transplant_is_not_a_benefit_of_it() -> None:
    wanted = expected("cox_heart_immortal")
    naive = read("jasa").with_columns(days=pl.col("futime").clip(0.5))
    agrees(cox(naive, "days", "fustat", "transplant"), wanted["naive"])
    agrees(cox(read("heart"), "stop", "event", "transplant", entry="start"), wanted["correct"])


def test_a_landmark_agrees_with_r() -> None:
    wanted = expected("landmark_heart_30")
    table = read("jasa").filter(pl.col("futime") > 30)
    table = table.with_columns(days=pl.col("futime") - 30, tx=(pl.col("wait.time") <= 30).fill_null(False))
    agrees(cox(table, "days", "fustat", "tx"), wanted["cox"])


@pytest.mark.parametrize("cause", [1, 2])
def test_hazards_of_one_cause_agree_with_r(cause: int) -> None:
    table = read("mgus2_cr").drop_nulls(["age", "sex", "hgb", "mspike"]).with_columns(ended=pl.col("ev") == cause)
    agrees(cox(table, "etime", "ended", ["age", "sex", "hgb", "mspike"]), expected("causespecific_mgus2")[f"cause{cause}"])


@pytest.mark.parametrize("transform", ["km", "rank", "identity", "log"])
def test_the_test_of_proportional_hazards_agrees_with_r(transform: str) -> None:
    fit = cox(read("veteran"), "time", "status", ["trt", "karno", "age", "prior"])
    wanted, found = expected("coxzph_veteran")[transform], fit.proportional_hazards(transform)
    assert found["covariate"].to_list() == wanted["names"]
    np.testing.assert_allclose(found["statistic"], wanted["chisq"], rtol=5e-6)
    np.testing.assert_allclose(found["p_value"], wanted["p"], rtol=5e-6)
    old = fit.proportional_hazards(transform, exact=False)
    np.testing.assert_allclose(old["statistic"][:4], expected("coxzph_veteran_gt1994")[transform], rtol=5e-6)


# Agreement with a plain loop


def test_the_largest_likelihood_of_a_plain_loop_is_found() -> None:
    rng = np.random.default_rng(3)
    n = 120
    entry = rng.integers(0, 6, n)
    days, x = entry + rng.integers(1, 12, n), rng.normal(size=n)
    table = pl.DataFrame({"entry": entry, "days": days, "churned": rng.random(n) < 0.7, "x": x, "plan": rng.choice(["a", "b"], n)})

    def minus_log_likelihood(beta: Any) -> float:
        total, risk = 0.0, np.exp(beta[0] * x)
        for plan in ("a", "b"):
            own = (table["plan"] == plan).to_numpy()
            for time in np.unique(days):
                died = own & (days == time) & table["churned"].to_numpy()
                at_risk = own & (entry < time) & (time <= days)
                for k in range(died.sum()):
                    total -= np.log(risk[at_risk].sum() - k / died.sum() * risk[died].sum())
                total += beta[0] * x[died].sum()
        return -total

    best = minimize(minus_log_likelihood, [0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    fit = cox(table, "days", "churned", "x", entry="entry", strata="plan")
    assert fit.table["coef"][0] == pytest.approx(best.x[0], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-9)


# Laws


def customers(seed: int, n: int = 400, effect: float = 0.7) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.integers(0, 2, n)
    life, seen = rng.exponential(40 * np.exp(-effect * x)), rng.uniform(5, 80, n)
    return pl.DataFrame({"days": np.ceil(np.minimum(life, seen)), "churned": life <= seen, "x": x, "y": y})


def test_rows_may_come_in_any_order_and_times_in_any_unit() -> None:
    table = customers(1)
    fit = cox(table, "days", "churned", ["x", "y"])
    other = table.sample(fraction=1, shuffle=True, seed=4).with_columns(pl.col("days") * 24)
    assert_frame_equal(fit.table, cox(other, "days", "churned", ["x", "y"]).table)


def test_a_life_cut_into_stretches_is_the_same_life() -> None:
    table = customers(2)
    first = table.with_columns(start=0.0, stop=pl.min_horizontal("days", pl.lit(7.0)), ended=pl.col("churned") & (pl.col("days") <= 7))
    rest = table.filter(pl.col("days") > 7).with_columns(start=7.0, stop=pl.col("days"), ended=pl.col("churned"))
    cut = cox(pl.concat([first, rest]), "stop", "ended", ["x", "y"], entry="start")
    whole = cox(table, "days", "churned", ["x", "y"])
    assert_frame_equal(cut.table, whole.table)
    assert_frame_equal(cut.proportional_hazards(), whole.proportional_hazards())


def test_a_scaled_or_shifted_trait_scales_its_coefficient_only() -> None:
    table = customers(3)
    fit, other = (cox(t, "days", "churned", "x").table for t in (table, table.with_columns(pl.col("x") * 1000 + 1e6)))
    assert other["coef"][0] == pytest.approx(fit["coef"][0] / 1000, rel=1e-6)
    assert other["z"][0] == pytest.approx(fit["z"][0], rel=1e-6)


def test_a_cluster_for_each_row_gives_nearly_the_plain_error() -> None:
    table = customers(4, 2000).with_row_index("id")
    fit = cox(table, "days", "churned", ["x", "y"], cluster="id").table
    np.testing.assert_allclose(fit["robust_std_error"], fit["std_error"], rtol=0.1)


def test_stretches_of_one_customer_in_one_cluster_count_as_one() -> None:
    table = customers(5).with_row_index("id")
    first = table.with_columns(start=0.0, stop=pl.min_horizontal("days", pl.lit(7.0)), ended=pl.col("churned") & (pl.col("days") <= 7))
    rest = table.filter(pl.col("days") > 7).with_columns(start=7.0, stop=pl.col("days"), ended=pl.col("churned"))
    cut = cox(pl.concat([first, rest]), "stop", "ended", ["x"], entry="start", cluster="id")
    assert_frame_equal(cut.table, cox(table, "days", "churned", ["x"], cluster="id").table)


# Null data and planted truth


def test_without_an_effect_p_values_are_even_and_with_one_it_is_found() -> None:
    nulls = [cox(customers(seed, 150, 0.0), "days", "churned", ["x", "y"]) for seed in range(300)]
    for p in (np.array([fit.table["p_value"][0] for fit in nulls]), np.array([fit.proportional_hazards()["p_value"][2] for fit in nulls])):
        assert 0.02 <= (p < 0.05).mean() <= 0.09
        assert 0.4 <= np.median(p) <= 0.6
    fit = cox(customers(9, 20_000), "days", "churned", ["x", "y"]).table
    assert fit["ci_low"][0] < np.exp(0.7) < fit["ci_high"][0]


# Refusals


def test_traits_that_cannot_be_told_apart_are_refused() -> None:
    table = customers(1).with_columns(one=1, again=2 * pl.col("x"))
    with pytest.raises(DesignError, match="`one` is the same in all rows"):
        cox(table, "days", "churned", ["x", "one"])
    with pytest.raises(DesignError, match="repeat each other"):
        cox(table, "days", "churned", ["x", "again"])


def test_nulls_dates_unknown_ties_and_tables_without_events_are_refused() -> None:
    table = customers(1).with_columns(hole=pl.when(pl.col("y") == 1).then(1.0), day=pl.date(2024, 1, 1), none=0)
    with pytest.raises(DesignError, match="null in `hole`"):
        cox(table, "days", "churned", ["x", "hole"])
    with pytest.raises(SchemaError, match="`day` is Date"):
        cox(table, "days", "churned", ["x", "day"])
    with pytest.raises(SettingError, match="needs 'efron' or 'breslow'"):
        cox(table, "days", "churned", ["x"], ties="exact")
    with pytest.raises(DesignError, match="no event in `none`"):
        cox(table, "days", "none", ["x"])
    with pytest.raises(SettingError, match="needs 'km', 'rank', 'identity' or 'log'"):
        cox(table, "days", "churned", ["x"]).proportional_hazards("square")


def test_a_trait_that_knows_the_outcome_is_a_warning() -> None:
    with pytest.warns(ConvergenceWarning, match="runs away"):
        cox(customers(1).with_columns(known=pl.col("churned")), "days", "churned", ["x", "known"])


# Why the dependencies are not used


def test_statsmodels_counts_those_who_enter_at_a_time_as_at_risk_at_it() -> None:
    """Seen with statsmodels 0.15.0: -0.055 in place of -0.010 for the transplant."""
    from statsmodels.duration.hazard_regression import PHReg

    table = read("heart").with_columns(pl.col("transplant").cast(pl.Float64))
    x = table.select("age", "year", "surgery", "transplant").to_numpy().astype(float)
    stop, start, event = (table[column].to_numpy().astype(float) for column in ("stop", "start", "event"))
    right = expected("cox_td_heart")["coef"][3]
    assert abs(PHReg(stop, x, event, entry=start, ties="efron").fit().params[3] - right) > 0.03
    assert abs(PHReg(stop, x, event, entry=start + 1e-6, ties="efron").fit().params[3] - right) < 1e-6


def test_lifelines_baseline_ignores_entry() -> None:
    """Seen with lifelines 0.30.3: more than a third too low."""
    from lifelines import CoxPHFitter

    table = read("heart").with_columns(pl.col("transplant").cast(pl.Float64))
    ours = cox(table, "stop", "event", ["age", "year", "surgery", "transplant"], entry="start").baseline_hazard()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = table.select("start", "stop", "event", "age", "year", "surgery", "transplant").to_pandas()
        frame.loc[frame["stop"] <= frame["start"], "stop"] += 0.5
        fitted = CoxPHFitter().fit(frame, "stop", "event", entry_col="start")
        means = float(np.exp(-(fitted._norm_mean.to_numpy() @ fitted.params_.to_numpy())))
        theirs = float(fitted.baseline_cumulative_hazard_.loc[:10].iloc[-1, 0]) * means
    assert theirs < 0.75 * ours.filter(pl.col("time") <= 10)["hazard"][-1]


def test_lifelines_test_of_proportional_hazards_is_not_the_exact_one() -> None:
    """Seen with lifelines 0.30.3: it is the approximation of 1994."""
    from lifelines import CoxPHFitter
    from lifelines.statistics import proportional_hazard_test

    frame = read("veteran").select("time", "status", "trt", "karno", "age", "prior").to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = proportional_hazard_test(CoxPHFitter().fit(frame, "time", "status"), frame, time_transform="log").summary
    age = float(theirs.loc["age", "test_statistic"])
    assert age == pytest.approx(expected("coxzph_veteran_gt1994")["log"][2], rel=1e-3)
    assert abs(age - expected("coxzph_veteran")["log"]["chisq"][2]) > 2


def test_robust_errors_of_the_dependencies_are_off_under_efrons_ties() -> None:
    """Seen with statsmodels 0.15.0 (0.6 %) and lifelines 0.30.3 (0.02 to 1.5 %)."""
    from lifelines import CoxPHFitter
    from statsmodels.duration.hazard_regression import PHReg

    table = read("rats").filter(pl.col("sex") == "f")
    right = expected("cox_rats_cluster")["efron"]["robust_se"]
    fitted = PHReg(table["time"].to_numpy(), table.select("rx").to_numpy().astype(float), table["status"].to_numpy(), ties="efron")
    assert abs(fitted.fit(groups=table["litter"].to_numpy()).bse[0] / right - 1) > 0.003
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = CoxPHFitter().fit(table.select("time", "status", "rx", "litter").to_pandas(), "time", "status", cluster_col="litter")
    assert abs(float(other.standard_errors_.iloc[0]) / right - 1) > 1e-4
