"""What is asked of an engine, in an environment of its own; `test_sail.py` and `test_spark.py` start it and read what it says.

Called as: engine_side.py ADDRESS FOLDER. The folder holds the log and its store. An address 'sail' starts Sail here.
With a third word, 'killed', a few jobs alone are asked, and one whose tasks wait until the caller has killed a worker.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jobs_to_compare import JOBS, tables_of
from light_study import run_stages, stages
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import motkit
from motkit.__main__ import app
from motkit.engine_store import write_store_of
from motkit.jobs import Job
from motkit.scale import run
from motkit.spark_frames import connect
from motkit.store import Store, open_store, write_store
from motkit.study import DEMO_SETTINGS, Study, open_study


@contextmanager
def session_at(address: str) -> Iterator[tuple[Any, str]]:
    """A session of an engine that runs, or of a Sail server in this process, and where the engine is."""
    if address != "sail":
        session = connect(address)
        yield session, address
        session.stop()
        return
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start()
    place = "sc://localhost:{1}".format(*server.listening_address)
    session = connect(place)
    try:
        yield session, place
    finally:
        session.stop()
        server.stop()


def compare(checks: dict[str, Callable[[], None]]) -> dict[str, str]:
    """What went wrong, by the name of the check; nothing where all is well."""
    found = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = ""
        except AssertionError as error:
            found[name] = str(error)
    return found


def same(found: Any, whole: Any) -> None:
    """Equal tables: times and whole numbers exactly, other numbers to 1e-9."""
    parts = tables_of(whole)
    for name, table in tables_of(found).items():
        assert_frame_equal(table, parts[name], check_exact=False, rel_tol=1e-9, abs_tol=0.0)


def same_store(found: Store, folder: Path) -> None:
    """The same rows, codes and types as one machine writes, in several files."""
    whole = write_store(pl.scan_parquet(folder / "log.parquet").drop("came"), folder / "whole")
    assert len(found.parts) > 2
    same(found.events.collect(), whole.events.collect())
    same(found.customers.collect(), whole.customers.collect())


def checks_of(spark: Any, folder: Path) -> dict[str, Callable[[], None]]:
    """Every job on a log of the engine with a robot that gets a partition alone, and on the files of the store."""
    store, log = open_store(folder / "store"), spark.read.parquet(str(folder / "log.parquet"))
    robot = store.events.group_by("customer").len().select(pl.col("len").max()).collect().item()
    made = folder / f"store of {type(spark).__module__}"
    stored = {"rows_a_file": robot, "arrival": "came"}
    checks: dict[str, Callable[[], None]] = {"ingest": lambda: same_store(write_store_of(log, made, **stored), folder)}
    for name, job in JOBS.items():
        whole = run(job, store)
        checks[f"{name}: log"] = lambda job=job, whole=whole: same(run(job, log, rows_a_task=robot - 1, arrival="came"), whole)
        checks[f"{name}: store"] = lambda job=job, whole=whole: same(run(job, store, on=spark, rows_a_task=500), whole)
    written = lambda: run(JOBS["sessions"], store, on=spark, rows_a_task=500, out=folder / "visits").sort("customer_id", "session").collect()  # noqa: E731
    return checks | {"sessions: files": lambda: same(written(), run(JOBS["sessions"], store))}


def delta_checks(spark: Any, folder: Path) -> dict[str, Callable[[], None]]:
    """A Delta table that the engine writes, asked on the engine and on one machine; and one that one machine writes."""
    whole, came = run(JOBS["sessions"], folder / "store"), folder / "by_machine"
    spark.read.parquet(str(folder / "log.parquet")).write.format("delta").save(str(folder / "by_engine"))
    whole.select("customer_id", "session").cast({"session": pl.Int64}).write_delta(str(came))
    there = lambda place: spark.read.format("delta").load(str(place))  # noqa: E731
    return {
        "Delta: engine": lambda: same(run(JOBS["sessions"], there(folder / "by_engine"), arrival="came"), whole),
        "Delta: machine": lambda: same(run(JOBS["sessions"], folder / "by_engine"), run(JOBS["sessions"], pl.read_delta(str(folder / "by_engine")))),
        "Delta: back": lambda: same(pl.DataFrame(there(came).toArrow()).sort("customer_id", "session"), pl.read_delta(str(came)).sort("customer_id", "session")),
    }


ASKED = {"sessions", "engagement", "onboarding", "customers", "paths", "funnel", "promises", "triggers", "moments"}


def by_command(address: str, folder: Path) -> Study:
    """The study as `motkit run --on` makes it, from files; the session that it opens is closed by it."""
    files = {"--events": folder / "events.parquet", "--profiles": folder / "profiles.parquet", "--out": folder / "by command"}
    with stages(ASKED), pytest.MonkeyPatch.context() as patch:
        patch.setattr("motkit.settings.read_settings", lambda *_: DEMO_SETTINGS)
        said = CliRunner().invoke(app, ["run", "--on", address, "--quiet", *(str(word) for pair in files.items() for word in pair)])
    assert said.exit_code == 0, said.output
    return open_study(folder / "by command")


def same_study(found: Study, whole: Study) -> None:
    """Every table of a study, and none more."""
    assert found.problems == whole.problems == {}
    assert found.tables == whole.tables
    for name in whole.tables:
        same(found.table(name), whole.table(name))


def study_checks(spark: Any, address: str, folder: Path) -> dict[str, Callable[[], None]]:
    """Every table of the stages that ask jobs, against those of the same study on one machine; the command last, for it closes the session."""
    made = motkit.simulate_customers(n=80, seed=5)
    made.events.write_parquet(folder / "events.parquet")
    made.profiles.write_parquet(folder / "profiles.parquet")
    here = run_stages(ASKED, DEMO_SETTINGS, made.events, folder / "here", profiles=made.profiles)
    there = run_stages(ASKED, DEMO_SETTINGS, spark.read.parquet(str(folder / "events.parquet")), folder / "there", profiles=made.profiles)
    assert here.problems == there.problems == {}
    assert here.tables == there.tables
    checks = {f"study: {name}": lambda name=name: same(there.table(name), here.table(name)) for name in here.tables}
    return checks | {"command": lambda: same_study(by_command(address, folder), here)}


def wait_for_go(folder: Path, job: Job, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Say that a task is at work, and work on only when the caller says so."""
    if rows.head(1).collect().height:
        (folder / f"busy-{os.getpid()}").touch()
        for _ in range(2_000):
            if (folder / "go").exists():
                break
            time.sleep(0.05)
    return job.part(rows)


def checks_with_a_kill(spark: Any, folder: Path) -> dict[str, Callable[[], None]]:
    """First the job that waits for the kill, then a few on what is left of the cluster."""
    waiting = replace(JOBS["sessions"], part=partial(wait_for_go, folder, JOBS["sessions"]))
    whole, log = run(JOBS["sessions"], folder / "store"), spark.read.parquet(str(folder / "log.parquet"))
    checks: dict[str, Callable[[], None]] = {"sessions while a worker is killed": lambda: same(run(waiting, log, arrival="came"), whole)}
    all_checks = checks_of(spark, folder)
    return checks | {name: all_checks[name] for name in ("ingest", "transitions: log", "funnel: store")}


if __name__ == "__main__":
    with session_at(sys.argv[1]) as (spark, place):
        home = Path(sys.argv[2])
        checks = checks_with_a_kill(spark, home) if "killed" in sys.argv else checks_of(spark, home) | delta_checks(spark, home) | study_checks(spark, place, home)
        print(json.dumps(compare(checks)))
