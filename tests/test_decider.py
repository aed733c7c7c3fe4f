"""One decision against the batch for the same customers, also when clocks change; and who wins, why, and by what chance."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.contact_rules import Action
from motkit.decider import Decider, settle_contact
from motkit.decision import Score, candidate_table, choose, net_value
from motkit.decision_bench import bench_policy, count_differences
from motkit.errors import SchemaError, SettingError
from motkit.policy import parse_policy
from motkit.policy_batch import apply_policy
from motkit.schema import UTC as UTC_TIME

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
CHANGES = [  # of clocks: Berlin and London forward and back, Lord Howe by half an hour, New York back; and the end of a month
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 4, 4, 15, 0, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
    datetime(2026, 8, 31, 22, 0, tzinfo=UTC),
]


@pytest.mark.parametrize("at", CHANGES, ids=str)
def test_one_by_one_blocks_what_the_batch_blocks_and_until_the_same_instant(at: datetime) -> None:
    found = count_differences(100, at, seed=at.day)
    assert found == {"pairs": 1000, "blocked": found["blocked"], "different": 0}
    assert 300 < found["blocked"] < 1000


spans = st.sampled_from(["1h", "24h", "7d", "1cd", "1cw", "1cm"])
counts = st.fixed_dictionaries({"max": st.integers(0, 2), "window": spans, "same": st.sampled_from([[], ["channel"], ["action"]]), "kind": st.sampled_from(["contact", "buy"])})
rows = st.lists(st.tuples(st.sampled_from(["contact", "buy"]), st.sampled_from(["a", "b"]), st.integers(0, 40 * 24)), max_size=12)


def write_rule(number: int, rule: dict[str, Any]) -> str:
    of = f'{{ kind = "{rule["kind"]}", same = {json.dumps(rule["same"])} }}'
    return f'[[rules]]\nid = "r{number}"\ntype = "count"\nmax = {rule["max"]}\nwindow = "{rule["window"]}"\nof = {of}\n'


@given(st.lists(counts, min_size=1, max_size=3), rows, st.sampled_from(CHANGES), st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", None]))
@settings(max_examples=60, deadline=None)
def test_any_counts_agree_with_the_batch(drawn: Any, past: Any, at: datetime, zone: str | None) -> None:
    actions = "".join(f'[[actions]]\nid = "{name}"\nchannel = "{channel}"\n' for name, channel in (("a", "sms"), ("b", "email")))
    night = '[[rules]]\nid = "night"\ntype = "quiet"\nstart = "21:00"\nend = "08:00"\nscope = { channel = "sms" }\n'
    policy = parse_policy(actions + night + "".join(write_rule(k, rule) for k, rule in enumerate(drawn)))
    channels = {"a": "sms", "b": "email"}
    history = pl.DataFrame(
        [{"customer_id": "ann", "timestamp": at - timedelta(hours=h), "event": e, "action_id": a, "channel": channels[a], "status": "sent"} for e, a, h in past],
        schema={"customer_id": pl.String, "timestamp": UTC_TIME, "event": pl.String, "action_id": pl.String, "channel": pl.String, "status": pl.String},
    )
    people = pl.DataFrame({"customer_id": ["ann"], "time_zone": [zone]}, schema={"customer_id": pl.String, "time_zone": pl.String})
    asked = pl.DataFrame({"customer_id": ["ann", "ann"], "action_id": ["a", "b"]})
    batch = apply_policy(asked, history, policy, at, people)
    decider = Decider(policy, customers=people)
    for row in history.sort("timestamp").iter_rows(named=True):
        decider.observe(row)
    single = sorted((one.action_id, one.mask, one.next_allowed) for one in decider.preview("ann", at).candidates)
    assert single == batch.select("action_id", "mask", "next_allowed").sort("action_id").rows()


# ---------------------------------------------------------------- who wins


ARBITRATION = json.loads((Path(__file__).parent / "reference/decisions/arbitration.json").read_text())


def test_the_winners_of_the_reference_win() -> None:
    plain, priced = ARBITRATION
    actions = [Action(one["id"], "email", lever=one["l"]) for one in plain["actions"]]
    nets = [net_value(action, Score(one["p"], one["v"], one["c"])) for action, one in zip(actions, plain["actions"], strict=True)]
    assert nets == pytest.approx([one["priority"] for one in plain["actions"]])
    assert actions[choose([a.action_id for a in actions], [0] * 3, nets, 0, "x").place or 0].action_id == plain["winner"]
    call, mail, none = priced["actions"]
    text = "".join(f'[[actions]]\nid = "{one["id"]}"\nchannel = "{one["id"]}"\ncost = {one["cost"]}\nvalue = {one["v"]}\n' for one in (call, mail))
    limits = "".join(f'[[limits]]\nid = "{one["id"]}s"\nmax = 1\nscope = {{ channel = "{one["id"]}" }}\n' for one in (call, mail))
    decider = Decider(parse_policy(text + limits), prices={"calls": call["price"], "emails": mail["price"]})
    decision = decider.preview("ann", NOON, {"call": call["p"], "email": mail["p"]})
    assert decision.chosen == priced["winner"]
    assert {one.action_id: one.priced_net for one in decision.candidates} == pytest.approx({"call": call["net"], "email": mail["net"]})
    assert none["net"] == 0
    assert "wins if its price falls below 6.11" in decision.why("call")
    decider.set_prices({})
    assert decider.preview("ann", NOON, {"call": call["p"], "email": mail["p"]}).chosen == "call"


SHOP = """
[[actions]]
id = "a"
channel = "sms"
value = 10
[[actions]]
id = "b"
channel = "email"
value = 10
[[actions]]
id = "c"
channel = "call"
value = 10
[[rules]]
id = "no_calls"
type = "count"
max = 0
window = "1d"
of = { kind = "contact", channel = "call" }
"""


def test_nothing_is_chosen_where_nothing_is_worth_its_cost_and_ties_go_by_name() -> None:
    decider = Decider(parse_policy(SHOP), prior=0.0)
    assert decider.preview("ann", NOON).chosen is None
    assert decider.preview("ann", NOON, {"b": 0.1, "a": 0.1}).chosen == "a"
    assert decider.preview("ann", NOON, {"b": (0.1, 30), "a": (0.1, 20, 1.6)}).chosen == "a"
    assert decider.preview("ann", NOON, {"b": Score(0.2, 10)}).why("a").startswith("costs more")
    assert "outranked by b by 1" in decider.preview("ann", NOON, {"b": 0.2, "a": 0.1}).why("a")


def test_exploration_draws_only_what_is_allowed_with_the_chance_that_is_written_down() -> None:
    decider = Decider(parse_policy(SHOP), explore=0.4, prior=0.1)
    made = [decider.decide(f"c{k}", NOON, {"a": 0.5}, decision_id=f"d{k}") for k in range(3000)]
    found = Counter(decision.chosen for decision in made)
    chances = {decision.chosen: decision.choice.propensity for decision in made}
    assert set(found) == {"a", "b"}
    assert chances == pytest.approx({"a": 0.8, "b": 0.2})
    assert found["b"] / 3000 == pytest.approx(0.2, abs=0.025)
    again = Decider(parse_policy(SHOP), explore=0.4, prior=0.1).decide("c7", NOON, {"a": 0.5}, decision_id="d7")
    assert (again.chosen, again.choice) == (made[7].chosen, made[7].choice)


def test_holdouts_are_told_with_what_they_keep_back() -> None:
    held = parse_policy(SHOP + '[[rules]]\nid = "all"\ntype = "holdout"\nshare = 0.3\nsalt = "s"\n')
    from motkit.decision_record import record_of

    decider = Decider(held, prior=0.5)
    made = [decider.preview(f"c{k}", NOON) for k in range(1000)]
    kept_back = [decision for decision in made if decision.chosen is None]
    assert len(kept_back) / 1000 == pytest.approx(0.3, abs=0.05)
    record = record_of(kept_back[0], {})
    assert (record["holdout"], record["would_choose"], record["chosen"]) == (["all"], "a", None)
    assert kept_back[0].why("a") == "measurement group (all): serve, do not offer"
    assert record_of(next(decision for decision in made if decision.chosen), {})["would_choose"] is None


# ---------------------------------------------------------------- memory


CAPPED = SHOP + '[[rules]]\nid = "cap"\ntype = "count"\nmax = 1\nwindow = "7d"\nof = { kind = "contact" }\n'


def test_a_reservation_counts_until_it_runs_out_is_released_or_becomes_the_sending() -> None:
    decider = Decider(parse_policy(CAPPED), prior=0.5, reserve_minutes=30)
    one = decider.decide("ann", NOON)
    assert decider.preview("ann", NOON + timedelta(minutes=29)).chosen is None
    assert decider.preview("ann", NOON + timedelta(minutes=30)).chosen == "a"
    settle_contact(decider, one, "released", NOON)
    two = decider.decide("ann", NOON + timedelta(minutes=1))
    assert two.chosen == "a"
    settle_contact(decider, two, "sent", NOON + timedelta(minutes=5))
    assert decider.preview("ann", NOON + timedelta(hours=2)).why("b") == "blocked by cap until 2026-03-11 12:05 UTC"


def test_rows_that_come_in_any_order_leave_the_same_state() -> None:
    stamps = [NOON - timedelta(hours=h) for h in (1, 200, 30, 7, 90, 44, 160)]
    for order in (stamps, sorted(stamps), sorted(stamps, reverse=True)):
        decider = Decider(parse_policy(CAPPED.replace("max = 1", "max = 3")), prior=0.5)
        for stamp in order:
            decider.observe({"customer_id": "ann", "timestamp": stamp, "event": "contact", "status": "sent", "channel": "email"})
        assert decider.preview("ann", NOON).why("a") == f"blocked by cap until {NOON - timedelta(hours=30) + timedelta(days=7):%Y-%m-%d %H:%M} UTC"


def test_a_trigger_proposes_while_events_are_observed() -> None:
    declared = [{"name": "basket", "type": "absent", "on": "cart", "unless": "buy", "within": "2h"}]
    decider = Decider(parse_policy(SHOP), triggers=declared, prior=0.5)
    assert decider.observe({"customer_id": "ann", "timestamp": NOON, "event": "cart"}) == []
    fired = decider.observe({"customer_id": "bo", "timestamp": NOON + timedelta(hours=3), "event": "look"})
    assert [(firing.trigger, firing.customer_id, firing.fired_at) for firing in fired] == [("basket", "ann", NOON + timedelta(hours=2))]


def test_scores_of_a_table_are_used_and_the_decision_shows_itself() -> None:
    scores = pl.DataFrame({"customer_id": ["ann"], "action_id": ["b"], "p": [0.3], "value": [50.0], "basis": ["fitted"]})
    decision = Decider(parse_policy(SHOP), scores=scores, prior=0.01).preview("ann", NOON)
    table = candidate_table(decision)
    assert table.select("action_id", "rank", "basis").rows() == [("b", 1, "fitted"), ("a", 2, "prior only"), ("c", None, "prior only")]
    assert "chosen: 0.3 x 50" in repr(decision)
    assert "<table>" in decision._repr_html_()
    with pytest.raises(SchemaError, match=r"missing \['p', 'value'\]"):
        Decider(parse_policy(SHOP), scores=scores.drop("p", "value"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"explore": 1.5}, "are shares"),
        ({"prior": -0.1}, "are shares"),
        ({"reserve_minutes": 0}, "above 0"),
        ({"prices": {"minutes": 1.0}}, r"no limits \['minutes'\]"),
        ({"policy": parse_policy("")}, "no action"),
        ({"explore": "2%"}, "are shares"),
        ({"text": "text"}, "needs a field and one of"),
        ({"text": ("text", "guess")}, "needs a field and one of"),
    ],
)
def test_deciders_that_cannot_decide_are_refused(call: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Decider(**{"policy": parse_policy(SHOP), **call})


def test_events_without_a_customer_or_a_time_are_refused_and_unknown_statuses_too() -> None:
    decider = Decider(bench_policy())
    for event in ({"customer_id": "ann", "event": "look"}, {"customer_id": "ann", "timestamp": "noon", "event": "look"}, {"customer_id": None, "timestamp": NOON, "event": "look"}):
        with pytest.raises(SchemaError, match="lacks a customer, a time or a name"):
            decider.observe(event)
    with pytest.raises(SettingError, match="'lost' is unknown"):
        settle_contact(decider, decider.preview("ann", NOON), "lost", NOON)
    with pytest.raises(SettingError, match="without a ledger"):
        settle_contact(decider, "d1", "sent", NOON)


def test_what_is_no_time_no_chance_or_no_action_is_refused_in_words() -> None:
    decider: Any = Decider(parse_policy(SHOP))
    name = decider.actions[0].action_id
    for at, scores, said in (("noon", None, "it is str, needs a datetime"), (NOON, {name: "high"}, "'high' is no chance"), (NOON, {"mial": 0.4}, r"no actions \['mial'\]")):
        with pytest.raises(SettingError, match=said):
            decider.decide("ann", at, scores)
