"""Assignments against trying all, against published optima, and against their own certificate."""

import inspect
import json
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motkit
from motkit.assignment import assign_actions
from motkit.assignment_problem import Problem, make_problem
from motkit.assignment_repair import repair
from motkit.dual_prices import choose, find_prices, price_bound, soft_bound
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.policy import Limit, PerCustomer

CASES = json.loads((Path(__file__).parent / "reference" / "decisions" / "assignment_small.json").read_text())
SMALL = [case for case in CASES if "usage" in case]


def make_case(case: dict[str, Any]) -> tuple[pl.DataFrame, dict[str, float], PerCustomer]:
    """A reference case as candidates, limits and caps."""
    rows = []
    for (i, values), j in product(enumerate(case["value"]), range(len(case["value"][0]))):
        used = {f"limit{k}": float(usage[j]) for k, usage in enumerate(case["usage"])}
        channel = str(case["channel"][j]) if case["channel"] else "any"
        rows.append({"customer_id": f"c{i}", "action_id": f"a{j:02d}", "channel": channel, "score": values[j], **used})
    limits = {f"limit{k}": float(limit) for k, limit in enumerate(case["limit"])}
    per = PerCustomer(case["max_per_customer"], (("channel", 1),) if case["channel"] else ())
    return pl.DataFrame(rows, schema_overrides={"score": pl.Float64}), limits, per


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case["name"])
def test_a_small_case_has_the_value_that_trying_all_finds(case: dict[str, Any]) -> None:
    candidates, limits, per = make_case(case)
    best = assign_actions(candidates, limits, per)
    assert best.exact
    assert best.value == pytest.approx(case["optimum"], abs=1e-9)
    assert best.bound >= best.value - 1e-9
    if case["n_optimal"] == 1:
        chosen = {name: sorted(int(a[1:]) for a in own) for name, own in best.table.group_by("customer_id").agg("action_id").iter_rows()}
        assert chosen == {f"c{i}": sorted(own) for i, own in enumerate(case["assignment"]) if own}


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case["name"])
def test_prices_give_a_bound_and_keep_every_limit(case: dict[str, Any]) -> None:
    candidates, limits, per = make_case(case)
    made = assign_actions(candidates, limits, per, exact_up_to=0)
    assert made.value <= case["optimum"] + 1e-9
    assert made.value == pytest.approx(case["optimum"], abs=1e-6)  # the core holds all customers, so it is exact too
    assert made.bound >= case["optimum"] - 1e-9
    assert made.bound <= case["lp_bound"] * 1.02 + 0.05
    assert (made.usage["used"] <= made.usage["max"]).all()


def test_the_published_examples_come_out() -> None:
    by_name = {case["name"]: case for case in CASES}
    costs = np.array(by_name["ortools_assignment_5x4"]["cost"])
    rows = [{"customer_id": f"w{i}", "action_id": f"t{j}", "channel": f"t{j}", "score": 1000.0 - costs[i, j]} for i in range(5) for j in range(4)]
    limits = [Limit(f"t{j}", "contacts", 1, scope=(("channel", (f"t{j}",)),)) for j in range(4)]
    assert 4000 - assign_actions(pl.DataFrame(rows), limits).value == by_name["ortools_assignment_5x4"]["optimum_cost"]
    sack = by_name["ortools_knapsack_50"]
    items = pl.DataFrame({"customer_id": [f"i{k}" for k in range(50)], "action_id": "take", "score": sack["value"], "weight": sack["weight"]})
    assert assign_actions(items, {"weight": sack["budget"]}).value == sack["optimum"]


def draw_market(n: int, seed: int, m: int = 6) -> tuple[pl.DataFrame, list[Limit]]:
    """Candidates of many customers, with channels that are short and money that is."""
    chance = np.random.default_rng(seed)
    channel = np.array(["email", "sms", "call"])[np.arange(m) % 3]
    money = np.array([0.01, 0.05, 0.6])[np.arange(m) % 3] * (1 + 0.2 * chance.random(m))
    score = chance.gamma(2, 2, (n, m)) * np.array([1, 1.5, 4])[np.arange(m) % 3]
    score[chance.random((n, m)) < 0.3] = np.nan
    table = pl.DataFrame({
        "customer_id": np.repeat(np.arange(n), m), "action_id": np.tile([f"a{k}" for k in range(m)], n), "channel": np.tile(channel, n),
        "score": score.ravel(), "cost": 0.1, "money": np.tile(money, n),
    }).with_columns(score=pl.col("score").fill_nan(None))  # fmt: skip
    cap = lambda name, share: Limit(name, "contacts", share * n, scope=(("channel", (name,)),))  # noqa: E731
    return table, [cap("email", 0.2), cap("sms", 0.1), cap("call", 0.02), Limit("budget", "money", 0.015 * n)]


def test_at_six_hundred_customers_the_program_gives_the_optimum_and_prices_come_close() -> None:
    table, limits = draw_market(600, 3)
    exact = assign_actions(table, limits)
    by_prices = assign_actions(table, limits, exact_up_to=0)
    assert exact.exact
    assert exact.gap <= 1e-6
    assert by_prices.value >= exact.value * (1 - 3e-4)
    assert by_prices.bound >= exact.value


def test_twenty_thousand_customers_are_assigned_within_their_certificate() -> None:
    table, limits = draw_market(20_000, 4)
    made = assign_actions(table, limits)
    assert not made.exact
    assert made.gap <= 1e-4
    assert (made.usage["used"] <= made.usage["max"]).all()
    assert made.table["customer_id"].is_unique().all()
    assert made.value == pytest.approx((made.table["score"] - made.table["cost"]).sum())
    spent = made.table.select(pl.col("money").sum()).item()
    assert spent <= limits[3].max
    assert "by prices" in repr(made)
    by_value = table.with_columns(net=pl.col("score") - pl.col("cost")).drop_nulls("net").sort("net", descending=True)
    assert made.value > 1.01 * greedy(by_value, limits)


def greedy(ordered: pl.DataFrame, limits: list[Limit]) -> float:
    """Take candidates in their order as long as everything holds: what simpler systems do."""
    left, seen, total = {limit.id: limit.max for limit in limits}, set[int](), 0.0
    for customer, channel, money, net in ordered.select("customer_id", "channel", "money", "net").iter_rows():
        if net > 0 and customer not in seen and left[channel] >= 1 and left["budget"] >= money:
            seen.add(customer)
            left[channel] -= 1
            left["budget"] -= money
            total += net
    return total


def test_usage_that_differs_between_customers_is_added_up_pair_by_pair() -> None:
    table, _ = draw_market(4000, 6)
    table = table.with_columns(minutes=pl.Series(np.random.default_rng(1).random(table.height)))
    made = assign_actions(table, {"minutes": 400.0})
    assert made.gap < 1e-4
    assert made.usage["used"][0] == pytest.approx(made.table["minutes"].sum())
    assert made.usage["used"][0] <= 400


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_limit_and_no_cap_is_ever_broken_and_small_cases_are_optimal(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    scores = data.draw(st.lists(st.integers(-3, 9), min_size=n * m, max_size=n * m))
    usage = data.draw(st.lists(st.integers(0, 3), min_size=n * m, max_size=n * m))
    channels = data.draw(st.lists(st.sampled_from("ab"), min_size=m, max_size=m))
    most, cap, per = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 2))
    table = pl.DataFrame({
        "customer_id": [f"c{i}" for i in range(n) for _ in range(m)], "action_id": [f"a{j}" for _ in range(n) for j in range(m)],
        "channel": channels * n, "score": [float(s) for s in scores], "minutes": usage,
    })  # fmt: skip
    rules = PerCustomer(cap, (("channel", per),))
    best = 0.0
    own_choices = [
        [c for size in range(min(cap, m) + 1) for c in combinations(range(m), size) if all(sum(channels[j] == k for j in c) <= per for k in "ab")]
        for _ in range(n)
    ]
    for choice in product(*own_choices):
        pairs = [i * m + j for i, own in enumerate(choice) for j in own]
        if sum(usage[p] for p in pairs) <= most:
            best = max(best, float(sum(scores[p] for p in pairs)))
    for exact_up_to in (0, 10_000):
        made = assign_actions(table, {"minutes": most}, rules, exact_up_to=exact_up_to)
        assert made.value == pytest.approx(best)
        assert made.bound >= best - 1e-9
        assert made.table["minutes"].sum() <= most
        assert made.table.group_by("customer_id").len()["len"].max() is None or made.table.group_by("customer_id").len()["len"].max() <= cap
        assert made.table.group_by("customer_id", "channel").len().filter(pl.col("len") > per).is_empty()


def test_two_actions_a_customer_with_one_a_channel_stay_within_caps_and_certificate() -> None:
    table, limits = draw_market(5000, 8)
    made = assign_actions(table, limits, {"max_actions": 2, "max_per": {"channel": 1}})
    assert made.gap < 1e-3
    assert made.table.group_by("customer_id").len()["len"].max() == 2
    assert made.table.select("customer_id", "channel").is_unique().all()
    assert made.value > assign_actions(table, limits).value


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_any_prices_bound_every_assignment_and_the_soft_bound_lies_above(seed: int) -> None:
    table, limits = draw_market(25, seed)
    problem, _ = make_problem(table, limits, PerCustomer())
    best = assign_actions(table, limits).value
    for prices in (np.zeros(4), np.random.default_rng(seed).exponential(3, 4), find_prices(problem)):
        bound, used = price_bound(problem, prices)
        assert bound >= best - 1e-6
        assert soft_bound(problem, prices, 0.1)[0] >= bound
        assert (used == problem.used(*np.nonzero(choose(problem, problem.priced(prices))))).all()
        customer, action = repair(problem, prices, bound)
        assert (problem.used(customer, action) <= problem.most).all()


def test_the_order_of_rows_does_not_matter() -> None:
    table, limits = draw_market(80, 9)
    first, again = assign_actions(table, limits), assign_actions(table.sample(fraction=1, shuffle=True, seed=1).lazy(), limits)
    assert first.value == pytest.approx(again.value)


def test_nothing_to_choose_gives_an_empty_assignment() -> None:
    table, limits = draw_market(5, 1)
    for nothing in (table.clear(), table.with_columns(allowed=False), table.with_columns(score=None)):
        made = assign_actions(nothing, limits)
        assert made.table.height == 0
        assert (made.value, made.gap) == (0.0, 0.0)
        assert made.usage["used"].sum() == 0


def test_what_cannot_be_added_up_is_refused() -> None:
    table, limits = draw_market(5, 1)
    with pytest.raises(SchemaError, match="needs a column `minutes`"):
        assign_actions(table, {"minutes": 4})
    with pytest.raises(SchemaError, match="missing 'score'"):
        assign_actions(table.drop("score"), limits)
    with pytest.raises(SchemaError, match="come twice"):
        assign_actions(pl.concat([table, table]), limits)
    with pytest.raises(DesignError, match="below 0"):
        assign_actions(table.with_columns(money=-1.0), limits)
    with pytest.raises(SettingError, match="cut across"):
        assign_actions(
            table.with_columns(category=pl.col("action_id").replace_strict({f"a{k}": "x" if k < 2 else "y" for k in range(6)})),
            limits,
            {"max_actions": 2, "max_per": {"channel": 1, "category": 1}},
        )
    with pytest.raises(SettingError, match="per_customer"):
        assign_actions(table, limits, -1)


def test_a_problem_is_what_its_table_says() -> None:
    table, limits = draw_market(7, 2)
    problem, rows = make_problem(table, limits, PerCustomer())
    assert isinstance(problem, Problem)
    assert problem.worth.shape == (7, 6)
    assert table["score"].gather(rows[3].tolist()).to_list() == table.filter(pl.col("customer_id") == 3).sort("action_id")["score"].to_list()
    assert inspect.unwrap(motkit.assign_actions) is inspect.unwrap(assign_actions)


def test_notes_of_compiled_code_stay_out_of_a_log_file() -> None:
    code = "import ctypes\nfrom motkit.exact_assignment import _without_notes\nprint('before')\nwith _without_notes():\n    ctypes.CDLL(None).puts(b'a note')\nprint('after')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["before", "after"]
