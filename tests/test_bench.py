"""The benchmark measures the same question: motkit and its peer give the same number of sessions."""

import os

import pytest

from motkit import bench
from motkit.bench import JOBS, make_log, measure_apart, measure_jobs, peak_mb


def test_each_measure_has_a_process_of_its_own() -> None:
    assert measure_apart(peak_mb) > 0
    assert measure_apart(os.getpid) != os.getpid()


def test_motkit_and_its_peer_answer_the_same_question(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr(bench, "measure_apart", lambda measure, *arguments: measure(*arguments))  # the answers are alike in one process
    table = measure_jobs(20_000, repeats=1)
    rows = dict(table.select("job", "rows").iter_rows())
    assert list(rows) == list(JOBS)
    assert rows["DuckDB: read, check, sessions"] == rows["motkit: read, check, sessions"] == rows["motkit: sessions from the store"]
    for asked in sorted(job.partition(": ")[2] for job in JOBS if job.startswith("DuckDB: ") and job.endswith("from the store")):
        assert rows[f"DuckDB: {asked}"] == rows[f"motkit: {asked}"] > 0
    ratios = dict(table.select("job", "cpu_to_duckdb").iter_rows())
    assert all(ratio == 1 for job, ratio in ratios.items() if job.startswith("DuckDB"))
    assert (table["cpu_s"] > 0).all()
    assert (table["memory_mb"] >= 0).all()


def test_the_log_to_measure_on_has_a_few_very_active_customers() -> None:
    sizes = make_log(31_000)["customer_id"].value_counts()["count"]
    assert sizes.max() > 20 * sizes.median()
