"""A log with a robot, and the jobs that are asked of it on every engine."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl

import motkit
from motkit.customer_jobs import onboarding_job, promise_job, scores_job, signals_job, triggers_job
from motkit.jobs import Job
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
}


def log_with_robot() -> pl.DataFrame:
    """Simulated customers, and one robot with a tenth of all events; some events tie."""
    made = motkit.simulate_customers(n=80, seed=3).events.select(*EVENTS)
    n = made.height // 9
    times = [made["timestamp"].min() + timedelta(seconds=7 * (k // 2)) for k in range(n)]
    names = made["event"].unique().sort().to_list()
    robot = {"customer_id": ROBOT, "timestamp": times, "event": [names[k * k % len(names)] for k in range(n)], "channel": "web", "value": None, "duration_s": None}
    return pl.concat([made, pl.DataFrame(robot, schema=EVENTS)])


def tables_of(found: Any) -> dict[str, pl.DataFrame]:
    """An answer as tables, to compare."""
    if not isinstance(found, OnboardingTable):
        return {"table": found}
    counts = pl.DataFrame({"customers": [found.customers], "notes": ["; ".join(found.notes)]})
    return {"table": found.table, "left out": found.left_out, "counts": counts}
