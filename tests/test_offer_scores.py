"""Scores against the truth that was planted, and their gain over a simple rule in replay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import motkit
from motkit.errors import FewEventsWarning, SchemaError
from motkit.made_contacts import SimulatedContacts, simulate_contacts
from motkit.offer_scores import (
    ACCEPTED,
    _matched,
    _with_intervals,
    add_counts,
    fit_drawn,
    fit_offers,
    read_past,
    replay_scores,
    score_offers,
)
from motkit.offers import Offers, read_offers
from motkit.policy import read_policy
from motkit.policy_lint import lint_policy

DEMO = Path(motkit.__file__).parent / "demo"
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def offers() -> Offers:
    return read_offers(DEMO / "offers.toml")


@pytest.fixture(scope="module")
def people() -> pl.DataFrame:
    return pl.DataFrame({"customer_id": [f"c{k:04d}" for k in range(1500)], "plan": [("a", "b")[k % 2] for k in range(1500)], "fee": np.arange(1500.0)})


@pytest.fixture(scope="module")
def made(offers: Offers, people: pl.DataFrame) -> SimulatedContacts:
    return simulate_contacts(people, offers, START, END, seed=3)


def test_the_policy_and_offers_that_ship_have_no_fault(offers: Offers) -> None:
    assert lint_policy(read_policy(DEMO / "policy.toml"), offers.actions) == []


def test_probabilities_are_calibrated_and_follow_the_planted_ones(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    scores = score_offers(made.history, offers, people, END)
    assert scores["basis"].unique().to_list() == ["fitted"]
    assert scores.height == people.height * len(offers.actions)
    both = scores.join(made.truth, on=["customer_id", "action_id"], suffix="_true")
    assert both.select(pl.corr("p", "p_true", method="spearman")).item() > 0.5
    tenths = both.sort("p").with_columns(part=pl.int_range(pl.len()) * 5 // pl.len()).group_by("part").agg(pl.col("p", "p_true").mean()).sort("part")
    ratio = (tenths["p"] / tenths["p_true"]).to_numpy()
    assert (np.abs(np.log(ratio[1:])) < 0.35).all(), ratio  # contacts of tired customers lower what is learned a little
    assert (scores["score"] - scores["p"] * scores["value"] * scores["lever"]).abs().max() == pytest.approx(0)
    assert ((scores["ci_low"] <= scores["p"]) & (scores["p"] <= scores["ci_high"])).all()
    assert scores["n"].min() > 100


def test_later_contacts_are_foretold_better_than_by_rates_and_in_the_right_number(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    told = fit_offers(made.history, offers, people, END).validation
    assert told["log_loss"] < told["log_loss_of_rates"] - 0.001
    assert told["expected"] == pytest.approx(told["accepted"], rel=0.12)
    assert 0.7 < told["slope"] < 1.4


def test_answers_that_have_nothing_to_do_with_customers_teach_nothing_about_them(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    chance = np.random.default_rng(0)
    sent = made.history.filter(pl.col("event") == "contact")
    said = sent.filter(pl.Series(chance.random(sent.height) < 0.06)).with_columns(event=pl.lit("accepted"), timestamp=pl.col("timestamp") + timedelta(hours=3))
    told = fit_offers(pl.concat([sent, said]), offers, people, END).validation
    assert told["log_loss"] > told["log_loss_of_rates"] - 0.002
    scores = score_offers(pl.concat([sent, said]), offers, people, END)
    assert scores["p"].std() < 0.02


def test_choosing_by_scores_pays_more_than_the_simple_rule_in_replay_and_in_truth(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    tried = replay_scores(made.history, offers, people, END)
    value = dict(zip(tried["rule"], tried["value_per_contact"], strict=True))
    assert value["fitted scores"] > value["best on average"] > value["as it was"]
    assert tried["n"].min() > 500
    assert (tried["ci_low"] < tried["value_per_contact"]).all()
    more = {row["rule"]: row for row in tried.iter_rows(named=True)}
    assert more["fitted scores"]["more_low"] > 0 == more["best on average"]["more"] == more["best on average"]["more_high"]
    scores = score_offers(made.history, offers, people, END).join(made.truth, on=["customer_id", "action_id"], suffix="_true")
    gain = scores.with_columns(net=pl.col("score") - pl.col("cost"), true=pl.col("p_true") * pl.col("value") - pl.col("cost"))
    best = gain.sort("net", descending=True).unique("customer_id", keep="first")["true"].mean()
    plain = gain.group_by("action_id").agg(pl.col("true").mean())["true"].max()
    assert best > 1.1 * plain


def test_the_interval_of_a_difference_is_that_of_customers_drawn_again() -> None:
    chance = np.random.default_rng(3)
    who, gain = chance.integers(0, 300, 3000), chance.gamma(1, 2, 3000)
    table = pl.DataFrame({"customer_id": who, "propensity": chance.choice([0.25, 0.5], 3000), "_gain": gain + (who % 7) / 2})
    first, second = chance.random(3000) < 0.3, chance.random(3000) < 0.4
    told = _with_intervals({name: _matched(table.filter(pl.Series(holds)), name) for name, holds in (("a", first), ("b", second))}, "b", 0.95)

    def difference(rows: np.ndarray) -> float:
        weight, value = 1 / table["propensity"].to_numpy()[rows], table["_gain"].to_numpy()[rows]
        means = [np.average(value[holds[rows]], weights=weight[holds[rows]]) for holds in (first, second)]
        return float(means[0] - means[1])

    mine = [np.flatnonzero(who == k) for k in range(300)]
    drawn = [difference(np.concatenate([mine[k] for k in chance.integers(0, 300, 300)])) for _ in range(400)]
    row = told.row(0, named=True)
    assert row["more"] == pytest.approx(difference(np.arange(3000)))
    assert (row["more_high"] - row["more_low"]) / 2 / 1.96 == pytest.approx(np.std(drawn), rel=0.12)


def test_without_answers_there_is_only_the_prior_and_with_few_only_rates(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    sent = made.history.filter(pl.col("event") == "contact")
    scores = score_offers(sent, offers, people, END, prior=0.03)
    assert scores["basis"].unique().to_list() == ["prior only"]
    assert (scores.filter(pl.col("n") == 0)["p"] == 0.03).all()
    few = pl.concat([sent.head(400), made.history.filter(pl.col("event") == "accepted").head(8)])
    with pytest.warns(FewEventsWarning, match="too few"):
        assert score_offers(few, offers, people, END)["basis"].unique().to_list() == ["rates"]


def test_only_what_was_known_before_explains_an_answer(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    cut = datetime(2026, 8, 1, tzinfo=UTC)
    before = made.history.filter(pl.col("timestamp") <= cut)
    assert score_offers(made.history, offers, people, cut).equals(score_offers(before, offers, people, cut))
    past = read_past(made.history, offers, END)
    some = past.contacts.sample(40, seed=2)
    counts = add_counts(some.select("customer_id", "action_id", "offer_id", "category", "_t"), past)
    history = past.contacts
    for row in counts.iter_rows(named=True):
        own = history.filter((pl.col("customer_id") == row["customer_id"]) & (pl.col("_t") < row["_t"]))
        yes = past.accepted.filter((pl.col("customer_id") == row["customer_id"]) & (pl.col("_t") < row["_t"]))
        assert row["sent"] == own.height
        assert row["sent_alike"] == own.filter(pl.col("category") == row["category"]).height
        assert row["yes_alike"] == yes.filter(pl.col("category") == row["category"]).height
        assert row["week"] == own.filter(pl.col("_t") >= row["_t"] - 7 * 86_400_000_000).height


def test_an_answer_belongs_to_its_decision_or_to_the_last_contact_before_it(offers: Offers) -> None:
    at = [START + timedelta(days=day) for day in (0, 1, 2, 20, 21)]
    rows = {"customer_id": ["a"] * 5, "timestamp": at, "event": ["contact", "contact", "accepted", "contact", "accepted"]}
    actions = ["upgrade_sms", "upgrade_sms", "upgrade_sms", "setup_email", "upgrade_sms"]
    history = pl.DataFrame({**rows, "action_id": actions, "decision_id": [None] * 5}, schema_overrides={"decision_id": pl.String})
    assert read_past(history, offers, END).contacts["accepted"].to_list() == [False, True, False]
    told = history.with_columns(decision_id=pl.Series(["d1", "d2", "d1", "d3", None]))
    assert read_past(told, offers, END).contacts["accepted"].to_list() == [True, False, False]
    young = read_past(history, offers, START + timedelta(days=1, hours=1))
    assert young.contacts["accepted"].to_list() == [None, None]
    assert set(ACCEPTED) >= {"accepted"}


def test_context_is_a_factor_and_rows_may_come_in_any_order(made: SimulatedContacts, offers: Offers, people: pl.DataFrame) -> None:
    context = pl.DataFrame({"customer_id": ["c0003"], "context": [2.0]})
    plain = score_offers(made.history, offers, people, END)
    with_context = score_offers(made.history.sample(fraction=1, shuffle=True, seed=4).lazy(), offers, people.lazy(), END, context=context)
    ratio = (with_context["score"] / plain["score"]).round(6)
    assert ratio.filter(plain["customer_id"] == "c0003").unique().to_list() == [2.0]
    assert ratio.filter(plain["customer_id"] != "c0003").unique().to_list() == [1.0]
    with pytest.raises(SchemaError, match="history"):
        score_offers(made.history.drop("timestamp"), offers, people, END)


def test_the_fit_is_that_of_the_penalised_likelihood() -> None:
    chance = np.random.default_rng(5)
    x = np.column_stack([np.ones(400), chance.normal(size=(400, 3))])
    y = (chance.random(400) < expit(x @ np.array([-0.5, 1.0, 0.0, -1.0]))).astype(float)
    beta, covariance = fit_drawn(x, y, 4.0)
    slope = x.T @ (y - expit(x @ beta)) - 4.0 * np.r_[0.0, beta[1:]]
    assert np.abs(slope).max() < 1e-6
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_what_was_planted_is_found_in_the_made_contacts(made: SimulatedContacts, offers: Offers) -> None:
    sent = made.history.filter(pl.col("event") == "contact")
    assert sent["propensity"].unique().to_list() == [1 / len(offers.actions)]
    rate = made.history.filter(pl.col("event") == "accepted").height / sent.height
    assert 0.03 < rate < 0.2
    assert made.truth["p"].mean() > rate  # contacts tire
