"""The policy for a crowd against the kernels for one customer, on made-up histories with nights on which clocks change."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import motkit
from motkit.consent_spans import make_spans
from motkit.crowd_bench import time_policy
from motkit.decision_bench import CHANGES, ZONES, World, bench_policy, make_world
from motkit.errors import SchemaError, SettingError
from motkit.policy import NEVER, Action, CountRule, NeverRule, Policy, Rule, fits, parse_policy
from motkit.policy_batch import apply_policy, make_crowd
from motkit.policy_past import code_actions, code_values
from motkit.rule_kernels import Facts, check_action, consent_free, from_us, to_us, zone_clock
from motkit.text_codes import place_values

NIGHTS = [*CHANGES, datetime(2026, 6, 15, 21, 59, tzinfo=UTC)]


def facts_of(policy: Policy, customer: str, zone: str | None, history: list[dict[str, Any]], consents: list[dict[str, Any]]) -> Facts:
    """What is known of one customer, picked out row by row."""

    def counts(match: Any, row: dict[str, Any]) -> bool:
        return fits(match, row) and (row["event"] != "contact" or row["status"] in policy.count_statuses)

    def stamps(rule: Rule, action: Action) -> Sequence[int]:
        if isinstance(rule, NeverRule):
            sides = rule.opposite(action)
            return sorted(to_us(r["timestamp"]) for r in history if r["event"] == "contact" and any(counts(side, r) for side in sides))
        assert isinstance(rule, CountRule)
        alike = lambda r: all(r[f] is not None and r[f] == getattr(action, f) for f in rule.same)  # noqa: E731
        return sorted(to_us(r["timestamp"]) for r in history if counts(rule.of, r) and alike(r))

    def rows(action: Action) -> list[tuple[int, int, bool]]:
        mine = [r for r in consents if (r["purpose"], r["channel"]) == (action.purpose, action.channel)]
        return [(to_us(r["valid_from"]), NEVER if r["valid_to"] is None else to_us(r["valid_to"]), r["given"]) for r in mine]

    return Facts(customer, zone_clock(zone), stamps, rows)


def answer_one_by_one(policy: Policy, at: datetime, world: World) -> list[tuple[int, datetime | None]]:
    """The mask and the next instant of each candidate by the kernels."""
    zones = dict(world.customers.iter_rows())
    past = world.history.rows_by_key("customer_id", named=True)
    agreed = world.consents.rows_by_key("customer_id", named=True)
    actions = {action.action_id: action for action in policy.actions}
    answers = []
    for customer, name in world.candidates.select("customer_id", "action_id").iter_rows():
        facts = facts_of(policy, customer, zones[customer], past[customer], agreed[customer])
        mask, free = check_action(policy, actions[name], facts, to_us(at))
        answers.append((mask, from_us(free)))
    return answers


def ask(policy: Policy, at: datetime, world: World) -> pl.DataFrame:
    """What the batch says of a world."""
    return apply_policy(world.candidates, world.history, policy, at, world.customers, world.consents)


@pytest.mark.parametrize("at", NIGHTS, ids=str)
def test_batch_and_one_by_one_agree_on_every_pair(at: datetime) -> None:
    policy = bench_policy()
    world = make_world(policy, 90, at, seed=at.day)
    answer, expected = ask(policy, at, world), answer_one_by_one(policy, at, world)
    assert answer["mask"].to_list() == [mask for mask, _ in expected]
    assert answer["next_allowed"].to_list() == [free for _, free in expected]
    assert answer["allowed"].to_list() == [mask == 0 for mask, _ in expected]
    assert answer["blocked_by"].to_list() == [policy.names(mask) for mask, _ in expected]
    seen = set(answer["blocked_by"].explode().drop_nulls())
    assert len(seen) >= 10, seen
    assert answer.filter(pl.col("next_allowed") > at).height > 50


def test_rows_may_come_in_any_order_with_strangers_and_with_their_own_columns() -> None:
    policy, at = bench_policy(), NIGHTS[0]
    world = make_world(policy, 40, at, seed=5)
    answer = ask(policy, at, world)
    mixed = {name: table.sample(fraction=1, shuffle=True, seed=3).lazy() for name, table in vars(world).items()}
    strangers = mixed["history"].with_columns(customer_id=pl.lit("x") + pl.col("customer_id"))
    wide = mixed["candidates"].with_columns(score=1.0, channel=pl.col("channel").cast(pl.Categorical))
    again = apply_policy(wide, pl.concat([mixed["history"], strangers]), policy, at, mixed["customers"], mixed["consents"])
    assert again.columns == [*world.candidates.columns, "score", "allowed", "blocked_by", "next_allowed", "mask"]
    keys = ["customer_id", "action_id"]
    assert again.sort(keys).select("mask", "next_allowed").equals(answer.sort(keys).select("mask", "next_allowed"))


def test_no_rule_is_broken_when_allowed_actions_are_sent_one_after_another() -> None:
    policy = bench_policy()
    policy = replace(policy, rules=tuple(rule for rule in policy.rules if rule.kind not in ("consent", "holdout")))
    zones = [zone for zone in ZONES if zone]
    customers = pl.DataFrame({"customer_id": [f"c{k}" for k in range(25)], "time_zone": [zones[k % len(zones)] for k in range(25)]})
    candidates = customers.select("customer_id").join(pl.DataFrame({"action_id": [a.action_id for a in policy.actions]}), how="cross")
    fields = {a.action_id: a.fields() for a in policy.actions}
    texts = ("customer_id", "status", "channel", "category", "purpose", "action_id", "package_id")
    start, sent = datetime(2026, 3, 26, 12), pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), **dict.fromkeys(texts, pl.String)})
    for step in range(60):
        at = start + timedelta(hours=5 * step)
        answer = apply_policy(candidates, sent, policy, at, customers)
        chosen = answer.filter("allowed").sample(fraction=1, shuffle=True, seed=step).unique("customer_id", keep="first")
        rows = [{"customer_id": c, "timestamp": at.replace(tzinfo=UTC), "status": "sent", **fields[a]} for c, a in chosen.select("customer_id", "action_id").iter_rows()]
        sent = pl.concat([sent, pl.DataFrame(rows, schema=sent.schema)])
    assert sent.height > 200
    week = sent.sort("timestamp").rolling("timestamp", period="7d", group_by="customer_id").agg(n=pl.len(), exempt=(pl.col("action_id") == "a5").last())
    assert week.filter(~pl.col("exempt"))["n"].max() == 4
    for (_, zone), own in sent.join(customers, on="customer_id").group_by("customer_id", "time_zone"):
        local = own["timestamp"].dt.convert_time_zone(str(zone))
        mails = local.filter(own["channel"] == "email").dt.date()
        assert mails.n_unique() == mails.len()
        others = local.filter(own["channel"].is_in(["sms", "call"])).dt.time()
        assert all(datetime(2000, 1, 1, 8).time() <= at < datetime(2000, 1, 1, 21).time() for at in others)
        assert own.filter(own["package_id"] == "spring").height <= 2
    tyres, loans = (sent.filter(pl.col("category") == name).select("customer_id", "timestamp") for name in ("tyres", "loan"))
    both = tyres.join(loans, on="customer_id", suffix="_loan")
    assert both.filter((pl.col("timestamp") - pl.col("timestamp_loan")).abs() < timedelta(days=3)).height == 0


def test_an_unknown_zone_blocks_what_needs_a_clock_unless_the_policy_names_one() -> None:
    text = '[[rules]]\nid = "night"\ntype = "quiet"\nstart = "21:00"\nend = "08:00"\nscope = { channel = "sms" }'
    candidates = pl.DataFrame({"customer_id": ["a", "a"], "action_id": ["x", "y"], "channel": ["sms", "email"]})
    history = pl.DataFrame(schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC")})
    blocked = apply_policy(candidates, history, parse_policy(text), datetime(2026, 6, 1, 12))
    assert blocked["blocked_by"].to_list() == [["night"], []]
    assert blocked["next_allowed"][0] is None
    named = parse_policy('[policy]\ndefault_tz = "UTC"\n' + text)
    assert apply_policy(candidates, history, named, datetime(2026, 6, 1, 12))["allowed"].to_list() == [True, True]
    night = apply_policy(candidates, history, named, datetime(2026, 6, 1, 22))
    assert night["next_allowed"][0] == datetime(2026, 6, 2, 8, tzinfo=UTC)


def test_without_consents_nobody_has_given_any() -> None:
    candidates = pl.DataFrame({"customer_id": ["a"], "action_id": ["x"], "channel": ["sms"], "purpose": ["marketing"]})
    history = pl.DataFrame(schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC")})
    answer = apply_policy(candidates, history, parse_policy('[[rules]]\nid = "consent"\ntype = "consent"'), datetime(2026, 6, 1))
    assert answer["blocked_by"].to_list() == [["consent"]]


def test_a_status_that_is_no_contact_is_an_event_of_its_own() -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    candidates = pl.DataFrame({"customer_id": ["a", "b"], "action_id": ["x", "x"], "channel": ["sms", "sms"]})
    history = pl.DataFrame({"customer_id": ["a", "b"], "timestamp": [at, at], "status": ["complaint", "sent"]})
    rule = '[[rules]]\nid = "calm"\ntype = "count"\nmax = 0\nwindow = "14d"\nof = { kind = "complaint" }'
    assert apply_policy(candidates, history, parse_policy(rule), at)["allowed"].to_list() == [False, True]


def test_empty_candidates_give_an_empty_answer_of_the_same_columns() -> None:
    policy, at = bench_policy(), NIGHTS[0]
    world = make_world(policy, 3, at, seed=1)
    answer = ask(policy, at, replace(world, candidates=world.candidates.clear()))
    whole = ask(policy, at, replace(world, history=world.history.clear()))
    assert answer.height == 0
    assert answer.schema == whole.schema


def test_tables_that_lack_columns_are_refused_with_what_they_need() -> None:
    policy, at = bench_policy(), NIGHTS[0]
    world = make_world(policy, 3, at, seed=1)
    with pytest.raises(SchemaError, match="the policy has no action 'zz'"):
        ask(policy, at, replace(world, candidates=world.candidates.select("customer_id", action_id=pl.lit("zz"))))
    with pytest.raises(SchemaError, match=r"history: missing \['timestamp'\]"):
        ask(policy, at, replace(world, history=world.history.drop("timestamp")))
    with pytest.raises(SchemaError, match="`timestamp` is String, needs times"):
        ask(policy, at, replace(world, history=world.history.cast({"timestamp": pl.String})))
    for wrong, when, said in (("policy.toml", at, "Read its file first"), (policy, "noon", "needs a datetime")):
        with pytest.raises(SettingError, match=said):
            apply_policy(world.candidates, world.history, cast(Any, wrong), cast(Any, when))
    with pytest.raises(SchemaError, match="customers"):
        ask(policy, at, replace(world, customers=world.customers.drop("time_zone")))
    with pytest.raises(SchemaError, match=r"missing \['given'\]"):
        ask(policy, at, replace(world, consents=world.consents.drop("given")))


def test_a_crowd_is_read_once_for_all_its_actions() -> None:
    policy, at = bench_policy(), NIGHTS[0]
    world = make_world(policy, 30, at, seed=2)
    names = code_values(world.candidates["customer_id"])[1]
    actions = code_actions(world.candidates, {a.action_id: a for a in policy.actions})[1]
    crowd = make_crowd(names, world.history, policy, actions, to_us(at), world.customers, world.consents)
    assert crowd.size == 30
    assert (np.diff(crowd.past.customer) >= 0).all()
    assert inspect.unwrap(motkit.apply_policy) is inspect.unwrap(apply_policy)


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 8) | st.none(), st.booleans()), max_size=12),
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(4, 16)), min_size=1, max_size=8),
)
def test_spans_of_consent_say_what_the_rows_say_at_every_instant(rows: Any, asked: Any) -> None:
    told = [(who, start, NEVER if long is None else start + long, yes) for who, start, long, yes in rows]
    names = {"_customer": pl.Int64, "_from": pl.Int64, "_to": pl.Int64, "given": pl.Boolean}
    spans = make_spans(pl.DataFrame(told, schema=names, orient="row"), 3, 4)
    found = spans.free(np.array([who for who, _ in asked]), np.array([at for _, at in asked]))
    assert found.tolist() == [consent_free([row[1:] for row in told if row[0] == who], at) for who, at in asked]


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_text_has_the_place_that_a_dictionary_gives_even_where_hashes_do_not_tell(spoilt: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if spoilt:
        monkeypatch.setattr(pl.Series, "hash", lambda self: pl.Series(self.str.len_chars().fill_null(0), dtype=pl.UInt64))
    names = pl.Series([f"c{k}" for k in range(500)] + [None])
    values = pl.Series([f"c{k * 7 % 800}" if k % 11 else None for k in range(2000)])
    places = {name: place for place, name in enumerate(names)}
    assert place_values(values, names).tolist() == [places.get(value, -1) for value in values]
    assert place_values(values.clear(), names).tolist() == []
    assert place_values(values.head(2), names.clear()).tolist() == [-1, -1]


def test_four_times_the_customers_take_about_four_times_as_long() -> None:
    def cpu_s(customers: int) -> float:
        return float(np.median([time_policy(customers)["cpu_s"] for _ in range(3)]))

    assert cpu_s(16_000) < 8 * cpu_s(4_000)
