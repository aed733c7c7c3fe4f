"""A log with a robot, and the jobs that are asked of it on every engine."""

from datetime import datetime, timedelta

import polars as pl

import motkit
from motkit.jobs import Job
from motkit.scale_jobs import cohorts_job, funnel_job, sessions_job, step_matrix_job, transitions_job
from motkit.schema import EVENTS

STEPS = ("product", "cart", "checkout", "purchase")
ROBOT = "robot 7"
END = datetime(2027, 6, 1)
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
}


def log_with_robot() -> pl.DataFrame:
    """Simulated customers, and one robot with a tenth of all events; some events tie."""
    made = motkit.simulate_customers(n=80, seed=3).events.select(*EVENTS)
    n = made.height // 9
    times = [made["timestamp"].min() + timedelta(seconds=7 * (k // 2)) for k in range(n)]
    names = made["event"].unique().sort().to_list()
    robot = {"customer_id": ROBOT, "timestamp": times, "event": [names[k * k % len(names)] for k in range(n)], "channel": "web", "value": None, "duration_s": None}
    return pl.concat([made, pl.DataFrame(robot, schema=EVENTS)])
