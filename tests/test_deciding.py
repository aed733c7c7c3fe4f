"""A study decides at the moment itself as its batch did, and is served over HTTP as it is, without further files."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from light_study import run_stages
from served_api import serve_api

from motkit.card_of_study import customer_decider, study_card
from motkit.decider import Decider
from motkit.deciding import study_decider
from motkit.decision_bench import bench_policy
from motkit.errors import SettingError
from motkit.ledger import Ledger
from motkit.made_contacts import simulate_contacts
from motkit.offers import read_offers
from motkit.rule_kernels import to_us
from motkit.settings import DecisionSettings
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study

pytest.importorskip("sqlalchemy")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = simulate_customers(n=150, seed=0)
    contacts = simulate_contacts(made.profiles, read_offers(DEMO_SETTINGS.decisions.offers or ""), made.start, made.end, seed=0).history
    beside = {"profiles": made.profiles, "consents": made.consents, "contacts": contacts}
    head, complained = Path(str(DEMO_SETTINGS.decisions.offers)).read_text().split('id = "wrote_a_complaint"')
    offers = tmp_path_factory.mktemp("offers") / "offers.toml"
    offers.write_text(head + 'id = "wrote_a_complaint"' + complained.replace("14d", "365d"))
    settings = replace(DEMO_SETTINGS, decisions=replace(DEMO_SETTINGS.decisions, offers=offers))
    return run_stages({"sessions", "intents", "decisions"}, settings, made.events, tmp_path_factory.mktemp("api") / "study", **beside)


def test_one_by_one_gets_the_answers_scores_and_prices_of_the_batch(study: Study) -> None:
    decider, at = study_decider(study), datetime.fromisoformat(study.manifest["as_of"])
    batch = study.table("decision_candidates")
    rows = [(who, one.action_id, list(one.blocked_by), one.next_allowed, one.p, one.basis) for who in batch["customer_id"].unique().sort()[:60] for one in decider.preview(who, at).candidates]
    single = pl.DataFrame(rows, schema=["customer_id", "action_id", "blocked", "next", "chance", "from"], orient="row", schema_overrides={"next": pl.Datetime("us", "UTC")})
    both = batch.join(single, on=["customer_id", "action_id"])
    assert both.height == 480
    assert both["blocked_by"].to_list() == both["blocked"].to_list()
    assert both["next_allowed"].to_list() == both["next"].to_list()
    assert both["p"].to_list() == both["chance"].to_list()
    assert both["basis"].unique().to_list() == ["fitted"] == both["from"].unique().to_list()
    assert decider.prices == dict(study.table("decision_limits").select("limit", "price").iter_rows())
    assert study_decider(study, policy=bench_policy()).prices == {}


def test_what_customers_write_is_a_context_alike_in_batch_one_by_one_and_as_it_arrives(study: Study) -> None:
    at, batch = datetime.fromisoformat(study.manifest["as_of"]), study.table("decision_candidates")
    texts = study.table("texts_read")
    assert "text" not in texts.columns
    lately = texts.filter(pl.col("intent") == "complaint", pl.col("timestamp") > at - timedelta(days=365))["customer_id"]
    wrote = batch.filter(pl.col("customer_id").is_in(lately.to_list()))
    assert wrote["customer_id"].n_unique() >= 3
    decider = study_decider(study)
    for who in wrote["customer_id"].unique().sort():
        expected = dict(batch.filter(customer_id=who).select("action_id", "context").iter_rows())
        assert {one.action_id: one.context for one in decider.preview(who, at).candidates} == expected
        alone = customer_decider(study, who, at)
        assert isinstance(alone, Decider)
        assert {one.action_id: one.context for one in alone.preview(who, at).candidates} == expected
        assert all(context % 2 == 0 for action, context in expected.items() if action.startswith("setup"))
    first = lately.sort()[0]
    told = study_card(study, first, at, n=1000).interactions
    assert isinstance(told, pl.DataFrame)
    assert "complaint" in told["intent"].to_list()
    quiet = batch.filter(~pl.col("customer_id").is_in(texts["customer_id"].to_list()))["customer_id"].sort()[0]
    before = {one.action_id: one.context for one in decider.preview(quiet, at).candidates}
    decider.observe({"customer_id": quiet, "timestamp": at, "event": "email_reply", "channel": "email", "text": "This is unacceptable, nobody answers"})
    after = {one.action_id: one.context for one in decider.preview(quiet, at + timedelta(seconds=1)).candidates}
    assert {action: after[action] / before[action] for action in before} == {action: 2.0 if action.startswith("setup") else 1.0 for action in before}


def test_a_contact_that_the_ledger_holds_is_not_counted_twice(study: Study, tmp_path: Path) -> None:
    at = datetime.fromisoformat(study.manifest["as_of"])
    contact = study.table("contacts").filter(pl.col("event") == "contact", pl.col("timestamp") <= at).sort("timestamp").row(-1, named=True)
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    before = study_decider(study, ledger).state_of(contact["customer_id"]).rings
    ledger.append("decision", contact["customer_id"], at, {"record": {}, "policy": "p"}, ref=contact["decision_id"])
    after = study_decider(study, ledger).state_of(contact["customer_id"]).rings
    ledger.close()
    us = to_us(contact["timestamp"])
    assert any(us in ring for ring in before.values())
    assert not any(us in ring for ring in after.values())


def test_a_study_without_a_policy_asks_for_one(study: Study) -> None:
    plain = {**study.manifest, "settings": replace(DEMO_SETTINGS, decisions=DecisionSettings()).as_dict()}
    with pytest.raises(SettingError, match="none was named"):
        study_decider(Study(study.path, plain))


def test_the_demo_is_served_with_its_own_policy_offers_and_scores(study: Study) -> None:
    pytest.importorskip("fastapi")
    from motkit.apps.api import add_key

    folder = study.path.parent
    keys = {"admin": add_key(folder / "keys.toml", "the admin", "admin")}
    with serve_api(folder, keys=keys) as served:
        who = study.table("decision_candidates").filter("allowed")["customer_id"][0]
        status, card = served.ask(f"/v1/card/{who}")
        assert (status, {move["action_id"] for move in card["moves"]} <= {a.action_id for a in study_decider(study).actions}) == (200, True)
        scored = study.table("decision_candidates").filter(pl.col("customer_id") == who)
        status, decision = served.ask("/v1/decide", {"customer_id": who})
        assert status == 200
        assert {one["action_id"] for one in decision["candidates"]} == set(scored["action_id"])
        best = next(one for one in decision["candidates"] if one["action_id"] == decision["chosen"])
        p = scored.filter(pl.col("action_id") == decision["chosen"])["p"].item()
        assert f"{p:.3g} x " in best["why"]
        at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        assert served.ask("/v1/contact", {"decision_id": decision["decision_id"], "status": "sent", "at": at})[0] == 200
        assert served.ask("/v1/outcome", {"decision_id": decision["decision_id"], "outcome": "accepted"})[0] == 200
        assert served.ask("/v1/observe", {"events": [{"customer_id": who, "event": "support_call", "channel": "call_centre"}]})[0] == 200
        status, later = served.ask("/v1/decide", {"customer_id": who})
        assert status == 200
        assert "in_trouble" in next(one for one in later["candidates"] if one["action_id"] == "upgrade_email")["blocked_by"]
