"""What is asked of an engine, in an environment of its own; `test_sail.py` and `test_spark.py` start it and read what it says.

Called as: engine_side.py ADDRESS FOLDER. The folder holds the log and its store. An address 'sail' starts Sail here.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from jobs_to_compare import JOBS, tables_of
from light_study import run_stages
from polars.testing import assert_frame_equal

import motkit
from motkit.scale import run
from motkit.spark_frames import connect
from motkit.store import open_store
from motkit.study import DEMO_SETTINGS


@contextmanager
def session_at(address: str) -> Iterator[Any]:
    """A session of an engine that runs, or of a Sail server in this process."""
    if address != "sail":
        session = connect(address)
        yield session
        session.stop()
        return
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start()
    session = connect("sc://localhost:{1}".format(*server.listening_address))
    yield session
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


def checks_of(spark: Any, folder: Path) -> dict[str, Callable[[], None]]:
    """Every job on a log of the engine with a robot that gets a partition alone, and on the files of the store."""
    store, log = open_store(folder / "store"), spark.read.parquet(str(folder / "log.parquet"))
    robot = store.events.group_by("customer").len().select(pl.col("len").max()).collect().item()
    checks: dict[str, Callable[[], None]] = {}
    for name, job in JOBS.items():
        whole = run(job, store)
        checks[f"{name}: log"] = lambda job=job, whole=whole: same(run(job, log, rows_a_task=robot - 1, arrival="came"), whole)
        checks[f"{name}: store"] = lambda job=job, whole=whole: same(run(job, store, on=spark, rows_a_task=500), whole)
    return checks


ASKED = {"sessions", "engagement", "onboarding", "customers", "paths", "funnel", "promises", "triggers"}


def study_checks(on: Any, folder: Path) -> dict[str, Callable[[], None]]:
    """Every table of the stages that ask jobs, against those of the same study on one machine."""
    made = motkit.simulate_customers(n=80, seed=5)
    here = run_stages(ASKED, DEMO_SETTINGS, made.events, folder / "here", profiles=made.profiles)
    there = run_stages(ASKED, DEMO_SETTINGS, made.events, folder / "there", profiles=made.profiles, on=on)
    assert here.problems == there.problems == {}
    assert here.tables == there.tables
    return {f"study: {name}": lambda name=name: same(there.table(name), here.table(name)) for name in here.tables}


if __name__ == "__main__":
    with session_at(sys.argv[1]) as spark:
        checks = checks_of(spark, Path(sys.argv[2])) | study_checks(spark, Path(sys.argv[2]))
        print(json.dumps(compare(checks)))
