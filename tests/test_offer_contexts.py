"""Contexts of the moment: learned where they are left open, the same for a table and for one customer, kept in the record."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.decider import Decider
from motkit.errors import SettingError
from motkit.ledger import Ledger
from motkit.made_contacts import simulate_contacts
from motkit.offer_contexts import context_factors, context_rows, learn_factor, with_factors
from motkit.offer_scores import fit_offers, score_offers
from motkit.offers import Offers, parse_offers
from motkit.policy import parse_policy

START, AT = datetime(2026, 1, 1), datetime(2026, 7, 1, 12, tzinfo=UTC)
OFFERS = """
[[offers]]
id = "phone"
category = "device"
value = 60.0
[[offers.treatments]]
channel = "email"
[[offers.treatments]]
channel = "sms"
[[offers]]
id = "setup"
category = "service"
purpose = "service"
value = 12.0
[[offers.treatments]]
channel = "email"
[[contexts]]
id = "looked"
when = { event = "compare" }
within = "1d"
scope = { category = "device" }
[[contexts]]
id = "upset"
when = { intent = ["complaint", "cancel"] }
within = "14d"
scope = { purpose = "service" }
factor = 40.0
"""
NO_RULES = '[[rules]]\nid = "cap"\ntype = "count"\nmax = 9\nwindow = "7d"\nof = { kind = "contact" }'


@pytest.fixture(scope="module")
def offers() -> Offers:
    return parse_offers(OFFERS)


def with_looks(offers: Offers, times: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Made contacts, half of them after a look at the shop, and answers that then come so many times as often."""
    chance, people = np.random.default_rng(seed), pl.DataFrame({"customer_id": [f"c{k:04d}" for k in range(900)]})
    made = simulate_contacts(people, offers, START, AT.replace(tzinfo=None), seed=seed).history
    sent = made.filter(pl.col("event") == "contact").with_columns(looked=pl.Series(chance.random(made.filter(pl.col("event") == "contact").height) < 0.5))
    looks = sent.filter("looked").select("customer_id", pl.col("timestamp") - timedelta(hours=3), event=pl.lit("compare"))
    said = made.filter(pl.col("event") == "accepted").join(sent.select("decision_id", "looked"), on="decision_id")
    gone = said.filter((~pl.col("looked") if times > 1 else pl.col("looked")) & (pl.col("category") == "device"))
    gone = gone.filter(pl.Series(chance.random(gone.height) > min(times, 1 / times)))
    return pl.concat([made.join(gone.select("decision_id", "event"), on=["decision_id", "event"], how="anti"), looks], how="diagonal"), people


@pytest.mark.parametrize("times", [1.0, 2.5])
def test_a_factor_that_was_planted_is_learned_from_later_contacts_and_none_where_there_is_none(offers: Offers, times: float) -> None:
    history, people = with_looks(offers, times, seed=4)
    model = fit_offers(history, offers, people, AT)
    looked = model.contexts.row(by_predicate=pl.col("context") == "looked", named=True)
    whole = 2 * times / (1 + times)  # against the mean of contacts with and without a look
    assert model.basis == "fitted"
    assert looked["basis"] == "learned"
    assert looked["ci_low"] < whole < looked["ci_high"]
    assert (looked["ci_low"] > 1) == (times > 1)
    assert looked["n"] > 300
    upset = model.contexts.row(by_predicate=pl.col("context") == "upset", named=True)
    assert (upset["basis"], upset["factor"], upset["n"]) == ("written", 40.0, 0)


def test_a_few_contacts_say_little_and_many_what_they_say() -> None:
    assert learn_factor(np.zeros(0), np.zeros(0))[0] == 1
    few, many = (learn_factor(np.ones(n), np.full(n, 0.5)) for n in (4, 4000))
    assert 1 < few[0] < 1.2
    assert many[0] == pytest.approx(2, abs=0.01)
    assert many[2] - many[1] < few[2] - few[1]


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(-2, 16 * 24), st.sampled_from(["compare", "letter"]), st.sampled_from(["complaint", "thanks", None])), max_size=8),
    hours=st.integers(0, 24),
)
@settings(max_examples=30, deadline=None)
def test_a_table_and_one_customer_are_in_the_same_contexts(rows: list[tuple[str, int, str, str | None]], hours: int) -> None:
    catalogue, at = with_factors(parse_offers(OFFERS.replace('within = "1d"', 'within = "1d"\nfactor = 2.0')), None), AT + timedelta(hours=hours)
    told = [{"customer_id": who, "timestamp": AT - timedelta(hours=back), "event": event, "intent": intent} for who, back, event, intent in rows]
    kinds = {"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "event": pl.String, "intent": pl.String}
    history, people = pl.DataFrame(told, schema=kinds), pl.DataFrame({"customer_id": ["a", "b"]})
    scores = score_offers(history, catalogue, people, at)
    observing = Decider(parse_policy(NO_RULES), catalogue)
    for row in sorted(told, key=lambda one: str(one["timestamp"])):
        observing.observe(row)
    for decider in (observing, Decider(parse_policy(NO_RULES), catalogue, history=history)):
        single = {(who, one.action_id): one.context for who in "ab" for one in decider.preview(who, at).candidates}
        assert {(who, action): context for who, action, context in scores.select("customer_id", "action_id", "context").iter_rows()} == single


def test_help_comes_first_after_a_complaint_nothing_is_hidden_and_the_record_comes_out_the_same(offers: Offers, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    decider = Decider(parse_policy(NO_RULES), offers, ledger, prior=0.1)
    before = decider.decide("ann", AT)
    decider.observe({"customer_id": "ann", "timestamp": AT + timedelta(minutes=1), "event": "letter", "channel": "email", "intent": "complaint"})
    after = decider.decide("ann", AT + timedelta(minutes=2))
    other = Decider(parse_policy(NO_RULES), offers, ledger, prior=0.1).preview("ann", AT + timedelta(minutes=3))
    assert (before.chosen, after.chosen, other.chosen) == ("phone_email", "setup_email", "setup_email")
    assert "x 40 x" in after.why("setup_email")
    assert not any(one.blocked_by for one in after.candidates)
    assert ledger.replay(after.decision_id).same
    assert decider.decide("ann", AT + timedelta(days=14, minutes=1)).chosen == "phone_email"
    assert decider.preview("ann", AT + timedelta(minutes=3), {"setup_email": (0.1, 12.0)}).chosen == "phone_email"  # a score that is given is taken as it is
    ledger.close()


def test_contexts_multiply_with_each_other_and_with_what_is_given(offers: Offers) -> None:
    known = with_factors(parse_offers(OFFERS.replace('{ purpose = "service" }', "{}").replace('within = "1d"', 'within = "1d"\nfactor = 0.5')), None)
    rows = pl.DataFrame({"customer_id": "a", "timestamp": AT, "event": "compare", "intent": "cancel"}).cast({"timestamp": pl.Datetime("us", "UTC")})
    people, more = pl.DataFrame({"customer_id": ["a"]}), pl.DataFrame({"customer_id": ["a"], "context": [3.0]})
    scores = score_offers(rows, known, people, AT, context=more)
    assert dict(scores.select("action_id", "context").iter_rows()) == {"phone_email": 60.0, "phone_sms": 60.0, "setup_email": 120.0}
    asks = scores.with_columns(_t=pl.lit(0, pl.Int64))
    assert context_factors(asks, known, context_rows(rows, known)).to_list() == [1.0] * 3  # before anything was said


def test_faults_of_contexts_are_named_and_offers_without_any_keep_their_version() -> None:
    with pytest.raises(SettingError) as refusal:
        parse_offers(OFFERS.replace("factor = 40.0", "factor = -1.0").replace('within = "1d"', 'within = "1cd"').replace("event =", "mood ="))
    assert len(refusal.value.faults) == 3
    with pytest.raises(SettingError, match="`looked`: its `scope` fits no action"):
        parse_offers(OFFERS.replace('scope = { category = "device" }', 'scope = { category = "cars" }'))
    plain = parse_offers(OFFERS.split("[[contexts]]")[0])
    assert plain.contexts == ()
    assert plain.version != parse_offers(OFFERS).version
