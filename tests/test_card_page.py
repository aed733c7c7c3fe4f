"""The card of a study: what an agent reads, what nobody else gets, and what stands in the way said in words."""

from dataclasses import replace
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from light_study import run_stages
from made_study import make_study

from motkit.card import CustomerCard
from motkit.card_facts import Missing
from motkit.card_of_study import customer_decider, find_customer, study_card
from motkit.card_page import CARD_PAGE, look_up
from motkit.card_words import card_html
from motkit.decider import Decider, settle_contact
from motkit.errors import DesignError
from motkit.journal import Journal
from motkit.made_contacts import simulate_contacts
from motkit.offers import read_offers
from motkit.page_shelf import Shelf
from motkit.page_viewer import PageViewer, Visit
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study

pytest.importorskip("sqlalchemy")
MADE = simulate_customers(n=150, seed=5)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("card") / "study"
    contacts = simulate_contacts(MADE.profiles, read_offers(DEMO_SETTINGS.decisions.offers), MADE.start, MADE.end, seed=5).history
    stages = {"sessions", "engagement", "onboarding", "customers", "triggers"}
    return run_stages(stages, DEMO_SETTINGS, MADE.events, folder, profiles=MADE.profiles, consents=MADE.consents, contacts=contacts)


@pytest.fixture(scope="module")
def who(study: Study) -> str:
    """Somebody with contacts and answers who has not left."""
    staying = study.table("onboarding").filter(pl.col("event_kind") == 0)
    answered = study.table("contacts").filter(pl.col("event") == "accepted").join(staying, on="customer_id", how="semi")
    return answered["customer_id"].value_counts(sort=True)["customer_id"][0]


def test_a_card_of_a_study_needs_nothing_but_the_study(study: Study, who: str) -> None:
    card = study_card(study, who)
    assert set(card.missing) <= {"holds", "transfers"}
    assert card.at == datetime.fromisoformat(study.manifest["as_of"])
    candidates = {*card.moves["action_id"], *card.blocked["action_id"]}
    assert len(candidates) >= min(3, len(read_offers(DEMO_SETTINGS.decisions.offers).actions))
    assert card.earlier.height
    assert card.earlier["timestamp"].is_sorted(descending=True)


def test_the_past_of_the_study_counts_for_the_rules(study: Study, who: str) -> None:
    """A plain count of the contacts of the last week says whether the weekly cap holds."""
    contacts = study.table("contacts").filter(pl.col("customer_id") == who, pl.col("status") == "sent")
    for at in contacts["timestamp"].tail(4).to_list():
        now = at + timedelta(minutes=1)
        recent = contacts.filter(pl.col("timestamp").is_between(now - timedelta(days=7), now)).height
        decider = customer_decider(study, who, now)
        assert isinstance(decider, Decider)
        capped = {action.action_id for action in decider.actions if "cap_week" not in action.exempt}
        blocked = {one.action_id for one in decider.preview(who, now).candidates if "cap_week" in one.blocked_by}
        assert blocked == (capped if recent >= 2 else set())


def test_what_a_ledger_holds_is_shown_and_counts(study: Study, who: str, tmp_path: Path) -> None:
    ledger = Journal(f"sqlite:///{tmp_path}/ledger.db")
    noon = datetime.fromisoformat(study.manifest["as_of"]).replace(hour=12, minute=0) + timedelta(days=30)
    decider = customer_decider(study, who, noon, ledger)
    decision = decider.decide(who, noon)
    assert decision.chosen is not None
    settle_contact(decider, decision.decision_id, "sent", noon)
    card = study_card(study, who, noon + timedelta(hours=1), ledger)
    assert card.earlier["chosen"].to_list() == [decision.chosen]
    assert not card.moves.height or "at most 1 contact in 1 calendar day" in card.blocked["says"].str.join("; ").item()
    assert all("at most 1 contact in 1 calendar day" in says for says in card.blocked["says"])


def test_a_study_whose_files_have_gone_still_gives_facts(study: Study, who: str) -> None:
    settings = {**study.manifest["settings"], "decisions": {"policy": "/gone/policy.toml", "offers": "/gone/offers.toml"}, "promises": {"file": "/gone/promises.toml"}}
    card = study_card(replace(study, manifest={**study.manifest, "settings": settings}), who)
    assert isinstance(card.moves, Missing)
    assert {"moves", "contactable", "blocked", "promises"} <= set(card.missing)
    assert "their files are not where they were" in card_html(card)
    assert card.interactions.height == 10


def test_somebody_whom_nobody_knows_has_no_card(study: Study) -> None:
    assert find_customer(study, "nobody") is None
    with pytest.raises(DesignError, match="nothing is known"):
        study_card(study, "nobody")


def test_the_page_says_everything_in_words_and_escapes_it(study: Study, who: str) -> None:
    card = study_card(study, who)
    page = unescape(card_html(card))
    for says in (*card.moves["says"], *card.blocked["says"]):
        assert says in page
    assert all(f"{move}" not in page for move in ("cap_week", "quiet_night", "in_trouble"))
    spoilt = CustomerCard(**{**vars(card), "customer_id": "<script>", "interactions": card.interactions.with_columns(event=pl.lit("<script>alert(1)</script>"))})
    assert "<script>" not in card_html(spoilt)


def test_nobody_but_an_agent_gets_a_card_from_the_page(study: Study, who: str) -> None:
    for role, user in (("", ""), ("viewer", "vera"), ("analyst", "anna")):
        assert "agents who have logged in" in look_up(Visit(Shelf(study), role, user), who)
    visit = Visit(Shelf(study), "agent", "gil")
    assert f"Customer {who}" in look_up(visit, f" {who} ")
    assert "Nothing is known of this customer" in look_up(visit, "nobody")
    assert "no log" in look_up(Visit(Shelf(make_study()), "agent", "gil"), who)


def test_the_field_shows_the_card_and_the_next_visit_to_the_page_keeps_it(study: Study, who: str) -> None:
    visit = Visit(Shelf(study), "agent", "gil")
    page = PageViewer(CARD_PAGE, visit).column
    field, card = page.select(_is_field)[0], page.select(_is_html)[-1]
    assert "Type a customer number" in card.object
    field.value = who
    assert f"Customer {who}" in card.object
    assert f"Customer {who}" in PageViewer(CARD_PAGE, visit).column.select(_is_html)[-1].object


def _is_field(part: object) -> bool:
    return type(part).__name__ == "TextInput"


def _is_html(part: object) -> bool:
    return type(part).__name__ == "HTML"
