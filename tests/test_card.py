"""The card of a customer: its parts from a study and a ledger, what is missing said in words, nothing of later."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from light_study import run_stages

from motkit.card import CustomerCard, card_as_values, customer_card, show_card, tell_card
from motkit.card_facts import Missing, Risk, open_promises, risk_at_age, service_so_far
from motkit.curves import kaplan_meier
from motkit.decider import Decider, append_to_decision, settle_contact
from motkit.errors import DesignError
from motkit.ledger import Ledger
from motkit.policy import parse_policy
from motkit.promise_register import read_promises
from motkit.schema import EVENTS
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study

pytest.importorskip("sqlalchemy")
SIMULATION = simulate_customers(n=500, seed=3)
AT = datetime(2025, 9, 1, 14, tzinfo=UTC)
SHOP = """
[[actions]]
id = "call_back"
channel = "call"
purpose = "service"
value = 40
cost = 4
[[actions]]
id = "text"
channel = "sms"
value = 60
[[actions]]
id = "mail"
channel = "email"
value = 30
[[rules]]
id = "consent"
type = "consent"
scope = { purpose = "marketing" }
[[rules]]
id = "cap_week"
type = "count"
max = 1
window = "7d"
of = { kind = "contact" }
scope = { purpose = "marketing" }
[[rules]]
id = "all"
type = "holdout"
share = 0.2
salt = "s"
scope = { purpose = "marketing" }
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("card") / "study"
    stages = {"sessions", "engagement", "onboarding", "customers", "triggers"}
    return run_stages(stages, DEMO_SETTINGS, SIMULATION.events, folder, profiles=SIMULATION.profiles, consents=SIMULATION.consents)


@pytest.fixture(scope="module")
def card(study: Study, tmp_path_factory: pytest.TempPathFactory) -> CustomerCard:
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
    agreed = SIMULATION.consents.filter(pl.col("purpose") == "marketing", pl.col("given"), pl.col("valid_from") < AT - timedelta(days=9))
    decider = Decider(parse_policy(SHOP), ledger=ledger, customers=SIMULATION.profiles, consents=SIMULATION.consents, prior=0.2)
    staying = study.table("onboarding").filter(pl.col("event_kind") == 0)
    who = next(who for who in agreed.join(staying, on="customer_id", how="semi")["customer_id"] if decider.preview(who, AT).chosen != "call_back")
    one = decider.decide(who, AT - timedelta(days=8))
    settle_contact(decider, one, "sent", AT - timedelta(days=8))
    append_to_decision(ledger, one.decision_id, "outcome", AT - timedelta(days=7), {"event": "clicked"})
    decider.decide(who, AT + timedelta(days=1))  # later than the card
    made = customer_card(study, who, AT, decider=decider, triggers=DEMO_SETTINGS.triggers.file)
    ledger.close()
    return made


def test_a_card_has_every_part_and_says_why_one_is_missing(card: CustomerCard) -> None:
    assert set(card.missing) == {"promises", "holds", "transfers"}
    assert card.missing["promises"] == "no register of promises was given"
    assert isinstance(card.moves, pl.DataFrame)
    assert 1 <= card.moves.height <= 3
    assert card.moves["why"][0].startswith("chosen:")
    assert card.moves["change"].null_count() == 0
    assert isinstance(card.risk, Risk)
    assert card.risk.ci_low <= card.risk.share <= card.risk.ci_high
    assert isinstance(card.contactable, pl.DataFrame)
    assert set(card.contactable["channel"]) == {"call", "sms", "email"}


def test_a_card_looks_at_nothing_later(card: CustomerCard) -> None:
    assert isinstance(card.interactions, pl.DataFrame)
    assert isinstance(card.earlier, pl.DataFrame)
    assert (card.interactions["timestamp"] <= AT).all()
    assert card.earlier["outcomes"].to_list() == [["clicked"]]
    assert card.who["engagement_score"] is None  # the study's score is of December
    assert card.who["last_seen"] <= AT


def test_a_card_shows_itself_and_becomes_json(card: CustomerCard) -> None:
    text, page = tell_card(card), show_card(card)
    for words in ("Contactable now", "Next moves", "Earlier offers", "no register of promises was given"):
        assert words in text
        assert words in page
    values = json.loads(json.dumps(card_as_values(card)))
    assert values["promises"] == {"missing": "no register of promises was given"}
    assert values["at"] == "2025-09-01T14:00:00Z"
    assert isinstance(card.risk, Risk)
    assert values["risk"]["n"] == card.risk.n


def test_what_somebody_wrote_into_the_log_is_shown_as_text() -> None:
    ledger = Ledger("sqlite://")
    ledger.append("interaction", "ann", AT, {"event": "<script>alert(1)</script>", "channel": "web"})
    page = show_card(customer_card(ledger, "ann", AT))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_measurement_group_is_served_and_not_offered(study: Study) -> None:
    decider = Decider(parse_policy(SHOP), customers=SIMULATION.profiles, consents=SIMULATION.consents, prior=0.2)
    held = next(who for who in SIMULATION.profiles["customer_id"] if "all" in decider.preview(who, AT).candidates[-1].blocked_by)
    made = customer_card(study, held, datetime(2026, 1, 1, tzinfo=UTC), decider=decider)
    assert made.experiment == "measurement group (all): serve, do not offer"
    assert isinstance(made.moves, pl.DataFrame)
    assert made.moves["action_id"].to_list() == ["call_back"]
    assert made.who["engagement_score"] is not None
    free = next(who for who in SIMULATION.profiles["customer_id"] if "all" not in decider.preview(who, AT).candidates[-1].blocked_by)
    assert customer_card(study, free, AT, decider=decider).experiment is None


def test_the_risk_of_an_age_is_the_step_of_the_curve() -> None:
    chance = np.random.default_rng(4)
    days = np.minimum(np.ceil(chance.exponential(90, 4000)), 200)
    curve = kaplan_meier(pl.DataFrame({"days": days, "left": days < 200}), "days", "left")
    risk = risk_at_age(curve, 40, 30)
    assert isinstance(risk, Risk)
    assert risk.n == (days > 40).sum()
    assert risk.share == pytest.approx(((days > 40) & (days <= 70)).sum() / (days > 40).sum())
    assert risk.ci_low < 1 - math.exp(-30 / 90) < risk.ci_high
    assert isinstance(risk_at_age(curve, 190, 30), Missing)


def test_promises_that_are_open_or_broken_are_listed_and_kept_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "promises.toml").write_text('["call back"]\nmade_by = ["promised"]\nkept_by = ["called"]\nwithin_hours = 24\nsays = "We call you back"\n')
    rows = [(0, "promised"), (3, "called"), (60, "promised"), (100, "promised")]
    events = pl.DataFrame(
        {"customer_id": "ann", "timestamp": [AT + timedelta(hours=h) for h, _ in rows], "event": [e for _, e in rows], "channel": "call", "value": None, "duration_s": None},
        schema=EVENTS,
    )
    found = open_promises(events, read_promises(tmp_path / "promises.toml"), AT + timedelta(hours=110))
    assert isinstance(found, pl.DataFrame)
    assert found.select("outcome", "says").rows() == [("open", "We call you back"), ("broken", "We call you back")]
    none = open_promises(events.head(0), tmp_path / "promises.toml", AT)
    assert isinstance(none, pl.DataFrame)
    assert none.is_empty()


def test_never_and_not_recorded_are_told_apart() -> None:
    events = pl.DataFrame(schema=EVENTS)
    found = service_so_far(events, ["support_call", "call_transferred"])
    assert (found["contacts"], found["repeats"], found["transfers"]) == (0, 0, 0)
    assert isinstance(found["holds"], Missing)


def test_a_customer_whom_nobody_knows_has_no_card(study: Study) -> None:
    for source in (study, Ledger("sqlite://")):
        with pytest.raises(DesignError, match="nothing is known"):
            customer_card(source, "nobody", AT)
    with pytest.raises(DesignError, match="nothing is known"):
        customer_card(study, SIMULATION.profiles["customer_id"][0], datetime(2020, 1, 1, tzinfo=UTC))
