"""Arguments that nobody should give: every public function is asked with good ones, of which one at a time is something else."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
from bad_inputs import attempt

import motkit

AT = datetime(2025, 12, 1, tzinfo=UTC)
DEMO = Path(motkit.__file__).parent / "demo"
POLICY = '[[actions]]\nid = "text"\nchannel = "sms"\nvalue = 60\n[[rules]]\nid = "cap"\ntype = "count"\nmax = 2\nwindow = "7d"\nof = { kind = "contact" }\n'
ALSO: dict[str, dict[str, Any]] = {
    "find_threshold": {"strata": ()},
    "watch_thresholds": {"strata": ()},
    "onboarding_table": {"churn": "account_closed"},
    "plan_sample": {"difference": 0.05},
    "find_moments": {"as_of": AT},
    "replay_arrivals": {"per_customer": 1},
}  # what a call needs beside what its signature asks for

JUNK: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a pandas frame": lambda: pd.DataFrame({"customer_id": ["a"], "timestamp": [AT]}),
    "a list": lambda: [1, "a", None],
    "an empty list": lambda: [],
    "a dictionary": lambda: {"a": [1]},
    "a word": lambda: "no such thing",
    "an empty word": lambda: "",
    "a number": lambda: -1.5,
    "no number": lambda: float("nan"),
    "a series": lambda: pl.Series("a", [1]),
    "an empty frame": pl.DataFrame,
    "an empty lazy frame": pl.LazyFrame,
    "a frame of other columns": lambda: pl.DataFrame({"x": [1, 2], "y": ["a", None]}),
    "an object": object,
}  # fmt: skip


@cache
def made() -> motkit.Simulation:
    """A small log with profiles."""
    return motkit.simulate_customers(n=150, seed=5)


@cache
def table() -> pl.DataFrame:
    """A row a customer, with two arms and an outcome."""
    n = 60
    return pl.DataFrame(
        {
            "customer_id": [f"c{k}" for k in range(n)],
            "entry_day": pl.Series([0] * n, dtype=pl.Int32),
            "exit_day": pl.Series([5 + (k * 7) % 80 for k in range(n)], dtype=pl.Int32),
            "event_kind": pl.Series([k % 2 for k in range(n)], dtype=pl.Int8),
            "onboarded_day": pl.Series([None if k % 5 == 0 else min(3 + k % 9, 5 + (k * 7) % 80) for k in range(n)], dtype=pl.Int32),
            "started": [AT - timedelta(days=5 * k) for k in range(n)],
            "arm": ["a" if k % 2 else "b" for k in range(n)],
            "treated": [k % 2 for k in range(n)],
            "bought": [int(k % 3 == 0) for k in range(n)],
            "cap": [k % 4 for k in range(n)],
            "age": [20.0 + k for k in range(n)],
            "score": [k / n for k in range(n)],
            "plan": ["gold" if k % 4 else "free" for k in range(n)],
            "persona": ["P1" if k % 3 else "P2" for k in range(n)],
            "target": [float(k % 2) for k in range(n)],
            "reward": [float(k % 5) for k in range(n)],
            "propensity": [0.5] * n,
            "possible": [["text"]] * n,
            "action_id": ["text"] * n,
        }
    )


@cache
def personas() -> motkit.Personas:
    """Two groups, quickly found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return motkit.build_personas(table().select("customer_id", "age", "plan"), 2, resamples=2, starts=1)


@cache
def moments() -> motkit.Moments:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return motkit.find_moments(made().events, "account_closed")


def candidates() -> pl.DataFrame:
    return pl.DataFrame({"customer_id": ["ann", "bob"], "action_id": ["text", "text"], "channel": ["sms", "sms"], "score": [1.0, 2.0]})


def contacts() -> pl.DataFrame:
    return pl.DataFrame({"customer_id": ["ann"], "timestamp": [AT - timedelta(days=1)], "action_id": ["text"], "channel": ["sms"], "event": ["sent"], "kind": ["contact"], "responded": [True]})


def promise() -> motkit.Promise:
    return motkit.read_promises(DEMO / "promises.toml").promises[0]


@cache
def answer() -> pl.DataFrame:
    return motkit.apply_policy(candidates(), contacts(), motkit.parse_policy(POLICY), AT)


@cache
def linked() -> pl.DataFrame:
    return pl.DataFrame({"customer_id": list("abcd"), "first_name": ["Ann", "Ann", "Bob", "Cid"], "town": ["x", "x", "y", "z"], "valid_from": [AT] * 4, "provenance": [""] * 4})


@cache
def memory() -> Any:
    from motkit.persona_drift import remember

    return remember(personas())


@cache
def people() -> motkit.Identities:
    return motkit.stitch_identities(made().events, ["customer_id"])


@cache
def cases() -> pl.DataFrame:
    return motkit.promise_cases(made().events, promise())


@cache
def links() -> pl.DataFrame:
    return motkit.probable_links(linked())


@cache
def fired() -> pl.DataFrame:
    return motkit.detect_triggers(made().events, DEMO / "triggers.toml")


@cache
def model() -> motkit.EngagementModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return motkit.fit_engagement(made().events, "purchase", 28, AT)


GOOD: dict[str, Callable[[], Any]] = {
    "events": lambda: made().events,
    "table": table,
    "customers": lambda: table().select("customer_id", "age", "plan"),
    "outcome": lambda: "bought",
    "as_of": lambda: AT,
    "at": lambda: AT,
    "moment": lambda: AT,
    "until": lambda: AT,
    "start": lambda: AT - timedelta(days=30),
    "end": lambda: AT,
    "policy": lambda: motkit.parse_policy(POLICY),
    "offers": lambda: motkit.read_offers(DEMO / "offers.toml"),
    "assignments": lambda: table().select("customer_id", "persona"),
    "protected": lambda: table().select("customer_id", "plan"),
    "groups": lambda: made().events.select("customer_id").unique().with_columns(group=pl.when(pl.col("customer_id").hash() % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b"))),
    "outcomes": lambda: table().select("customer_id", "bought"),
    "candidates": candidates,
    "history": contacts,
    "sends": contacts,
    "personas": personas,
    "memory": memory,
    "moments": moments,
    "identities": people,
    "profiles": linked,
    "links": links,
    "key": lambda: "customer_id",
    "keys": lambda: ["customer_id"],
    "triggers": lambda: DEMO / "triggers.toml",
    "promises": lambda: motkit.read_promises(DEMO / "promises.toml"),
    "promise": promise,
    "journey": lambda: motkit.read_journey(DEMO / "journey.toml"),
    "register": lambda: motkit.read_moments(DEMO / "moments.toml"),
    "pattern": lambda: motkit.Pattern("visit"),
    "patterns": lambda: {"one": "visit"},
    "answer": answer,
    "fired": fired,
    "sessions": lambda: motkit.session_table(motkit.split_sessions(made().events.lazy())),
    "numbered": lambda: motkit.split_sessions(made().events.lazy()),
    "cases": cases,
    "log": table,
    "journal": lambda: motkit.Ledger("sqlite:///ledger.db"),
    "ledger": lambda: motkit.Ledger("sqlite:///ledger.db"),
    "study_or_ledger": lambda: motkit.Ledger("sqlite:///ledger.db"),
    "programme": lambda: motkit.Programme("pilot"),
    "settings": motkit.Settings,
    "schema": lambda: motkit.EVENTS,
    "model": model,
    "before": table,
    "now": table,
    "found": lambda: motkit.read_intents(["where is my parcel", "thanks"]),
    "frequency": lambda: [1, 2, 0, 3],
    "recency": lambda: [2.0, 3.0, 0.0, 4.0],
    "age": lambda: [5.0, 6.0, 7.0, 8.0],
    "dealt": lambda: motkit.holdout(table().select("customer_id"), {"all": 0.1}, "x"),
    "merged": lambda: pl.DataFrame({"from_id": ["c1"], "to_id": ["c2"]}),
    "limits": lambda: {"text": 1.0},
    "texts": lambda: ["where is my parcel"],
    "columns": lambda: ["age"],
    "features": lambda: ["age", "score"],
    "steps": lambda: ["sign_up", "purchase"],
    "looks": lambda: 3,
    "margin": lambda: 0.05,
    "shares": lambda: {"a": 0.5, "b": 0.5},
    "horizon_days": lambda: 28.0,
    "within_hours": lambda: 24.0,
    "acts": lambda: {"mention": "brand_mention"},
    "attributes": lambda: ["plan"],
    "labels": lambda: ["delivery", "thanks"],
    "values": lambda: [1, 2],
    "levels": lambda: ["all"],
    "pings": lambda: ["ping"],
    "min_cell": lambda: 5,
    "changes": lambda: {"sessions.gap_minutes": 20},
    "customer_ids": lambda: ["c1"],
}  # fmt: skip
NUMBERS = {"successes": 3, "n": 10, "control_successes": 2, "control_n": 10, "estimate": 0.1, "std_error": 0.05, "tau": 0.1, "ci_low": -0.01, "ci_high": 0.01}
WORDS = {"arm": "arm", "treated": "treated", "row": "arm", "column": "plan", "cap": "cap", "satisfaction": "score", "rule": "cap", "goal": "purchase", "name": "segment", "salt": "x", "customer_id": "ann"}
WORDS |= {"complaint": "complaint", "answered": "answered", "resolved": "resolved", "response": "reply", "milestone": "purchase", "path": "a.toml", "source": "a.csv", "out": "made", "study": "made", "control": "b"}
OWN: dict[tuple[str, str], Any] = {
    ("parse_policy", "text"): POLICY,
    ("parse_offers", "text"): (DEMO / "offers.toml").read_text(encoding="utf-8"),
    ("check_table", "table"): lambda: made().events,
    ("check_table", "name"): "events",
    ("deal_arms", "shares"): {"a": 0.5, "b": 0.5},
    ("holdout", "shares"): {"all": 0.1},
    ("plan_sample", "control"): 0.2,
    ("reaction_promise", "moment"): "complaint",
    ("onboarding_table", "start"): "sign_up",
    ("frequency_response", "outcomes"): lambda: ["bought"],
    ("judge_rule", "rule"): lambda: lambda row: "text",
    ("fit_engagement", "outcome"): "purchase",
    ("find_moments", "outcome"): "account_closed",
    ("follow_customers", "outcome"): "account_closed",
    ("cost_of_breaking", "outcome"): "account_closed",
    ("compare_resolution", "outcome"): "account_closed",
    ("hide_small_cells", "table"): lambda: table().group_by("arm", "plan").len("customers"),
    ("conversation_table", "events"): lambda: made().events.with_columns(conversation_id=pl.lit("k1")),
    ("fold_lifecycle", "events"): lambda: made().events.with_columns(lifecycle=pl.lit("complete")),
    ("last_login", "events"): lambda: made().events.with_columns(domain_userid=pl.lit("d"), user_id=pl.col("customer_id")),
    ("last_page_versus_whole", "events"): lambda: motkit.split_sessions(made().events.with_columns(topic=pl.lit("shoes"), engaged_s=pl.lit(3.0)).lazy()),
    ("session_table", "events"): lambda: motkit.split_sessions(made().events.lazy()),
    ("match_paths", "pattern"): "sign_up -> purchase",
    ("write_ocel", "log"): lambda: made().events,
    ("qini", "table"): lambda: table().with_columns(outcome=pl.col("bought")),
    ("population_stability", "before"): lambda: table().select("age", "plan"),
    ("population_stability", "now"): lambda: table().select("age", "plan"),
    ("measure_complaints", "complaint"): "support_call",
    ("merge_holdouts", "merged"): lambda: pl.DataFrame({"customer_id": ["c1"], "merged_into": ["c2"]}),
    ("refine_personas", "customers"): lambda: table().select("customer_id", "age", "plan").lazy(),
    ("rfm", "table"): lambda: table().select("customer_id", last_days="age", n_days="cap", total_value="score"),
    ("simulate_story", "name"): "tyres",
    ("pattern_shares", "patterns"): lambda: {"one": "sign_up"},
    ("explore_moments", "moments"): lambda: None,
    ("uplift", "table"): lambda: pl.concat([table()] * 8),
    ("write_store", "path"): "stored",
    ("weekly_sessions", "sessions"): lambda: motkit.session_table(motkit.split_sessions(made().events.lazy())),
}
SLOW = {"simulate_customers", "simulate_story"}  # numbers alone, and every call makes a log


def functions() -> dict[str, Callable[..., Any]]:
    """Every public function by name."""
    return {name: one for name in motkit.__all__ if callable(one := getattr(motkit, name)) and not inspect.isclass(one)}


def good(function: str, parameter: inspect.Parameter) -> Any:
    """What a parameter should be given."""
    name = parameter.name
    given = OWN.get((function, name), GOOD.get(name, NUMBERS.get(name, WORDS.get(name))))
    return given() if callable(given) else given


@dataclass
class Swept:
    """What became of the calls."""

    tried: int = 0
    refused: int = 0
    answered: int = 0
    wrong: list[tuple[str, str, str, str]] = field(default_factory=list)  # function, parameter, what was given, what came


def parameters_of(function: Callable[..., Any], optional: bool) -> list[inspect.Parameter]:
    """Those that must be given; the others too if asked."""
    named = [one for one in inspect.signature(function).parameters.values() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    return [one for one in named if optional or one.default is one.empty]


def calls(name: str, function: Callable[..., Any], optional: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every call of one function: its parameter, what is given, and the arguments."""
    needed = parameters_of(function, optional=False)
    for parameter in parameters_of(function, optional):
        for what, make in JUNK.items():
            if not (what == "None" and parameter.default is None):
                yield parameter.name, what, {one.name: good(name, one) for one in needed} | ALSO.get(name, {}) | {parameter.name: make()}


def ask(swept: Swept, name: str, function: Callable[..., Any], call: tuple[str, str, Mapping[str, Any]]) -> None:
    """One call; motkit's own clear errors and answers are right, anything else is noted."""
    parameter, what, arguments = call

    def do() -> None:
        result = function(**arguments)
        if isinstance(result, pl.LazyFrame):
            result.collect()

    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        came = attempt(do, 20)
    swept.tried += 1
    swept.answered += not came.refused and not came.wrong
    swept.refused += bool(came.refused)
    swept.wrong += [(name, parameter, what, came.wrong)] if came.wrong else []


def sweep(folder: Path, names: Mapping[str, Callable[..., Any]], optional: bool = False) -> Swept:
    """Ask each function with one argument at a time put wrong."""
    swept = Swept()
    with chdir(folder):
        for name, function in names.items():
            for call in calls(name, function, optional):
                ask(swept, name, function, call)
    return swept
