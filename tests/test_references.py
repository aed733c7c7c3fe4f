"""References of decisions and experiments: each is read by a test, and the chance to be better is that of its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from motkit.beta_chances import chance_better
from motkit.errors import SettingError

TESTS = Path(__file__).parent
CASES: list[dict[str, Any]] = json.loads((TESTS / "reference" / "experiments" / "bayes_ab.json").read_text())


def test_every_reference_of_decisions_and_experiments_is_read_by_a_test() -> None:
    told = "".join(file.read_text() for file in TESTS.glob("*.py"))
    files = [file for folder in ("decisions", "experiments") for file in (TESTS / "reference" / folder).iterdir() if file.name != "README.md"]
    assert len(files) > 20
    assert [str(file) for file in files if file.stem not in told] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['successes_A']} of {case['n_A']}")
def test_the_chance_to_be_better_is_that_of_the_reference(case: dict[str, Any]) -> None:
    found = chance_better(case["successes_B"], case["n_B"], case["successes_A"], case["n_A"])
    assert found == pytest.approx(case["p_B_gt_A"], abs=1e-9)
    assert found + chance_better(case["successes_A"], case["n_A"], case["successes_B"], case["n_B"]) == pytest.approx(1, abs=1e-9)


def test_the_chance_to_be_better_is_the_integral_of_one_density_over_the_other() -> None:
    rng = np.random.default_rng(1)
    for n, m in rng.integers(1, 400, (8, 2)):
        a, b = int(rng.integers(0, n + 1)), int(rng.integers(0, m + 1))
        one, two = beta(a + 1, n - a + 1), beta(b + 1, m - b + 1)
        peak = float(one.mean())
        whole = quad(lambda x, one=one, two=two: one.pdf(x) * two.cdf(x), 0, 1, points=[peak], limit=200)[0]
        assert chance_better(a, int(n), b, int(m)) == pytest.approx(whole, abs=1e-6)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match="the control has 5 successes of 4"):
        chance_better(1, 4, 5, 4)
    with pytest.raises(SettingError, match="the arm has -1"):
        chance_better(-1, 4, 1, 4)
