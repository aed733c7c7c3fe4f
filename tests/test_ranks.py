"""Comparisons of groups agree with R, keep their error rate when nothing is going on, and refuse what cannot be compared."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from motkit.curves import kaplan_meier
from motkit.differences import compare_restricted_mean, risk_difference
from motkit.errors import DesignError, ExtrapolationWarning, FewEventsWarning, SchemaError, SettingError
from motkit.ranks import _normal_chain, lausen92, lausen94, logrank, maximally_selected_rank

FOLDER = Path(__file__).parent / "reference" / "survival"
REFS: dict[str, Any] = json.loads((FOLDER / "refs.json").read_text())


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / f"{name}.csv", null_values=["NA", "Inf", ""])


def expected(case: str) -> Any:
    return REFS[case]["expected"]


def customers(seed: int, n: int = 200, effect: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    arm, segment = rng.integers(0, 2, n), rng.choice(["a", "b"], n)
    entry = rng.integers(0, 10, n) * (rng.random(n) < 0.3)
    life = rng.exponential(40 * np.exp(-effect * arm) * np.where(segment == "a", 1, 0.5))
    days = entry + np.ceil(np.minimum(life, rng.uniform(10, 80, n)))
    churned = np.ceil(life) <= days - entry
    return pl.DataFrame({"entry": entry, "days": days, "churned": churned, "arm": arm, "segment": segment, "x": rng.integers(18, 80, n)})


# Agreement with R


@pytest.mark.parametrize(("case", "rho"), [("logrank_lung_sex", 0), ("logrank_peto_lung_sex", 1)])
def test_the_log_rank_test_and_its_early_weights_agree_with_r(case: str, rho: float) -> None:
    wanted, found = expected(case), logrank(read("lung"), "time", "event", "sex", rho=rho)
    assert found.df == wanted["df"]
    np.testing.assert_allclose([found.statistic, found.p_value, found.covariance[0, 0]], [wanted["chisq"], wanted["p"], wanted["var11"]], rtol=1e-10)
    np.testing.assert_allclose(found.table["observed"], wanted["obs"], rtol=1e-12)
    np.testing.assert_allclose(found.table["expected"], wanted["exp"], rtol=1e-12)


def test_a_group_that_is_reached_later_agrees_with_r() -> None:
    wanted, found = expected("logrank_td_heart"), logrank(read("heart"), "stop", "event", "transplant", entry="start")
    gap = (found.table["observed"] - found.table["expected"])[1]
    np.testing.assert_allclose([gap, found.covariance[1, 1], found.statistic], [wanted["O_minus_E"], wanted["V"], wanted["chisq"]], rtol=1e-10)


def test_each_landmark_of_a_scan_agrees_with_r() -> None:
    wanted = expected("ownlandmark_heart")
    table = read("jasa").with_columns(days=pl.when(pl.col("futime") == 0).then(0.5).otherwise(pl.col("futime")))
    for i, day in enumerate(wanted["d"]):
        there = table.filter(pl.col("days") > day).with_columns(late=(pl.col("wait.time") > day).fill_null(True))
        assert logrank(there, "days", "fustat", "late").statistic == pytest.approx(wanted["survdiff"][i], rel=1e-9)


def test_differences_and_ratios_of_mean_time_agree_with_r() -> None:
    wanted = expected("rmst_pbc")["unadjusted"]
    table = read("pbc").drop_nulls("trt").with_columns(years=pl.col("time") / 365.25, died=pl.col("status") == 2)
    found = compare_restricted_mean(table, "years", "died", 10, group="trt", reference=2).row(0, named=True)
    for i, name in enumerate(("difference", "ratio", "lost_ratio")):
        start = "" if i == 0 else f"{name}_"
        ours = [found[name], found[f"{start}ci_low"], found[f"{start}ci_high"], found[f"{start}p_value"]]
        np.testing.assert_allclose(ours, [wanted[key][i] for key in ("est", "lower", "upper", "p")], rtol=0, atol=1e-10)


def test_risk_differences_from_a_landmark_agree_with_r() -> None:
    wanted = expected("landmark_effects_synth")
    table = read("onboarding_synth").filter((pl.col("exit") > 14) & (pl.col("entry") <= 14))
    table = table.with_columns(days=pl.col("exit") - 14, late=~(pl.col("onboard_day") <= 14).fill_null(False))
    share = risk_difference(table, "days", "churn", "late", False, 150).row(0, named=True)
    np.testing.assert_allclose([share["difference"], share["std_error"]], [wanted["risk_diff"], wanted["risk_diff_se"]], atol=1e-10)
    assert [share["n_reference"], share["n"]] == wanted["n"]
    days = compare_restricted_mean(table, "days", "churn", 150, "late", False)
    np.testing.assert_allclose(list(days.select("difference", "std_error").row(0)), [wanted["rmst_diff"], wanted["rmst_diff_se"]], atol=1e-10)


CUTS = [("maxstat_DLBCL_MGE", "DLBCL", "cens", "MGE"), ("maxstat_GBSG2_age", "GBSG2", "cens", "age"), ("maxstat_lung_age", "lung", "event", "age")]


@pytest.mark.parametrize(("case", "file", "event", "x"), CUTS)
def test_the_best_cut_and_all_its_p_values_agree_with_r(case: str, file: str, event: str, x: str) -> None:
    """Statistics and formulas to 1e-9; R integrates and shuffles by chance, so 0.003 and 0.005 there."""
    wanted, table = expected(case), read(file).drop_nulls(["time", event, x])
    for method, name, tolerance in (
        ("lausen92", "p_Lau92", 1e-9),
        ("lausen94", "p_Lau94", 1e-9),
        ("exact-gauss", "p_exactGauss", 1e-3),
        ("conditional-mc", "p_condMC", 5e-3),
    ):
        found = maximally_selected_rank(table, "time", event, x, method=method)  # one case per method
        assert found.p_value == pytest.approx(wanted[name], abs=tolerance)
    assert (found.statistic, found.cut) == (pytest.approx(wanted["statistic"], abs=1e-9), wanted["cutpoint"])
    np.testing.assert_allclose(found.scan["statistic"], wanted["stats"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.scan["cut"], wanted["cuts"], rtol=0, atol=1e-12)


def test_formulas_of_the_p_value_agree_with_r_and_stop_at_one() -> None:
    wanted = expected("maxstat_pformulas")
    for i, b in enumerate(wanted["b"]):
        assert lausen92(b) == pytest.approx(min(1, wanted["Lau92"][i]), abs=1e-12)
        for n in (100, 1000):
            found = lausen94(b, n, range(n // 10, n * 9 // 10 + 1))
            assert found == pytest.approx(min(1, wanted[f"Lau94_N{n}"][i]), abs=1e-12)


# Agreement with plain loops


def plain_score(table: pl.DataFrame) -> tuple[float, float]:
    gap = variance = 0.0
    for _, part in table.group_by("segment"):
        entry, days, died, arm = (part[c].to_numpy() for c in ("entry", "days", "churned", "arm"))
        for time in np.unique(days[died]):
            here = (entry < time) & (time <= days)
            n, n1, d = here.sum(), (here & (arm == 1)).sum(), (died & (days == time)).sum()
            gap += (died & (days == time) & (arm == 1)).sum() - d * n1 / n
            variance += d * n1 / n * (1 - n1 / n) * (n - d) / (n - 1) if n > 1 else 0
    return gap, variance


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strata_with_entry_are_those_of_a_plain_loop(seed: int) -> None:
    table = customers(seed)
    gap, variance = plain_score(table)
    found = logrank(table, "days", "churned", "arm", entry="entry", strata="segment")
    assert found.statistic == pytest.approx(gap**2 / variance, rel=1e-10)


def test_the_chain_of_integrals_is_the_chance_of_many_draws() -> None:
    below, n, b = np.array([20.0, 30, 45, 60, 80]), 100, 2.1
    rho = np.sqrt(below[None] * (n - below[:, None]) / (below[:, None] * (n - below[None])))
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(5), np.minimum(rho, rho.T), 400_000)
    assert _normal_chain(b, n, below) == pytest.approx((np.abs(draws).max(axis=1) >= b).mean(), abs=0.001)


@pytest.mark.parametrize("strata", [None, "segment"])
def test_three_groups_agree_with_statsmodels_where_it_is_right(strata: str | None) -> None:
    from statsmodels.duration.survfunc import survdiff

    table = customers(9, 400, effect=0.4).with_columns(arm=pl.col("x") % 3, days=pl.col("days") - pl.col("entry"))
    time, died, arm = (table[c].to_numpy().astype(float) for c in ("days", "churned", "arm"))
    layers = None if strata is None else table[strata].to_numpy()
    for rho, options in ((0, {}), (1, {"weight_type": "fh", "fh_p": 1})):
        statistic, p = survdiff(time, died, arm, strata=layers, **options)
        found = logrank(table, "days", "churned", "arm", strata=strata, rho=rho)
        assert (found.df, found.statistic, found.p_value) == (2, pytest.approx(statistic, rel=1e-9), pytest.approx(p, rel=1e-9))


# Laws


def test_rows_weights_units_and_labels_do_not_matter() -> None:
    table = customers(4, effect=0.5)
    call = {"duration": "days", "event": "churned", "group": "arm", "entry": "entry", "strata": "segment"}
    found = logrank(table, **call)
    shuffled = table.sample(fraction=1, shuffle=True, seed=1).with_columns(pl.col("days", "entry") / 7)
    assert logrank(shuffled, **call).statistic == pytest.approx(found.statistic, rel=1e-10)
    renamed = table.with_columns(arm=pl.when(pl.col("arm") == 1).then(pl.lit("new")).otherwise(pl.lit("old")))
    assert logrank(renamed, **call).statistic == pytest.approx(found.statistic, rel=1e-10)
    doubled, weighted = logrank(pl.concat([table, table]), **call), logrank(table.with_columns(n=2), weight="n", **call)
    assert_frame_equal(doubled.table, weighted.table)
    assert doubled.statistic == pytest.approx(weighted.statistic, rel=1e-10)


def test_two_groups_of_three_that_are_never_there_leave_the_test_of_two() -> None:
    table = customers(5, effect=0.5).with_columns(pl.col("arm").cast(pl.Int64))
    away = table.head(5).with_columns(arm=pl.lit(9, pl.Int64), entry=pl.lit(500), days=pl.lit(501.0), churned=pl.lit(False))
    both = pl.concat([table, away.select(table.columns).cast(dict(table.schema))])
    with pytest.warns(FewEventsWarning, match="1 of 3 groups"):
        found = logrank(both, "days", "churned", "arm", entry="entry")
    assert (found.df, found.statistic) == (1, pytest.approx(logrank(table, "days", "churned", "arm", entry="entry").statistic))


def test_swapping_the_reference_changes_the_sign_only() -> None:
    table = customers(6, effect=0.5)
    one, other = (risk_difference(table, "days", "churned", "arm", arm, 10, entry="entry").row(0, named=True) for arm in (0, 1))
    assert one["difference"] == pytest.approx(-other["difference"])
    assert one["p_value"] == pytest.approx(other["p_value"])


def test_standardised_risks_are_means_over_the_strata() -> None:
    table = customers(7, 400, effect=0.5)
    found = risk_difference(table, "days", "churned", "arm", 0, 10, entry="entry", strata="segment").row(0, named=True)
    parts = [
        (part.height / table.height, risk_difference(part, "days", "churned", "arm", 0, 10, entry="entry").row(0, named=True))
        for _, part in table.group_by("segment")
    ]
    assert found["difference"] == pytest.approx(sum(share * part["difference"] for share, part in parts))
    assert found["std_error"] == pytest.approx(sum((share * part["std_error"]) ** 2 for share, part in parts) ** 0.5)


def test_one_cause_without_rivals_has_the_risk_of_the_curve() -> None:
    table = customers(8).with_columns(kind=pl.col("churned").cast(pl.Int8))
    plain, one = (risk_difference(table, "days", c, "arm", 0, 10, cause=k).row(0, named=True) for c, k in (("churned", None), ("kind", 1)))
    assert one["difference"] == pytest.approx(plain["difference"])
    assert one["std_error"] == pytest.approx(plain["std_error"])


# Null data


def test_without_a_difference_p_values_keep_their_rate() -> None:
    tables = [customers(seed, 150) for seed in range(150)]
    tests = {
        "log-rank": [logrank(t, "days", "churned", "arm", entry="entry", strata="segment").p_value for t in tables],
        "late weights": [logrank(t, "days", "churned", "arm", gamma=1).p_value for t in tables],
        "risk": [risk_difference(t, "days", "churned", "arm", 0, 15)["p_value"][0] for t in tables],
        "mean time": [compare_restricted_mean(t, "days", "churned", 15, "arm", 0)["p_value"][0] for t in tables],
    }
    for name, found in tests.items():
        assert 0.01 <= (np.array(found) < 0.05).mean() <= 0.095, name
        assert 0.38 <= np.median(found) <= 0.62, name


def test_the_search_for_the_best_cut_keeps_its_rate_and_the_smallest_p_does_not() -> None:
    p, smallest = [], []
    for seed in range(150):
        table = customers(seed, 120)
        p.append(maximally_selected_rank(table, "days", "churned", "x", draws=199, seed=seed).p_value)
        cut = maximally_selected_rank(table, "days", "churned", "x", method="lausen92").cut
        smallest.append(logrank(table.with_columns(old=pl.col("x") > cut), "days", "churned", "old").p_value)
    assert (np.array(p) < 0.05).mean() <= 0.085
    assert (np.array(smallest) < 0.05).mean() >= 0.2


def test_a_planted_cut_is_found() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(18, 80, 2000)
    life, seen = rng.exponential(np.where(x <= 42, 30, 60)), rng.uniform(20, 120, 2000)
    found = maximally_selected_rank(pl.DataFrame({"days": np.minimum(life, seen), "churned": life <= seen, "x": x}), "days", "churned", "x")
    assert abs(found.cut - 42) <= 1
    assert found.p_value < 0.001
    assert "p = " in repr(found)


# Refusals


def test_groups_that_are_not_there_are_refused() -> None:
    table = customers(1)
    one = table.filter(pl.col("arm") == 1)
    with pytest.raises(DesignError, match="holds 1 group"):
        logrank(one, "days", "churned", "arm")
    with pytest.raises(DesignError, match="reference 7 is not in `arm`"):
        compare_restricted_mean(table, "days", "churned", 10, "arm", 7)
    with pytest.raises(DesignError, match="holds 1 group"):
        risk_difference(one, "days", "churned", "arm", 1, 10)
    lacking = table.filter((pl.col("segment") == "a") | (pl.col("arm") == 0))
    with pytest.raises(DesignError, match="lack a group"):
        risk_difference(lacking, "days", "churned", "arm", 0, 10, strata="segment")
    with pytest.raises(DesignError, match="no event in `none`"):
        logrank(table.with_columns(none=0), "days", "none", "arm")
    with pytest.raises(DesignError, match="cause 3 is not in `kind`"):
        risk_difference(table.with_columns(kind=pl.col("churned").cast(pl.Int8)), "days", "kind", "arm", 0, 10, cause=3)


def test_a_cut_that_cannot_be_is_refused_with_all_faults() -> None:
    table = customers(1)
    with pytest.raises(SettingError, match=r"method is 'min'.*need 0 < minprop < maxprop < 1"):
        maximally_selected_rank(table, "days", "churned", "x", minprop=0.9, maxprop=0.1, method="min")
    with pytest.raises(SchemaError, match="`segment` is String, needs numbers"):
        maximally_selected_rank(table, "days", "churned", "segment")
    with pytest.raises(DesignError, match="`segments` has no cut"):
        maximally_selected_rank(table.with_columns(segments=1), "days", "churned", "segments")
    holes = table.with_columns(x=pl.when(pl.int_range(pl.len()) > 1).then(pl.col("x")))
    with pytest.raises(DesignError, match="2 null in `x`"):
        maximally_selected_rank(holes, "days", "churned", "x")


def test_a_horizon_beyond_the_follow_up_is_a_warning() -> None:
    with pytest.warns(ExtrapolationWarning, match="nobody was observed up to 900"):
        risk_difference(customers(1), "days", "churned", "arm", 0, 900)


# Why the dependency is not used


def test_statsmodels_breaks_on_strata_with_entry() -> None:
    """Seen with statsmodels 0.15.0: the entries are not cut down to the stratum."""
    from statsmodels.duration.survfunc import survdiff

    table = customers(2)
    time, died, arm, entry = (table[c].to_numpy().astype(float) for c in ("days", "churned", "arm", "entry"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((IndexError, ValueError)):
            survdiff(time, died, arm, strata=table["segment"].to_numpy(), entry=entry)


def test_comparisons_use_the_same_curve_as_kaplan_meier() -> None:
    table = customers(3, effect=0.4)
    found = risk_difference(table, "days", "churned", "arm", 0, 20).row(0, named=True)
    curve = kaplan_meier(table.filter(pl.col("arm") == 1), "days", "churned").filter(pl.col("time") <= 20)
    assert found["risk"] == pytest.approx(1 - curve["survival"][-1])
