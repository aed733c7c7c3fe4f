"""Logs and tables that can hardly say anything, and every question of statistics that is asked of them."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bad_inputs import attempt

import motkit
from motkit import survival
from motkit.errors import StatisticalWarning

START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=120)
DEMO = Path(motkit.__file__).parent / "demo"
KINDS = ("sign_up", "visit", "purchase", "help", "account_closed")
N = 120


def log_of(customers: int, events: int, gap_hours: float = 24.0, kinds: tuple[str, ...] = KINDS) -> pl.DataFrame:
    """A log of so many customers with so many events each."""
    rows = [(f"c{c}", START + timedelta(hours=gap_hours * k), kinds[(k + c) % len(kinds)] if k else kinds[0], "web") for c in range(customers) for k in range(events)]
    frame = pl.DataFrame(rows, schema={"customer_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "event": pl.String, "channel": pl.String}, orient="row")
    return frame.with_columns(value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


LOGS = {
    "no events": log_of(0, 0),
    "one event": log_of(1, 1),
    "one customer": log_of(1, 40),
    "two customers": log_of(2, 5),
    "all at one instant": log_of(50, 5, 0.0),
    "one event a customer": log_of(N, 1),
    "nobody leaves": log_of(N, 6, 30.0, ("sign_up", "visit", "purchase")),
    "everybody does the same": log_of(N, 8, 24.0, ("sign_up",)),
}


def table_of(**columns: Any) -> pl.DataFrame:
    """A row a customer, some columns of which are as given."""
    chance, odd = np.random.default_rng(3), [k % 2 for k in range(N)]
    made = {
        "customer_id": [f"c{k}" for k in range(N)], "entry_day": [0] * N, "exit_day": chance.integers(5, 90, N), "event_kind": chance.integers(0, 2, N),
        "onboarded_day": [None if k % 3 == 0 else 5 for k in range(N)], "started": [AS_OF - timedelta(days=int(day)) for day in chance.integers(0, 100, N)],
        "arm": ["a" if one else "b" for one in odd], "treated": odd, "bought": chance.integers(0, 2, N), "cap": [k % 4 for k in range(N)],
        "age": 20 + 50 * chance.random(N), "score": chance.random(N), "plan": ["gold" if k % 4 else "free" for k in range(N)],
        "persona": ["P1" if k % 3 else "P2" for k in range(N)], "household": [f"h{k // 4}{k % 2}" for k in range(N)],
        "target": [float(one) for one in odd], "reward": chance.random(N), "propensity": [0.5] * N,
    }  # fmt: skip
    whole = {"entry_day": pl.Int32, "exit_day": pl.Int32, "onboarded_day": pl.Int32, "event_kind": pl.Int8}
    return pl.DataFrame(made | columns).with_columns(pl.col(name).cast(kind) for name, kind in whole.items())


ODD = [k % 2 for k in range(N)]
TABLES = {
    "no rows": table_of().head(0),
    "one row": table_of().head(1),
    "two rows": table_of().head(2),
    "all censored": table_of(event_kind=[0] * N),
    "all at one instant": table_of(exit_day=[7] * N, event_kind=[1] * N, onboarded_day=[7] * N),
    "nobody onboards": table_of(onboarded_day=[None] * N),
    "everybody onboards at once": table_of(onboarded_day=[0] * N),
    "perfect separation": table_of(event_kind=ODD, bought=ODD, age=ODD, score=ODD, reward=ODD, persona=[f"P{one}" for one in ODD]),
    "each its own segment": table_of(plan=[f"p{k}" for k in range(N)], persona=[f"P{k}" for k in range(N)]),
    "nobody buys": table_of(bought=[0] * N, reward=[0.0] * N),
    "one arm": table_of(arm=["a"] * N, treated=[1] * N, cap=[1] * N),
    "all alike": table_of(age=[1.0] * N, score=[0.5] * N, plan=["x"] * N, persona=["P1"] * N),
    "nothing known": table_of(**{name: pl.Series([None] * N, dtype=kind) for name, kind in {"age": pl.Float64, "score": pl.Float64, "plan": pl.String, "persona": pl.String}.items()}),
    "no numbers": table_of(age=[float("nan")] * N, score=[float("nan")] * N, reward=[float("nan")] * N),
}


def _started(log: pl.DataFrame) -> motkit.OnboardingTable:
    return motkit.onboarding_table(log.lazy(), start="sign_up", milestone="purchase", churn="account_closed", as_of=AS_OF)


def _people(log: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    return log.select("customer_id").unique(maintain_order=True).with_columns(**columns)


def _engagement(log: pl.DataFrame) -> motkit.EngagementModel:
    return motkit.fit_engagement(log.lazy(), "purchase", 30.0, as_of=AS_OF)


TRIGGERS = [{"name": "helps", "type": "count", "of": "help", "n": 2, "within": "30d", "emits": {"need": "resolve", "ttl": "3d"}}]
STEPS = ["sign_up", "purchase"]
PROMISE = motkit.reaction_promise("help", "visit", 24.0)
HALVES = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b"))
OF_LOGS: dict[str, Callable[[pl.DataFrame], object]] = {
    "sessions": lambda log: motkit.session_table(motkit.split_sessions(log.lazy())),
    "weekly sessions": lambda log: motkit.weekly_sessions(motkit.session_table(motkit.split_sessions(log.lazy()))),
    "visit clock": lambda log: motkit.visit_clock(motkit.session_table(motkit.split_sessions(log.lazy()))),
    "kinds": lambda log: motkit.add_kinds(log.lazy()),
    "bundles": lambda log: motkit.bundle_rare(log.lazy()),
    "conversations": lambda log: motkit.conversation_table(log.lazy().with_columns(conversation_id="customer_id")),
    "identities": lambda log: motkit.stitch_identities(log.lazy(), ["customer_id"]),
    "transitions": lambda log: motkit.transitions(log.lazy()),
    "step matrix": lambda log: motkit.step_matrix(log.lazy()),
    "funnel": lambda log: motkit.funnel(log.lazy(), STEPS),
    "time to convert": lambda log: motkit.time_to_convert(log.lazy(), STEPS, as_of=AS_OF),
    "cohorts": lambda log: motkit.cohort_retention(log.lazy()),
    "lifecycle": lambda log: motkit.lifecycle_states(log.lazy()),
    "flows": lambda log: motkit.step_flows(log.lazy()),
    "matches": lambda log: motkit.match_paths(log.lazy(), "sign_up -> ... -> purchase"),
    "patterns": lambda log: motkit.pattern_shares(log.lazy(), ["sign_up -> ... -> purchase"]),
    "lifts": lambda log: motkit.step_lifts(log.lazy()),
    "influence": lambda log: motkit.step_influence(log.lazy(), "purchase", shuffles=50),
    "paths of two groups": lambda log: motkit.compare_paths(log.lazy(), _people(log, group=HALVES)),
    "journey": lambda log: motkit.map_journey(log.lazy(), motkit.read_journey(DEMO / "journey.toml"), as_of=AS_OF),
    "signals": lambda log: motkit.engagement_signals(log.lazy(), as_of=AS_OF),
    "score": lambda log: motkit.score_engagement(log.lazy(), as_of=AS_OF),
    "engagement model": _engagement,
    "engagement hazard": lambda log: motkit.fit_engagement_hazard(_engagement(log), log.lazy(), as_of=AS_OF),
    "advocates": lambda log: motkit.find_advocates(log.lazy(), {"helps": "help"}, as_of=AS_OF),
    "whole visit": lambda log: motkit.last_page_versus_whole(motkit.split_sessions(log.lazy())),
    "followed": lambda log: motkit.follow_customers(log.lazy(), "account_closed", as_of=AS_OF),
    "followed by silence": lambda log: motkit.follow_customers(log.lazy(), silence_days=20.0, as_of=AS_OF),
    "onboarding": lambda log: _started(log).table,
    "onboarding curve": lambda log: motkit.onboarding_curve(_started(log)),
    "loyalty curve": lambda log: motkit.loyalty_curve(_started(log)),
    "follow-up": lambda log: motkit.follow_up(_started(log)),
    "threshold of a log": lambda log: motkit.find_threshold(_started(log), strata=(), draws=1000),
    "candidates": lambda log: motkit.propose_candidates(log.lazy()),
    "moments": lambda log: motkit.find_moments(log.lazy(), outcome="account_closed", as_of=AS_OF),
    "moments under silence": lambda log: motkit.find_moments(log.lazy(), silence_days=20.0, as_of=AS_OF),
    "waits for moments": lambda log: motkit.moment_waits(log.lazy(), "purchase", as_of=AS_OF, start="sign_up"),
    "promises": lambda log: motkit.check_promises(log.lazy(), PROMISE, as_of=AS_OF),
    "waiting times": lambda log: motkit.waiting_times(motkit.promise_cases(log.lazy(), PROMISE, as_of=AS_OF)),
    "cost of breaking": lambda log: motkit.cost_of_breaking(log.lazy(), PROMISE, "account_closed", as_of=AS_OF),
    "complaints": lambda log: motkit.measure_complaints(log.lazy(), "help", as_of=AS_OF),
    "customer table": lambda log: motkit.customer_table(log.lazy(), as_of=AS_OF).table,
    "personas of a log": lambda log: motkit.build_personas(motkit.customer_table(log.lazy(), as_of=AS_OF), resamples=2, starts=1).cards,
    "habits": lambda log: motkit.persona_habits(log.lazy(), _people(log, persona=pl.lit("P1"))),
    "signs of personas": lambda log: motkit.persona_signifiers(log.lazy(), _people(log, persona=pl.lit("P1"))),
    "triggers": lambda log: motkit.detect_triggers(log.lazy(), TRIGGERS),
}  # fmt: skip
OF_TABLES: dict[str, Callable[[pl.DataFrame], object]] = {
    "survival": lambda table: survival.kaplan_meier(table, "exit_day", "event_kind", by="plan"),
    "quantiles": lambda table: survival.survival_quantiles(survival.kaplan_meier(table, "exit_day", "event_kind")),
    "incidence": lambda table: survival.cumulative_incidence(table, "exit_day", "event_kind"),
    "restricted mean": lambda table: survival.restricted_mean(table, "exit_day", "event_kind", 30.0),
    "two means": lambda table: survival.compare_restricted_mean(table, "exit_day", "event_kind", 30.0, "arm", "a"),
    "two risks": lambda table: survival.risk_difference(table, "exit_day", "event_kind", "arm", "a", 30.0),
    "log-rank": lambda table: survival.logrank(table, "exit_day", "event_kind", "arm"),
    "hazard ratio": lambda table: survival.cox(table, "exit_day", "event_kind", ["age", "treated"]).table,
    "hazard ratio in strata": lambda table: survival.cox(table, "exit_day", "event_kind", ["age"], strata=["plan"]).table,
    "threshold": lambda table: motkit.find_threshold(table, strata=(), draws=1000),
    "threshold in strata": lambda table: motkit.find_threshold(table, strata="plan", draws=1000),
    "threshold by persona": lambda table: motkit.find_threshold(table, strata=(), by="persona", draws=1000),
    "thresholds by quarter": lambda table: motkit.watch_thresholds(table, strata=(), draws=1000),
    "satisfaction": lambda table: motkit.satisfaction_by_onboarding(table, "score"),
    "arms": lambda table: motkit.compare_arms(table, arm="arm", outcome="bought", control="a"),
    "means of arms": lambda table: motkit.compare_arms(table, arm="arm", outcome="reward", control="a", kind="mean"),
    "means with a covariate": lambda table: motkit.compare_arms(table, arm="arm", outcome="reward", control="a", kind="mean", covariate="age"),
    "arms by cluster": lambda table: motkit.compare_arms(table, arm="arm", outcome="bought", control="a", cluster="household"),
    "times of arms": lambda table: motkit.compare_arms(table, arm="arm", outcome=("exit_day", "event_kind"), control="a", kind="time", horizon_days=30.0),
    "uplift": lambda table: motkit.uplift(table, "treated", "bought", ["age", "plan"]),
    "uplift of two models": lambda table: motkit.uplift(table, "treated", "bought", ["age"], method="two-model"),
    "qini": lambda table: motkit.qini(table, outcome="bought"),
    "frequency": lambda table: motkit.frequency_response(table, "cap", ["bought"], {"bought": 1.0}),
    "another rule": lambda table: motkit.off_policy_value(table),
    "late columns": lambda table: motkit.find_late_columns(table, "bought", ["age", "score", "plan"]),
    "rates of personas": lambda table: motkit.persona_rates(table.select("customer_id", "persona"), table.select("customer_id", "bought"), "bought"),
    "audit": lambda table: motkit.audit_personas(table.select("customer_id", "persona"), table.select("customer_id", "plan", "age")),
    "look-alikes": lambda table: motkit.anonymity(table, ["plan", "persona"]),
    "hidden cells": lambda table: motkit.hide_small_cells(table.group_by("plan", "persona").len("customers"), "plan", "persona", 11),
    "a population then": lambda table: motkit.population_stability(table.select("age", "plan"), table_of().select("age", "plan")),
    "a population now": lambda table: motkit.population_stability(table_of().select("age", "plan"), table.select("age", "plan")),
    "personas": lambda table: motkit.build_personas(table.select("customer_id", "age", "score", "plan"), resamples=2, starts=1),
    "two personas": lambda table: motkit.build_personas(table.select("customer_id", "age", "plan"), 2, resamples=2, starts=1),
    "repeat buying": lambda table: motkit.fit_bgnbd(table["cap"], table["exit_day"].cast(pl.Float64) * (table["cap"] > 0) / 2, table["exit_day"].cast(pl.Float64)),
    "recency, frequency, money": lambda table: motkit.rfm(table.select("customer_id", last_days="exit_day", n_days="cap", total_value="reward")),
}

SHARES = {"share", "p_value", "q_value", "p_adjusted", "retention", "survival", "incidence", "reach", "drop_off", "area", "auc"}
ROUND = ("half_", "median_", "engaged_", "against_")  # a median's limits are values that were seen, maybe itself; a rule against itself is 0
OF_VALUES = {"quantile", "hours", "confidence_set"}  # columns of tables whose limits are such values, too


CURVES = ("survival", "incidence")  # while nobody has left, a curve is 1 or 0 by its definition


def tables_in(result: object) -> list[pl.DataFrame]:
    """The tables of an answer."""
    if isinstance(result, pl.LazyFrame):
        return [result.collect()]
    if isinstance(result, pl.DataFrame):
        return [result]
    inside = result if isinstance(result, tuple) else vars(result).values() if hasattr(result, "__dict__") else ()
    return [one for one in inside if isinstance(one, pl.DataFrame)]


def _limits(table: pl.DataFrame) -> list[str]:
    """Intervals that are turned round, or so narrow that they claim to know."""
    faults = []
    for low in (name for name in table.columns if name.endswith("ci_low") and name.replace("low", "high") in table.columns):
        high, known = low.replace("low", "high"), table.filter(pl.col("time") > 0) if "time" in table.columns else table
        faults += [f"`{low}` lies above `{high}`"] if known.filter(pl.col(low) > pl.col(high)).height else []
        if not low.startswith(ROUND) and not OF_VALUES & set(table.columns):
            exact = known.filter(pl.col(low) == pl.col(high), *(pl.col(name).is_between(0, 1, closed="none") for name in CURVES if name in table.columns))
            faults += [f"`{low}` and `{high}` are one number: {exact.row(0)}"] if exact.height else []
    return faults


def nonsense_of(table: pl.DataFrame, tiny: bool) -> list[str]:
    """What no table may say: numbers that are none, shares beyond 0 to 1, intervals without width, a finding from one or two customers."""
    faults = _limits(table)
    for name in (name for name, kind in table.schema.items() if kind.is_float()):
        column = table[name]
        faults += [f"`{name}` is no number in {column.is_nan().sum()} rows"] if column.is_nan().any() else []
        faults += [f"`{name}` has no end"] if column.is_infinite().any() and "ci_" not in name and name != "least" else []
        faults += [f"`{name}` lies beyond 0 and 1"] if name in SHARES and not column.drop_nulls().drop_nans().is_between(-1e-12, 1 + 1e-12).all() else []
        faults += [f"`{name}` is found from one or two customers"] if tiny and name in ("p_value", "q_value", "p_adjusted") and (column < 0.05).any() else []
    return faults


@dataclass
class Asked:
    """What became of questions."""

    answered: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def answer(question: Callable[[pl.DataFrame], object], given: pl.DataFrame) -> list[pl.DataFrame]:
    """The tables of the answer to one question."""
    return tables_in(question(given))


def ask(question: Callable[[pl.DataFrame], object], given: Mapping[str, pl.DataFrame]) -> Asked:
    """Ask one question of every log or table; only named warnings and named refusals are allowed."""
    seen = Asked()
    for kind, one in given.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", StatisticalWarning)
            came = attempt(partial(answer, question, one))
        seen.answered += not came.refused and not came.wrong
        seen.refused += bool(came.refused)
        tiny = kind.startswith(("one row", "two rows", "one event", "one customer", "two customers")) and kind != "one event a customer"
        faults = [came.wrong] if came.wrong else [fault for table in came.answer or () for fault in nonsense_of(table, tiny)]
        seen.wrong += [f"{kind}: {fault}" for fault in faults]
    return seen


def ask_all() -> Asked:
    """Every question of every log and table."""
    seen = Asked()
    for questions, given in ((OF_LOGS, LOGS), (OF_TABLES, TABLES)):
        for name, question in questions.items():
            asked = ask(question, given)
            seen.answered, seen.refused = seen.answered + asked.answered, seen.refused + asked.refused
            seen.wrong += [f"{name}, {fault}" for fault in asked.wrong]
    return seen
