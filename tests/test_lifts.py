"""Lifts and differences of groups: plain loops, the stated error rate on shuffled data, planted order found again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from motkit.errors import DesignError, FewEventsWarning, SchemaError, SettingError
from motkit.lifts import adjust_fdr, compare_paths, step_lifts
from motkit.schema import EVENTS

START = datetime(2026, 3, 2, tzinfo=UTC)


def make_events(paths: list[list[str]]) -> pl.DataFrame:
    rows = [(f"c{who:05d}", START + timedelta(minutes=k), event) for who, path in enumerate(paths) for k, event in enumerate(path)]
    columns: dict[str, Any] = {name: [row[k] for row in rows] for k, name in enumerate(["customer_id", "timestamp", "event"])}
    columns |= {"channel": ["web"] * len(rows), "value": [None] * len(rows), "duration_s": [None] * len(rows)}
    return pl.DataFrame(columns, schema=EVENTS)


def draw_paths(chance: np.random.Generator, customers: int) -> list[list[str]]:
    """Paths in no order: customers differ in length and in taste."""
    paths = []
    for _ in range(customers):
        taste = chance.dirichlet([4, 2, 2, 1])
        paths.append([str(one) for one in chance.choice(list("abcd"), size=2 + chance.poisson(chance.gamma(2, 4)), p=taste)])
    return paths


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_expected_count_is_the_mean_over_all_orders_of_every_path(paths: Any) -> None:
    expected: dict[tuple[str, str], float] = {}
    for path in paths:
        orders = list(permutations(path))
        for order in orders:
            for step in pairwise(order):
                expected[step] = expected.get(step, 0.0) + 1 / len(orders)
    table = step_lifts(make_events(paths), min_customers=2)
    for row in table.iter_rows(named=True):
        assert row["expected"] == pytest.approx(expected[row["from_event"], row["to_event"]])
        assert row["n"] == sum(step == (row["from_event"], row["to_event"]) for path in paths for step in pairwise(path))


def test_on_paths_in_no_order_lifts_centre_on_one_and_are_found_at_the_stated_rate() -> None:
    chance = np.random.default_rng(11)
    tables = [step_lifts(make_events(draw_paths(chance, 150))) for _ in range(40)]
    every = pl.concat(tables)
    assert abs(every["lift"].mean() - 1) < 0.02
    assert 0.03 < (every["p_value"] < 0.05).mean() < 0.075
    assert 0.92 < every.select((pl.col("ci_low") <= 1) & (pl.col("ci_high") >= 1)).to_series().mean() < 0.97
    assert sum((table["q_value"] < 0.05).any() for table in tables) <= 6


def test_a_planted_order_is_found() -> None:
    chance = np.random.default_rng(12)
    paths = [[*path[:-1], "a", "d"] for path in draw_paths(chance, 300)]
    first = step_lifts(make_events(paths)).row(0, named=True)
    assert (first["from_event"], first["to_event"]) == ("a", "d")
    assert first["ci_low"] > 1.5


def test_adjusted_p_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(0).random(50) ** 2
    assert np.allclose(adjust_fdr(p), false_discovery_control(p))
    assert adjust_fdr(np.array([])).size == 0


def groups_of(customers: int, chance: np.random.Generator) -> pl.DataFrame:
    labels = np.where(chance.random(customers) < 0.4, "new", "old")
    return pl.DataFrame({"customer_id": [f"c{who:05d}" for who in range(customers)], "group": labels})


def test_the_shares_of_two_groups_are_those_of_a_plain_loop() -> None:
    chance = np.random.default_rng(13)
    paths = draw_paths(chance, 200)
    groups = groups_of(200, chance)
    of = groups["group"].to_list()
    for row in compare_paths(make_events(paths), groups).iter_rows(named=True):
        for side, label in (("a", "new"), ("b", "old")):
            steps = [step for who, path in enumerate(paths) if of[who] == label for step in pairwise(path)]
            leaving = [step for step in steps if step[0] == row["from_event"]]
            made = leaving.count((row["from_event"], row["to_event"]))
            assert row[f"n_{side}"] == made
            assert row[f"share_{side}"] == pytest.approx(made / len(leaving))
        assert row["difference"] == pytest.approx(row["share_b"] - row["share_a"])


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
def test_groups_drawn_at_random_differ_at_the_stated_rate() -> None:
    chance = np.random.default_rng(14)
    tables = [compare_paths(make_events(draw_paths(chance, 200)), groups_of(200, chance)) for _ in range(40)]
    every = pl.concat(tables)
    assert abs(every["difference"].mean()) < 0.01
    assert 0.03 < (every["p_value"] < 0.05).mean() < 0.075
    assert sum((table["q_value"] < 0.05).any() for table in tables) <= 6


def test_steps_of_few_customers_are_left_out_with_a_warning() -> None:
    paths = [["a", "b"]] * 40 + [["c", "d"]] * 3
    groups = pl.DataFrame({"customer_id": [f"c{who:05d}" for who in range(43)], "group": ["x", "y"] * 21 + ["x"]})
    with pytest.warns(FewEventsWarning, match="left out"):
        assert compare_paths(make_events(paths), groups).height == 0  # nobody goes elsewhere from a, and c is rare


def test_groups_that_are_none_are_refused() -> None:
    events = make_events([["a", "b"]] * 3)
    ids = [f"c{who:05d}" for who in range(3)]
    with pytest.raises(DesignError, match="needs two values"):
        compare_paths(events, pl.DataFrame({"customer_id": ids, "group": ["x", "y", "z"]}))
    with pytest.raises(DesignError, match="twice"):
        compare_paths(events, pl.DataFrame({"customer_id": [*ids, ids[0]], "group": ["x", "y", "x", "y"]}))
    with pytest.raises(SchemaError, match="group"):
        compare_paths(events, pl.DataFrame({"customer_id": ids}))
    with pytest.raises(SettingError, match="min_customers"):
        step_lifts(events, min_customers=0)
