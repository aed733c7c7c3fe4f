"""The policy for a crowd against the kernels for one customer, on made-up histories with nights on which clocks change."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

import motkit
from motkit.errors import SchemaError
from motkit.policy import NEVER, Action, CountRule, NeverRule, Policy, Rule, fits, parse_policy
from motkit.policy_batch import apply_policy, make_crowd
from motkit.policy_past import code_actions, code_values
from motkit.rule_kernels import Facts, check_action, from_us, to_us, zone_clock

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", None, "Mars/Olympus"]
POLICY = """
[[actions]]
id = "a_mail"
channel = "email"
category = "promo"
package = "spring"
valid_from = 2026-03-01
valid_to = 2026-11-03
[[actions]]
id = "b_text"
channel = "sms"
category = "promo"
exempt = ["cap_week"]
[[actions]]
id = "c_call"
channel = "call"
category = "loan"
purpose = "service"
valid_from = 2026-04-01
[[actions]]
id = "d_mail"
channel = "email"
category = "reminder"
package = "spring"

[[rules]]
id = "consent"
type = "consent"
[[rules]]
id = "night"
type = "quiet"
start = "22:00"
end = "07:30"
scope = { channel = ["sms", "call"] }
[[rules]]
id = "weekend"
type = "quiet"
start = "00:00"
end = "12:30"
days = ["sat..sun"]
scope = { channel = "call" }
[[rules]]
id = "cap_week"
type = "count"
max = 3
window = "7d"
of = { kind = "contact" }
[[rules]]
id = "day_mail"
type = "count"
max = 1
window = "1cd"
of = { kind = "contact", channel = "email" }
scope = { channel = "email" }
[[rules]]
id = "month"
type = "count"
max = 9
window = "1cm"
of = { kind = "contact" }
[[rules]]
id = "bought"
type = "count"
max = 0
window = "6d"
of = { kind = "purchase", same = ["category"] }
scope = { purpose = "marketing" }
[[rules]]
id = "rejected"
type = "count"
max = 1
window = "4d"
hold = "3d"
of = { kind = "reject", same = ["action"] }
[[rules]]
id = "package"
type = "count"
max = 2
window = "2cw"
of = { kind = "contact", same = ["package"] }
[[rules]]
id = "either"
type = "never"
a = { category = "loan" }
b = { category = "reminder" }
window = "2d"
[[rules]]
id = "holdout"
type = "holdout"
share = 0.1
salt = "x"
scope = { purpose = "marketing" }
"""
NIGHTS = [datetime(2026, 3, 29, 0, 30), datetime(2026, 10, 25, 0, 45), datetime(2026, 3, 8, 7, 1), datetime(2026, 11, 1, 5, 59), datetime(2026, 4, 4, 15, 1), datetime(2026, 6, 15, 21, 59)]


def make_crowd_tables(policy: Policy, at: datetime, n: int, seed: int) -> dict[str, pl.DataFrame]:
    """Customers, their history and consents around an instant, many of them exactly on the edges of windows."""
    chance = np.random.default_rng(seed)
    ids = [f"c{k}" for k in range(n)]
    rows = 9 * n
    steps = chance.choice([0, 1, 3600, 86_400, 2 * 86_400, 6 * 86_400, 7 * 86_400], rows) + chance.choice([0, 0, 1, -1, 1800], rows)
    back = np.where(chance.random(rows) < 0.5, steps, chance.integers(-86_400, 40 * 86_400, rows))
    chosen = chance.integers(0, len(policy.actions), rows)
    event = chance.choice(["contact", "contact", "contact", "purchase", "reject"], rows)
    history = pl.DataFrame(
        {
            "customer_id": chance.choice([*ids, "stranger"], rows),
            "timestamp": [at.replace(tzinfo=UTC) - timedelta(seconds=int(s)) for s in back],
            "event": event,
            "status": chance.choice(["sent", "reserved", "released"], rows, p=[0.6, 0.2, 0.2]),
            **{name: [getattr(policy.actions[k], name) for k in chosen] for name in ("channel", "category", "purpose", "action_id", "package_id")},
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )
    given = 6 * n
    start = [at.replace(tzinfo=UTC) - timedelta(seconds=int(s)) for s in chance.choice([0, 60, 86_400, 40 * 86_400, -3600, -86_400], given)]
    consents = pl.DataFrame(
        {
            "customer_id": chance.choice(ids, given),
            "purpose": chance.choice(["marketing", "service"], given),
            "channel": chance.choice(["email", "sms", "call"], given),
            "valid_from": start,
            "valid_to": [s + timedelta(days=int(d)) if d else None for s, d in zip(start, chance.choice([0, 0, 0, 1, 41, 300], given), strict=True)],
            "given": chance.random(given) < 0.75,
        },
        schema_overrides={"valid_from": pl.Datetime("us", "UTC"), "valid_to": pl.Datetime("us", "UTC")},
    )
    customers = pl.DataFrame({"customer_id": ids, "time_zone": [ZONES[k] for k in chance.integers(0, len(ZONES), n)]})
    candidates = customers.select("customer_id").join(pl.DataFrame({"action_id": [a.action_id for a in policy.actions]}), how="cross")
    return {"candidates": candidates, "history": history, "consents": consents, "customers": customers}


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


def answer_one_by_one(policy: Policy, at: datetime, tables: dict[str, pl.DataFrame]) -> list[tuple[int, datetime | None]]:
    """The mask and the next instant of each candidate by the kernels."""
    zones = dict(tables["customers"].iter_rows())
    past = tables["history"].rows_by_key("customer_id", named=True)
    agreed = tables["consents"].rows_by_key("customer_id", named=True)
    actions = {action.action_id: action for action in policy.actions}
    answers = []
    for customer, name in tables["candidates"].select("customer_id", "action_id").iter_rows():
        facts = facts_of(policy, customer, zones[customer], past[customer], agreed[customer])
        mask, free = check_action(policy, actions[name], facts, to_us(at))
        answers.append((mask, from_us(free)))
    return answers


@pytest.mark.parametrize("at", NIGHTS, ids=str)
def test_batch_and_one_by_one_agree_on_every_pair(at: datetime) -> None:
    policy = parse_policy(POLICY)
    tables = make_crowd_tables(policy, at, 220, seed=at.day)
    answer = apply_policy(tables["candidates"], tables["history"], policy, at, tables["customers"], tables["consents"])
    expected = answer_one_by_one(policy, at, tables)
    assert answer["mask"].to_list() == [mask for mask, _ in expected]
    assert answer["next_allowed"].to_list() == [free for _, free in expected]
    assert answer["allowed"].to_list() == [mask == 0 for mask, _ in expected]
    assert answer["blocked_by"].to_list() == [policy.names(mask) for mask, _ in expected]
    seen = set(answer["blocked_by"].explode().drop_nulls())
    assert len(seen) >= 9, seen


def test_rows_may_come_in_any_order_and_with_their_own_columns() -> None:
    policy, at = parse_policy(POLICY), NIGHTS[0]
    tables = make_crowd_tables(policy, at, 40, seed=5)
    answer = apply_policy(tables["candidates"], tables["history"], policy, at, tables["customers"], tables["consents"])
    mixed = {name: table.sample(fraction=1, shuffle=True, seed=3).lazy() for name, table in tables.items()}
    wide = mixed["candidates"].with_columns(
        score=1.0,
        channel=pl.col("action_id").replace_strict({a.action_id: a.channel for a in policy.actions}, return_dtype=pl.Categorical),
    )
    again = apply_policy(wide, mixed["history"], policy, at, mixed["customers"], mixed["consents"])
    assert again.columns == ["customer_id", "action_id", "score", "channel", "allowed", "blocked_by", "next_allowed", "mask"]
    keys = ["customer_id", "action_id"]
    assert again.sort(keys).select(answer.columns).equals(answer.sort(keys))


def test_no_rule_is_broken_when_allowed_actions_are_sent_one_after_another() -> None:
    policy = parse_policy(POLICY.replace('type = "consent"', 'type = "holdout"\nshare = 0.0\nsalt = "none"'))
    customers = pl.DataFrame({"customer_id": [f"c{k}" for k in range(25)], "time_zone": [ZONES[k % 5] for k in range(25)]})
    candidates = customers.select("customer_id").join(pl.DataFrame({"action_id": [a.action_id for a in policy.actions]}), how="cross")
    fields = {a.action_id: a.fields() for a in policy.actions}
    start, sent = datetime(2026, 3, 26, 12), pl.DataFrame(schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "status": pl.String, "channel": pl.String, "category": pl.String, "purpose": pl.String, "action_id": pl.String, "package_id": pl.String})
    for step in range(60):
        at = start + timedelta(hours=5 * step)
        answer = apply_policy(candidates, sent, policy, at, customers)
        chosen = answer.filter("allowed").sample(fraction=1, shuffle=True, seed=step).unique("customer_id", keep="first")
        rows = [{"customer_id": c, "timestamp": at.replace(tzinfo=UTC), "status": "sent", **fields[a]} for c, a in chosen.select("customer_id", "action_id").iter_rows()]
        sent = pl.concat([sent, pl.DataFrame(rows, schema=sent.schema)])
    assert sent.height > 200
    week = sent.sort("timestamp").rolling("timestamp", period="7d", group_by="customer_id").agg(n=pl.len(), exempt=(pl.col("action_id") == "b_text").last())
    assert week.filter(~pl.col("exempt"))["n"].max() == 3
    for (_, zone), own in sent.join(customers, on="customer_id").group_by("customer_id", "time_zone"):
        local = own["timestamp"].dt.convert_time_zone(str(zone))
        mails = local.filter(own["channel"] == "email").dt.date()
        assert mails.n_unique() == mails.len()
        others = local.filter(own["channel"] != "email").dt.time()
        assert all(datetime(2000, 1, 1, 7, 30).time() <= at < datetime(2000, 1, 1, 22).time() for at in others)


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
    policy, at = parse_policy(POLICY), NIGHTS[0]
    tables = make_crowd_tables(policy, at, 3, seed=1)
    answer = apply_policy(tables["candidates"].clear(), tables["history"], policy, at, tables["customers"], tables["consents"])
    whole = apply_policy(tables["candidates"], tables["history"].clear(), policy, at, tables["customers"], tables["consents"])
    assert answer.height == 0
    assert answer.schema == whole.schema


def test_tables_that_lack_columns_are_refused_with_what_they_need() -> None:
    policy, at = parse_policy(POLICY), NIGHTS[0]
    tables = make_crowd_tables(policy, at, 3, seed=1)
    with pytest.raises(SchemaError, match="the policy has no action 'zz'"):
        apply_policy(tables["candidates"].with_columns(action_id=pl.lit("zz")), tables["history"], policy, at)
    with pytest.raises(SchemaError, match=r"history: missing \['timestamp'\]"):
        apply_policy(tables["candidates"], tables["history"].drop("timestamp"), policy, at)
    with pytest.raises(SchemaError, match="customers"):
        apply_policy(tables["candidates"], tables["history"], policy, at, tables["customers"].drop("time_zone"))
    with pytest.raises(SchemaError, match=r"missing \['given'\]"):
        apply_policy(tables["candidates"], tables["history"], policy, at, tables["customers"], tables["consents"].drop("given"))


def test_a_crowd_is_read_once_for_all_its_actions() -> None:
    policy, at = parse_policy(POLICY), NIGHTS[0]
    tables = make_crowd_tables(policy, at, 30, seed=2)
    names = code_values(tables["candidates"]["customer_id"])[1]
    actions = code_actions(tables["candidates"], {a.action_id: a for a in policy.actions})[1]
    crowd = make_crowd(names, tables["history"], policy, actions, to_us(at), tables["customers"], tables["consents"])
    assert crowd.size == 30
    assert (np.diff(crowd.past.customer) >= 0).all()
    assert motkit.apply_policy is apply_policy
