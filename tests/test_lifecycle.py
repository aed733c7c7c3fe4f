"""States of customers by month against a plain loop."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SettingError
from motkit.lifecycle import STATES, lifecycle_states
from motkit.schema import EVENTS

visits = st.lists(st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(1, 9), st.integers(1, 28)), max_size=14)


def make_events(drawn: list[tuple[str, int, int]]) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [datetime(2026, row[1], row[2], tzinfo=UTC) for row in drawn],
        "event": ["visit"] * len(drawn),
        "channel": ["web"] * len(drawn),
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS)


def loop_states(drawn: list[tuple[str, int, int]], last: int) -> dict[tuple[int, str], int]:
    months = {who: {month for name, month, _ in drawn if name == who} for who, _, _ in drawn}
    counts = {(month, state): 0 for month in range(min((row[1] for row in drawn), default=99), last + 1) for state in STATES}
    for own in months.values():
        for month in range(min(own), last + 1):
            state = "new" if month == min(own) else "current" if {month, month - 1} <= own else "returning" if month in own else "dormant"
            counts[month, state] += 1
    return counts


@given(visits, st.randoms())
@settings(max_examples=40, deadline=None)
def test_states_are_those_of_a_plain_loop_and_add_up_to_all_known(drawn: Any, chance: Any) -> None:
    expected = loop_states(drawn, 9)
    chance.shuffle(drawn)
    table = lifecycle_states(make_events(drawn), as_of=datetime(2026, 10, 1))
    assert {(row[0].month, row[1]): row[2] for row in table.select("period", "state", "customers").iter_rows()} == expected
    assert (table.group_by("period").agg(pl.col("customers").sum() == pl.col("n").first())["customers"]).all()
    assert table["followed_up"].all()


def test_a_month_that_is_not_over_is_marked() -> None:
    table = lifecycle_states(make_events([("ann", 1, 3), ("ann", 2, 3)]))
    assert table.group_by("period", maintain_order=True).agg(pl.col("followed_up").all())["followed_up"].to_list() == [True, False]


def test_other_periods_are_refused() -> None:
    wrong: Any = "1y"
    with pytest.raises(SettingError, match="1y"):
        lifecycle_states(make_events([]), wrong)
