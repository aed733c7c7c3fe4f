"""The threshold search agrees with R and with a plain loop, obeys its laws, errs as often as it says, and refuses what cannot be answered."""

import json
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from motkit.cox import cox
from motkit.curves import NeverAtRiskWarning, cumulative_incidence
from motkit.errors import (
    DesignError,
    ExtrapolationWarning,
    FewEventsWarning,
    MotkitError,
    ProportionalHazardsWarning,
    SchemaError,
    SettingError,
)
from motkit.landmark_effects import count_after, score_changing_ratio, sum_lost
from motkit.landmark_scan import adjusted_p, bound_maximum, draw_maxima, scan_days
from motkit.landmarks import count_event_days, propose_days, read_cells
from motkit.ranks import logrank
from motkit.simulate import simulate_onboarding
from motkit.threshold_reading import EdgeOfSearchWarning, NoCandidatesWarning
from motkit.threshold_search import adjust_p
from motkit.thresholds import Threshold, find_threshold

FOLDER = Path(__file__).parent / "reference"
REFS: dict[str, Any] = json.loads((FOLDER / "thresholds" / "refs.json").read_text())


def expected(case: str) -> Any:
    return REFS[case]["expected"]


def synthetic() -> pl.DataFrame:
    table = pl.read_csv(FOLDER / "survival" / "onboarding_synth.csv", null_values=["NA", ""])
    return table.rename({"entry": "entry_day", "exit": "exit_day", "churn": "event_kind", "onboard_day": "onboarded_day"})


def hearts() -> pl.DataFrame:
    jasa = pl.read_csv(FOLDER / "survival" / "jasa.csv", null_values=["NA", ""])
    time_of = pl.when(pl.col("futime") == 0).then(0.5).otherwise("futime")
    return jasa.select(exit_day=time_of, event_kind="fustat", onboarded_day="wait.time")


def find(table: Any, **more: Any) -> Threshold:
    """The search without its warnings, which are tried by themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_threshold(table, **more)


# Agreement with R


def test_the_scan_of_the_made_cohort_is_that_of_r() -> None:
    truth = expected("threshold_scan_synth")
    found = find(synthetic(), strata=(), candidates=truth["d"])
    scan = found.scan
    for column, name in (("z", "Z"), ("log_hr", "beta_breslow"), ("std_error", "se_breslow"), ("lr", "lr_breslow"), ("events_late", "events_late"), ("events_on_time", "events_ontime")):
        assert scan[column].to_list() == pytest.approx(truth[name], rel=1e-7), column
    assert found.day == truth["d_hat"]
    assert list(found.confidence_set) == truth["ci95_set"]
    assert (found.ci_low, found.ci_high) == tuple(truth["ci95_hansen"])
    assert found.statistic == pytest.approx(truth["zmax"], rel=1e-7)
    assert found.p_value == pytest.approx(truth["p_sup_genz"], abs=1e-3)
    assert truth["p_sup_genz"] < found.p_value < 1e-7
    assert "bound" in found.p_method


def test_scores_and_covariances_are_those_of_r() -> None:
    truth = expected("threshold_scan_synth")
    cells, _ = read_cells(synthetic())
    scan = scan_days(count_event_days(cells, [], np.array(truth["d"], dtype=float)))
    assert scan.score == pytest.approx(truth["U"], rel=1e-9)
    assert np.diag(scan.covariance) == pytest.approx(truth["V"], rel=1e-9)
    for row, day in zip(truth["cov_rows"], (0, 9, 26), strict=True):
        assert scan.covariance[day] == pytest.approx(row, rel=1e-9)


def test_the_scan_of_the_stanford_hearts_is_that_of_r() -> None:
    truth = expected("ownlandmark_heart")
    found = find(hearts(), entry=None, strata=(), candidates=truth["d"])
    assert found.scan["z"].to_list() == pytest.approx(truth["Z"], rel=1e-7)
    assert found.scan["log_hr"].to_list() == pytest.approx(truth["coef_breslow"], rel=1e-6)
    assert (found.scan["lr"] / 2).to_list() == pytest.approx(truth["dll_breslow"], rel=1e-7)
    assert found.scan["late"].to_list() == truth["n_late"]
    assert (found.scan["late"] + found.scan["on_time"]).to_list() == truth["n"]


def test_shares_and_days_after_the_landmark_are_those_of_r() -> None:
    truth = expected("landmark_effects_synth")
    found = find(synthetic(), strata=(), candidates=range(4, 31), horizon_days=150)
    days, risk = found.rmst_difference.row(0, named=True), found.risk_difference.row(0, named=True)
    assert [days["n_on_time"], days["n_late"]] == truth["n"]
    assert [days["rmst_on_time"], days["rmst_late"]] == pytest.approx(truth["rmst"], abs=1e-8)
    assert (days["difference"], days["std_error"]) == pytest.approx((truth["rmst_diff"], truth["rmst_diff_se"]), abs=1e-8)
    assert [risk["risk_on_time"], risk["risk_late"]] == pytest.approx(truth["risk"], abs=1e-8)
    assert (risk["difference"], risk["std_error"]) == pytest.approx((truth["risk_diff"], truth["risk_diff_se"]), abs=1e-8)


# Agreement with a plain loop


def by_loop(table: pl.DataFrame, days: list[int], stratum: str) -> tuple[list[float], np.ndarray]:
    """Scores and covariances by looking at every customer on every day."""
    rows = [(row["entry_day"], row["exit_day"], row["event_kind"] == 1, row["onboarded_day"] or np.inf, row[stratum]) for row in table.to_dicts()]
    score, cov = [0.0] * len(days), np.zeros((len(days), len(days)))
    for group in sorted({row[4] for row in rows}):
        for t in sorted({row[1] for row in rows if row[2] and row[4] == group}):
            here = [row for row in rows if row[4] == group and row[0] < t <= row[1]]
            n, d = len(here), sum(row[2] and row[1] == t for row in here)
            share = [sum(row[3] > day for row in here) / n for day in days]
            for i, day in enumerate(days):
                if t > day:
                    score[i] += sum(row[2] and row[1] == t and row[3] > day for row in here) - d * share[i]
                for j in range(i, len(days)):
                    if t > days[j] and n > 1:
                        cov[i, j] += d * (n - d) / (n - 1) * share[j] * (1 - share[i])
    return score, np.triu(cov) + np.triu(cov, 1).T


@pytest.mark.parametrize("seed", [0, 1])
def test_the_stratified_scan_equals_a_loop_over_customers(seed: int) -> None:
    table, days = simulate_onboarding(250, seed, delayed_entry_share=0.4, late_hazard_ratio=2.0), [3, 7, 11, 20]
    scan = scan_days(count_event_days(read_cells(table, strata="persona")[0], ["persona"], np.array(days, dtype=float)))
    score, covariance = by_loop(table, days, "persona")
    assert scan.score == pytest.approx(score, abs=1e-9)
    assert scan.covariance == pytest.approx(covariance, abs=1e-9)


def test_each_day_is_the_landmark_analysis_that_one_does_by_hand() -> None:
    table = simulate_onboarding(1200, seed=3, delayed_entry_share=0.3)
    found = find(table, strata="persona")
    for day, z, log_hr, error in found.scan.filter(pl.col("day").is_in([6, 14, 22])).select("day", "z", "log_hr", "std_error").rows():
        after = table.filter(pl.col("exit_day") > day).with_columns(
            entry=pl.max_horizontal("entry_day", pl.lit(day)), late=(pl.col("onboarded_day").fill_null(999) > day).cast(pl.Int8)
        )
        assert z**2 == pytest.approx(logrank(after, "exit_day", "event_kind", "late", entry="entry", strata="persona").statistic, rel=1e-9)
        fit = cox(after, "exit_day", "event_kind", "late", entry="entry", strata="persona", ties="breslow")
        assert (log_hr, error) == pytest.approx(fit.table.select("coef", "std_error").row(0), abs=1e-7)
        chi, _ = score_changing_ratio(read_cells(table, strata="persona")[0], ["persona"], day, log_hr)
        assert chi == pytest.approx(fit.proportional_hazards()["statistic"][0], rel=1e-6)


def test_counting_in_blocks_of_strata_changes_nothing() -> None:
    table = simulate_onboarding(600, seed=4).with_columns(group=pl.int_range(pl.len()) % 37)
    cells, edges = read_cells(table, strata="group")[0], np.arange(3.0, 20)
    whole, parts = (scan_days(count_event_days(cells, ["group"], edges, most=most)) for most in (4_000_000, 30_000))
    assert parts.score == pytest.approx(whole.score, abs=1e-10)
    assert parts.lr == pytest.approx(whole.lr, abs=1e-9)


def test_competing_endings_follow_aalen_and_johansen() -> None:
    table = simulate_onboarding(2000, seed=6, late_hazard_ratio=1.6)
    table = table.with_columns(event_kind=pl.when(pl.int_range(pl.len()) % 4 == 0, pl.col("event_kind") == 1).then(2).otherwise("event_kind"))
    found = find(table, strata=(), horizon_days=120)
    late = table.filter(pl.col("exit_day") > found.day, pl.col("onboarded_day").fill_null(999) > found.day, pl.col("entry_day") <= found.day)
    curve = cumulative_incidence(late.with_columns(days=pl.col("exit_day") - found.day), "days", "event_kind")
    at = curve.filter(pl.col("cause") == 1, pl.col("time") <= 120).row(-1, named=True)
    assert found.risk_difference["risk_late"][0] == pytest.approx(at["incidence"], abs=1e-12)
    share, variance = sum_lost(count_after(read_cells(table)[0], [], found.day), 120, in_days=False)
    assert variance[0, 1] ** 0.5 == pytest.approx(at["std_error"], rel=1e-9)
    assert share[0, 1] < 1 - (1 - late.filter(pl.col("event_kind") > 0).height / late.height)
    only_churn = find(table.with_columns(event_kind=pl.when(pl.col("event_kind") == 2).then(0).otherwise("event_kind")), strata=())
    assert_frame_equal(found.scan, only_churn.scan)


# Laws


def same(one: Threshold, other: Threshold) -> None:
    assert (one.day, one.confidence_set, one.p_method) == (other.day, other.confidence_set, other.p_method)
    assert (one.statistic, one.p_value, one.hazard_ratio) == pytest.approx((other.statistic, other.p_value, other.hazard_ratio), rel=1e-9)
    assert_frame_equal(one.scan, other.scan, abs_tol=1e-8)
    assert_frame_equal(one.risk_difference, other.risk_difference, abs_tol=1e-9)
    assert_frame_equal(one.shape, other.shape, abs_tol=1e-6)


COHORT = simulate_onboarding(1500, seed=8, late_hazard_ratio=1.7, delayed_entry_share=0.2)


def test_the_order_of_rows_and_a_lazy_table_change_nothing() -> None:
    first = find(COHORT, strata=["persona"], horizon_days=60)
    same(first, find(COHORT.sample(fraction=1, shuffle=True, seed=3).lazy(), strata=["persona"], horizon_days=60))


def test_a_weight_counts_like_rows_that_are_repeated() -> None:
    weighted = COHORT.with_columns(n=pl.int_range(pl.len()) % 3 + 1)
    repeated = weighted.select(pl.all().repeat_by("n").explode())
    same(find(repeated, strata=["persona"], horizon_days=60), find(weighted, strata=["persona"], horizon_days=60, weight="n"))


def test_new_names_of_strata_change_nothing() -> None:
    renamed = COHORT.with_columns(persona=pl.col("persona").replace({"regular": "zz", "hesitant": "a b", "enthusiast": "ü"}))
    numbers = COHORT.with_columns(persona=pl.col("persona").replace_strict({"regular": 7, "hesitant": -1, "enthusiast": 3}))
    first = find(COHORT, strata=["persona"], horizon_days=60)
    for table in (renamed, numbers, COHORT.with_columns(pl.col("persona").cast(pl.Categorical)), COHORT.with_columns(pl.col("persona").replace({"regular": None}))):
        same(first, find(table, strata=["persona"], horizon_days=60))


def test_another_unit_of_time_scales_the_days_alone() -> None:
    scaled = COHORT.with_columns(pl.col("entry_day", "exit_day", "onboarded_day") * 7)
    first, other = find(COHORT, strata=["persona"]), find(scaled, strata=["persona"])
    assert other.day == 7 * first.day
    assert other.confidence_set == tuple(7 * day for day in first.confidence_set)
    assert (first.statistic, first.p_value, first.hazard_ratio) == pytest.approx((other.statistic, other.p_value, other.hazard_ratio), rel=1e-9)


def test_a_stratum_for_each_customer_leaves_nothing_to_compare() -> None:
    with pytest.warns(NoCandidatesWarning):
        assert find_threshold(COHORT, strata=["customer_id"]).day is None


def test_the_seed_moves_the_p_value_only_a_little() -> None:
    table = simulate_onboarding(1500, seed=12, late_hazard_ratio=1.15)
    p = [find(table, strata=["persona"], seed=seed).p_value for seed in (0, 0, 1)]
    assert p[0] == p[1]
    assert p[2] == pytest.approx(p[0], abs=0.02)


def test_a_row_without_any_time_is_left_out_with_a_warning() -> None:
    never = COHORT.with_columns(entry_day=pl.when(pl.int_range(pl.len()) < 3).then("exit_day").otherwise("entry_day"))
    with pytest.warns(NeverAtRiskWarning, match="3 customers"):
        found = find_threshold(never, strata=["persona"])
    same(found, find(never.slice(3), strata=["persona"]))
    assert any(isinstance(note, NeverAtRiskWarning) for note in found.warnings)


# Null data and planted truth


def test_p_values_are_uniform_when_nothing_depends_on_the_day() -> None:
    p = np.array([find(simulate_onboarding(500, seed, late_hazard_ratio=1.0), strata=["persona"], draws=1000).p_value for seed in range(80)])
    for level in (0.1, 0.3, 0.5, 0.8):
        assert abs((p <= level).mean() - level) < 3.5 * (level * (1 - level) / len(p)) ** 0.5


def test_the_largest_of_drawn_scores_follows_its_own_law() -> None:
    near = 0.95 ** np.abs(np.subtract.outer(np.arange(30), np.arange(30)))
    maxima = draw_maxima(near, 20_000, 1)
    again = draw_maxima(near, 4000, 2)
    p = np.array([adjusted_p(b, near, maxima)[0] for b in again])
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.012)
    for b in (2.5, 3.0, 3.5):
        assert (maxima >= b).mean() <= bound_maximum(b, near) * 1.1
    assert bound_maximum(3.0, np.ones((5, 5))) == pytest.approx(0.0027, abs=1e-4)
    assert adjusted_p(0.0, near, maxima)[0] == 1


def test_the_planted_day_is_found_again_within_its_interval() -> None:
    for seed, day in ((1, 8), (2, 14), (3, 20)):
        found = find(simulate_onboarding(8000, seed, threshold_day=day, late_hazard_ratio=1.8), strata=["persona"])
        assert abs(found.day - day) <= 1
        assert found.ci_low <= day <= found.ci_high
        assert found.hazard_ratio_simultaneous_ci[0] < 1.8 < found.hazard_ratio_simultaneous_ci[1]
        assert found.hazard_ratio_simultaneous_ci[0] < found.hazard_ratio_ci[0] < found.hazard_ratio < found.hazard_ratio_ci[1]
        assert found.shape_verdict == "step"


def test_the_naive_scan_finds_what_is_not_there_and_the_search_does_not() -> None:
    naive, right = 0, 0
    for seed in range(16):
        table = simulate_onboarding(2000, 500 + seed, late_hazard_ratio=1.0, personas_alike=True)
        cells, _ = read_cells(table)
        naive += np.abs(scan_days(count_event_days(cells, [], propose_days(cells)), from_start=True).z).max() > 1.96
        right += find(table, strata=(), draws=2000).p_value <= 0.05
    assert naive >= 14
    assert right <= 4


def test_strata_guard_against_personas_that_differ_in_both() -> None:
    p = [(find(table, strata=["persona"], draws=2000).p_value, find(table, strata=(), draws=2000).p_value)
         for table in (simulate_onboarding(8000, seed, late_hazard_ratio=1.0) for seed in range(6))]  # fmt: skip
    assert sum(with_strata <= 0.05 for with_strata, _ in p) <= 2
    assert sum(without <= 0.05 for _, without in p) >= 4


def test_segments_with_other_days_are_told_apart_and_equal_ones_are_not() -> None:
    settings = ((8, 20, 14), True), (14, False)
    for day, differ in settings:
        found = find(simulate_onboarding(12_000, 1, threshold_day=day, late_hazard_ratio=1.5), strata=["persona"], by="persona")
        row = found.heterogeneity.row(0, named=True)
        assert row["thresholds_differ"] is differ
        assert (row["segments"], row["df"]) == (3, 2)
        assert found.segments["n"].sum() == found.customers
        assert ("differs by persona" in found.reading) is (differ or row["q_value"] < 0.05)


def test_segments_with_other_effects_are_told_apart() -> None:
    found = find(simulate_onboarding(12_000, 2, late_hazard_ratio=(1.2, 1.5, 2.2)), strata=["persona"], by=["persona"])
    assert found.heterogeneity["p_value"][0] < 0.01
    ratios = dict(found.segments.select("segment", "hazard_ratio_at_common_day").rows())
    assert ratios["regular"] < ratios["hesitant"] < ratios["enthusiast"]


def test_several_segmentations_are_adjusted_for_their_number() -> None:
    table = COHORT.with_columns(half=(pl.int_range(pl.len()) % 2).cast(pl.Boolean))
    found = find(table, strata=(), by=["persona", "half"])
    assert found.heterogeneity["by"].to_list() == ["persona", "half"]
    assert (found.heterogeneity["q_value"] >= found.heterogeneity["p_value"]).all()
    assert Counter(found.segments["by"]) == {"persona": 3, "half": 2}
    assert adjust_p([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_a_slope_is_not_called_a_threshold() -> None:
    rng = np.random.default_rng(3)
    onboard = np.ceil(rng.exponential(14, 6000))
    churn = np.ceil(rng.exponential(150 / np.exp(0.05 * np.minimum(onboard, 30))))
    out = np.minimum(churn, 200)
    table = pl.DataFrame({"entry_day": 0, "exit_day": out, "event_kind": (churn <= 200).astype(int), "onboarded_day": np.where(onboard <= out, onboard, np.nan)})
    found = find(table, strata=())
    assert found.p_value < 0.001
    assert found.shape_verdict == "slope"
    assert "no single day is a threshold" in found.reading


# What is said, and what is refused


def test_the_reading_says_who_goes_with_what_and_never_causes() -> None:
    found = find(simulate_onboarding(4000, 3, late_hazard_ratio=1.8), strata=["persona"], horizon_days=90)
    assert f"customers not onboarded by day {found.day:g} have {found.hazard_ratio:.2f} times the rate of churn" in found.reading
    for words in ("within the same persona", "association", "experiment", "step", "search included", "4,000 customers"):
        assert words in found.reading
    for words in ("cause", "because of", "leads to", "due to", "effect"):
        assert words not in found.reading
    assert found.reading in repr(found)
    assert found.reading in found._repr_html_()


def test_no_p_value_but_the_adjusted_one_is_shown() -> None:
    found = find(COHORT, strata=["persona"])
    for table in (found.scan, found.risk_difference, found.rmst_difference, found.unstratified, found.windows, found.shape):
        assert not [column for column in table.columns if column.startswith("p_")]


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, DesignError, "`strata` is not given"),
    ({"strata": None}, DesignError, "`strata` is not given"),
    ({"strata": ["onboarded_day"]}, DesignError, "not known on day 0"),
    ({"strata": (), "by": "event_kind"}, DesignError, "not known on day 0"),
    ({"strata": "plan"}, SchemaError, "missing ['plan']"),
    ({"strata": (), "horizon_days": -1}, SettingError, "`horizon_days` is -1"),
    ({"strata": (), "candidates": []}, SettingError, "`candidates` needs one day or more"),
    ({"strata": (), "candidates": [-3]}, SettingError, "`candidates` needs one day or more"),
    ({"strata": (), "confidence": 95}, SettingError, "`confidence` is 95"),
    ({"strata": (), "exit": "persona"}, SchemaError, "`persona` is String, needs a number of days"),
]


@pytest.mark.parametrize(("question", "kind", "message"), REFUSED)
def test_a_question_that_cannot_be_answered_is_refused(question: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        find_threshold(COHORT, **question)
    assert message in str(caught.value)


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"event_kind": pl.lit(0)}, "nobody churned: all 1,"),
    ({"event_kind": pl.lit(2)}, "censored or ended otherwise"),
    ({"event_kind": pl.lit(-1)}, "is not 0 (censored), 1 (churned)"),
    ({"event_kind": pl.lit(0.5)}, "is not 0 (censored), 1 (churned)"),
    ({"onboarded_day": pl.lit(None, pl.Int32)}, "nobody was onboarded"),
    ({"onboarded_day": pl.lit(0)}, "onboarded on the same day"),
    ({"exit_day": -pl.col("exit_day")}, "with negative `exit_day`"),
    ({"exit_day": pl.col("entry_day") - 1}, "`exit_day` is before `entry_day`"),
    ({"exit_day": pl.col("exit_day") * 86_400}, "which cannot be days"),
    ({"onboarded_day": pl.col("onboarded_day") * 24}, "is it in the same unit?"),
    ({"entry_day": pl.lit(None, pl.Int32)}, "null or infinite `entry_day`"),
    ({"exit_day": pl.lit(float("nan"))}, "null or infinite `exit_day`"),
]


@pytest.mark.parametrize(("columns", "message"), BROKEN)
def test_rows_that_cannot_be_are_refused(columns: dict[str, pl.Expr], message: str) -> None:
    with pytest.raises(DesignError) as caught:
        find_threshold(COHORT.with_columns(**columns), strata=())
    assert message in str(caught.value)


def test_names_of_two_units_are_refused() -> None:
    with pytest.raises(SchemaError, match="units are mixed"):
        find_threshold(COHORT.rename({"exit_day": "exit_hours"}), exit="exit_hours", strata=())


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DesignError, match="there is no customer"):
        find_threshold(COHORT.clear(), strata=())


def test_all_faults_are_told_at_once_and_no_data() -> None:
    broken = COHORT.with_columns(exit_day=-pl.col("exit_day"), event_kind=pl.lit(7.5))
    with pytest.raises(DesignError) as caught:
        find_threshold(broken, strata=["persona"])
    assert len(caught.value.faults) == 4
    assert "enthusiast" not in str(caught.value)


def test_too_little_churn_gives_a_warning_and_no_number() -> None:
    with pytest.warns(NoCandidatesWarning) as caught:
        found = find_threshold(COHORT.head(70), strata=["persona"], by="persona")
    assert len(caught) == 1
    for name in ("day", "p_value", "statistic", "hazard_ratio", "hazard_ratio_ci", "hazard_ratio_simultaneous_ci", "ci_low", "ci_high", "horizon_days"):
        assert getattr(found, name) is None
    assert found.risk_difference["difference"][0] is None
    assert found.confidence_set == ()
    assert found.scan.height == found.shape.height == 0
    assert "no threshold can be estimated" in found.reading.lower()
    assert found._repr_html_()
    with pytest.raises(DesignError, match="no day was estimated"):
        found.at_risk()


def test_everybody_on_one_side_gives_no_number() -> None:
    late = COHORT.with_columns(onboarded_day=pl.when(pl.col("onboarded_day") > 30).then("onboarded_day"))
    assert find(late, strata=(), candidates=[5, 10]).day is None
    early = COHORT.filter(pl.col("onboarded_day") <= 3)
    assert find(early, strata=(), candidates=[5, 10]).day is None


def test_warnings_have_names_and_are_kept() -> None:
    few = find_threshold_warned(COHORT, {"strata": (), "candidates": [1, 2, 14, 200]}, FewEventsWarning)
    assert any(isinstance(one, FewEventsWarning) for one in few.warnings)
    edge = find_threshold_warned(simulate_onboarding(8000, 2, late_hazard_ratio=2.0), {"strata": ["persona"], "candidates": [14, 15, 16, 17]}, EdgeOfSearchWarning)
    assert edge.day == 14
    find_threshold_warned(COHORT, {"strata": (), "horizon_days": 5000}, ExtrapolationWarning)


def find_threshold_warned(table: pl.DataFrame, question: dict[str, Any], kind: type[Warning]) -> Threshold:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find_threshold(table, **question)
    assert kind in [one.category for one in caught]
    assert [type(one) for one in found.warnings] == [one.category for one in caught]
    return found


def test_a_ratio_that_fades_is_noted() -> None:
    rng = np.random.default_rng(5)
    onboard = np.ceil(rng.exponential(12, 6000))
    late = onboard > 12
    first = rng.exponential(1 / np.where(late, 0.03, 0.008))
    churn = np.ceil(np.where(first < 20, 12 + first, 32 + rng.exponential(1 / np.where(late, 0.004, 0.008))))
    out = np.minimum(churn, 200)
    table = pl.DataFrame({"entry_day": 0, "exit_day": out, "event_kind": (churn <= 200).astype(int), "onboarded_day": np.where(onboard <= out, onboard, np.nan)})
    found = find_threshold_warned(table, {"strata": ()}, ProportionalHazardsWarning)
    assert found.proportional_hazards_p < 1e-6
    assert found.windows["hazard_ratio"][0] > 1.3
    assert found.windows["hazard_ratio"][-1] < 1


# Who is at risk, and pictures


def test_those_at_risk_are_beyond_the_day_still_here_and_not_onboarded() -> None:
    found = find(COHORT, strata=["persona"], horizon_days=60)
    listed = found.at_risk()
    who = COHORT.filter(pl.col("event_kind") == 0, pl.col("onboarded_day").is_null(), pl.col("exit_day") > found.day)
    assert set(listed["customer_id"]) == set(who["customer_id"])
    assert (listed["days_beyond"] == listed["tenure_days"] - found.day).all()
    known = listed.drop_nulls("risk")
    assert known.height > 0
    assert (known["ci_low"] <= known["risk"]).all()
    assert (known["risk"] <= known["ci_high"]).all()
    today = pl.DataFrame({"customer_id": ["x", "y", "z"], "exit_day": [40, 40, 5], "event_kind": [0, 0, 0], "onboarded_day": [None, 9, None], "persona": ["regular", "regular", "new"]})
    assert found.at_risk(today)["customer_id"].to_list() == ["x"]


def test_the_risk_from_a_tenure_is_that_of_like_customers_from_then_on() -> None:
    table = simulate_onboarding(6000, 2, late_hazard_ratio=1.8)
    found = find(table, strata=["persona"], horizon_days=60)
    row = found.at_risk(pl.DataFrame({"exit_day": [50], "event_kind": [0], "onboarded_day": [None], "persona": ["hesitant"]})).row(0, named=True)
    like = table.filter(pl.col("persona") == "hesitant", pl.col("onboarded_day").fill_null(999) > found.day, pl.col("exit_day") > 50)
    curve = cumulative_incidence(like.with_columns(days=pl.col("exit_day") - 50), "days", "event_kind").filter(pl.col("time") <= 60)
    assert row["risk"] == pytest.approx(curve["incidence"][-1], abs=1e-12)
    assert row["n"] == like.height


def test_pictures_are_drawn_and_their_lack_is_explained() -> None:
    pytest.importorskip("holoviews")
    found = find(COHORT, strata=["persona"], horizon_days=60)
    import holoviews as hv

    for picture in (found.plot_scan(), found.plot_survival()):
        assert hv.render(picture, backend="bokeh") is not None
    code = (
        "import sys; sys.modules['holoviews'] = None; from motkit.threshold_plots import plot_scan; import polars as pl\n"
        "from motkit.errors import MissingExtraError\n"
        "try: plot_scan(pl.DataFrame(), [], None, pl.DataFrame())\nexcept MissingExtraError as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("MissingExtraError")
    assert "motkit[apps]" in said


def test_a_hundred_thousand_customers_take_little_time() -> None:
    table = pl.concat([simulate_onboarding(20_000, 1, late_hazard_ratio=1.5)] * 5)
    find(table.head(1000), strata=["persona"])
    start = time.process_time()
    find(table, strata=["persona"], candidates=range(3, 41))
    assert time.process_time() - start < 2


# Real data


@pytest.mark.data
def test_telco_curves_differ_by_contract_and_hazards_are_not_proportional(real_data: Path) -> None:
    telco = pl.read_csv(real_data / "telco_churn_ibm.csv.gz", infer_schema_length=10_000)
    rows = telco.select("tenure", churned=(pl.col("Churn") == "Yes").cast(pl.Int8), contract="Contract")
    found = logrank(rows, "tenure", "churned", "contract")
    assert found.statistic == pytest.approx(2352.8725, abs=1e-4)
    assert found.df == 2
    traits = telco.with_columns(churned=(pl.col("Churn") == "Yes").cast(pl.Int8)).filter(pl.col("tenure") > 0)
    fit = cox(traits, "tenure", "churned", ["Contract", "MonthlyCharges", "PaperlessBilling", "TechSupport"])
    whole = fit.proportional_hazards().row(-1, named=True)
    assert (whole["statistic"], whole["df"]) == (pytest.approx(235.76, abs=0.005), 6)


@pytest.mark.data
def test_students_who_have_not_submitted_by_a_day_drop_out_more(real_data: Path) -> None:
    keys = ["code_module", "code_presentation", "id_student"]
    folder = real_data / "oulad"
    registered = pl.read_csv(folder / "studentRegistration.csv.gz", null_values=["", "?"]).rename(lambda name: name.strip('"'))
    info = pl.read_csv(folder / "studentInfo.csv.gz", null_values=["", "?"])
    courses = pl.read_csv(folder / "courses.csv.gz")
    clicks = pl.read_parquet(folder / "studentVle.parquet").filter(pl.col("date") >= 0)
    busy = clicks.group_by(*keys, "date").agg(pl.len()).sort("date").group_by(*keys, maintain_order=True).agg(pl.col("date").get(4, null_on_oob=True))
    table = (
        registered.join(info.select(*keys, "final_result", "highest_education"), on=keys)
        .join(courses, on=["code_module", "code_presentation"])
        .join(busy, on=keys, how="left")
        .filter(pl.col("date_unregistration").is_null() | (pl.col("date_unregistration") > 0))
        .filter(pl.col("date_unregistration").is_not_null() | (pl.col("final_result") != "Withdrawn"))
        .with_columns(exit_day=pl.min_horizontal("date_unregistration", "module_presentation_length"), entry_day=pl.lit(0))
        .with_columns(event_kind=pl.col("date_unregistration").is_not_null().cast(pl.Int8), onboarded_day=pl.col("date"))
        .with_columns(onboarded_day=pl.when(pl.col("onboarded_day") <= pl.col("exit_day")).then("onboarded_day"))
    )
    found = find(table, strata=["code_module", "code_presentation"], by="highest_education")
    assert found.customers == table.height > 2000
    assert found.events > 200
    assert found.p_value < 0.001
    assert found.hazard_ratio > 1.5
    with pytest.raises(MotkitError):
        find_threshold(table)
