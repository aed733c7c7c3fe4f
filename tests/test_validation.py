"""The validation measures what it says: small runs, its arithmetic, and its refusals."""

import numpy as np
import polars as pl
import pytest

from motkit.errors import SettingError
from motkit.validation import CASES, run_validation, summarise_case, try_once, validate_thresholds

BY_NAME = {case.name: case for case in CASES}


def value(table: pl.DataFrame, measure: str) -> float:
    return table.filter(pl.col("measure") == measure)["value"][0]


def test_every_bar_belongs_to_a_measure_of_its_case() -> None:
    for case in CASES:
        rows = [try_once(case, seed, draws=1000) for seed in (1, 2)] if case.n <= 2000 or case.by else []
        measures = {row["measure"] for row in summarise_case(case, rows)} if rows else set(case.bars)
        assert set(case.bars) <= measures, case.name
        assert all(low <= high for low, high in case.bars.values())
    assert len(BY_NAME) == len(CASES) == 17


def test_nothing_is_found_where_nothing_is_and_the_naive_way_finds_it_nearly_always() -> None:
    table = validate_thresholds(50, cases=["nothing, clean"], draws=1000)
    assert value(table, "type_i") <= 0.16  # 5 % nominal; more has a chance below 0.5 %
    assert value(table, "type_i_naive") >= 0.9
    assert value(table, "covered_simultaneous") >= 0.86


def test_a_strong_threshold_is_found_with_its_day() -> None:
    table = validate_thresholds(25, cases=["ratio 2"], draws=1000)
    assert value(table, "power") >= 0.98
    assert value(table, "covered") >= 0.88
    assert value(table, "rmse_days") < 2 < value(table, "rmse_days_naive")
    assert value(table, "log_hr_mean") == pytest.approx(np.log(2), abs=0.08)
    assert table["replicates"].unique().to_list() == [25]


def test_other_days_in_segments_are_seen() -> None:
    table = validate_thresholds(4, cases=["segments, days 8, 20, 14"], draws=1000)
    assert value(table, "differ") >= 0.75


def test_a_measure_passes_if_it_lies_within_its_bar() -> None:
    case = BY_NAME["ratio 2"]
    row = {"reject": 1.0, "reject_naive": 1.0, "error_days": 0.0, "error_days_naive": 3.0, "covered": 1.0, "width_days": 1.0, "log_hr": 0.7}
    rows = [row | {"covered_simultaneous": 1.0, "covered_wald": float(number % 20 != 0), "covered_wald_if_found": None} for number in range(40)]
    found = {one["measure"]: one for one in summarise_case(case, rows)}
    assert found["power"]["passes"]
    assert found["covered_wald"]["value"] == pytest.approx(0.95)
    assert found["covered_wald"]["mc_error"] == pytest.approx((0.95 * 0.05 / 40) ** 0.5)
    assert found["rmse_days_naive"]["value"] == 3
    assert found["log_hr_mean"]["passes"] is None
    worse = {one["measure"]: one for one in summarise_case(case, [one | {"covered": 0.0} for one in rows])}
    assert worse["covered"]["passes"] is False


def test_the_same_seed_gives_the_same_table() -> None:
    once, again = (validate_thresholds(3, seed=5, cases=["nothing, clean, small"], draws=1000) for _ in range(2))
    assert once.equals(again)


def test_all_cases_run_and_a_bar_of_progress_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    table = run_validation(1, progress=True)
    assert set(table["case"]) == set(BY_NAME)
    assert "validating" in capsys.readouterr().err
    assert table.columns == ["case", "n", "measure", "value", "mc_error", "at_least", "at_most", "passes", "replicates"]


def test_unknown_cases_and_no_replicates_are_refused() -> None:
    with pytest.raises(SettingError) as caught:
        validate_thresholds(0, cases=["ratio 9"])
    assert len(caught.value.faults) == 2
