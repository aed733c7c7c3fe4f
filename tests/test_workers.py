"""With several workers, a file stays with one of them; notebooks go one by one, after the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workers import scope_of

FILE = """import os, pathlib, pytest
@pytest.mark.parametrize("n", range({tests}))
def test_one(n):
    with pathlib.Path("ran.txt").open("a") as told:
        told.write(f"{{pathlib.Path(__file__).stem}} {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
"""


def test_each_file_is_run_by_one_worker_and_long_ones_begin(tmp_path: Path) -> None:
    for name, tests in (("test_a", 6), ("test_b", 6), ("test_notebooks", 4), ("test_study", 3)):
        (tmp_path / f"{name}.py").write_text(FILE.format(tests=tests))
    plain = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parent)}
    own = {name: value for name, value in plain.items() if not name.startswith("PYTEST_XDIST")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "xdist", "-p", "workers", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [line.split() for line in (tmp_path / "ran.txt").read_text().splitlines()]
    assert len(ran) == 19
    for name in ("test_a", "test_b", "test_study"):
        assert len({worker for file, worker in ran if file == name}) == 1
    began = {worker: file for file, worker in reversed(ran)}  # the first of each
    assert sorted(began.values()) == ["test_a", "test_study"]


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/test_cli.py::test_x[a::b]", "test_cli"),
        ("tests/test_accessible.py::test_x", "small demo"),
        ("tests/test_every_view.py::test_y", "small demo"),
        ("tests/test_notebooks.py::test_x[nbs/a.ipynb]", "tests/test_notebooks.py::test_x[nbs/a.ipynb]"),
    ],
)
def test_what_stays_together(test: str, scope: str) -> None:
    assert scope_of(test) == scope
