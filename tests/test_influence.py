"""Influence: removal effects against a chain solved state by state; shuffled orders have none; a planted one is found."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from motkit.errors import DesignError, SettingError
from motkit.influence import Ways, _chain, _removal_effects, step_influence
from motkit.schema import EVENTS
from motkit.sessions import split_sessions

START = datetime(2026, 3, 2, tzinfo=UTC)


def make_events(paths: list[list[str]]) -> pl.DataFrame:
    rows = [(f"c{who:05d}", START + timedelta(minutes=k), event) for who, path in enumerate(paths) for k, event in enumerate(path)]
    columns: dict[str, Any] = {name: [row[k] for row in rows] for k, name in enumerate(["customer_id", "timestamp", "event"])}
    columns |= {"channel": ["web"] * len(rows), "value": [None] * len(rows), "duration_s": [None] * len(rows)}
    return pl.DataFrame(columns, schema=EVENTS)


def draw_paths(chance: np.random.Generator, customers: int, order: bool) -> list[list[str]]:
    """Conversion depends on what a path holds (d is good), and with `order` also on what comes last."""
    paths = []
    for _ in range(customers):
        path = [str(one) for one in chance.choice(list("abcd"), size=2 + chance.poisson(3), p=[0.4, 0.3, 0.2, 0.1])]
        odds = 0.25 + 0.3 * ("d" in path) + (0.4 if order and path[-1] == "b" else 0.0)
        paths.append([*path, "pay"] if chance.random() < odds else path)
    return paths


def loop_effect(counts: np.ndarray, removed: int) -> float:
    """Walk the chain with and without a state for a very long time."""

    def conversion(without: int | None) -> float:
        steps = counts / counts.sum(axis=1, keepdims=True)
        states = steps.shape[1] - 2
        here, total = steps[states].copy(), 0.0
        for _ in range(400):
            if without is not None:
                here[without] = 0.0
            total += here[states]
            here = here[:states] @ steps[:states]
        return total

    return 1 - conversion(removed) / conversion(None)


def test_removal_effects_are_those_of_a_walk_without_the_state() -> None:
    chance = np.random.default_rng(1)
    path = np.repeat(np.arange(60), 5)
    ways = Ways(path, chance.integers(0, 4, 300), chance.random(60) < 0.5, np.arange(60))
    counts = _chain(ways, 4)
    assert np.allclose(_removal_effects(counts), [loop_effect(counts, state) for state in range(4)])


def test_on_shuffled_orders_the_excess_centres_on_nothing_at_the_stated_rate() -> None:
    chance = np.random.default_rng(2)
    tables = [step_influence(make_events(draw_paths(chance, 150, order=False)), "pay", shuffles=100, seed=k) for k in range(60)]
    every = pl.concat(tables)
    assert abs(every["excess"].mean()) < 0.005
    assert 0.02 < (every["p_value"] < 0.05).mean() < 0.09
    assert 0.91 < every.select((pl.col("ci_low") <= 0) & (pl.col("ci_high") >= 0)).to_series().mean() < 0.99
    assert every.filter(event="a")["removal"].mean() > 0.4  # what the raw effect would say of a step without any


def test_a_planted_place_is_found() -> None:
    table = step_influence(make_events(draw_paths(np.random.default_rng(3), 600, order=True)), ["pay"])
    first = table.row(0, named=True)
    assert first["event"] == "b"
    assert first["ci_low"] > 0
    assert first["q_value"] < 0.05


def test_what_comes_after_the_first_conversion_does_not_count() -> None:
    paths = draw_paths(np.random.default_rng(4), 80, order=True)
    longer = [[*path, "a", "b", "pay", "c"] if path[-1] == "pay" else path for path in paths]
    assert step_influence(make_events(longer), "pay", shuffles=50).equals(step_influence(make_events(paths), "pay", shuffles=50))


def test_rows_in_any_order_and_rare_events_in_one_bucket() -> None:
    events = make_events([*draw_paths(np.random.default_rng(5), 80, order=True), ["a", "x"], ["a", "y"]])
    table = step_influence(events, "pay", shuffles=50, min_paths=5)
    assert table.equals(step_influence(events.reverse(), "pay", shuffles=50, min_paths=5))
    assert table.filter(event="other").select("n", "converted").rows() == [(2, 0)]
    sessions = step_influence(split_sessions(events), "pay", within="session", shuffles=50, min_paths=5)
    assert sessions.select("event", "n").sort("event").equals(table.select("event", "n").sort("event"))


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(DesignError, match="0 of 3 paths"):
        step_influence(make_events([["a"], ["a"], ["a"], ["pay"]]), "pay")
    with pytest.raises(SettingError, match="no event is called"):
        step_influence(make_events([["a"]]), "buy")
    with pytest.raises(SettingError, match="shuffles"):
        step_influence(make_events([["a"]]), "a", shuffles=5)
