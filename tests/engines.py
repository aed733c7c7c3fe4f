"""Ask an engine in its own environment, and read what differs from one machine."""

import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest
from engine_venvs import ROOT, is_ready, python_of
from jobs_to_compare import log_with_robot

from motkit.store import write_store


def environment(engine: str, **more: str) -> dict[str, str]:
    """The variables of a process of an engine: this tree's motkit, one thread a worker."""
    if not is_ready(engine):
        pytest.skip(f"there is no .venv-{engine}, so {engine} is not tried; type: make engines")
    python = str(python_of(engine))
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}
    return os.environ | path | {"POLARS_MAX_THREADS": "1", "PYTHONWARNINGS": "ignore"} | more


def write_logs(folder: Path) -> Path:
    """The log with its order of arrival, and its store in three files."""
    log = log_with_robot()
    log.with_row_index("came").cast({"came": pl.Int64}).write_parquet(folder / "log.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motkit.store.ROWS_A_BUCKET", log.height // 3 + 1)
        write_store(log, folder / "store")
    return folder


def start(engine: str, address: str, *arguments: object, **more: str) -> subprocess.Popen[str]:
    """Begin to ask an engine with `engine_side.py`."""
    command = [str(python_of(engine)), str(ROOT / "tests" / "engine_side.py"), address, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(engine, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read(asked: subprocess.Popen[str], seconds: float = 280) -> dict[str, str]:
    """What each check found wrong; '' where nothing is."""
    said, complained = asked.communicate(timeout=seconds)
    assert asked.returncode == 0, complained[-3000:]
    found: dict[str, str] = json.loads(said.splitlines()[-1])
    return found
