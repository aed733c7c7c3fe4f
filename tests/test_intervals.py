"""Wilson's interval beside statsmodels and beside the formula as it is usually written."""

import numpy as np
import polars as pl
import pytest

from motkit.errors import SettingError
from motkit.intervals import add_wilson, wilson, z_of

CASES = [(k, n) for n in (1, 2, 7, 40, 263, 100_000) for k in sorted({0, 1, n // 3, n // 2, n - 1, n})]


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_limits_are_those_of_statsmodels(confidence: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    for k, n in CASES:
        assert wilson(k / n, n, z_of(confidence)) == pytest.approx(proportion_confint(k, n, 1 - confidence, "wilson"), abs=1e-14)


def test_limits_are_those_of_the_usual_formula() -> None:
    for k, n in CASES:
        p, z = k / n, z_of(0.95)
        middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        assert wilson(p, n, z) == pytest.approx((middle - half, middle + half), abs=1e-15)


def test_nobody_and_everybody_give_0_and_1_exactly_and_nothing_leaves_them() -> None:
    for n in (1, 3, 10, 97, 12_345, 10**9):
        assert wilson(0.0, n, 1.96)[0] == 0.0
        assert wilson(1.0, n, 1.96)[1] == 1.0
    share = np.random.default_rng(0).uniform(0, 1, 10_000)
    low, high = wilson(share, np.full(10_000, 5.0), 2.5)
    assert ((low >= 0) & (low <= share) & (share <= high) & (high <= 1)).all()


def test_numbers_arrays_and_columns_give_the_same() -> None:
    k, n = (np.array([pair[place] for pair in CASES], dtype=np.float64) for place in (0, 1))
    alone = [wilson(float(a / b), float(b), z_of(0.9)) for a, b in zip(k, n, strict=True)]
    assert np.column_stack(wilson(k / n, n, z_of(0.9))) == pytest.approx(np.array(alone), abs=1e-16)
    table = add_wilson(pl.DataFrame({"k": k, "n": n}), "k", "n", confidence=0.9)
    assert table.select("ci_low", "ci_high").to_numpy() == pytest.approx(np.array(alone), abs=1e-16)


def test_a_share_of_nobody_is_not_known() -> None:
    assert add_wilson(pl.DataFrame({"k": [0], "n": [0]}), "k", "n", "part").row(0) == (0, 0, None, None, None)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_level_outside_0_to_1_is_refused(confidence: float) -> None:
    with pytest.raises(SettingError, match="needs a share between 0 and 1"):
        z_of(confidence)
