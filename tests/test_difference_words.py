"""Words for differences: digits that the interval is worth, and sides as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motkit.difference_words import digits_for, say_more, say_p

numbers = st.floats(-1e5, 1e5)


@given(numbers, numbers)
def test_the_interval_keeps_two_digits_of_its_half_width(low: float, high: float) -> None:
    digits, half = digits_for(low, high), abs(high - low) / 2
    assert 0 <= digits <= 6
    if 1e-5 < half < 10:
        assert 9.9 <= half * 10**digits < 100.1
    if half >= 10:
        assert digits == 0


@pytest.mark.parametrize(
    ("gap", "low", "high", "told"),
    [
        (2.583, 1.42, 3.75, ("2.6 days more", "1.4 to 3.8 more")),
        (-2.583, -3.75, -1.42, ("2.6 days less", "1.4 to 3.8 less")),
        (0.02583, -0.01174, 0.0634, ("0.026 days more", "0.012 less to 0.063 more")),
        (0.0, 0.0, 0.0, ("0.00 days more", "0.00 less to 0.00 more")),
        (1234.5, 900.0, 1700.0, ("1,234 days more", "900 to 1,700 more")),
    ],
)
def test_signs_become_words(gap: float, low: float, high: float, told: tuple[str, str]) -> None:
    assert say_more(gap, low, high, " days") == told


def test_p_is_told_with_two_digits() -> None:
    assert [say_p(p) for p in (1.0, 0.0456, 0.00099)] == ["p = 1", "p = 0.046", "p < 0.001"]
