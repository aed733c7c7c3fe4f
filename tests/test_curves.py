"""Survival curves agree with R, with a plain loop and with themselves; bad tables are refused with all their faults."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from motkit.curves import (
    NeverAtRiskWarning,
    check_durations,
    cumulative_incidence,
    kaplan_meier,
    nelson_aalen,
    survival_at,
    survival_quantiles,
)
from motkit.differences import restricted_mean
from motkit.errors import DesignError, ExtrapolationWarning, FewEventsWarning, SchemaError, SettingError

FOLDER = Path(__file__).parent / "reference" / "survival"
REFS: dict[str, Any] = json.loads((FOLDER / "refs.json").read_text())


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / f"{name}.csv", null_values=["NA", "Inf"])


def expected(case: str) -> Any:
    return REFS[case]["expected"]


def close(found: pl.Series, wanted: list[float], tolerance: float) -> None:
    np.testing.assert_allclose(found.to_numpy(), np.array(wanted, dtype=float), rtol=0, atol=tolerance)


def customers(seed: int = 0, n: int = 300, late: bool = True) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    entry = rng.integers(0, 20, n) * (rng.random(n) < 0.4) if late else np.zeros(n, dtype=np.int64)
    days = entry + rng.integers(1, 60, n)
    return pl.DataFrame({"entry": entry, "days": days, "cause": rng.integers(0, 3, n), "plan": rng.choice(["a", "b"], n)}).with_columns(
        churned=pl.col("cause") == 1
    )


# Agreement with R


@pytest.mark.parametrize(("case", "interval"), [("log", "log"), ("loglog", "log-log"), ("plain", "plain")])
def test_kaplan_meier_and_its_three_intervals_agree_with_r(case: str, interval: Any) -> None:
    wanted = expected("km_lung")[case]
    found = survival_at(kaplan_meier(read("lung"), "time", "event", interval=interval), wanted["times"])
    for theirs, ours in (("surv", "survival"), ("se", "std_error"), ("lower", "ci_low"), ("upper", "ci_high")):
        close(found[ours], wanted[theirs], 1e-12)


def test_quantiles_and_their_limits_agree_with_r() -> None:
    wanted = expected("km_lung")
    found = survival_quantiles(kaplan_meier(read("lung"), "time", "event"), [0.25, 0.5, 0.75])
    assert found["time"].to_list() == wanted["quartiles"]
    assert list(found.row(1)[2:]) == wanted["median_ci_log"]
    by_log_log = survival_quantiles(kaplan_meier(read("lung"), "time", "event", interval="log-log"))
    assert list(by_log_log.row(0)[2:]) == wanted["median_ci_loglog"]


def test_delayed_entry_agrees_with_r() -> None:
    wanted = expected("km_left_truncated")
    table = read("psychiatric").with_columns(exit=pl.col("Age") + pl.col("T"))
    found = kaplan_meier(table, "exit", "C", entry="Age").filter(pl.col("events") > 0)
    assert found["time"].to_list() == wanted["times"]
    assert found["at_risk"].to_list() == wanted["n_risk"]
    close(found["survival"], wanted["surv"], 1e-12)
    close(found["std_error"][:-1], wanted["se"][:-1], 1e-12)
    assert found["std_error"][-1] is None


@pytest.mark.parametrize(("ties", "case"), [("breslow", "na"), ("fleming-harrington", "fh")])
def test_cumulative_hazards_of_both_tie_rules_agree_with_r(ties: Any, case: str) -> None:
    wanted = expected("na_lung")
    found = survival_at(nelson_aalen(read("lung"), "time", "event", ties=ties), wanted["times"])
    close(found["hazard"], wanted[f"{case}_cumhaz"], 1e-12)
    close(found["std_error"], wanted[f"{case}_se"], 1e-12)


def test_competing_endings_agree_with_r() -> None:
    wanted = expected("aj_mgus2")
    curve = cumulative_incidence(read("mgus2_cr").sample(fraction=1, shuffle=True, seed=1), "etime", "ev")
    for cause in (1, 2):
        found = survival_at(curve.filter(pl.col("cause") == cause), wanted["times"])
        close(found["incidence"], wanted[f"cif{cause}"], 1e-12)
        close(found["std_error"], wanted[f"se{cause}"], 1e-12)


def test_one_minus_survival_overstates_the_risk_as_r_says() -> None:
    naive = expected("aj_mgus2_naive")
    table = read("mgus2_cr").with_columns(first=pl.col("ev") == 1)
    found = survival_at(kaplan_meier(table, "etime", "first"), naive["times"])
    close(1 - found["survival"], naive["one_minus_km"], 1e-12)
    assert naive["one_minus_km"][-1] > 3 * expected("aj_mgus2")["cif1"][-1]


def test_mean_time_agrees_with_r() -> None:
    table = read("pbc").drop_nulls("trt").with_columns(years=pl.col("time") / 365.25, died=pl.col("status") == 2)
    found = restricted_mean(table, "years", "died", 10, by="trt")
    for row, arm in enumerate(("rmst1", "rmst0")):
        np.testing.assert_allclose(found.row(row)[3:], expected("rmst_pbc")[arm], rtol=0, atol=1e-10)


def test_mean_time_from_a_landmark_agrees_with_r() -> None:
    wanted = expected("landmark_effects_synth")
    table = read("onboarding_synth").filter((pl.col("exit") > 14) & (pl.col("entry") <= 14))
    table = table.with_columns(days=pl.col("exit") - 14, late=~(pl.col("onboard_day") <= 14).fill_null(False))
    found = restricted_mean(table, "days", "churn", 150, by="late")
    assert found["n"].to_list() == wanted["n"]
    close(found["rmst"], wanted["rmst"], 1e-10)
    close(found["std_error"], wanted["rmst_se"], 1e-10)


# Agreement with a plain loop


def plain_incidence(table: pl.DataFrame, cause: int) -> dict[int, float]:
    rows = list(zip(table["entry"], table["days"], table["cause"], strict=True))
    share, incidence, found = 1.0, 0.0, {}
    for time in sorted({row[1] for row in rows}):
        at_risk = sum(entry < time <= days for entry, days, _ in rows)
        ended = [kind for _, days, kind in rows if days == time and kind > 0]
        incidence += share * sum(kind == cause for kind in ended) / at_risk
        share *= 1 - len(ended) / at_risk
        found[time] = incidence
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_incidence_with_delayed_entry_is_that_of_a_plain_loop(seed: int) -> None:
    table = customers(seed)
    curve = cumulative_incidence(table, "days", "cause", entry="entry")
    for cause in (1, 2):
        found = dict(curve.filter(pl.col("cause") == cause).select("time", "incidence").iter_rows())
        for time, value in plain_incidence(table, cause).items():
            assert found[time] == pytest.approx(value, abs=1e-12)


def test_the_variance_of_one_cause_alone_is_greenwoods() -> None:
    table = customers(4).with_columns(pl.col("churned").cast(pl.Int8))
    one = cumulative_incidence(table, "days", "churned", entry="entry")
    curve = kaplan_meier(table, "days", "churned", entry="entry")
    known = curve["std_error"].is_not_null()
    close(one["std_error"].filter(known), curve["std_error"].filter(known).to_list(), 1e-10)


def test_the_spread_of_the_incidence_over_many_samples_is_its_standard_error() -> None:
    values, errors = [], []
    for seed in range(300):
        at = survival_at(cumulative_incidence(customers(seed, 200), "days", "cause", entry="entry"), [30]).row(0)
        values.append(at[2])
        errors.append(at[3])
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.12)


# Laws


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_row_order_repetition_unit_and_labels_do_not_matter(seed: int, n: int) -> None:
    table = customers(seed, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewEventsWarning)
        curve = kaplan_meier(table, "days", "churned", entry="entry")
        shuffled = kaplan_meier(table.sample(fraction=1, shuffle=True, seed=seed), "days", "churned", entry="entry")
        doubled = kaplan_meier(pl.concat([table, table]), "days", "churned", entry="entry")
        weighted = kaplan_meier(table.with_columns(n=2.0), "days", "churned", entry="entry", weight="n")
        hours = kaplan_meier(table.with_columns(pl.col("days", "entry") * 24), "days", "churned", entry="entry")
    assert_frame_equal(curve, shuffled)
    assert_frame_equal(doubled, weighted)
    assert_frame_equal(curve.with_columns(pl.col("time") * 24), hours)
    assert curve["survival"].is_between(0, 1).all()
    assert (curve["survival"].diff().drop_nulls() <= 1e-12).all()


def test_shares_of_all_endings_and_of_those_still_here_add_up_to_one() -> None:
    table = customers(5).with_columns(ended=pl.col("cause") > 0)
    curve = kaplan_meier(table, "days", "ended", entry="entry")
    sums = cumulative_incidence(table, "days", "cause", entry="entry").group_by("time").agg(pl.col("incidence").sum()).sort("time")
    close(sums["incidence"] + curve["survival"], [1.0] * len(curve), 1e-12)


def test_groups_are_the_same_as_one_by_one() -> None:
    table = customers(6)
    both = kaplan_meier(table, "days", "churned", entry="entry", by="plan")
    for plan in ("a", "b"):
        alone = kaplan_meier(table.filter(pl.col("plan") == plan), "days", "churned", entry="entry")
        assert_frame_equal(both.filter(pl.col("plan") == plan).drop("plan"), alone)


def test_a_lazy_table_gives_the_same_as_an_eager_one() -> None:
    table = customers(7)
    assert_frame_equal(kaplan_meier(table.lazy(), "days", "churned"), kaplan_meier(table, "days", "churned"))


def test_an_entry_of_zero_is_the_same_as_no_entry() -> None:
    table = customers(8, late=False)
    assert_frame_equal(kaplan_meier(table, "days", "churned", entry="entry"), kaplan_meier(table, "days", "churned"))


def test_a_customer_who_enters_at_a_time_is_not_at_risk_at_it() -> None:
    table = pl.DataFrame({"entry": [0, 0, 3], "days": [3, 5, 6], "churned": [1, 0, 0]})
    assert kaplan_meier(table, "days", "churned", entry="entry").row(1)[:4] == (3.0, 2.0, 1.0, 0.5)


def test_the_share_within_the_interval_is_right_when_the_truth_is_known() -> None:
    inside = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        life, seen = rng.exponential(50, 200), rng.uniform(20, 120, 200)
        table = pl.DataFrame({"days": np.minimum(life, seen), "churned": life <= seen})
        low, high = survival_at(kaplan_meier(table, "days", "churned", interval="log-log"), [30]).row(0)[3:]
        inside += low <= np.exp(-30 / 50) <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_a_median_on_a_flat_stretch_is_its_middle() -> None:
    table = pl.DataFrame({"days": [1, 2, 5, 9], "churned": [1, 1, 1, 1]})
    assert survival_quantiles(kaplan_meier(table, "days", "churned"))["time"].to_list() == [3.5]


# Refusals and warnings


def test_all_faults_of_a_table_are_told_at_once() -> None:
    table = pl.DataFrame({"days": [-1.0, None, float("nan"), 2.0], "event": [1, 0, 2, 1], "entry": [0.0, 0.0, 0.0, 3.0]})
    with pytest.raises(DesignError) as caught:
        kaplan_meier(table, "days", "event", entry="entry")
    for fault in ("1 null in `days`", "1 not finite in `days`", "1 negative in `days`", "is before `entry`", "unknown kinds [2]"):
        assert fault in str(caught.value)


def test_missing_columns_and_text_are_refused_with_what_the_table_has() -> None:
    with pytest.raises(SchemaError, match=r"missing \['day'\]; `plan` is String, needs numbers"):
        kaplan_meier(customers(), "day", "plan")


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DesignError, match="no rows"):
        cumulative_incidence(customers().clear(), "days", "cause")


def test_negative_and_broken_causes_are_refused() -> None:
    with pytest.raises(DesignError, match=r"unknown kinds \[-1.0, 0.5\]"):
        cumulative_incidence(pl.DataFrame({"days": [1, 2, 3], "cause": [-1.0, 0.5, 1.0]}), "days", "cause")


def test_rows_that_were_never_observed_are_left_out_aloud() -> None:
    table = pl.DataFrame({"entry": [0, 2], "days": [3, 2], "churned": [1, 1]})
    with pytest.warns(NeverAtRiskWarning, match="1 of 2 rows"):
        assert check_durations(table, "days", "churned", "entry").height == 1


def test_a_curve_that_falls_to_zero_early_says_so() -> None:
    table = pl.DataFrame({"entry": [0, 5], "days": [3, 9], "churned": [1, 1]})
    with pytest.warns(FewEventsWarning, match="stays 0"):
        kaplan_meier(table, "days", "churned", entry="entry")


def test_a_horizon_beyond_the_follow_up_is_a_warning() -> None:
    with pytest.warns(ExtrapolationWarning, match="nobody was observed up to 500"):
        restricted_mean(pl.DataFrame({"days": [3, 9], "churned": [1, 0]}), "days", "churned", 500)


def test_unknown_settings_are_refused() -> None:
    for call in (
        lambda: kaplan_meier(customers(), "days", "churned", confidence=95),
        lambda: nelson_aalen(customers(), "days", "churned", ties="exact"),
        lambda: restricted_mean(customers(), "days", "churned", -1),
        lambda: kaplan_meier(customers().rename({"plan": "events"}), "days", "churned", by="events"),
        lambda: survival_quantiles(kaplan_meier(customers(), "days", "churned"), 1.5),
    ):
        with pytest.raises(SettingError):
            call()


# Why the dependency is not used


def test_lifelines_mixes_up_shuffled_rows_of_competing_endings() -> None:
    """Jittered durations come back sorted by index while the events keep their order; seen with lifelines 0.30.3."""
    import pandas as pd
    from lifelines import AalenJohansenFitter

    rng = np.random.default_rng(0)
    n = 3000
    early, late = rng.exponential(150, n), rng.exponential(600, n)
    seen = rng.uniform(100, 400, n)
    days = np.ceil(np.minimum(np.minimum(early, late), seen)).astype(int)
    cause = np.where(seen < np.minimum(early, late), 0, np.where(early < late, 1, 2))
    table = pd.DataFrame({"days": days, "cause": cause}).sample(frac=1, random_state=1).sort_values("days")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = AalenJohansenFitter(calculate_variance=False, seed=0).fit(table["days"], table["cause"], event_of_interest=1)
        ordered = table.reset_index(drop=True)
        right = AalenJohansenFitter(calculate_variance=False, seed=0).fit(ordered["days"], ordered["cause"], event_of_interest=1)
    ours = survival_at(cumulative_incidence(pl.DataFrame({"days": days, "cause": cause}), "days", "cause"), [90])
    exact = ours.filter(pl.col("cause") == 1)["incidence"][0]
    assert abs(float(right.cumulative_density_.loc[:90].iloc[-1, 0]) - exact) < 0.02
    assert abs(float(theirs.cumulative_density_.loc[:90].iloc[-1, 0]) - exact) > 0.03


def test_lifelines_variance_of_the_mean_time_is_not_that_of_the_estimate() -> None:
    """Its root is the spread of single lives, more than ten times the standard error; seen with lifelines 0.30.3."""
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import difference_of_restricted_mean_survival_time_test as empty_test
    from lifelines.utils import restricted_mean_survival_time

    table = read("pbc").drop_nulls("trt").filter(pl.col("trt") == 1)
    years, died = (table["time"] / 365.25).to_numpy(), (table["status"] == 2).to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = KaplanMeierFitter().fit(years, died)
        mean, variance = restricted_mean_survival_time(fitted, t=10, return_variance=True)
    assert mean == pytest.approx(expected("rmst_pbc")["rmst1"][0], abs=1e-9)
    assert variance**0.5 > 10 * expected("rmst_pbc")["rmst1"][1]
    assert empty_test(fitted, fitted, 10) is None
