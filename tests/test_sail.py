"""Sail, an engine that speaks Spark Connect without Java: every job as on one machine, row by row."""

import pytest
from engines import read, start, write_logs
from jobs_to_compare import JOBS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What differs, by job and source; Sail starts once."""
    return read(start("sail", "sail", write_logs(tmp_path_factory.mktemp("sail"))))


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("source", ["log", "store"])
def test_a_job_tells_the_same_as_on_one_machine(found: dict[str, str], name: str, source: str) -> None:
    assert found[f"{name}: {source}"] == ""


def test_a_study_of_a_log_of_the_engine_is_the_same_as_on_one_machine(found: dict[str, str]) -> None:
    tables = {name: wrong for name, wrong in found.items() if name.startswith("study: ")}
    assert {"study: sessions", "study: engagement", "study: onboarding", "study: transitions", "study: triggers", "study: promise_weeks", "study: moments"} <= set(tables)
    assert {name: wrong for name, wrong in tables.items() if wrong} == {}


def test_a_store_written_on_the_engine_is_that_of_one_machine(found: dict[str, str]) -> None:
    assert found["ingest"] == ""


def test_the_command_makes_the_same_study(found: dict[str, str]) -> None:
    assert found["command"] == ""


@pytest.mark.parametrize("what", ["Delta: engine", "Delta: machine", "Delta: back", "sessions: files"])
def test_tables_and_files_of_the_engine_hold_the_same(found: dict[str, str], what: str) -> None:
    assert found[what] == ""
