"""Moments against lifelines and plain loops, on null data, with planted truth, and what is refused."""

import warnings
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from motkit.candidates import Pattern, find_pattern, propose_candidates, read_candidates
from motkit.errors import DesignError, MotkitError, SchemaError, SettingError
from motkit.events import read_events
from motkit.followed import follow_customers, place_events
from motkit.kinds import RULES, KindRule, add_kinds, read_kind_rules
from motkit.moment_cells import compare_exposed, count_exposed, count_risk, draw_twins, group_spells
from motkit.moment_landmarks import days_gained
from motkit.moment_times import LeakageError
from motkit.moment_validation import cohort_events, simulate_moments, validate_moments
from motkit.moments import COLUMNS, adjust_fdr, find_moments
from motkit.recent_activity import Spells, active_days, activity_rates, cut_spells, spells_of
from motkit.schema import EVENTS
from motkit.simulate import Simulation, simulate_customers

ROOT = Path(__file__).parent.parent
START = datetime(2026, 3, 2, tzinfo=UTC)
SENT = ["email_sent", "sms_sent"]


@pytest.fixture(scope="module")
def demo() -> pl.LazyFrame:
    return read_events(ROOT / "data" / "demo_events.parquet").events


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return simulate_customers(500, seed=11)


def make_events(rows: list[tuple[str, float, str]]) -> pl.DataFrame:
    """Events at days after the start."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in rows],
        "timestamp": [START + timedelta(days=row[1]) for row in rows],
        "event": [row[2] for row in rows],
        "channel": ["web"] * len(rows),
        "value": [None] * len(rows),
        "duration_s": [None] * len(rows),
    }
    return pl.DataFrame(columns, schema=EVENTS)


def random_spells(seed: int, n: int = 120, strata: int = 3) -> tuple[Spells, np.ndarray, np.ndarray]:
    """Spells of random customers with strata that change weekly, and random moments."""
    rng = np.random.default_rng(seed)
    entry, exit = rng.integers(0, 10, n), rng.integers(11, 50, n)
    left = rng.random(n) < 0.6
    rows = [(who, max(week * 7, entry[who]), min(week * 7 + 7, exit[who])) for who in range(n) for week in range(entry[who] // 7, (exit[who] - 1) // 7 + 1)]
    customer, start, stop = np.array(rows).T
    spells = spells_of(customer, start, stop, rng.integers(0, strata, len(rows)), left[customer] & (stop == exit[customer]), n)
    who = np.sort(rng.choice(n, n // 2, replace=False))
    return spells, who, rng.integers(0, 40, len(who))


@pytest.mark.parametrize("seed", range(3))
def test_counts_with_and_without_a_moment_are_those_of_a_plain_loop(seed: int) -> None:
    spells, who, since = random_spells(seed)
    risk = count_risk(spells)
    exposed = count_exposed(spells, risk, who, since)
    had = dict(zip(who.tolist(), since.tolist(), strict=True))
    rows = list(zip(*(part.tolist() for part in (spells.customer, spells.start, spells.stop, spells.stratum, spells.left)), strict=True))
    for row, (day, stratum) in enumerate(zip(risk.days[risk.day], risk.stratum, strict=True)):
        here = [(c, left and stop == day) for c, start, stop, s, left in rows if start < day <= stop and s == stratum]
        with_it = [(c, left) for c, left in here if c in had and had[c] < day]
        assert (len(here), sum(left for _, left in here)) == (risk.at_risk[row], risk.left[row])
        assert (len(with_it), sum(left for _, left in with_it)) == (exposed.at_risk[row], exposed.left[row])
    assert exposed.days == sum(max(0, stop - max(start, had[c])) for c, start, stop, _, _ in rows if c in had)


@pytest.mark.parametrize("seed", range(3))
def test_the_hazard_ratio_is_that_of_lifelines_with_time_dependent_covariates_and_strata(seed: int) -> None:
    import pandas as pd
    from lifelines import CoxTimeVaryingFitter

    rng, n = np.random.default_rng(seed), 200
    entry, exit, left = rng.integers(0, 40, n), 60 + 3 * rng.permutation(n), rng.random(n) < 0.7  # all times of leaving differ
    cut = [(who, max(k * 70, entry[who]), min(k * 70 + 70, exit[who])) for who in range(n) for k in range(entry[who] // 70, (exit[who] - 1) // 70 + 1)]
    customer, start, stop = np.array(cut).T
    stratum, ends = rng.integers(0, 3, len(cut)), left[customer] & (stop == exit[customer])
    who = np.sort(rng.choice(n, n // 2, replace=False))
    since = rng.integers(0, 500, n // 2)
    had = np.full(n, np.inf)
    had[who] = since
    pieces = []
    for c, begin, end, s, left_here in zip(customer, start, stop, stratum, ends, strict=True):
        times = [begin, had[c], end] if begin < had[c] < end else [begin, end]
        pieces += [(c, a, b, float(had[c] <= a), s, bool(left_here and b == end)) for a, b in pairwise(times)]
    frame = pd.DataFrame(pieces, columns=["id", "start", "stop", "had", "stratum", "left"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = CoxTimeVaryingFitter().fit(frame, event_col="left", id_col="id", strata=["stratum"], fit_options={"precision": 1e-10})
    spells = spells_of(customer, start, stop, stratum, ends, n)
    risk = count_risk(spells)
    own = compare_exposed(risk, [count_exposed(spells, risk, who, since)])
    assert own["log_hr"][0] == pytest.approx(peer.params_["had"], abs=1e-6)
    assert own["std_error"][0] == pytest.approx(peer.standard_errors_["had"], rel=1e-5)


def test_the_log_rank_score_is_that_of_the_kernel_for_rows() -> None:
    from motkit.survival import logrank

    spells, who, since = random_spells(5, strata=1)
    had = np.full(spells.customers, np.inf)
    had[who] = since
    pieces = []
    for c, start, stop, left in zip(spells.customer, spells.start, spells.stop, spells.left, strict=True):
        cuts = [start, int(had[c]), stop] if start < had[c] < stop else [start, stop]
        pieces += [(a, b, bool(left and b == stop), had[c] <= a) for a, b in pairwise(cuts)]
    table = pl.DataFrame(pieces, schema=["entry", "exit", "left", "had"], orient="row")
    peer = logrank(table, "exit", "left", "had", entry="entry")
    risk = count_risk(spells)
    own = compare_exposed(risk, [count_exposed(spells, risk, who, since)])
    assert own["z"][0] ** 2 == pytest.approx(peer.statistic, rel=1e-9)
    assert own["p_value"][0] == pytest.approx(peer.p_value, rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_q_values_are_those_of_scipy_and_blanks_do_not_count(values: list[float]) -> None:
    p = np.array(values)
    assert np.allclose(adjust_fdr(p), false_discovery_control(p))
    gaps = np.insert(p, 0, np.nan)
    assert np.allclose(adjust_fdr(gaps)[1:], false_discovery_control(p))
    assert np.isnan(adjust_fdr(gaps)[0])


def test_activity_rates_are_those_of_a_plain_loop_and_look_only_back(sim: Simulation) -> None:
    followed = follow_customers(sim.events, "account_closed", sim.end, lost="tracking_opted_out")
    placed = place_events(sim.events, followed)
    rng, people = np.random.default_rng(0), followed.customers
    customer = rng.integers(0, people.height, 40)
    entry, exit = (people[name].to_numpy().astype(np.int64)[customer] for name in ("entry_day", "exit_day"))
    at = entry + (rng.random(40) * (exit - entry)).astype(np.int64)
    rates = activity_rates(active_days(placed), customer, at, entry)
    own = {code: set(days) for code, days in placed.group_by("code").agg(pl.col("day").unique()).collect().rows()}
    counts = [sum(first <= day <= until for day in own[who]) for who, first, until in zip(customer, entry, at, strict=True)]
    average = sum(counts) / (at - entry + 1).sum()
    for row, (who, begin, until, count) in enumerate(zip(customer, entry, at, counts, strict=True)):
        assert np.exp(rates[row, 2]) == pytest.approx((count + 7 * average) / (until - begin + 1 + 7))
        near = sum(max(begin, until - 13) <= day <= until for day in own[who])
        assert np.exp(rates[row, 0]) == pytest.approx((near + 7 * average) / (min(14, until - begin + 1) + 7))


def test_a_moment_of_the_day_itself_does_not_count_and_one_of_the_day_before_does() -> None:
    rows = [(f"c{who:02d}", 0.0, "start") for who in range(40)] + [(f"c{who:02d}", 19.6, "closed") for who in range(20)]
    same = make_events(rows + [(f"c{who:02d}", 19.5, "call") for who in range(10)])
    before = make_events(rows + [(f"c{who:02d}", 18.5, "call") for who in range(10)] + [("c39", 30.0, "start")])
    late = make_events([("c39", 30.0, "start")])
    for events, outcomes in ((pl.concat([same, late]), None), (before, 10)):
        moments = None
        try:
            moments = find_moments(events, "closed", candidates=["call"], strata=(), placebo_draws=0)
        except LeakageError:
            assert outcomes is None
        if moments is not None:
            assert moments.table["outcomes"][0] == (outcomes or 0)


def test_silence_counts_the_last_visit_before_a_long_gap_and_judges_only_gaps_that_are_over() -> None:
    events = make_events([("ann", 0, "a"), ("ann", 5, "a"), ("bo", 0, "a"), ("bo", 5, "a"), ("bo", 20, "a"), ("cy", 0, "a"), ("cy", 24, "a"), ("di", 30, "a")])
    followed = follow_customers(events, silence_days=10, as_of=START + timedelta(days=30))
    people = {row["customer_id"]: (row["exit_day"], row["left"]) for row in followed.customers.iter_rows(named=True)}
    assert people == {"ann": (6, True), "bo": (6, True), "cy": (1, True)}
    assert dict(followed.left_out.rows())["start after as_of"] == 1
    spells = cut_spells(place_events(events, followed), followed, by_activity=False)
    assert (spells.stop - spells.start == 1).all()
    assert spells.left.sum() == 3


def test_delayed_entry_is_respected_and_an_outcome_before_the_log_is_left_out() -> None:
    events = make_events([("ann", 0, "a"), ("ann", 9, "closed"), ("bo", 2, "a"), ("bo", 20, "a")])
    starts = pl.DataFrame({"customer_id": ["ann", "cy"], "timestamp": [START - timedelta(days=40)] * 2}).cast({"timestamp": EVENTS["timestamp"]})
    followed = follow_customers(events, "closed", starts=starts)
    rows = {row["customer_id"]: (row["entry_day"], row["exit_day"], row["left"]) for row in followed.customers.iter_rows(named=True)}
    assert rows == {"ann": (40, 49, True), "bo": (0, 18, False), "cy": (40, 60, False)}


def test_planted_moments_of_the_demo_are_found_with_the_right_sign_and_no_others(demo: pl.LazyFrame) -> None:
    truth = pl.read_parquet(ROOT / "data" / "demo_truth_moments.parquet")
    moments = find_moments(demo, "account_closed", candidates=truth["moment"].to_list(), lost="tracking_opted_out", not_activity=SENT, horizon_days=90)
    both = moments.table.join(truth.select("moment", "log_hazard_ratio", truth="kind"), on="moment")
    assert both.filter(pl.col("truth") != "none").select((pl.col("verdict") == pl.col("truth")).all()).item()
    assert both.filter(pl.col("truth") == "none").select((pl.col("verdict") == "no evidence").all()).item()
    log_ratio = both.filter(pl.col("truth") != "none").select(pl.col("hazard_ratio").log(), "log_hazard_ratio").to_numpy()
    assert np.abs(log_ratio[:, 0] - log_ratio[:, 1]).max() < 0.35
    assert both.filter(pl.col("truth") != "none", pl.col("rmst_difference") * pl.col("log_hazard_ratio") > 0).height <= 1
    assert moments.table.columns == list(COLUMNS)
    assert "associat" in moments.reading
    assert "causes" not in moments.reading


def test_nothing_is_found_where_nothing_matters() -> None:
    quiet = simulate_customers(1500, seed=21, null=True)
    names = quiet.truth.moments["moment"].to_list()
    moments = find_moments(quiet.events, "account_closed", candidates=names, lost="tracking_opted_out", not_activity=SENT)
    assert moments.table.filter(pl.col("verdict").is_in(["makes", "breaks"])).height == 0
    assert (moments.table["p_value"] < 0.05).sum() <= 3
    assert abs(moments.table.select(pl.col("hazard_ratio").log().mean()).item()) < 0.12


def test_moments_shuffled_over_customers_of_the_same_activity_are_no_moments() -> None:
    spells, _, _ = random_spells(3, n=1500, strata=4)
    risk, groups, rng = count_risk(spells), group_spells(spells), np.random.default_rng(0)
    z = []
    for _ in range(150):
        who = np.sort(rng.choice(1500, 400, replace=False))
        twin, day = draw_twins(spells, groups, who, rng.integers(0, 30, 400), rng)
        assert len(np.unique(twin)) == len(twin)
        z.append(compare_exposed(risk, [count_exposed(spells, risk, twin, day)])["z"][0])
    assert abs(np.mean(z)) < 0.3
    assert 0.8 < np.std(z) < 1.2
    assert (np.abs(z) > 1.96).mean() < 0.11


def test_five_real_moments_of_forty_are_found_and_hardly_any_other() -> None:
    table = validate_moments(2, seed=4, cases=["moments, ever or never", "moments, no strata", "moments, true activity"])
    table = pl.concat([table, validate_moments(1, seed=4, cases=["moments, recorded activity"])])
    value = {(row["case"], row["measure"]): row["value"] for row in table.iter_rows(named=True)}
    for way in ("true activity", "recorded activity"):
        assert value[f"moments, {way}", "power"] >= 0.6
        assert value[f"moments, {way}", "fdr"] <= 0.25
    assert value["moments, no strata", "fdr"] > 0.5
    assert value["moments, ever or never", "fdr"] > 0.8


def test_the_order_of_rows_and_of_candidates_changes_nothing(sim: Simulation) -> None:
    names = ["expert_advice", "payment_failed", "review_read"]
    one = find_moments(sim.events, "account_closed", candidates=names, lost="tracking_opted_out", placebo_draws=0)
    mixed = sim.events.sample(fraction=1.0, shuffle=True, seed=3)
    two = find_moments(mixed.lazy(), "account_closed", candidates=names[::-1], lost="tracking_opted_out", placebo_draws=0)
    assert one.table.drop("placebo_p").equals(two.table.drop("placebo_p"))


def test_the_same_seed_gives_the_same_placebo(sim: Simulation) -> None:
    tables = [find_moments(sim.events, "account_closed", candidates=["expert_advice"], seed=5, placebo_draws=39).table for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert tables[0]["placebo_p"][0] is not None


def test_a_good_outcome_turns_the_verdict_and_not_the_ratio(sim: Simulation) -> None:
    loss, gain = (
        find_moments(sim.events, "account_closed", candidates=["expert_advice", "payment_failed"], placebo_draws=0, outcome_is=word, fdr=0.3).table
        for word in ("loss", "gain")
    )
    turned = {"makes": "breaks", "breaks": "makes"}
    assert loss["hazard_ratio"].equals(gain["hazard_ratio"])
    assert gain["verdict"].to_list() == [turned.get(word, word) for word in loss["verdict"]]


def test_what_tells_of_the_outcome_is_refused_by_name_and_left_out_of_proposals(sim: Simulation) -> None:
    closed = sim.events.filter(pl.col("event") == "account_closed")
    farewell = closed.with_columns(pl.col("timestamp") - pl.duration(hours=2), event=pl.lit("exit_survey"))
    after = closed.with_columns(pl.col("timestamp") + pl.duration(days=3), event=pl.lit("parting_letter"))
    log = pl.concat([sim.events, farewell, after])
    for name in ("account_closed", "exit_survey", "parting_letter", "tracking_opted_out"):
        with pytest.raises(LeakageError, match=name):
            find_moments(log, "account_closed", candidates=[name, "expert_advice"], lost="tracking_opted_out")
    proposed = find_moments(log, "account_closed", lost="tracking_opted_out", placebo_draws=0)
    assert not set(proposed.table["moment"]) & {"account_closed", "exit_survey", "parting_letter"}
    reasons = dict(proposed.left_out.rows())
    assert "tells of the outcome" in reasons["exit_survey"]
    assert "tells of the outcome" in reasons["parting_letter"]


def test_a_moment_offered_at_random_has_its_randomised_ratio_beside_the_association(sim: Simulation) -> None:
    people = follow_customers(sim.events, "account_closed", sim.end).customers
    arms = people.select(
        moment=pl.lit("expert_advice"), customer_id="customer_id", offered=pl.col("code") % 2 == 0,
        timestamp=(pl.col("start_us") + 5 * 86_400_000_000).cast(EVENTS["timestamp"]),
    )  # fmt: skip
    found = find_moments(sim.events, "account_closed", sim.end, ["expert_advice", "review_read"], arms=arms, placebo_draws=0)
    rows = {row["moment"]: row for row in found.table.iter_rows(named=True)}
    assert rows["expert_advice"]["basis"] == "randomised"
    assert rows["expert_advice"]["offered_ci_low"] < rows["expert_advice"]["offered_hazard_ratio"] < rows["expert_advice"]["offered_ci_high"]
    assert rows["review_read"]["basis"] == "association"
    assert rows["review_read"]["offered_hazard_ratio"] is None
    assert "randomised" in found.reading
    with pytest.raises(SchemaError, match="no candidate is called"):
        find_moments(sim.events, "account_closed", sim.end, ["review_read"], arms=arms, placebo_draws=0)


def test_a_randomised_ratio_is_that_of_the_cox_model() -> None:
    from motkit.moments import compare_offered
    from motkit.survival import cox

    rng = np.random.default_rng(2)
    offered = np.arange(400) % 2 == 0
    day = np.ceil(rng.exponential(np.where(offered, 60, 30))) + 1
    rows = [(f"c{who:03d}", 0.0, "start") for who in range(400)] + [(f"c{who:03d}", day[who] - 0.5, "closed") for who in range(400)]
    followed = follow_customers(make_events(rows), "closed", as_of=START + timedelta(days=50))
    at = pl.lit(START + timedelta(days=1)).cast(EVENTS["timestamp"])
    arms = pl.DataFrame({"moment": "call", "customer_id": [f"c{who:03d}" for who in range(400)], "offered": offered}).with_columns(timestamp=at)
    own = compare_offered(followed, arms)
    table = followed.customers.with_columns(offered=(pl.col("code") % 2 == 0).cast(pl.Int8)).filter(pl.col("exit_day") > 1)
    peer = cox(table.with_columns(entry=pl.lit(1)), "exit_day", "left", ["offered"], entry="entry", ties="breslow").table
    assert own["hazard_ratio"][0] == pytest.approx(peer["hazard_ratio"][0], rel=1e-6)
    assert own["ci_low"][0] == pytest.approx(peer["ci_low"][0], rel=1e-5)


def test_days_gained_without_strata_are_the_difference_of_restricted_means(sim: Simulation) -> None:
    from motkit.survival import compare_restricted_mean

    followed = follow_customers(sim.events, "account_closed", sim.end, lost="tracking_opted_out")
    placed = place_events(sim.events, followed)
    spells = cut_spells(placed, followed, by_activity=False)
    first = placed.filter(pl.col("event") == "newsletter_read").group_by("code").agg(pl.col("day").min()).collect().sort("code")
    who, since = (first[name].to_numpy().astype(np.int64) for name in ("code", "day"))
    gained = days_gained(followed, spells, who, since, 40, 60)
    people = followed.customers.filter(pl.col("entry_day") <= 40, pl.col("exit_day") > 40)
    peer = people.with_columns(time=pl.col("exit_day") - 40, had=pl.col("code").is_in(who[since <= 40]))
    expected = compare_restricted_mean(peer, "time", "left", 60, group="had", reference=False).row(0, named=True)
    assert gained.difference == pytest.approx(expected["difference"], abs=1e-9)
    assert gained.n_with + gained.n_without == people.height


def test_a_moment_that_too_few_had_is_not_estimable_and_says_so(sim: Simulation) -> None:
    rare = pl.concat([sim.events, sim.events.unique("customer_id").head(3).with_columns(event=pl.lit("rare"))])
    row = find_moments(rare, "account_closed", candidates=["rare", "review_read"], placebo_draws=0).table.row(by_predicate=pl.col("moment") == "rare", named=True)
    assert row["verdict"] == "not estimable"
    assert row["q_value"] is None
    assert row["importance"] is None


def loop_again(rows: list[tuple[str, float, str]], days: float) -> int:
    """Calls that come at most so many days after the call before."""
    own: dict[str, list[float]] = {}
    for who, day, event in sorted(rows):
        if event == "call":
            own.setdefault(who, []).append(day)
    return sum(later - earlier <= days for times in own.values() for earlier, later in pairwise(times))


@given(st.lists(st.tuples(st.sampled_from(["ann", "bo"]), st.integers(0, 20), st.sampled_from(["call", "visit"])), max_size=12))
@settings(max_examples=40, deadline=None)
def test_contacts_that_come_again_are_those_of_a_plain_loop(rows: Any) -> None:
    found = find_pattern(make_events(rows), Pattern(("call",), again_within_days=7)).collect()
    assert found.height == loop_again(rows, 7)


def test_patterns_find_names_channels_columns_and_whole_visits(sim: Simulation) -> None:
    log = sim.events.with_columns(wait_s=pl.col("duration_s"), intent=pl.when(pl.col("text").is_not_null()).then(pl.lit("delay")))
    count = {
        "call*": log.filter(pl.col("event").str.starts_with("call")).height,
        "long": log.filter(pl.col("event") == "support_call", pl.col("wait_s") > 600).height,
        "delay": log.filter(pl.col("intent") == "delay").height,
    }
    patterns = {"call*": Pattern(("call*",)), "long": Pattern(("support_call",), where=(("wait_s", "> 600"),)), "delay": Pattern(where=(("intent", "delay"),))}
    assert {name: find_pattern(log, pattern).collect().height for name, pattern in patterns.items()} == count
    names = {one.name for one in propose_candidates(log, least=5)}
    assert {"feedback, intent delay", "support_call, again within 7 days"} <= names
    assert any(name.startswith("support_call, wait_s > ") for name in names)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        ({"outcome": None}, DesignError, "not said what the outcome is"),
        ({"silence_days": 30}, DesignError, "both an event and silence"),
        ({"outcome": "cancelled"}, DesignError, "nobody of"),
        ({"strata": None}, DesignError, "strata='activity'"),
        ({"strata": ["activity", "plan"]}, SchemaError, "no `profiles` are given"),
        ({"fdr": 0}, SettingError, "`fdr` is 0"),
        ({"placebos": 3}, SettingError, "no option"),
        ({"candidates": []}, SettingError, "there is none"),
        ({"candidates": {"long": Pattern(where=(("wait_s", "> 3"),))}}, SchemaError, "missing \\['wait_s'\\]"),
        ({"candidates": {"all": Pattern()}}, SettingError, "the pattern is empty"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(sim: Simulation, call: Any, kind: type[MotkitError], said: str) -> None:
    with pytest.raises(kind, match=said):
        find_moments(sim.events, **({"outcome": "account_closed"} | call))


def test_an_empty_log_and_a_frame_that_is_no_log_are_refused() -> None:
    with pytest.raises(DesignError, match="no event"):
        find_moments(make_events([]), "closed")
    with pytest.raises(SchemaError, match="missing"):
        find_moments(pl.DataFrame({"event": ["a"]}), "closed")
    with pytest.raises(SchemaError, match="missing"):
        read_candidates(pl.DataFrame({"moment": ["a"]}))


def test_strata_of_profiles_take_away_what_personas_explain() -> None:
    made = simulate_customers(1500, seed=8)
    persona = made.truth.customers.select("customer_id", "persona")
    plain, fair = (
        find_moments(made.events, "account_closed", candidates={"app": Pattern(channel=("app",))}, placebo_draws=0, **more).table["hazard_ratio"][0]
        for more in ({}, {"strata": ["activity", "persona"], "profiles": persona})
    )
    assert abs(np.log(fair)) < abs(np.log(plain))


def test_kinds_of_moments_follow_readable_rules_that_can_be_extended(tmp_path: Path) -> None:
    expected = {
        "search": ("zero", "know"), "compare": ("zero", "know"), "review_read": ("zero", "know"), "home": ("first", "know"), "cart": ("first", "buy"),
        "purchase": ("first", "buy"), "delivered": ("second", "do"), "support_call": ("second", "do"), "feedback": ("third", ""), "zzz": ("", ""),
    }  # fmt: skip
    log = pl.DataFrame({"event": list(expected), "channel": ["web"] * len(expected)})
    assert add_kinds(log).select("kind", "want").collect().rows() == list(expected.values())
    assert add_kinds(log, [KindRule("z*", kind="third"), *RULES]).collect()["kind"].to_list()[-1] == "third"
    (tmp_path / "k.toml").write_text('[[rule]]\nevent = "z*"\nkind = "third"\nwant = "fly"\n[[rule]]\nplace = 3\n', encoding="utf-8")
    with pytest.raises(SettingError) as caught:
        read_kind_rules(tmp_path / "k.toml")
    assert {fault.split(":")[0] for fault in caught.value.faults} == {"line 1", "line 5"}
    (tmp_path / "k.toml").write_text("[[rule]\n", encoding="utf-8")
    with pytest.raises(SettingError, match="line 1"):
        read_kind_rules(tmp_path / "k.toml")


def test_the_log_of_a_cohort_holds_its_moments_and_none_after_the_end() -> None:
    cohort = simulate_moments(300, seed=2)
    log = cohort_events(cohort)
    days = log.group_by("customer_id").agg(last=pl.col("timestamp").max(), end=pl.col("timestamp").filter(pl.col("event").is_in(["closed", "lost"])).max())
    assert (days["last"] == days["end"]).all()
    assert log.filter(pl.col("event") == "moment_00")["customer_id"].n_unique() == int(np.isfinite(cohort.first[:, 0]).sum())


@pytest.mark.data
def test_a_shop_without_an_end_of_customers_is_asked_by_silence(real_data: Path) -> None:
    events = read_events(real_data / "ecom_retentioneering.csv.gz").events
    moments = find_moments(events, silence_days=30, placebo_draws=39)
    assert moments.customers > 400
    assert moments.table.filter(pl.col("verdict") != "not estimable").height >= 10
    assert moments.table["p_value"].drop_nulls().is_between(0, 1).all()


def test_the_command_tries_moments_and_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from motkit import moment_validation
    from motkit.__main__ import app

    small = validate_moments(1, cases=["moments, no strata"], n=400)
    monkeypatch.setattr(moment_validation, "validate_moments", lambda replicates, progress: small if replicates == 2 else None)
    done = CliRunner().invoke(app, ["validate", "--moments", "--replicates", "2", "--out", str(tmp_path / "v.md"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "moments, no strata" in done.output
    assert (tmp_path / "v.md").read_text(encoding="utf-8").startswith("# Validation of moments")


def _shop(seed: int, worse: float = 1.0) -> pl.DataFrame:
    """Purchases at chance, one in five sent back days later; whoever has sent back leaves `worse` times as often from the next purchase on."""
    chance, rows = np.random.default_rng(seed), []
    for number in range(700):
        day, sent, who = chance.uniform(0, 200), False, f"c{number:03d}"
        while day < 365:
            rows.append((who, day, "purchase"))
            if chance.random() < 0.1 * (worse if sent else 1.0):
                break
            if chance.random() < 0.2:
                rows.append((who, day + chance.uniform(1, 9), "sent_back"))
                sent = True
            day += chance.exponential(15)
    log = pl.DataFrame(rows, schema=["customer_id", "day", "event"], orient="row").filter(pl.col("day") < 365)
    at = pl.lit(START).cast(EVENTS["timestamp"]) + pl.duration(seconds=(pl.col("day") * 86_400).cast(pl.Int64))
    return log.select("customer_id", timestamp=at, event="event", channel=pl.lit("web"), value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


def _found(log: pl.DataFrame) -> list[tuple[str, str]]:
    moments = find_moments(log, silence_days=30, placebo_draws=0)
    return moments.table.filter(pl.col("verdict").is_in(["makes", "breaks"])).select("moment", "verdict").rows()


def test_what_only_follows_a_visit_does_not_go_with_the_silence_that_it_ends() -> None:
    assert sum(len(_found(_shop(seed))) for seed in range(10)) <= 1


def test_what_does_make_customers_leave_in_silence_is_still_found() -> None:
    assert [_found(_shop(seed, worse=4.0)) for seed in range(3)] == [[("sent_back", "breaks")]] * 3
