"""The validation of tests measures what it says: small runs whose Monte Carlo intervals reach the bars, a wrong reading that fails, its arithmetic."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from motkit import experiment_validation
from motkit.__main__ import app
from motkit.errors import SettingError
from motkit.experiment_validation import MADE_UP, TEST_PARTS, _row, compare_runs, draw_tests, validate_tests
from motkit.experiments import compare_arms


def reaches(row: dict[str, float]) -> bool:
    """Whether the bar is within what so few made-up tests leave open."""
    return row["passes"] is None or (row["mc_high"] >= (row["at_least"] or 0.0) and row["mc_low"] <= (row["at_most"] or 1.0))


@pytest.mark.parametrize("part", TEST_PARTS)
def test_a_quick_run_reaches_every_bar(part: str) -> None:
    runs = {"arms": 100, "before and times": 60, "several": 150, "choosing": 200}.get(part, 600)
    table = validate_tests(runs, seed=3, parts=[part])
    assert [row["case"] + ": " + row["measure"] for row in table.iter_rows(named=True) if not reaches(row)] == []
    assert table["passes"].count() > 0


def test_looking_often_in_the_usual_way_fails_where_planned_looks_and_intervals_for_any_time_pass() -> None:
    table = validate_tests(600, seed=3, parts=["looks", "any time"]).filter(pl.col("measure").str.starts_with("found"))
    found = dict(table.select("case", "value").iter_rows())
    assert found["five looks, as usual"] == pytest.approx(0.142, abs=0.045)  # Armitage and others 1969
    assert found["96 looks, as usual"] > 0.25
    assert found["96 looks, at any time"] <= 0.06
    assert 0.0 < found["five looks, pocock"] < 0.09


def test_counting_customers_where_shops_were_dealt_finds_far_too_much_and_would_not_pass() -> None:
    made = draw_tests("shares by shop", 300, np.random.default_rng(1))
    wrong = compare_runs(made, "shares by household"), [compare_arms(made.filter(run=run), "arm", "y", "control").table.row(1, named=True) for run in range(100)]
    right, naive = (_row("shops", "found in nothing", [row["p_value"] < 0.05 for row in rows], (0.04, 0.06)) for rows in wrong)
    assert reaches(right)
    assert naive["value"] > 0.2
    assert naive["passes"] is False
    assert not reaches(naive)


def test_many_tests_at_once_give_what_one_by_one_gives() -> None:
    for case, made in MADE_UP.items():
        table = draw_tests(case, 3, np.random.default_rng(2), made.effect)
        cluster = "unit" if made.sizes[1] > 1 else None
        for run, many in enumerate(compare_runs(table, case)):
            one = compare_arms(table.filter(run=run), "arm", "y", "control", kind=made.kind, cluster=cluster).table.row(1, named=True)
            assert [many[name] for name in ("difference", "ci_low", "ci_high", "ratio_ci_low", "p_value")] == pytest.approx([one[name] for name in ("difference", "ci_low", "ci_high", "ratio_ci_low", "p_value")])


def test_a_share_has_its_monte_carlo_interval_and_passes_within_its_bar() -> None:
    row = _row("x", "y", [True] * 5 + [False] * 95, (0.04, 0.06))
    assert (row["value"], row["passes"], row["replicates"]) == (0.05, True, 100)
    assert (row["mc_low"], row["mc_high"]) == pytest.approx((0.021543, 0.111750), abs=1e-5)
    assert _row("x", "y", [True] * 7 + [False] * 93, (0.04, 0.06))["passes"] is False
    assert _row("x", "y", [True, False])["passes"] is None


def test_the_same_seed_gives_the_same_table_and_unknown_parts_are_refused() -> None:
    assert validate_tests(50, seed=4, parts=["plans"]).equals(validate_tests(50, seed=4, parts=["plans"]))
    with pytest.raises(SettingError) as caught:
        validate_tests(1, parts=["luck"])
    assert len(caught.value.faults) == 2


def test_the_command_tries_tests_and_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = validate_tests(20, parts=["plans"])
    monkeypatch.setattr(experiment_validation, "validate_tests", lambda replicates, progress: small if replicates == 20 else None)
    done = CliRunner().invoke(app, ["validate", "--tests", "--replicates", "20", "--out", str(tmp_path / "v.md"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "plan: 10% and 13%" in done.output
    assert (tmp_path / "v.md").read_text(encoding="utf-8").startswith("# Validation of tests\n\nMade by `motkit validate --tests --replicates 20 --out ")
