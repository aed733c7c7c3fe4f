"""Jobs asked group by group: as the whole log says, however customers are dealt, robots and empty logs included."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jobs_to_compare import (
    AS_OF,
    BASKET,
    CALLS,
    CANDIDATES,
    END,
    JOBS,
    PROMISE,
    ROBOT,
    STARTS,
    STEPS,
    WATCHED,
    log_with_robot,
    tables_of,
)
from polars.testing import assert_frame_equal

import motkit
from motkit.candidates import propose_candidates
from motkit.cohorts import cohort_retention
from motkit.detection import detect_triggers
from motkit.engagement import engagement_signals, score_engagement
from motkit.errors import DesignError, MissingExtraError, SettingError
from motkit.followed import follow_customers, place_events
from motkit.funnels import funnel
from motkit.moment_jobs import AskedLog
from motkit.moment_times import first_times, kind_counts, number_events
from motkit.moments import find_moments
from motkit.onboarding import onboarding_table
from motkit.paths import step_matrix, transitions
from motkit.promise_outcomes import promise_cases
from motkit.recent_activity import active_days
from motkit.scale import heavy_customers, plan_tasks, run
from motkit.scale_jobs import Visits, sessions_job, transitions_job
from motkit.schema import EVENTS
from motkit.sessions import number_sessions, session_table, split_sessions
from motkit.store import Store, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The log in three files."""
    patch = pytest.MonkeyPatch()
    patch.setattr("motkit.store.ROWS_A_BUCKET", log_with_robot().height // 3 + 1)
    made = write_store(log_with_robot(), tmp_path_factory.mktemp("scale") / "store")
    patch.undo()
    assert len(made.parts) == 3
    return made


Whole = Callable[[Store], Any]
IN_VISITS = lambda store: number_sessions(store.events, 30, "customer")  # noqa: E731
WHOLE: dict[str, Whole] = {
    "sessions": lambda store: session_table(split_sessions(readable(store))).collect(),
    "transitions": lambda store: transitions(store).collect(),
    "transitions in visits": lambda store: transitions(IN_VISITS(store), "session").collect(),
    "step matrix": lambda store: step_matrix(store, 7),
    "step matrix in visits": lambda store: step_matrix(IN_VISITS(store), 5, "session"),
    "funnel": lambda store: funnel(store, STEPS, 14),
    "funnel in any order": lambda store: funnel(store, STEPS[:2], ordered=False),
    "cohorts by month": lambda store: cohort_retention(store, as_of=END),
    "cohorts by week": lambda store: cohort_retention(store, "1w", END),
    "signals": lambda store: engagement_signals(in_visits(store), AS_OF),
    "scores": lambda store: score_engagement(in_visits(store), AS_OF, 7.0),
    "onboarding": lambda store: onboarding_table(
        in_visits(store), "sign_up", "onboarded", "account_closed", as_of=AS_OF, by="channel", lost="tracking_opted_out"
    ),
    "onboarding by silence": lambda store: onboarding_table(in_visits(store), None, None, None, 20.0, as_of=AS_OF),
    "promise": lambda store: promise_cases(readable(store), PROMISE, AS_OF, ["channel"]).sort("made_at", "customer_id", "channel"),
    "triggers": lambda store: detect_triggers(readable(store), [BASKET, CALLS], AS_OF),
    "watched": lambda store: follow_customers(readable(store), "account_closed", AS_OF, start="sign_up", lost="tracking_opted_out"),
    "watched for silence": lambda store: follow_customers(readable(store), None, AS_OF, silence_days=20, starts=STARTS, not_activity="email_sent"),
    "candidates": lambda store: propose_candidates(numbered(store).cast({"customer_id": pl.String}), ["account_closed", "sign_up"], 5),
    "first times": lambda store: (first_times(numbered(store), WATCHED, CANDIDATES), active_days(place_events(readable(store), WATCHED), ["email_sent"])),
    "kinds of moments": lambda store: kind_counts(numbered(store)).collect().sort("event", "channel", "kind", "want"),
}
SAME = {name: (job, WHOLE[name]) for name, job in JOBS.items()}
jobs = pytest.mark.parametrize("name", SAME)


def in_visits(store: Store) -> pl.LazyFrame:
    return store.add_ids(IN_VISITS(store)).cast({"event": pl.String, "channel": pl.String})


def numbered(store: Store) -> pl.DataFrame:
    return number_events(in_visits(store), WATCHED)


def same(found: Any, whole: Any) -> None:
    parts = tables_of(whole)
    for name, table in tables_of(found).items():
        assert_frame_equal(table, parts[name], check_exact=True)


def readable(store: Store) -> pl.LazyFrame:
    return store.add_ids(store.events).cast({"event": pl.String, "channel": pl.String})


@jobs
@pytest.mark.parametrize("rows_a_task", [10**9, 500])
def test_group_by_group_gives_what_the_whole_log_gives(store: Store, name: str, rows_a_task: int) -> None:
    job, whole = SAME[name]
    same(run(job, store, rows_a_task=rows_a_task), whole(store))


@jobs
def test_a_log_that_is_no_store_is_asked_in_the_same_way(store: Store, name: str) -> None:
    job, whole = SAME[name]
    same(run(job, log_with_robot()), whole(store))


def test_order_of_arrival_does_not_matter_but_for_ties(tmp_path: Path) -> None:
    log = log_with_robot().unique(["customer_id", "timestamp"], keep="first")
    log.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "log.parquet")
    assert_frame_equal(run(sessions_job(), tmp_path / "log.parquet"), run(sessions_job(), log), check_exact=True)


@pytest.mark.parametrize("kind", ["threads", "joblib"])
@pytest.mark.parametrize("name", ["sessions", "transitions", "funnel"])
def test_an_executor_does_the_same(store: Store, kind: str, name: str) -> None:
    job, _ = SAME[name]
    on = ThreadPoolExecutor(2) if kind == "threads" else pytest.importorskip("joblib").Parallel(2, prefer="threads")
    assert_frame_equal(run(job, store, on=on, rows_a_task=500), run(job, store), check_exact=True)


@jobs
def test_a_job_can_be_sent_to_another_process(store: Store, name: str) -> None:
    job, _ = SAME[name]
    sent = pickle.loads(pickle.dumps(job))
    same(run(sent, store, rows_a_task=2_000), run(job, store))


@jobs
@pytest.mark.filterwarnings("ignore:nobody reached")
def test_no_customer_gives_no_row_and_the_same_columns(store: Store, name: str, tmp_path: Path) -> None:
    job, _ = SAME[name]
    if name.startswith("watched"):
        with pytest.raises(DesignError, match="the log has no event"):
            run(job, write_store(log_with_robot().head(0), tmp_path / "store"))
        return
    found = tables_of(run(job, write_store(log_with_robot().head(0), tmp_path / "store")))
    assert {part: table.schema for part, table in found.items()} == {part: table.schema for part, table in tables_of(run(job, store)).items()}
    given = pl.col("place") == len(CANDIDATES) - 1 if name == "first times" else pl.lit(False)  # a table of times, which is no part of the log
    assert found["table"]["customers"].sum() == 0 if "funnel" in name else found["table"].filter(~given).is_empty()


@pytest.mark.parametrize("outcome", [{"outcome": "account_closed", "lost": "tracking_opted_out"}, {"silence_days": 25, "fdr": 0.01}], ids=["event", "silence"])
def test_moments_of_a_log_asked_by_jobs_are_those_of_the_log(outcome: dict[str, Any], tmp_path: Path) -> None:
    """With results, transfers and waits of calls, whose candidates rest on counts of values."""
    made, called, us = motkit.simulate_customers(n=120, seed=3).events, pl.col("event") == "support_call", pl.col("timestamp").to_physical()
    more = {"result": pl.when(us % 3 > 0).then(pl.lit("solved")).otherwise(pl.lit("passed on")), "transfers": us % 4, "wait_s": (us % 700) / 7}
    log = made.with_columns(pl.when(called).then(value).alias(name) for name, value in more.items())
    asked = AskedLog(partial(run, source=write_store(log, tmp_path / "store"), rows_a_task=log.height // 3), log.columns)
    found, whole = (find_moments(one, as_of=AS_OF, placebo_draws=9, min_customers=5, **outcome) for one in (asked, log))
    assert_frame_equal(found.table, whole.table, check_exact=True)
    assert_frame_equal(found.left_out, whole.left_out)
    names = {str(one) for one in found.table["moment"]}
    assert {"support_call, transfers > 0", "support_call, result solved"} <= names | set(found.left_out["moment"])
    assert any("wait_s > " in name for name in names | set(found.left_out["moment"]))


@pytest.mark.parametrize("name", ["sessions", "signals", "triggers"])
def test_rows_that_are_written_task_by_task_are_those_that_come_back(store: Store, name: str, tmp_path: Path) -> None:
    job, _ = SAME[name]
    written, back = run(job, store, out=tmp_path / "rows", rows_a_task=500), run(job, store)
    assert len(list((tmp_path / "rows").iterdir())) == len(plan_tasks(store, 500)) > len(store.parts)
    assert_frame_equal(written.collect().sort(job.order), back, check_exact=True)
    assert_frame_equal(run(job, store, out=tmp_path / "rows", on=ThreadPoolExecutor(2)).collect().sort(job.order), back, check_exact=True)
    empty = run(job, write_store(log_with_robot().head(0), tmp_path / "store"), out=tmp_path / "rows")
    assert_frame_equal(empty.collect(), back.head(0))


def test_a_delta_table_is_told_from_other_folders_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    monkeypatch.setattr("motkit.scale.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Delta table.*\n?.*pip install deltalake"):
        run(sessions_job(), tmp_path / "table")


@pytest.mark.parametrize("name", ["transitions", "funnel", "onboarding", "promise"])
def test_what_is_put_together_is_not_written_task_by_task(store: Store, name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="puts the answers of all customers together"):
        run(JOBS[name], store, out=tmp_path / "rows")


def falls_back(plan: pl.LazyFrame) -> bool:
    """Has the physical plan an operator that leaves the streaming engine for memory?"""
    graph = plan.show_graph(plan_stage="physical", engine="streaming", raw_output=True)
    assert graph is not None
    return "in-memory-" in graph.replace("in-memory-source", "")


@jobs
def test_every_pass_streams(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a job collects: no plan has an operator that the streaming engine lacks."""
    plain, plans = pl.LazyFrame.collect, []

    def look(frame: pl.LazyFrame, *arguments: Any, **options: Any) -> Any:
        plans.append(falls_back(frame))
        return plain(frame, *arguments, **options)

    monkeypatch.setattr(pl.LazyFrame, "collect", look)
    run(JOBS[name], store)
    assert len(plans) >= 3 * len(store.parts)
    assert not any(plans)


def test_a_plan_that_falls_back_would_be_found(store: Store) -> None:
    assert falls_back(store.events.group_by("customer").agg(pl.col("duration_s").median()))


def test_a_robot_is_named_and_becomes_a_task_by_itself(store: Store) -> None:
    heavy = heavy_customers(store, most_events=store.events.select(pl.len()).collect().item() // 11)
    assert heavy["customer_id"].to_list() == [ROBOT]
    assert heavy["share"][0] == pytest.approx(0.1, abs=0.001)
    n = heavy["events"][0]
    code = store.customers.filter(pl.col("customer_id") == ROBOT).collect()["customer"][0]
    tasks = plan_tasks(store, rows_a_task=n - 1)
    assert [(task.first, task.last, task.events) for task in tasks if task.events > n - 1] == [(code, code, n)]
    assert sum(task.events for task in tasks) == store.events.select(pl.len()).collect().item()


@pytest.mark.parametrize("rows_a_task", [1, 50, 333, 10**6])
def test_tasks_hold_everybody_once_and_are_small(store: Store, rows_a_task: int) -> None:
    tasks = plan_tasks(store, rows_a_task)
    each = dict(store.events.group_by("customer").len().collect().rows())
    found = [sum(each.get(code, 0) for code in range(task.first, task.last + 1)) for task in tasks]
    assert found == [task.events for task in tasks]
    assert sum(found) == sum(each.values())
    assert all(task.events <= rows_a_task or task.first == task.last for task in tasks)


def test_a_customer_in_two_files_is_refused(store: Store, tmp_path: Path) -> None:
    both = tmp_path / "store"
    both.mkdir()
    store.customers.sink_parquet(both / "customers.parquet")
    for number in (0, 1):
        store.events.filter(pl.col("customer") <= 3).sink_parquet(both / f"part-{number:05d}.parquet")
    with pytest.raises(DesignError, match=r"two files.*\n?.*Stitch identities first"):
        run(sessions_job(), both)


def test_pings_are_measured_as_in_a_study(tmp_path: Path) -> None:
    at = [datetime(2026, 1, 1) + timedelta(seconds=s) for s in (0, 10, 20, 30)]
    log = pl.DataFrame({"customer_id": "a", "timestamp": at, "event": ["page", "ping", "ping", "page"], "channel": "web", "value": None, "duration_s": None}, schema=EVENTS)
    found = run(sessions_job(Visits(pings=("ping",))), log)
    assert found.select("n_events", "engaged_s").rows() == [(2, 15.0)]


def test_the_median_is_exact_for_times_of_every_size() -> None:
    gaps = [0, 0, 1, 1, 5, 255, 256, 257, 10**4, 10**6, 10**6 + 1, 10**9, 10**12 + 12345]
    start = datetime(2026, 1, 1)
    steps = [(f"{many}: {k}", many, gap) for many in range(1, len(gaps) + 1) for k, gap in enumerate(gaps[:many])]
    rows = [(who, start + timedelta(microseconds=us), f"{word} {many}") for who, many, gap in steps for word, us in (("from", 0), ("to", gap))]
    log = pl.DataFrame(rows, schema=["customer_id", "timestamp", "event"], orient="row").with_columns(channel=pl.lit("web"), value=None, duration_s=None).cast(EVENTS)
    found = run(transitions_job(), log, rows_a_task=3)
    assert_frame_equal(found, transitions(log).collect(), check_exact=True)
    assert sorted(found["n"]) == list(range(1, len(gaps) + 1))


def test_what_does_no_tasks_is_refused(store: Store) -> None:
    with pytest.raises(SettingError, match="has no `map`"):
        run(sessions_job(), store, on=3)
