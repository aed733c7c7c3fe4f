"""The stability index: worked examples, the limit of chance on null data, laws, and the mix of customers in a study."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from light_study import run_stages
from made_study import MadeStudy

from motkit.errors import DesignError, SchemaError
from motkit.settings import Settings, StudySettings, WatchSettings
from motkit.stability import chance_limit, population_stability, stability_index
from motkit.watch_views import mix_of_customers

CASES = json.loads((Path(__file__).parent / "reference" / "experiments" / "psi.json").read_text())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['psi']:.3f}")
def test_the_index_is_that_of_the_worked_examples_and_the_same_both_ways(case: dict[str, Any]) -> None:
    assert stability_index(case["expected"], case["actual"]) == pytest.approx(case["psi"], abs=1e-12)
    assert stability_index(case["actual"], case["expected"]) == pytest.approx(case["psi"], abs=1e-12)
    assert stability_index(np.array(case["expected"]) * 7, case["actual"]) == pytest.approx(case["psi"], abs=1e-12)


@pytest.mark.parametrize(("groups", "n", "m"), [(4, 300, 1000), (10, 2000, 500)])
def test_samples_of_one_mix_pass_the_limit_of_chance_in_one_of_twenty(groups: int, n: int, m: int) -> None:
    rng, even = np.random.default_rng(3), np.ones(groups) / groups
    pairs = zip(rng.multinomial(n, even, 4000), rng.multinomial(m, even, 4000), strict=True)
    assert np.mean([stability_index(a, b) > chance_limit(groups, n, m) for a, b in pairs]) == pytest.approx(0.05, abs=0.012)


def draw(n: int, seed: int, plus: float = 0.3, age: float = 40.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ages = pl.Series(rng.normal(age, 10, n)).set(pl.Series(rng.random(n) < 0.1), None)
    return pl.DataFrame({"plan": rng.choice(["basic", "plus"], n, p=[1 - plus, plus]), "age": ages, "insured": rng.random(n) < 0.5})


def test_tables_of_one_mix_stay_and_a_planted_shift_is_found_where_it_is() -> None:
    found = [population_stability(draw(800, 2 * seed), draw(600, 2 * seed + 1)) for seed in range(200)]
    assert np.mean([table["moved"].mean() for table in found]) == pytest.approx(0.05, abs=0.025)
    moved = population_stability(draw(800, 1), draw(600, 2, age=50.0))
    assert moved.filter("moved")["column"].to_list() == ["age"]
    assert moved["groups"].to_list() == [11, 2, 2]


def test_numbers_by_tenths_agree_with_a_plain_loop_and_order_does_not_matter() -> None:
    then, now = draw(500, 5).drop_nulls(), draw(400, 6, age=44.0).drop_nulls()
    cuts = np.quantile(then["age"].to_numpy(), np.arange(1, 10) / 10)
    counts = [[sum(int(sum(x > cuts)) == group for x in table["age"]) for group in range(10)] for table in (then, now)]
    found = population_stability(then, now, ["age"])
    assert found["psi"][0] == pytest.approx(stability_index(*counts), abs=1e-12)
    shuffled = population_stability(then.sample(fraction=1, shuffle=True, seed=1), now.reverse(), ["age"])
    assert shuffled["psi"][0] == pytest.approx(found["psi"][0], abs=1e-12)


def test_bad_input_is_told() -> None:
    with pytest.raises(SchemaError, match=r"missing \['shop'\]"):
        population_stability(draw(10, 1), draw(10, 2), ["shop"])
    with pytest.raises(DesignError, match="0 rows before"):
        population_stability(draw(10, 1).clear(), draw(10, 2))
    with pytest.raises(DesignError, match="same groups"):
        stability_index([1, 2, 3], [1, 2])


def make_log(late: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """400 customers seen in the first month on the web, 400 others in the sixth in the channel `late`, of one mix of plans."""
    who = [f"c{k:03}" for k in range(800)]
    at = [BEGIN + timedelta(days=k % 25 + (150 if k >= 400 else 0)) for k in range(800)]
    log = pl.DataFrame({"customer_id": who, "timestamp": at, "event": "visit", "channel": ["web"] * 400 + [late if k % 2 else "web" for k in range(400)]})
    log = log.with_columns(value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))
    return log, pl.DataFrame({"customer_id": who, "plan": ["basic", "plus"] * 400, "since": at})


@pytest.mark.parametrize(("late", "moved"), [("app", ["channel"]), ("web", [])])
def test_a_study_tells_which_part_of_the_mix_has_moved(tmp_path: Path, late: str, moved: list[str]) -> None:
    log, profiles = make_log(late)
    settings = Settings(study=StudySettings(as_of=BEGIN + timedelta(days=176)), watch=WatchSettings(baseline_days=28))
    study = run_stages({"mix"}, settings, log, tmp_path / "study", profiles=profiles)
    table = study.table("customer_mix")
    assert set(table["column"]) == {"channel", "plan"}
    assert table.filter("moved")["column"].to_list() == moved
    assert table.select("n_before", "n_now").unique().rows() == [(400, 400)]
    view = mix_of_customers(study)
    assert ("channel" in view.sentence) == bool(moved)
    assert "n = 400 customers" in view.footing
    assert mix_of_customers(MadeStudy({})).empty


def test_a_log_that_is_too_short_has_no_mix_and_the_page_says_so(tmp_path: Path) -> None:
    settings = Settings(study=StudySettings(as_of=BEGIN + timedelta(days=176)), watch=WatchSettings(baseline_days=90))
    study = run_stages({"mix"}, settings, make_log("web")[0], tmp_path / "study")
    assert not study.problems
    assert "twice the reference period" in mix_of_customers(study).empty
