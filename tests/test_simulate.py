"""The simulator: its truth is found again by counting, its null is null, and its log is a log."""

import inspect
from datetime import UTC as UTC_ZONE
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import chdtrc, chdtri

from motkit import simulate
from motkit.errors import SettingError
from motkit.schema import EVENTS, check_table
from motkit.simulate import PERSONAS, Simulation, simulate_customers, simulate_onboarding, write_demo

DATA = Path(__file__).parent.parent / "data"
DAY_S = 86_400
N = 5000  # more than one batch


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate_customers(n=N, seed=11)


@pytest.fixture(scope="module")
def null_simulation() -> Simulation:
    return simulate_customers(n=N, seed=12, null=True)


def first_days(simulation: Simulation) -> dict[str, np.ndarray]:
    """The day of tenure of each customer's first moment of each kind, and of their first broken promise; 9999 for never."""
    customers = simulation.truth.customers.select("customer_id", "signed_up").with_row_index("i")
    day = ((pl.col("at") - pl.col("signed_up")).dt.total_seconds() / DAY_S).ceil().cast(pl.Int64)
    moments = simulation.events.filter(pl.col("event").is_in(simulation.truth.moments["moment"].implode()))
    broken = simulation.truth.promises.filter(~pl.col("kept"))
    both = pl.concat(
        [
            moments.select("customer_id", at="timestamp", name="event"),
            broken.select("customer_id", at="due_at", name=pl.lit("broken_promise")),
        ]
    )
    first = both.join(customers, on="customer_id").group_by("i", "name").agg(day.min().alias("day"))
    result = {}
    for name in [*simulation.truth.moments["moment"], "broken_promise"]:
        one = first.filter(pl.col("name") == name)
        result[name] = np.full(customers.height, 9999)
        result[name][one["i"].to_numpy()] = one["day"].to_numpy()
    return result


def person_days(simulation: Simulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customers x days: whether at risk, the hazard that persona, activity and tenure give, and whether the customer left."""
    people = simulation.truth.customers
    last = people["exit_day"].max()
    tenure = np.arange(1, last + 1)
    entry, leave = people["entry_day"].to_numpy()[:, None], people["exit_day"].to_numpy()[:, None]
    at_risk = (tenure > entry) & (tenure <= leave)
    left = at_risk & (tenure == leave) & people["churned"].to_numpy()[:, None]
    multiplier = {persona.name: persona.churn_multiplier for persona in PERSONAS}
    level = np.ones((people.height, last // 7 + 1))
    activity = simulation.truth.activity.join(people.select("customer_id").with_row_index("i"), on="customer_id")
    level[activity["i"].to_numpy(), activity["week"].to_numpy()] = np.maximum(activity["activity"].to_numpy(), 0.01)
    hazard = (0.0022 * np.exp(-tenure / 100) + 0.0004) * np.repeat(level**-0.7, 7, axis=1)[:, :last]
    return at_risk, hazard * people["persona"].replace_strict(multiplier).to_numpy()[:, None], left


def fit_effects(simulation: Simulation) -> pl.DataFrame:
    """Log hazard ratios by a Poisson fit on person-days, grouped to cells of equal covariates; Newton's method."""
    at_risk, hazard, left = person_days(simulation)
    tenure = np.arange(1, at_risk.shape[1] + 1)
    days = {"late": np.where(simulation.truth.customers["late"], 14, 9999), **first_days(simulation)}
    cell = sum((tenure > day[:, None]).astype(np.int64) << bit for bit, day in enumerate(days.values()))
    cell = cell[at_risk]
    cells = np.flatnonzero(np.bincount(cell))
    exposure = np.bincount(cell, weights=hazard[at_risk])[cells]
    events = np.bincount(cell, weights=left[at_risk])[cells]
    x = np.column_stack([np.ones(len(cells)), *[(cells >> bit) & 1 for bit in range(len(days))]])
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        mean = exposure * np.exp(x @ beta)
        information = (x * mean[:, None]).T @ x
        step = np.linalg.solve(information, x.T @ (events - mean))
        beta += step
    assert np.abs(step).max() < 1e-9
    error = np.sqrt(np.diag(np.linalg.inv(information)))
    return pl.DataFrame({"name": list(days), "estimate": beta[1:], "std_error": error[1:]})


def with_truth(simulation: Simulation, effects: pl.DataFrame) -> pl.DataFrame:
    truth = dict(simulation.truth.moments.select("moment", "log_hazard_ratio").iter_rows())
    null = (simulation.truth.moments["kind"] == "none").all()
    truth |= {"late": np.log(simulation.truth.personas["late_hazard_ratio"][0]), "broken_promise": 0.0 if null else np.log(1.5)}
    return effects.with_columns(truth=pl.col("name").replace_strict(truth, return_dtype=pl.Float64)).with_columns(
        z=(pl.col("estimate") - pl.col("truth")) / pl.col("std_error")
    )


def test_a_person_day_fit_finds_all_planted_effects(simulation):
    fit = with_truth(simulation, fit_effects(simulation))
    assert fit["z"].abs().max() < 3.5
    assert (fit["z"] ** 2).sum() < chdtri(fit.height, 0.001)
    real = fit.filter(pl.col("truth") != 0)
    assert real.height == 8
    assert ((real["estimate"] / real["std_error"]).abs() > 4).all()
    assert (real["estimate"].sign() == real["truth"].sign()).all()


def test_null_data_have_no_effects_though_personas_and_activity_differ(null_simulation):
    fit = with_truth(null_simulation, fit_effects(null_simulation))
    assert (fit["truth"] == 0).all()
    assert fit["z"].abs().max() < 3.5
    assert (fit["z"] ** 2).sum() < chdtri(fit.height, 0.001)
    assert (null_simulation.truth.personas["late_hazard_ratio"] == 1).all()
    assert null_simulation.truth.change.is_empty()


def test_ignoring_personas_and_activity_misleads_on_null_data(null_simulation):
    at_risk, hazard, left = person_days(null_simulation)
    tenure = np.arange(1, at_risk.shape[1] + 1)
    baseline = np.broadcast_to(0.0022 * np.exp(-tenure / 100) + 0.0004, hazard.shape)

    def log_ratio(day: np.ndarray, expected: np.ndarray) -> float:
        rows = [at_risk & group for group in (tenure > day[:, None], tenure <= day[:, None])]
        after, before = (left[row].sum() / expected[row].sum() for row in rows)
        return float(np.log(after / before))

    days = {name: day for name, day in first_days(null_simulation).items() if name != "broken_promise"}
    assert np.mean([log_ratio(day, baseline) for day in days.values()]) < -0.12
    assert abs(np.mean([log_ratio(day, hazard) for day in days.values()])) < 0.1
    late = np.where(null_simulation.truth.customers["late"], 14, 9999)
    assert log_ratio(late, baseline) > log_ratio(late, hazard) + 0.05


def test_ever_against_never_makes_every_moment_look_good_on_null_data(null_simulation):
    churned = null_simulation.truth.customers["churned"].to_numpy()
    for name, day in first_days(null_simulation).items():
        if name != "broken_promise":
            assert churned[day < 9999].mean() < churned[day == 9999].mean() - 0.05


def test_late_customers_leave_as_much_more_often_as_planted_by_mere_counting(simulation):
    at_risk, hazard, left = person_days(simulation)
    tenure = np.arange(1, at_risk.shape[1] + 1)
    late = simulation.truth.customers["late"].to_numpy()[:, None]
    counted = [at_risk & (tenure > 14) & group for group in (late, ~late)]
    (late_left, late_expected), (early_left, early_expected) = ((left[rows].sum(), hazard[rows].sum()) for rows in counted)
    log_ratio = np.log(late_left / late_expected) - np.log(early_left / early_expected)
    assert abs(log_ratio - np.log(2)) < 4 * np.sqrt(1 / late_left + 1 / early_left)
    before = at_risk & (tenure <= 14)
    ratios = [left[before & group].sum() / hazard[before & group].sum() for group in (late, ~late)]
    assert abs(np.log(ratios[0] / ratios[1])) < 0.6


def test_personas_leave_and_onboard_as_planted(simulation):
    at_risk, hazard, left = person_days(simulation)
    people = simulation.truth.customers
    shares = people["persona"].value_counts(normalize=True)
    for persona in PERSONAS:
        mine = people["persona"] == persona.name
        assert abs(shares.filter(pl.col("persona") == persona.name)["proportion"][0] - persona.share) < 0.03
        onboarding = people.filter(mine & (pl.col("entry_day") == 0))["onboarding_day"]
        assert abs(onboarding.null_count() / len(onboarding) - 0.12) < 0.04
        assert abs(onboarding.median() - persona.median_onboarding_days) <= 1.5
        expected = hazard[mine][at_risk[mine]].sum()
        assert 1 < left[mine].sum() / expected < 2  # lateness and broken promises come on top


def test_the_log_is_of_the_schema_ordered_and_within_its_bounds(simulation):
    events = simulation.events
    check_table(events, EVENTS, "events")
    assert events.columns[: len(EVENTS)] == list(EVENTS)
    assert events.equals(events.sort("customer_id", "timestamp", maintain_order=True))
    assert events.select(pl.col("customer_id", "timestamp", "event", "channel").null_count()).sum_horizontal()[0] == 0
    assert events["timestamp"].is_between(simulation.start, simulation.end, closed="left").all()
    seen = events.join(simulation.truth.customers.select("customer_id", "signed_up", "exit_at", "churned", "lost"), on="customer_id")
    assert seen.select((pl.col("timestamp") >= pl.col("signed_up")).all()).item()
    ends = pl.col("event").is_in(["account_closed", "tracking_opted_out"])
    assert seen.filter(~ends).select((pl.col("timestamp") < pl.col("exit_at")).all()).item()
    assert seen.filter(ends).select((pl.col("timestamp") == pl.col("exit_at")).all()).item()
    per_customer = seen.group_by("customer_id", "churned", "lost").agg(
        closed=(pl.col("event") == "account_closed").sum(), out=(pl.col("event") == "tracking_opted_out").sum()
    )
    assert per_customer.select((pl.col("closed") == pl.col("churned")).all() & (pl.col("out") == pl.col("lost")).all()).item()


def test_days_of_tenure_are_elapsed_days_rounded_up(simulation):
    people = simulation.truth.customers
    elapsed = (people["exit_at"] - people["signed_up"]).dt.total_seconds() / DAY_S
    assert (elapsed.ceil() == people["exit_day"]).all()
    onboarded = simulation.events.filter(pl.col("event") == "onboarded").join(people, on="customer_id")
    day = ((onboarded["timestamp"] - onboarded["signed_up"]).dt.total_seconds() / DAY_S).ceil()
    assert (day == onboarded["onboarding_day"]).all()
    assert (people["late"] == (people["onboarding_day"].fill_null(9999) > 14)).all()
    churned = people.filter("churned")
    assert (churned["churn_day"] == churned["exit_day"]).all()


def test_delayed_customers_are_known_from_profiles_and_unseen_before_the_log(simulation):
    people = simulation.truth.customers.join(simulation.profiles, on="customer_id")
    delayed = people.filter(pl.col("entry_day") > 0)
    assert 0.15 < delayed.height / N < 0.22
    assert (delayed["signed_up"] < simulation.start).all()
    assert (delayed["exit_day"] > delayed["entry_day"]).all()
    assert delayed["entry_day"].is_between(1, 60).all()
    signed_up = simulation.events.filter(pl.col("event") == "sign_up")
    assert set(signed_up["customer_id"]) == set(people.filter(pl.col("entry_day") == 0)["customer_id"])
    onboarded = set(simulation.events.filter(pl.col("event") == "onboarded")["customer_id"])
    known_before = people.filter(pl.col("onboarded_before_log_at").is_not_null())
    assert (known_before["onboarded_before_log_at"] < simulation.start).all()
    assert not onboarded & set(known_before["customer_id"])
    both = onboarded | set(known_before["customer_id"])
    by_exit = people.filter(pl.col("onboarding_day") < pl.col("exit_day"))
    assert set(by_exit["customer_id"]) <= both


def test_follow_up_is_at_least_90_days_but_for_loss_and_leaving(simulation):
    people = simulation.truth.customers
    stayed = people.filter(~pl.col("churned") & ~pl.col("lost"))
    assert (stayed["exit_day"] >= 90).all()
    assert (stayed["exit_at"] == simulation.end).all()
    assert (people["exit_day"] <= people["censoring_day"]).all()
    assert 0.1 < people["lost"].mean() < 0.25
    assert 0.25 < people["churned"].mean() < 0.4


def test_promises_in_the_log_are_those_of_the_truth(simulation):
    promises, events = simulation.truth.promises, simulation.events
    assert promises["promise_id"].is_unique().all()
    made = events.filter(pl.col("due_at").is_not_null())
    assert made.height == promises.height
    both = made.join(promises, on=["promise_id", "customer_id"], suffix="_true")
    assert both.select((pl.col("timestamp") == pl.col("made_at")).all() & (pl.col("due_at") == pl.col("due_at_true")).all()).item()
    done = events.filter(pl.col("event").is_in(["delivered", "refund_paid", "called_back"])).select("promise_id", done_at="timestamp")
    exits = simulation.truth.customers.select("customer_id", "exit_at")
    settled = promises.join(exits, on="customer_id").filter(pl.col("due_at") < pl.col("exit_at")).join(done, on="promise_id", how="left")
    in_time = (settled["done_at"] <= settled["due_at"]).fill_null(False)
    assert (in_time == settled["kept"]).all()


def test_promises_are_kept_at_the_planted_rate_before_and_after_the_change(simulation):
    change = simulation.truth.change.filter(pl.col("kind") == "promise").row(0, named=True)
    assert change["changed_at"] == simulation.start + timedelta(days=240)
    web = simulation.truth.promises.filter((pl.col("promise") == "delivery") & (pl.col("channel") == "web"))
    web = web.join(simulation.truth.customers.select("customer_id", "persona"), on="customer_id")
    for i, persona in enumerate(("regular", "hesitant", "enthusiast")):
        rate = (0.92, 0.82, 0.92)[i]
        for after, expected in ((False, rate), (True, rate * 0.7)):
            kept = web.filter((pl.col("persona") == persona) & ((pl.col("made_at") >= change["changed_at"]) == after))["kept"]
            assert abs(kept.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(kept))
    others = simulation.truth.promises.filter(~((pl.col("promise") == "delivery") & (pl.col("channel") == "web")))
    z = (others["kept"].sum() - others["keep_probability"].sum()) / np.sqrt((others["keep_probability"] * (1 - others["keep_probability"])).sum())
    assert abs(z) < 4


def test_only_the_named_moment_becomes_more_frequent_at_the_change(simulation):
    changed_at = simulation.truth.change["changed_at"][0]
    people = simulation.truth.customers
    entered = people["signed_up"].to_numpy(), people["exit_at"].to_numpy()
    start, at = np.datetime64(simulation.start.replace(tzinfo=None), "us"), np.datetime64(changed_at.replace(tzinfo=None), "us")
    before_s = np.clip((np.minimum(entered[1], at) - np.maximum(entered[0], start)).astype("m8[s]").astype(float), 0, None).sum()
    after_s = np.clip((entered[1] - np.maximum(entered[0], at)).astype("m8[s]").astype(float), 0, None).sum()
    for moment in simulation.truth.moments["moment"]:
        when = simulation.events.filter(pl.col("event") == moment)["timestamp"]
        before, after = (when < changed_at).sum(), (when >= changed_at).sum()
        log_ratio = np.log(after / after_s) - np.log(before / before_s)
        expected = np.log(2.5) if moment == "payment_failed" else 0
        # The more active stay longer, so that all rates rise a little with time.
        assert abs(log_ratio - expected) < 0.1 + 4 * np.sqrt(1 / before + 1 / after), moment


def test_a_page_lasts_until_the_next_one_and_the_last_has_no_duration(simulation):
    pages = simulation.events.filter(pl.col("event").is_in(["home", "search", "product", "compare", "help", "account", "cart", "checkout", "purchase"]))
    timed = pages.drop_nulls("duration_s").join(simulation.truth.customers.select("customer_id", "exit_at"), on="customer_id")
    timed = timed.with_columns(next_at=pl.col("timestamp") + pl.duration(seconds=pl.col("duration_s").cast(pl.Int64)))
    timed = timed.filter(pl.col("next_at") < pl.col("exit_at"))
    found = timed.join(pages.select("customer_id", "timestamp", "channel"), left_on=["customer_id", "next_at", "channel"], right_on=["customer_id", "timestamp", "channel"], how="semi")
    assert found.height == timed.height
    assert pages.filter(pl.col("event") == "purchase")["duration_s"].null_count() == (pages["event"] == "purchase").sum()
    assert pages.filter(pl.col("event") == "purchase")["value"].null_count() == 0
    assert 0.1 < pages["duration_s"].null_count() / pages.height < 0.4
    assert pages["duration_s"].max() <= 1500


def test_messages_are_sent_only_under_consent_and_by_day(simulation):
    sent = simulation.events.filter(pl.col("event").is_in(["email_sent", "sms_sent"]))
    given = simulation.consents.filter((pl.col("purpose") == "marketing") & pl.col("given"))
    matched = sent.join(given, on=["customer_id", "channel"])
    inside = (pl.col("timestamp") >= pl.col("valid_from")) & (pl.col("timestamp") < pl.col("valid_to").fill_null(simulation.end))
    assert matched.filter(inside).height == sent.height
    zones = {"Europe/London": 0.0, "Europe/Berlin": 1.0, "America/New_York": -5.0, "Asia/Kolkata": 5.5}
    local = sent.join(simulation.profiles.select("customer_id", "time_zone"), on="customer_id")
    offset_s = (local["time_zone"].replace_strict(zones, return_dtype=pl.Float64) * 3600).to_numpy()
    hour = (local["timestamp"].to_numpy().astype("M8[s]").astype(np.int64) + offset_s) % DAY_S / 3600
    assert hour.min() > 7.99
    assert hour.max() < 20.01


def test_replies_come_more_often_near_the_favourite_hour(simulation):
    sent = simulation.events.filter(pl.col("event") == "email_sent").join(simulation.truth.customers.select("customer_id", "favourite_hour", "persona"), on="customer_id")
    london = sent.join(simulation.profiles.filter(pl.col("time_zone") == "Europe/London").select("customer_id"), on="customer_id")
    replied = simulation.events.filter(pl.col("event") == "email_replied").select("customer_id", "timestamp", replied=pl.lit(1))
    joined = london.sort("timestamp").join_asof(
        replied.sort("timestamp"), on="timestamp", by="customer_id", strategy="forward", tolerance="8h", check_sortedness=False
    )
    hour = joined["timestamp"].dt.hour() + joined["timestamp"].dt.minute() / 60
    near = ((hour - joined["favourite_hour"] + 12) % 24 - 12).abs() <= 3
    rate = [joined.filter(flag)["replied"].fill_null(0).mean() for flag in (near, ~near)]
    assert rate[0] > 1.4 * rate[1]


def test_consents_are_histories_without_gaps_or_overlaps(simulation):
    consents = simulation.consents
    assert consents.columns == ["customer_id", "purpose", "channel", "valid_from", "valid_to", "given", "source"]
    assert set(consents["customer_id"]) == set(simulation.profiles["customer_id"])
    history = consents.sort("customer_id", "purpose", "channel", "valid_from")
    follows = history.with_columns(previous=pl.col("valid_to").shift().over("customer_id", "purpose", "channel"), nth=pl.int_range(pl.len()).over("customer_id", "purpose", "channel"))
    second = follows.filter(pl.col("nth") == 1)
    assert second.height > 0
    assert second.select((pl.col("previous") == pl.col("valid_from")).all() & (~pl.col("given")).all()).item()
    assert follows["nth"].max() == 1
    lost = simulation.truth.customers.filter("lost")["customer_id"]
    withdrawn = consents.filter((pl.col("purpose") == "analytics") & ~pl.col("given"))["customer_id"]
    assert set(lost) == set(withdrawn)


def test_profiles_have_gaps_and_do_not_name_the_persona(simulation):
    profiles = simulation.profiles
    assert profiles["customer_id"].is_unique().all()
    assert "persona" not in profiles.columns
    assert 0.10 < profiles["age_band"].null_count() / N < 0.14
    assert profiles["plan"].null_count() == 0
    table = profiles.join(simulation.truth.customers.select("customer_id", "persona"), on="customer_id").group_by("persona", "plan").len()
    counts = table.pivot(on="plan", index="persona", values="len").drop("persona").to_numpy()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    assert chdtrc(4, ((counts - expected) ** 2 / expected).sum()) < 1e-20


def test_every_text_has_a_known_intent(simulation):
    feedback = simulation.events.filter(pl.col("event") == "feedback")
    assert feedback["text"].null_count() == 0
    assert feedback.join(simulation.truth.texts, on="text").height == feedback.height
    assert simulation.events.filter(pl.col("event") != "feedback")["text"].null_count() == simulation.events.height - feedback.height


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    one, two, other = (simulate_customers(n=300, seed=seed) for seed in (5, 5, 6))
    for name in ("events", "profiles", "consents"):
        getattr(one, name).write_parquet(tmp_path / "one")
        getattr(two, name).write_parquet(tmp_path / "two")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
        assert not getattr(one, name).equals(getattr(other, name))
    for name, table in one.truth.tables().items():
        assert_frame_equal(table, two.truth.tables()[name])


@pytest.fixture(scope="module")
def usual() -> Simulation:
    return simulate_customers(n=50, seed=0)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    days=st.integers(120, 400),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    null=st.booleans(),
)
def test_small_logs_have_the_same_columns_and_types_as_large_ones(usual, n, seed, days, share, null):
    small = simulate_customers(n=n, seed=seed, days=days, delayed_entry_share=share, null=null)
    assert small.profiles.height == n == small.truth.customers.height
    for name in ("events", "profiles", "consents"):
        assert getattr(small, name).schema == getattr(usual, name).schema
    for name, table in usual.truth.tables().items():
        assert small.truth.tables()[name].schema == table.schema
    assert small.events["timestamp"].is_between(small.start, small.end, closed="left").all()


def test_batches_join_without_a_seam(simulation):
    assert N > simulate._BATCH
    assert simulation.profiles["customer_id"].to_list() == [f"c{number:06d}" for number in range(1, N + 1)]
    assert simulation.events["customer_id"].is_sorted()
    for table in (simulation.consents, simulation.truth.activity):
        assert table["customer_id"].is_sorted()
        assert table["customer_id"].n_unique() == N
    numbers = simulation.truth.promises["promise_id"].str.slice(1).cast(pl.Int64)
    assert numbers.is_sorted()
    assert numbers.is_unique().all()
    assert simulation.events.filter(pl.col("due_at").is_not_null()).height == simulation.truth.promises.height


def test_a_change_point_after_the_log_changes_nothing():
    calm = simulate_customers(n=50, days=150, change_point_day=150)
    assert calm.truth.change.is_empty()
    assert "change: none" in repr(calm)


def test_a_simulation_says_what_it_holds(simulation):
    text = repr(simulation)
    assert "5,000 customers" in text
    assert "day 14 (hazard ratio 2)" in text
    assert "6 of 14 matter" in text
    assert "2025-08-29" in text
    by_persona = simulate_customers(n=20, threshold_day=(8, 20, 14))
    assert "hesitant day 20" in repr(by_persona)
    assert ".personas: 3 rows" in repr(by_persona.truth)


def test_all_parameters_out_of_range_are_named_at_once():
    with pytest.raises(SettingError) as error:
        simulate_customers(
            n=0, seed=-1, start=datetime(2025, 1, 1), days=100, threshold_day=0, late_hazard_ratio=(1, 2), delayed_entry_share=1.5,
            broken_promise_hazard_ratio=0, change_point_day=-1,
        )  # fmt: skip
    assert len(error.value.faults) == 9
    assert "`days` = 100: needs 120 to 2000" in str(error.value)


def test_the_log_may_start_in_any_zone_and_stays_in_utc():
    utc = simulate_customers(n=20, days=200, start=datetime(2025, 1, 1, tzinfo=UTC_ZONE))
    berlin = simulate_customers(n=20, days=200, start=datetime(2025, 1, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    assert berlin.events.equals(utc.events)
    assert berlin.events.schema["timestamp"] == EVENTS["timestamp"]
    assert utc.events["timestamp"].min() >= utc.start == berlin.start
    assert berlin.end == utc.end == utc.start + timedelta(days=200)  # though Berlin's clocks change in between


def test_the_defaults_of_both_simulators_agree():
    defaults = [{name: p.default for name, p in inspect.signature(function).parameters.items()} for function in (simulate_customers, simulate_onboarding)]
    for name in ("n", "seed", "threshold_day", "late_hazard_ratio", "personas_alike"):
        assert defaults[0][name] == defaults[1][name]


def test_the_shipped_demo_data_are_what_the_simulator_makes():
    tables = simulate._demo_tables()
    assert {f"demo_{name}.parquet" for name in tables} == {path.name for path in DATA.glob("demo_*.parquet")}
    for name, table in tables.items():
        assert_frame_equal(table, pl.read_parquet(DATA / f"demo_{name}.parquet"))
    assert sum(path.stat().st_size for path in DATA.glob("demo_*.parquet")) <= 3_000_000


def test_write_demo_writes_the_demo_tables_and_replaces_old_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "DEMO_CUSTOMERS", 60)  # the strong compression of all is slow
    for _ in range(2):
        written = write_demo(tmp_path / "new")
    tables = simulate._demo_tables()
    assert [path.name for path in written] == [f"demo_{name}.parquet" for name in tables]
    for path, table in zip(written, tables.values(), strict=True):
        assert_frame_equal(pl.read_parquet(path), table)


def test_the_readme_of_the_data_counts_rightly():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for path in DATA.glob("demo_*.parquet"):
        assert f"| `{path.name}` | {pl.read_parquet(path).height:,} |" in readme
    for column in {column for path in DATA.glob("demo_*.parquet") for column in pl.read_parquet_schema(path)}:
        assert f"`{column}`" in readme, column
    people = pl.read_parquet(DATA / "demo_truth_customers.parquet")
    assert f"{people['churned'].sum()} close their account, {people['lost'].sum()} are lost" in readme
    assert f"{(people['entry_day'] > 0).sum()} signed up before the log starts" in readme
    shop = pl.read_csv(DATA / "ecom_retentioneering.csv.gz", try_parse_dates=True)
    assert (shop.height, shop["user_id"].n_unique(), shop["session_id"].n_unique()) == (31_106, 600, 3_605)
    assert shop.height - shop.unique().height == 30
    assert shop.height - shop.unique(["user_id", "timestamp"]).height == 163
    incident = pl.when(pl.col("timestamp") < datetime(2024, 5, 19)).then(0).when(pl.col("timestamp") < datetime(2024, 6, 8)).then(1).otherwise(2)
    bought = shop.filter(pl.col("event") == "purchase")["session_id"].unique()
    visits = shop.filter(pl.col("event") == "payment_details").select("session_id", period=incident).unique()
    shares = visits.group_by("period").agg(pl.col("session_id").is_in(bought.implode()).mean().alias("share")).sort("period")["share"]
    assert shares.round(2).to_list() == [0.84, 0.35, 0.85]


def test_a_log_rank_scan_of_the_demo_data_peaks_at_the_planted_day():
    people = pl.read_parquet(DATA / "demo_truth_customers.parquet").with_columns(onboarding_day=pl.col("onboarding_day").fill_null(9999))
    scan = {}
    for day in range(8, 23):
        difference = variance = 0.0
        for group in people.filter(pl.col("exit_day") > day).partition_by("persona"):
            entry, leave, left = (group[name].to_numpy() for name in ("entry_day", "exit_day", "churned"))
            late = group["onboarding_day"].to_numpy() > day
            for time in np.unique(leave[left]):
                at_risk, now = (entry < time) & (time <= leave), left & (leave == time)
                n, share, gone = at_risk.sum(), late[at_risk].mean(), now.sum()
                difference += now[late].sum() - gone * share
                variance += gone * share * (1 - share) * (n - gone) / max(n - 1, 1)
        scan[day] = difference / np.sqrt(variance)
    best = max(scan, key=lambda day: scan[day])
    assert best == 14
    assert scan[best] > 8
