"""A log with a robot, and the jobs that are asked of it on every engine."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl

import motkit
from motkit.candidates import Candidate, Pattern
from motkit.customer_jobs import onboarding_job, promise_job, scores_job, signals_job, triggers_job
from motkit.followed import Followed, follow_customers
from motkit.jobs import Job
from motkit.moment_jobs import candidates_job, followed_job, kinds_job, moment_times_job
from motkit.moment_times import FirstTimes
from motkit.onboarding import OnboardingTable
from motkit.promise_register import Promise
from motkit.scale_jobs import cohorts_job, funnel_job, sessions_job, step_matrix_job, transitions_job
from motkit.schema import EVENTS

STEPS = ("product", "cart", "checkout", "purchase")
ROBOT = "robot 7"
END = datetime(2027, 6, 1)
FIRST, AS_OF = datetime(2025, 1, 1, 12, 19, 41), datetime(2025, 11, 30)
PROMISE = Promise("delivery", ("delivery_promised",), ("delivered",), within_days=4, ended_by=("account_closed",))
BASKET = {"name": "basket", "type": "absent", "on": "cart", "unless": "purchase", "within": "2h", "refractory": "3d"}
CALLS = {"name": "calls", "type": "count", "of": "support_call", "n": 2, "within": "7d", "same": ["channel"]}
def log_with_robot() -> pl.DataFrame:
    """Simulated customers, and one robot with a tenth of all events; some events tie."""
    made = motkit.simulate_customers(n=80, seed=3).events.select(*EVENTS)
    n = made.height // 9
    times = [made["timestamp"].min() + timedelta(seconds=7 * (k // 2)) for k in range(n)]
    names = made["event"].unique().sort().to_list()
    robot = {"customer_id": ROBOT, "timestamp": times, "event": [names[k * k % len(names)] for k in range(n)], "channel": "web", "value": None, "duration_s": None}
    return pl.concat([made, pl.DataFrame(robot, schema=EVENTS)])



LOG = log_with_robot()
STARTS = LOG.head(40).select("customer_id", "timestamp").vstack(LOG.head(1).select(pl.lit("nobody").alias("customer_id"), "timestamp"))
WATCHED = follow_customers(LOG, "account_closed", AS_OF)
PATTERNS = (Pattern(("support_call",), again_within_days=7), Pattern(visit_has=("product", "cart")), Pattern(channel=("app",)))
CANDIDATES = [Candidate("cart", "given"), *(Candidate(str(one), "given", one) for one in PATTERNS), Candidate("first", "given", None, STARTS)]
JOBS: dict[str, Job] = {
    "sessions": sessions_job(),
    "transitions": transitions_job(),
    "transitions in visits": transitions_job("session"),
    "step matrix": step_matrix_job(7),
    "step matrix in visits": step_matrix_job(5, "session"),
    "funnel": funnel_job(STEPS, 14),
    "funnel in any order": funnel_job(STEPS[:2], ordered=False),
    "cohorts by month": cohorts_job(END),
    "cohorts by week": cohorts_job(END, "1w"),
    "signals": signals_job(AS_OF),
    "scores": scores_job(AS_OF, 7.0),
    "onboarding": onboarding_job("sign_up", "onboarded", "account_closed", as_of=AS_OF, log_from=FIRST, by="channel", lost="tracking_opted_out"),
    "onboarding by silence": onboarding_job(None, None, None, 20.0, as_of=AS_OF, log_from=FIRST),
    "promise": promise_job(PROMISE, AS_OF, ["channel"]),
    "triggers": triggers_job([BASKET, CALLS], AS_OF),
    "watched": followed_job("account_closed", AS_OF, start="sign_up", lost="tracking_opted_out"),
    "watched for silence": followed_job(None, AS_OF, silence_days=20, starts=STARTS, not_activity="email_sent"),
    "candidates": candidates_job(WATCHED, ["account_closed", "sign_up"], 5),
    "first times": moment_times_job(WATCHED, CANDIDATES, "email_sent"),
    "kinds of moments": kinds_job(WATCHED),
}


def tables_of(found: Any) -> dict[str, pl.DataFrame]:
    """An answer as tables, to compare."""
    if isinstance(found, Followed):
        return {"customers": found.customers, "left out": found.left_out}
    if isinstance(found, list):
        return {"table": pl.DataFrame([(one.name, one.source) for one in found], schema={"name": pl.String, "source": pl.String}, orient="row")}
    if isinstance(found, tuple):
        return _tables_of_times(*found)
    if not isinstance(found, OnboardingTable):
        return {"table": found}
    counts = pl.DataFrame({"customers": [found.customers], "notes": ["; ".join(found.notes)]})
    return {"table": found.table, "left out": found.left_out, "counts": counts}


def _tables_of_times(times: list[FirstTimes], days: Any) -> dict[str, pl.DataFrame]:
    """First times and active days of moments."""
    rows = [pl.DataFrame({"who": one.who, "since": one.since}).select(pl.lit(place, pl.Int64).alias("place"), pl.all()) for place, one in enumerate(times)]
    counts = pl.DataFrame([(one.near_outcome, one.ever) for one in times], schema=["near", "ever"], orient="row")
    return {"table": pl.concat(rows), "counts": counts, "days": pl.DataFrame({"day": days})}
