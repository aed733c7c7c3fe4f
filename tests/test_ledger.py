"""The ledger in SQLite and in a real PostgreSQL: nothing lost, nothing twice, caps held by processes that race."""


import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from motkit.decider import Decider, append_to_decision, settle_contact
from motkit.decision_bench import bench_policy, make_world
from motkit.decision_log import LOGGED, judge_rule, logged_decisions
from motkit.errors import DesignError, LedgerError, MissingExtraError, SchemaError
from motkit.events import read_events
from motkit.journal import Journal, canonical
from motkit.ledger import DECISIONS, Ledger
from motkit.policy import parse_policy
from motkit.policy_batch import apply_policy
from motkit.rollout import (
    Programme,
    RolloutStage,
    add_stage,
    gather_rollouts,
    read_rollouts,
    rollout_table,
    write_rollout,
)
from motkit.schema import EVENTS, check_table

pytest.importorskip("sqlalchemy")
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
CAPPED = """
[[actions]]
id = "text"
channel = "sms"
value = 20
[[actions]]
id = "mail"
channel = "email"
value = 15
[[rules]]
id = "cap_week"
type = "count"
max = 3
window = "7d"
of = { kind = "contact" }
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    pytest.importorskip("pg8000")
    server: str = request.getfixturevalue("postgres_server")
    yield server
    import sqlalchemy as sa

    engine = sa.create_engine(server.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS entries")
    engine.dispose()


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    book = Ledger(address)
    yield book
    book.close()


# ---------------------------------------------------------------- entries


def test_the_same_key_is_written_once_and_entries_keep_their_order(ledger: Ledger) -> None:
    first = ledger.append("interaction", "ann", NOON, {"event": "look"}, key="a")
    again = ledger.append("interaction", "ann", NOON, {"event": "other"}, key="a")
    last = ledger.append("interaction", "ann", NOON - timedelta(days=1), {"event": "buy", "value": 3.25, "at": NOON})
    assert (again.seq, again.content, again.fresh, first.fresh) == (first.seq, {"event": "look"}, False, True)
    found = ledger.entries(customer_id="ann")
    assert [entry.seq for entry in found] == [first.seq, last.seq]
    assert found[1].content == {"event": "buy", "value": 3.25, "at": "2026-03-04T12:00:00Z"}
    assert [entry.content["event"] for entry in ledger.entries(since=NOON)] == ["look"]
    assert [entry.content["event"] for entry in ledger.entries(until=NOON)] == ["buy"]


def test_what_has_happened_is_not_changed_and_a_failed_turn_leaves_nothing(ledger: Ledger) -> None:
    ledger.append("interaction", "ann", NOON, {"event": "look"})
    engine, table = ledger._opened
    with pytest.raises(Exception, match="what has happened is not changed"), engine.begin() as connection:
        connection.execute(table.update().values(body="{}"))
    with pytest.raises(ZeroDivisionError), ledger.writing("ann") as turn:  # noqa: PT012
        turn.append("interaction", "ann", 0, {"event": "buy"})
        raise ZeroDivisionError
    assert [entry.content["event"] for entry in ledger.entries()] == ["look"]


def test_what_is_no_entry_is_refused(ledger: Ledger) -> None:
    for kind, content, said in (
        ("gossip", {}, "no kind 'gossip'"),
        ("interaction", {"channel": "web"}, r"lacks \['event'\]"),
        ("interaction", {"event": "look", "p": float("nan")}, "not JSON compliant"),
        ("interaction", {"event": "look", "p": object()}, "cannot be written down"),
        ("override", {"agent": "kim"}, r"lacks \['reason'\]"),
    ):
        with pytest.raises(SchemaError, match=said):
            ledger.append(kind, "ann", NOON, content)
    assert ledger.entries() == []


def test_forgetting_a_customer_keeps_only_counts(ledger: Ledger) -> None:
    decider = Decider(parse_policy(CAPPED), ledger=ledger, prior=0.5)
    decider.decide("ann", NOON)
    decider.observe({"customer_id": "bo", "timestamp": NOON, "event": "look"})
    assert ledger.erase("ann", NOON) == {"decision": 1, "contact": 1}
    assert [entry.kind for entry in ledger.entries()] == ["policy", "interaction", "erased"]
    assert "'ann'" not in str(ledger.entries())


def test_addresses_that_cannot_be_opened_are_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the address begins with 'mysql'"):
        Journal("mysql://ann:secret@host/shop").entries()
    with pytest.raises(LedgerError, match="unable to open database file"):
        Journal(f"sqlite:///{tmp_path}/nowhere/ledger.db").entries()
    if pytest.importorskip("pg8000"):
        with pytest.raises(LedgerError) as refusal:
            Journal("postgresql://ann:secret@127.0.0.1:1/shop").entries()
        assert "secret" not in str(refusal.value)


def test_without_sqlalchemy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'motkit\[ledger\]'"):
        Ledger().entries()


# ---------------------------------------------------------------- the end of a process


WRITER = """
import sys
from datetime import datetime, timedelta, UTC
from motkit.journal import Journal
journal = Journal(sys.argv[1])
for k in range(1000):
    entry = journal.append("interaction", f"c{k % 7}", datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=k), {"event": "look", "k": k}, key=f"k{k}")
    print(k, entry.seq, flush=True)
"""


def test_a_writer_that_is_killed_among_a_thousand_writes_loses_nothing_that_was_acknowledged(address: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, address], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        told = [writer.stdout.readline() for _ in range(300)]
        os.kill(writer.pid, signal.SIGKILL)
        told += writer.stdout.readlines()
        writer.wait()
    acknowledged = {int(k): int(seq) for k, seq in (line.split() for line in told if line.endswith("\n"))}
    assert 300 <= len(acknowledged) < 1000
    ledger = Ledger(address)
    kept = {entry.content["k"]: entry.seq for entry in ledger.entries()}
    assert all(kept[k] == seq for k, seq in acknowledged.items())
    assert len(kept) <= len(acknowledged) + 1  # the one that was written and not yet told
    ledger.append("interaction", "c0", NOON, {"event": "look", "k": 1000})
    assert len(ledger.entries()) == len(kept) + 1
    ledger.close()


RACER = """
import sys, time
from datetime import datetime, timedelta, UTC
from itertools import pairwise
from pathlib import Path
from motkit.decider import Decider, settle_contact
from motkit.policy import parse_policy
decider = Decider(parse_policy(Path(sys.argv[2]).read_text()), ledger=sys.argv[1], prior=0.5)
decider.preview("warm", datetime(2026, 3, 4, 12, tzinfo=UTC))
print("ready", flush=True)
sys.stdin.readline()
noon, won = datetime(2026, 3, 4, 12, tzinfo=UTC), 0
for k in range(12):
    decision = decider.decide("ann", noon + timedelta(seconds=k))
    if decision.chosen:
        won += 1
        settle_contact(decider, decision.decision_id, "sent", noon + timedelta(seconds=k))
print(won, flush=True)
"""


def test_two_processes_that_race_never_exceed_a_cap(address: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(CAPPED)
    command = [sys.executable, "-c", RACER, address, str(tmp_path / "policy.toml")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
        racers: list[Any] = [one, two]
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [int(racer.stdout.readline()) for racer in racers]
    ledger = Ledger(address)
    assert sum(won) == 3
    assert ledger.contacts(NOON + timedelta(minutes=1)).filter(pl.col("status") == "sent").height == 3
    assert len(ledger.entries(["decision"])) == 24
    ledger.close()


# ---------------------------------------------------------------- decisions


def test_every_decision_of_a_shop_is_made_again_to_the_byte(ledger: Ledger) -> None:
    policy, customers = bench_policy(), 12
    world = make_world(policy, customers, NOON, seed=5)
    decider = Decider(policy, ledger=ledger, customers=world.customers, consents=world.consents, explore=0.3, prior=0.2)
    for row in world.history.filter(pl.col("event") != "contact").sort("timestamp").iter_rows(named=True):
        decider.observe(row)
    fates = ("sent", "released", "kept")
    made = []
    for k in range(3 * customers):
        at = NOON + timedelta(hours=7 * (k // customers), minutes=k)
        made.append(decider.decide(f"c{k % customers}", at, trigger="basket_left"))
        if made[-1].chosen and fates[k % 3] != "kept":
            settle_contact(decider, made[-1].decision_id, fates[k % 3], at + timedelta(minutes=1))
        if made[-1].chosen and k % 4 == 0:
            append_to_decision(ledger, made[-1].decision_id, "outcome", at + timedelta(minutes=9), {"event": "reject"})
    assert sum(decision.chosen is not None for decision in made) > 5
    assert any(decision.choice.explored for decision in made)
    for decision in made:
        replay = ledger.replay(decision.decision_id)
        assert replay.same, (replay.recorded, replay.again)
        assert replay.from_entries
    fresh = Decider(policy, ledger=ledger, customers=world.customers, consents=world.consents, prior=0.2)  # knows the entries only
    at = NOON + timedelta(days=1)
    asked = world.candidates
    batch = apply_policy(asked, ledger.history(at), policy, at, world.customers, world.consents)
    both = [(one.mask, one.next_allowed) for who in world.customers["customer_id"] for one in sorted(fresh.preview(who, at).candidates)]
    assert batch.sort("customer_id", "action_id").select("mask", "next_allowed").rows() == [
        row for who in sorted(world.customers["customer_id"]) for row in both[10 * int(who[1:]) : 10 * int(who[1:]) + 10]
    ]


def test_a_period_under_its_own_policy_comes_out_as_it_was_and_under_a_tighter_cap_with_fewer_contacts(ledger: Ledger) -> None:
    policy = parse_policy(CAPPED)
    decider = Decider(policy, ledger=ledger, prior=0.5)
    for k in range(20):
        decision = decider.decide(f"c{k % 2}", NOON + timedelta(hours=k))
        if decision.chosen:
            settle_contact(decider, decision.decision_id, "sent" if k % 5 else "released", NOON + timedelta(hours=k, minutes=1))
    until = NOON + timedelta(days=7)
    same = ledger.replay_period(policy, NOON, until)
    assert same.height == 20
    assert same["before"].to_list() == same["after"].to_list()
    assert same["value_before"].to_list() == same["value_after"].to_list()
    tight = ledger.replay_period(parse_policy(CAPPED.replace("max = 3", "max = 1")), NOON, until)
    assert tight["after"].count() == 3 < tight["before"].count()  # of one customer the first was released
    none = ledger.replay_period(parse_policy(CAPPED.replace("max = 3", "max = 0")), NOON, until)
    assert none["after"].count() == 0
    loose = ledger.replay_period(parse_policy(CAPPED.replace("max = 3", "max = 9")), NOON, until)
    assert loose["after"].count() == 20


def test_the_same_request_is_decided_once(ledger: Ledger) -> None:
    decider = Decider(parse_policy(CAPPED), ledger=ledger, prior=0.5)
    one = decider.decide("ann", NOON, key="request")
    again = Decider(parse_policy(CAPPED.replace("max = 3", "max = 0")), ledger=ledger).decide("ann", NOON + timedelta(hours=1), key="request")
    assert (again.decision_id, again.chosen, again.t) == (one.decision_id, one.chosen, one.t)
    assert len(ledger.entries(["decision"])) == 1
    decider.observe({"customer_id": "ann", "timestamp": NOON, "event": "look"}, key="event")
    with pytest.raises(LedgerError, match="kind 'interaction'"):
        decider.decide("ann", NOON, key="event")


def test_time_does_not_run_backwards_for_a_customer_so_a_decider_whose_clock_is_slow_breaks_no_cap(ledger: Ledger) -> None:
    fast, slow = (Decider(parse_policy(CAPPED), ledger=ledger, prior=0.5) for _ in range(2))
    made = [decider.decide("ann", NOON + timedelta(seconds=late)) for k in range(3) for decider, late in ((fast, 60 + k), (slow, k))]
    assert [decision.chosen is not None for decision in made] == [True] * 3 + [False] * 3
    assert all(one.t <= two.t for one, two in pairwise(made))
    assert json.loads(ledger.replay(made[1].decision_id).recorded)["asked_at"] == "2026-03-04T12:00:00Z"
    assert all(ledger.replay(decision.decision_id).same for decision in made)


def test_a_sent_contact_is_settled_once_and_only_if_there_is_one(ledger: Ledger) -> None:
    decider = Decider(parse_policy(CAPPED.replace("max = 3", "max = 1")), ledger=ledger, prior=0.5)
    one, nothing = decider.decide("ann", NOON), decider.decide("ann", NOON)
    for _ in range(2):
        settle_contact(decider, one, "sent", NOON)
    assert len(ledger.entries(["contact"])) == 2
    with pytest.raises(LedgerError, match="nothing was chosen"):
        settle_contact(decider, nothing, "sent", NOON)
    with pytest.raises(LedgerError, match="no decision 'x'"):
        settle_contact(decider, "x", "sent", NOON)


def test_decisions_tell_what_became_of_them_and_events_go_back_into_a_log(ledger: Ledger) -> None:
    assert ledger.decisions().schema == DECISIONS
    assert ledger.export_events().schema == EVENTS
    decider = Decider(parse_policy(CAPPED), ledger=ledger, prior=0.5)
    one = decider.decide("ann", NOON, mode="agent", trigger="basket_left")
    append_to_decision(ledger, one.decision_id, "override", NOON, {"agent": "kim", "reason": "wanted a call", "chosen": "call"})
    settle_contact(decider, one, "sent", NOON + timedelta(minutes=1))
    append_to_decision(ledger, one.decision_id, "outcome", NOON + timedelta(hours=1), {"event": "clicked", "value": 2})
    ledger.append("consent", "ann", NOON, {"purpose": "marketing", "channel": "sms", "valid_from": NOON, "valid_to": None, "given": True})
    row = ledger.decisions().row(0, named=True)
    assert (row["mode"], row["trigger"], row["status"], row["outcomes"], row["overridden_by"]) == ("agent", "basket_left", "sent", ["clicked"], "kim")
    log = ledger.export_events()
    check_table(log, EVENTS, "exported")
    assert log["event"].to_list() == ["override", "contact", "clicked"]
    assert read_events(log).summary.rejected == 0
    assert ledger.contacts(NOON + timedelta(days=1))["status"].to_list() == ["sent"]


def test_a_reservation_runs_out_unless_it_was_sent(ledger: Ledger) -> None:
    decider = Decider(parse_policy(CAPPED), ledger=ledger, prior=0.5, reserve_minutes=30)
    decider.decide("ann", NOON)
    statuses = [ledger.contacts(NOON + timedelta(minutes=m))["status"].to_list() for m in (-1, 29, 30)]
    assert statuses == [[], ["reserved"], ["expired"]]
    assert [ledger.history(NOON + timedelta(minutes=m)).height for m in (29, 30)] == [1, 0]


def test_a_record_names_all_that_it_was_made_from(ledger: Ledger) -> None:
    decision = Decider(bench_policy(), ledger=ledger, prior=0.5).decide("ann", NOON)
    record = json.loads(ledger.replay(decision.decision_id).recorded)
    wanted = "decision_id timestamp asked_at mode customer_id identity_confidence trigger event_ids policy_version catalogue_version model_versions "
    wanted += "tzdata_version time_zone prices candidates chosen propensity explored explore arms holdout would_choose reservation_id expires_at facts "
    wanted += "facts_hash human format motkit"
    assert set(record) == set(wanted.split())
    assert {"action_id", "mask", "blocked_by", "next_allowed", "p", "v", "context", "lever", "cost", "net", "priced_net", "rank"} <= set(record["candidates"][0])
    assert canonical(record) == ledger.replay(decision.decision_id).recorded


# ---------------------------------------------------------------- what else could have been done


def test_a_rule_is_judged_by_the_decisions_in_which_chance_agreed_with_it(ledger: Ledger) -> None:
    decider = Decider(parse_policy(CAPPED.replace("value = 20", "value = 20\ncost = 0.5")), ledger=ledger, prior=0.05, explore=0.5)
    brought = {}
    for k in range(40):
        made, at = decider.decide(f"c{k}", NOON, decision_id=f"d{k}"), NOON + timedelta(minutes=k)
        if k % 3:
            settle_contact(decider, made.decision_id, "sent", at)
        if k % 4 == 0:
            append_to_decision(ledger, made.decision_id, "outcome", at, {"event": "accepted"})
            append_to_decision(ledger, made.decision_id, "outcome", NOON + timedelta(days=8), {"event": "complaint"})
        worth = {"text": 20.0, "mail": 15.0}[made.chosen or ""]
        brought[made.decision_id] = (made.chosen, made.choice.propensity, worth * (k % 4 == 0) - (0.5 if k % 3 and made.chosen == "text" else 0.0))
    append_to_decision(ledger, "d1", "override", NOON, {"agent": "eve", "reason": "knows better"})
    for k in range(4):
        decider.decide("full", NOON + timedelta(minutes=k), decision_id=f"full{k}")
    decider.decide("young", NOON + timedelta(days=3), decision_id="young")
    log = logged_decisions(ledger, NOON + timedelta(days=8))
    assert log.schema == LOGGED
    told = {row["decision_id"]: (row["action_id"], row["propensity"], row["reward"]) for row in log.iter_rows(named=True) if not row["decision_id"].startswith("full")}
    del brought["d1"]
    assert told == brought
    assert {"full0", "full1", "full2"} <= set(log["decision_id"])
    assert not {"full3", "young"} & set(log["decision_id"])
    assert {"text", "mail"} == set(log["action_id"])
    found = judge_rule(log, lambda row: "mail")
    loop = [reward / chance if done == "mail" else 0.0 for done, chance, reward in log.select("action_id", "propensity", "reward").iter_rows()]
    assert found.table.row(0, named=True)["value"] == pytest.approx(sum(loop) / len(loop))
    assert judge_rule(log, log["action_id"].map_elements(lambda _: None, pl.String)).unsupported == 1
    paid = logged_decisions(ledger, NOON + timedelta(days=9), {"complaint": -7.0}, answer_days=8.5)
    assert paid.filter(decision_id="d0")["reward"].to_list() == [-7.0]
    with pytest.raises(DesignError, match="3 choices for"):
        judge_rule(log, pl.Series(["mail"] * 3))
    with pytest.raises(DesignError, match="44 decisions are too young"):
        logged_decisions(ledger, NOON + timedelta(days=1), answer_days=1.5)
    with pytest.raises(DesignError, match="holds no decision"):
        logged_decisions(ledger, NOON)


def test_roll_outs_are_read_back_as_they_were(ledger: Ledger, address: str) -> None:
    pilot = RolloutStage("pilot", 0.05, "two shops", {"agents": "call back within an hour"}, ("calls answered",), "telephone", "complaints double")
    measured = RolloutStage("measure", 0.05, "two shops", result="kept +12 points (95% interval 8 to 16, n = 1,420)", decision="expand")
    programme = add_stage(add_stage(Programme("call back"), pilot, NOON), measured, NOON + timedelta(days=14))
    assert [write_rollout(ledger, programme), write_rollout(ledger, programme)] == [2, 0]
    assert read_rollouts(ledger) == (programme,)
    assert gather_rollouts(address).equals(rollout_table([programme]))
    with pytest.raises(LedgerError, match="another stage 1"):
        write_rollout(ledger, Programme("call back", programme.stages[1:]))
