"""Experiments: agreement with statsmodels, scipy and published numbers; null data; the gate; a real test of letters."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from motkit.arm_sums import remove_before, sum_arms
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.experiments import _compare, _Plan, compare_arms, sample_ratio_p
from motkit.looks import confidence_sequence, crossing_probability, plan_looks
from motkit.sample_sizes import plan_sample, power_of_rates

REFERENCE = Path(__file__).parent / "reference" / "experiments"


def expected(name: str) -> Any:
    return json.loads((REFERENCE / f"{name}.json").read_text())


def draw(n: int, seed: int, effect: float = 0.0, share: float = 0.2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < 0.5
    before = rng.normal(size=n)
    bought = rng.random(n) < share + effect * treated
    spend = before + rng.exponential(1, n) + effect * treated
    columns = {"arm": np.where(treated, "mail", "control"), "bought": bought.astype(int), "spend": spend, "before": before}
    return pl.DataFrame(columns | {"visits": rng.poisson(2 + effect * treated)})


# Agreement


def test_shares_agree_with_statsmodels() -> None:
    table = draw(900, 1, 0.08)
    row = compare_arms(table, "arm", "bought", "control").table.row(1, named=True)
    k, n = ([table.filter(pl.col("arm") == arm)["bought"].sum() for arm in ("mail", "control")], [table.filter(pl.col("arm") == arm).height for arm in ("mail", "control")])
    assert row["p_value"] == pytest.approx(proportions_ztest(k, n)[1])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(confint_proportions_2indep(k[0], n[0], k[1], n[1], method="newcomb", compare="diff"), abs=1e-9)
    assert row["ratio"] == pytest.approx(k[0] / n[0] / (k[1] / n[1]))
    log = confint_proportions_2indep(k[0], n[0], k[1], n[1], method="log", compare="ratio")
    assert (row["ratio_ci_low"], row["ratio_ci_high"]) == pytest.approx(log, rel=2e-3)  # variances with n - 1 here


def test_means_agree_with_welch() -> None:
    table = draw(300, 2, 0.3)
    arms = [table.filter(pl.col("arm") == arm)["spend"].to_numpy() for arm in ("mail", "control")]
    welch = stats.ttest_ind(*arms, equal_var=False)
    row = compare_arms(table, "arm", "spend", "control", kind="mean").table.row(1, named=True)
    span = welch.confidence_interval(0.95)
    assert (row["p_value"], row["ci_low"], row["ci_high"]) == pytest.approx((welch.pvalue, span.low, span.high))


def test_clusters_agree_with_a_plain_loop_and_with_robust_errors_of_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    home = np.repeat(np.arange(400), rng.integers(1, 6, 400))
    arm = np.where(home % 2, "mail", "control")
    voted = (rng.random(len(home)) < 0.2 + 0.4 * rng.random(400)[home]).astype(float)
    table = pl.DataFrame({"arm": arm, "home": home, "voted": voted})
    row = compare_arms(table, "arm", "voted", "control", cluster="home").table.row(1, named=True)
    variance = {}
    for name in ("mail", "control"):
        own = table.filter(pl.col("arm") == name)
        mean, totals = own["voted"].mean(), [(part["voted"].sum(), part.height) for part in own.partition_by("home")]
        c = len(totals)
        variance[name] = c / (c - 1) * sum((s - mean * n) ** 2 for s, n in totals) / own.height**2
    assert row["std_error"] == pytest.approx((variance["mail"] + variance["control"]) ** 0.5)
    fit = sm.OLS(voted, sm.add_constant((arm == "mail").astype(float))).fit(cov_type="cluster", cov_kwds={"groups": home})
    assert row["std_error"] == pytest.approx(fit.bse[1], rel=0.01)
    assert row["std_error"] > compare_arms(table, "arm", "voted", "control").table["std_error"][1]
    assert_frame_equal(compare_arms(table.sample(fraction=1, shuffle=True, seed=1).lazy(), "arm", "voted", "control", cluster="home").table, compare_arms(table, "arm", "voted", "control", cluster="home").table)


def test_a_value_from_before_agrees_with_the_worked_example_and_may_be_missing() -> None:
    case = expected("cuped")
    table = pl.DataFrame({"y": case["y"], "x": case["x"], "arm": ["t" if t else "c" for t in case["t"]]})
    found = compare_arms(table, "arm", "y", "c", kind="mean", covariate="x")
    assert found.table["difference"][1] == pytest.approx(case["cuped_effect"])
    assert found.variance_left == pytest.approx(case["variance_ratio"])
    big = draw(4000, 5, 0.2).with_columns(before=pl.when(pl.int_range(pl.len()) % 4 > 0).then("before"))
    with_, without = (compare_arms(big, "arm", "spend", "control", kind="mean", covariate=c).table.row(1, named=True) for c in ("before", None))
    assert with_["std_error"] < 0.85 * without["std_error"]
    assert abs(with_["difference"] - 0.2) < 3 * with_["std_error"]
    none = draw(200, 6).with_columns(before=pl.lit(None, pl.Float64))
    assert remove_before(none.lazy(), "spend", "before")[1] == pytest.approx(1.0)


def test_times_agree_with_survival_comparisons() -> None:
    from motkit.survival import compare_restricted_mean, logrank

    rng = np.random.default_rng(7)
    table = pl.DataFrame({"arm": np.repeat(["control", "mail"], 300), "days": np.ceil(rng.exponential(np.repeat([60.0, 90.0], 300))), "left": rng.random(600) < 0.7})
    found = compare_arms(table, "arm", ("days", "left"), "control", kind="time", horizon_days=90).table.row(1, named=True)
    days = compare_restricted_mean(table.with_columns(pl.col("left").cast(pl.Int8)), "days", "left", 90, "arm", "control").row(0, named=True)
    assert (found["difference"], found["ci_low"], found["ratio"]) == pytest.approx((days["difference"], days["ci_low"], days["ratio"]))
    assert found["p_value"] == pytest.approx(logrank(table.with_columns(pl.col("left").cast(pl.Int8)), "days", "left", "arm").p_value)


def test_all_comparisons_together_have_the_p_values_of_holm() -> None:
    from statsmodels.stats.multitest import multipletests

    table = draw(2000, 19, 0.03).with_columns(arm=pl.Series(np.random.default_rng(1).choice(["control", "mail", "call"], 2000)))
    found = compare_arms(table, "arm", ["spend", "before", "visits"], "control", kind="mean").table.drop_nulls("p_value")
    assert found["p_adjusted"].to_list() == pytest.approx(multipletests(found["p_value"], method="holm")[1])


def test_a_difference_that_does_not_hold_among_all_comparisons_is_not_called_found() -> None:
    table = pl.DataFrame({"arm": np.repeat(["control", "mail"], 1000), "bought": np.tile(np.arange(1000), 2) < np.repeat([200, 237], 1000)})
    alone = compare_arms(table, "arm", "bought", "control")
    assert 0.02 < alone.table["p_value"][1] < 0.05
    assert "no difference was found" not in alone.reading
    assert "no difference was found" in compare_arms(table.with_columns(again="bought"), "arm", ["bought", "again"], "control").reading


def test_times_widen_at_planned_looks_and_hold_at_any_time() -> None:
    rng = np.random.default_rng(7)
    table = pl.DataFrame({"arm": np.repeat(["control", "mail"], 300), "days": np.ceil(rng.exponential(np.repeat([60.0, 90.0], 300))), "left": rng.random(600) < 0.7})
    plain, look, any_time = (compare_arms(table, "arm", ("days", "left"), "control", kind="time", horizon_days=90, **more).table.row(1, named=True) for more in ({}, {"z_limit": 2.8}, {"any_time_effect": 5.0}))
    assert look["ci_high"] - look["difference"] == pytest.approx(2.8 * plain["std_error"])
    assert np.log(look["ratio_ci_high"] / look["ratio"]) == pytest.approx(2.8 / 1.959964 * np.log(plain["ratio_ci_high"] / plain["ratio"]))
    assert (any_time["ci_low"], any_time["ci_high"], any_time["p_value"]) == pytest.approx(confidence_sequence(plain["difference"], plain["std_error"], 5.0))


@pytest.mark.parametrize("case", expected("srm"), ids=lambda case: str(case["observed"]))
def test_the_gate_is_the_chi_square_test(case: dict[str, Any]) -> None:
    counts, shares = ({str(k): v for k, v in enumerate(case[name])} for name in ("observed", "share"))
    p = sample_ratio_p(counts, shares)
    assert p == pytest.approx(case["p"], rel=1e-9)
    assert (p < 0.001) == case["srm_at_0_001"]


def test_sample_sizes_are_those_of_r() -> None:
    for case in expected("power"):
        if "n_R" in case:
            plan = plan_sample(case["p1"], difference=case["p2"] - case["p1"], power=case["power"])
            assert plan.n_control == pytest.approx(case["n_R"], abs=1)
    assert power_of_rates(0.5, 0.75, 50, 50) == pytest.approx(0.7401659013313878, abs=1e-4)
    assert plan_sample(0.5, difference=0.25, power=0.9).n_control == 77
    assert plan_sample(0.02, difference=0.002, treated_per_control=4).n_control == pytest.approx(50398, rel=0.02)
    assert plan_sample(0.1, difference=0.02, cluster_size=3, intraclass_correlation=0.5).n_control == pytest.approx(2 * plan_sample(0.1, difference=0.02).n_control, abs=2)


def test_a_plan_reaches_its_power_in_simulation() -> None:
    plan, rng = plan_sample(0.1, difference=0.05), np.random.default_rng(8)
    control, treated = rng.binomial(plan.n_control, 0.1, 2000), rng.binomial(plan.n_treated, 0.15, 2000)
    seen = [proportions_ztest([a, b], [plan.n_treated, plan.n_control])[1] < 0.05 for a, b in zip(treated, control, strict=True)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_looks_are_those_of_the_published_tables() -> None:
    tables = expected("sequential")
    for case in tables["peeking"][:8]:
        assert crossing_probability(np.full(case["looks"], 1.959964)) == pytest.approx(case["type1"], abs=2e-4)
    for shape, name in (("pocock", "pocock"), ("obrien-fleming", "obrien_fleming")):
        for case in tables[name]:
            assert plan_looks(case["looks"], shape)["z_limit"][-1] == pytest.approx(case["constant"], abs=5e-4)
    for case in tables["msprt"]:
        assert confidence_sequence(case["xbar"], case["n"] ** -0.5, case["tau2"] ** 0.5)[2] == pytest.approx(case["p_always_valid"], rel=1e-9)
    for case in tables["confidence_sequence_radius"]:
        low, high, _ = confidence_sequence(0.0, (case["sigma2"] / case["n"]) ** 0.5, case["tau2"] ** 0.5, case["alpha"])
        assert (high - low) / 2 == pytest.approx(case["radius"], rel=1e-9)


# Laws and null data


def test_order_and_laziness_do_not_matter_and_all_comparisons_share_one_error_rate() -> None:
    table = draw(600, 9, 0.1)
    found = compare_arms(table, "arm", ["bought"], "control").table
    assert_frame_equal(found, compare_arms(table.sample(fraction=1, shuffle=True, seed=1).lazy(), "arm", "bought", "control").table)
    both = compare_arms(table.with_columns(again="bought"), "arm", ["bought", "again"], "control").table
    assert both["p_adjusted"].drop_nulls().to_list() == pytest.approx([2 * found["p_value"][1]] * 2)


@pytest.mark.parametrize(("outcome", "kind", "before"), [("bought", "rate", None), ("spend", "mean", None), ("spend", "mean", "before"), ("visits", "count", None)])
def test_nothing_is_found_in_one_of_twenty_tests_without_effect(outcome: str, kind: str, before: str | None) -> None:
    runs, n = 2000, 300
    rows = draw(runs * n, 14).with_columns(run=pl.int_range(pl.len()) // n).lazy().cast({outcome: pl.Float64})
    if before:
        rows = remove_before(rows, outcome, before, "in-memory")[0]
    sums = sum_arms(rows.with_columns(arm=pl.format("{}:{}", "run", "arm")), "arm", outcome, engine="in-memory")
    by_run = {row["arm"]: row for row in sums.iter_rows(named=True)}
    plan = _Plan(kind, 0.95, before is None, None, None, "in-memory")
    found = [_compare(by_run[f"{run}:mail"], by_run[f"{run}:control"], plan) for run in range(runs)]
    assert np.mean([row["p_value"] < 0.05 for row in found]) == pytest.approx(0.05, abs=0.01)
    assert np.mean([row["ci_low"] > 0 or row["ci_high"] < 0 for row in found]) == pytest.approx(0.05, abs=0.012)


def test_peeking_at_every_step_keeps_the_error_rate_only_with_intervals_for_any_time() -> None:
    rng, runs, n = np.random.default_rng(10), 400, 2000
    treated, control = rng.random((runs, n)) < 0.2, rng.random((runs, n)) < 0.2
    k = np.arange(1, n + 1)
    p1, p0 = np.cumsum(treated, axis=1) / k, np.cumsum(control, axis=1) / k
    error = np.sqrt(np.maximum(p1 * (1 - p1) + p0 * (1 - p0), 1e-9) / k)
    late = slice(99, None)
    naive = (np.abs(p1 - p0)[:, late] > 1.96 * error[:, late]).any(axis=1).mean()
    any_time = np.mean([any(confidence_sequence(d, e, 0.05)[2] < 0.05 for d, e in zip(gap[99::20], err[99::20], strict=True)) for gap, err in zip(p1 - p0, error, strict=True)])
    assert naive > 0.25
    assert any_time <= 0.05


def test_limits_of_planned_looks_and_of_any_time_widen_the_interval() -> None:
    table = draw(2000, 11, 0.05)
    width = lambda **more: (lambda row: row["ci_high"] - row["ci_low"])(compare_arms(table, "arm", "spend", "control", kind="mean", **more).table.row(1, named=True))  # noqa: E731
    assert width() < width(z_limit=plan_looks(5, "pocock")["z_limit"][0]) < width(any_time_effect=0.1)


# Refusals


def test_arms_that_lost_customers_are_not_read() -> None:
    table = draw(4000, 12).filter((pl.col("arm") == "control") | (pl.int_range(pl.len()) % 5 > 0))
    found = compare_arms(table, "arm", "bought", "control")
    assert not found.sound
    assert found.reading.startswith("Do not read")
    assert compare_arms(table, "arm", "bought", "control", shares={"control": 5, "mail": 4}).sound
    assert "associations" in compare_arms(table, "arm", "bought", "control", randomised=False).reading


def test_groups_that_chance_did_not_deal_are_called_confounded_with_the_reason_and_the_difference_before() -> None:
    table = draw(4000, 16)
    picked = table.with_columns(arm=pl.when(pl.col("before") > 0).then(pl.lit("mail")).otherwise(pl.lit("control")))
    found = compare_arms(picked, "arm", "spend", "control", kind="mean", covariate="before", randomised=False, confounded_by=["good customers were picked"])
    means = picked.group_by("arm").agg(pl.col("before").mean()).sort("arm")["before"]
    assert "Confounded" in found.reading
    assert "Known reasons: good customers were picked." in found.reading
    assert f"mail had {means[1] - means[0]:.3f} more than control" in found.reading
    assert not found.randomised
    fair = compare_arms(table, "arm", "spend", "control", kind="mean", covariate="before", randomised=False)
    assert "Already before" not in fair.reading


def test_a_reading_says_the_difference_then_the_interval_then_p_without_needless_digits() -> None:
    reading = compare_arms(draw(4000, 17, 0.1), "arm", "bought", "control").reading
    assert re.match(r"mail: \d+\.\d percentage points more than control \(95% interval \d+\.\d to \d+\.\d more; .* n = [\d,]+ and [\d,]+\); p < 0\.001\.", reading)
    assert "no difference was found" in compare_arms(draw(400, 18), "arm", "bought", "control").reading


def test_bad_input_is_told() -> None:
    table = draw(100, 13)
    with pytest.raises(SchemaError, match="missing `group`"):
        compare_arms(table, "group", "bought", "control")
    with pytest.raises(DesignError, match="no customer is in the control arm"):
        compare_arms(table, "arm", "bought", "nobody")
    with pytest.raises(DesignError, match="have no `bought`"):
        compare_arms(table.with_columns(bought=pl.when(pl.int_range(pl.len()) > 3).then("bought")), "arm", "bought", "control")
    with pytest.raises(SettingError, match="do not fit"):
        compare_arms(table, "arm", "spend", "control")
    with pytest.raises(SettingError, match="horizon_days"):
        compare_arms(table, "arm", ("spend", "bought"), "control", kind="time")
    with pytest.raises(DesignError, match="more than one arm"):
        sum_arms(table.with_columns(home=pl.lit(1)).lazy(), "arm", "bought", "home")
    with pytest.raises(DesignError, match="4 customers have no `home`"):
        compare_arms(table.with_columns(home=pl.int_range(pl.len()).replace([0, 5, 6, 9], None)), "arm", "bought", "control", cluster="home")
    with pytest.raises(SettingError, match="no test can see"):
        plan_sample(0.1, difference=0)


# Real data


@pytest.fixture(scope="module")
def voters(real_data: Path) -> pl.DataFrame:
    """The voters with their households: runs of one letter and one size, cut into pieces of that size."""
    rows = pl.read_parquet(real_data / "gotv_mail_rct_2006.parquet").with_columns(voted=pl.col("primary2006") == 1, run=pl.struct("messages", "hhsize").rle_id())
    return rows.with_columns(home=pl.struct("run", pl.int_range(pl.len()).over("run") // pl.col("hhsize")).rank("dense"))


MEANT = {"Control": 5, "Civic Duty": 1, "Hawthorne": 1, "Neighbors": 1}


@pytest.mark.data
def test_letters_to_voters_give_the_published_shares(voters: pl.DataFrame) -> None:
    found = compare_arms(voters, "messages", "voted", "Control", shares=MEANT)
    shares = {row["arm"]: round(100 * row["value"], 2) for row in found.table.iter_rows(named=True)}
    assert shares == {"Control": 29.66, "Civic Duty": 31.45, "Hawthorne": 32.24, "Neighbors": 37.79}
    assert (found.table.filter(pl.col("arm") != "Control")["p_adjusted"] < 1e-6).all()


@pytest.mark.data
def test_letters_went_to_households_and_intervals_by_household_are_a_quarter_wider(voters: pl.DataFrame) -> None:
    homes = voters.group_by("home").agg(pl.len(), pl.col("hhsize", "messages").first())
    assert (homes["len"] == homes["hhsize"]).all()
    assert homes.height + 20_000 == 180_002  # households as published, less the letter that the file leaves out
    by_home, by_voter = (compare_arms(voters, "messages", "voted", "Control", shares=MEANT, cluster=c).table for c in ("home", None))
    assert by_home["std_error"].drop_nulls().round(3).to_list() == [0.003] * 3  # Gerber, Green and Larimer 2008
    assert (by_home["std_error"] / by_voter["std_error"]).drop_nulls().to_list() == pytest.approx([1.25] * 3, abs=0.01)
    assert by_home["difference"].equals(by_voter["difference"])
