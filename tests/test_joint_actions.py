"""Several actions for one customer at once keep the policy together, as if they were sent one after another."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.assignment import assign_actions
from motkit.contact_rules import PerCustomer, Policy
from motkit.decider import Decider
from motkit.decision_bench import World, bench_policy, make_world
from motkit.joint_actions import clash_masks
from motkit.policy import parse_policy
from motkit.policy_batch import apply_policy

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
SHOP = """
[[actions]]
id = "loan_mail"
channel = "email"
category = "loan"
value = 100
[[actions]]
id = "reminder_text"
channel = "sms"
category = "reminder"
value = 90
[[actions]]
id = "news_mail"
channel = "email"
category = "news"
value = 50
[[rules]]
id = "loan_or_reminder"
type = "never"
a = { category = "loan" }
b = { category = "reminder" }
window = "30d"
[per_customer]
max_actions = 2
"""


def several(most: int, **per: int) -> Policy:
    """The policy of the benchmark, with room for some actions of one customer, and few who are blocked whatever happens."""
    policy = bench_policy()
    rules = tuple(rule for rule in policy.rules if rule.kind not in ("consent", "holdout") and rule.id not in ("complained", "just_bought"))
    return replace(policy, rules=rules, per_customer=PerCustomer(most, tuple(per.items())))


def with_scores(world: World, policy: Policy, seed: int) -> pl.DataFrame:
    """What the policy says of each candidate, with scores."""
    answer = apply_policy(world.candidates, world.history, policy, AT, world.customers, world.consents)
    return answer.with_columns(score=pl.Series(np.random.default_rng(seed).integers(1, 100, answer.height).astype(float)))


def allowed_after(world: World, policy: Policy, pairs: list[tuple[str, tuple[str, ...], str]]) -> list[bool]:
    """Whether each last action may still be sent to its customer at the same instant after the others: each pair as a customer of its own."""
    who = pl.DataFrame({"customer_id": [pair[0] for pair in pairs], "_new": [f"{k:05d}" for k in range(len(pairs))], "_last": [pair[2] for pair in pairs]})
    tables = {name: who.join(table, on="customer_id").drop("customer_id", "_last").rename({"_new": "customer_id"}) for name, table in vars(world).items()}
    fields = {action.action_id: action.fields() for action in policy.actions}
    rows = [{"customer_id": f"{k:05d}", "timestamp": AT, "event": "contact", "status": "reserved", **fields[name]} for k, (_, sent, _) in enumerate(pairs) for name in sent]
    history = pl.concat([tables["history"], pl.DataFrame(rows, schema=tables["history"].select(list(rows[0])).schema)], how="diagonal")
    asked = who.select(customer_id="_new", action_id="_last")
    return apply_policy(asked, history, policy, AT, tables["customers"], actions=policy.actions)["allowed"].to_list()


@pytest.mark.parametrize(("most", "exact_up_to"), [(2, 0), (2, 10_000), (3, 0), (3, 10_000)])
def test_actions_of_one_customer_may_be_sent_one_after_another_in_any_order(most: int, exact_up_to: int) -> None:
    policy = several(most)
    world = make_world(policy, 150, AT, seed=most, rows=2)
    made = assign_actions(with_scores(world, policy, 1), None, policy, exact_up_to=exact_up_to)
    chosen = made.table.group_by("customer_id").agg("action_id").filter(pl.col("action_id").list.len() > 1)
    assert chosen.height > 50
    pairs = [(who, tuple(one for one in names if one != last), last) for who, names in chosen.iter_rows() for last in names]
    assert all(allowed_after(world, policy, pairs))
    assert made.value <= made.bound


def test_of_two_actions_a_customer_the_best_pair_that_keeps_the_policy_is_found() -> None:
    policy = several(2)
    world = make_world(policy, 40, AT, seed=7, rows=3)
    answer = with_scores(world, policy, 2)
    allowed = answer.filter("allowed").group_by("customer_id").agg("action_id", "score")
    sets = [(who, one, two, s1 + s2) for who, names, scores in allowed.iter_rows() for (one, s1), (two, s2) in combinations(zip(names, scores, strict=True), 2)]
    both = [a and b for a, b in zip(*(allowed_after(world, policy, [(w, (o,), t) if k else (w, (t,), o) for w, o, t, _ in sets]) for k in (0, 1)), strict=True)]
    assert 0.05 < 1 - np.mean(both) < 0.95
    best = {who: max(scores) for who, _, scores in allowed.iter_rows()}
    for (who, _, _, worth), keeps in zip(sets, both, strict=True):
        best[who] = max(best[who], worth) if keeps else best[who]
    for exact_up_to in (0, 10_000):
        made = assign_actions(answer, None, policy, exact_up_to=exact_up_to)
        assert made.value == pytest.approx(sum(best.values()))
        assert made.bound == pytest.approx(made.value)


@given(seed=st.integers(0, 10_000), places=st.integers(5, 40))
@settings(max_examples=4, deadline=None)
def test_with_a_limit_prices_stay_within_their_bound_and_near_the_program(seed: int, places: int) -> None:
    policy = several(2, channel=1)
    answer = with_scores(make_world(policy, 30, AT, seed=seed, rows=2), policy, seed)
    exact, quick = (assign_actions(answer, {"contacts": places}, policy, exact_up_to=size) for size in (10_000, 0))
    assert quick.value <= exact.value + 1e-9 <= quick.bound + 2e-9
    assert quick.value >= 0.97 * exact.value
    assert quick.table.height <= places


def test_what_must_never_meet_does_not_meet_in_one_decision_even_without_a_history() -> None:
    shop = parse_policy(SHOP)
    table = pl.DataFrame({"customer_id": "ann", "action_id": [a.action_id for a in shop.actions], "score": [100.0, 90.0, 50.0]})
    told = apply_policy(table, pl.DataFrame(schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC")}), shop, AT)
    for given_ in (table.join(pl.DataFrame([a.fields() for a in shop.actions]), on="action_id"), told):
        for exact_up_to in (0, 100):
            made = assign_actions(given_, None, shop, exact_up_to=exact_up_to)
            assert sorted(made.table["action_id"]) == ["loan_mail", "news_mail"]
            assert made.value == made.bound == 150


def test_a_reservation_counts_at_once_so_that_the_other_side_is_blocked_in_the_next_decision() -> None:
    shop = parse_policy(SHOP)
    decider = Decider(shop, prior=0.5)
    assert decider.decide("ann", AT).chosen == "loan_mail"
    second = decider.decide("ann", AT)
    assert {one.action_id: one.blocked_by for one in second.candidates}["reminder_text"] == ("loan_or_reminder",)
    assert second.chosen == "loan_mail"  # of a loan there is no cap
    assert decider.decide("ann", AT + timedelta(minutes=61)).candidates[1].blocked_by == ()  # the reservations have run out


def test_an_action_does_not_clash_with_itself_and_rules_out_of_scope_do_not_count() -> None:
    shop = parse_policy(SHOP + '[[rules]]\nid = "mails"\ntype = "count"\nmax = 1\nwindow = "1d"\nof = { kind = "contact" }\nscope = { channel = "email" }')
    assert clash_masks(shop, shop.actions).tolist() == [[0, 1, 2], [3, 0, 2], [2, 0, 0]]  # rows: what counts; columns: against what
