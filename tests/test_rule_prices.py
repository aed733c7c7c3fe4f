"""What rules and limits cost, what other caps give, and prices while customers arrive."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from test_assignment import draw_market

from motkit.assignment import assign_actions
from motkit.errors import SettingError
from motkit.online_prices import replay_arrivals
from motkit.policy import Limit, parse_policy
from motkit.policy_batch import apply_policy
from motkit.rule_prices import price_rules, simulate_caps, with_cap

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEXT = """
[[rules]]
id = "cap"
type = "count"
max = 1
window = "7d"
of = { kind = "contact" }
[[rules]]
id = "bought"
type = "count"
max = 0
window = "30d"
of = { kind = "purchase" }
[[limits]]
id = "places"
max = 40
"""


def make_tables(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Candidates and history of a hundred customers."""
    chance = np.random.default_rng(seed)
    ids = [f"c{k:03d}" for k in range(100)]
    history = pl.DataFrame({
        "customer_id": chance.choice(ids, 150), "timestamp": [AT - timedelta(days=float(d)) for d in chance.random(150) * 12],
        "event": chance.choice(["contact", "purchase"], 150, p=[0.8, 0.2]), "status": "sent", "channel": "email",
    })  # fmt: skip
    candidates = pl.DataFrame({"customer_id": ids, "action_id": "mail", "channel": "email", "score": chance.gamma(2, 2, 100)})
    return candidates, history


def test_a_rule_costs_what_the_best_without_it_is_worth_more() -> None:
    policy, (candidates, history) = parse_policy(TEXT), make_tables(1)
    answer = apply_policy(candidates, history, policy, AT)
    costs = price_rules(answer, policy)
    base = assign_actions(answer, policy, policy).value
    for rule in ("cap", "bought"):
        rest = parse_policy(TEXT)
        without = type(rest)(rest.name, tuple(one for one in rest.rules if one.id != rule), rest.limits)
        better = assign_actions(apply_policy(candidates, history, without, AT), without, without).value
        row = costs.row(by_predicate=pl.col("name") == rule, named=True)
        assert row["value_lost"] == pytest.approx(better - base)
        assert row["at_most"] >= row["value_lost"] - 1e-9
        assert row["blocked_alone"] > 0
    limit = costs.row(by_predicate=pl.col("name") == "places", named=True)
    more = assign_actions(answer, [Limit("places", "contacts", 41)], policy).value - base
    less = base - assign_actions(answer, [Limit("places", "contacts", 39)], policy).value
    assert more - 1e-6 <= limit["price"] <= less + 1e-6


def test_higher_caps_reach_no_fewer_customers_and_give_no_less_value() -> None:
    policy, (candidates, history) = parse_policy(TEXT), make_tables(2)
    tried = simulate_caps(candidates, history, policy, AT, "cap", [0, 1, 2, 3, 9])
    assert tried["now"].to_list() == [False, True, False, False, False]
    for column in ("allowed", "reach", "value"):
        assert tried[column].is_sorted()
    assert tried["reach"][0] == 0
    assert tried["reach"][1] > 0
    past = tried["most_contacts"][0]  # with nothing new, what there was before
    assert all(most <= max(cap, past) for cap, most in tried.select("max", "most_contacts").rows())
    assert (tried["reach"] <= 40).all()
    with pytest.raises(SettingError, match="count rules are cap, bought"):
        with_cap(policy, "validity", 3)


def test_prices_that_are_set_anew_keep_nearly_all_of_the_best_and_break_no_limit() -> None:
    table, limits = draw_market(12_000, 5)
    kept = replay_arrivals(table, limits, seed=1)
    share = dict(zip(kept["prices"], kept["share"], strict=True))
    assert share["set anew"] >= 0.97
    assert share["set anew"] >= share["set once"] - 0.005
    assert share["none"] < 0.8
    assert (kept["share"] <= 1).all()
