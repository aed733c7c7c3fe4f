"""The page of benchmarks and that of capacity hold what was measured, and say what is missing."""

import inspect
from pathlib import Path

import polars as pl
import pytest

from motkit.__main__ import bench, main
from motkit.bench_page import SECTIONS, keep_table, read_sections, tell_machine, write_page
from motkit.capacity import Assumptions, reckon_capacity
from motkit.peer_bench import _judge


def section(table: pl.DataFrame) -> dict[str, object]:
    return {"made": "2026-03-02T09:00+00:00", "seconds": 1, "machine": tell_machine(), "tables": [keep_table("all", table)]}


SPEED = pl.DataFrame(
    {
        "job": ["motkit: read, check, store", "motkit: bytes of the store", "motkit: funnel from the store", "DuckDB: funnel from the store"],
        "events": [1000] * 4,
        "rows": [1000, 6000, 3, 3],
        "cpu_s": [2e-3, 0.0, 1e-4, 1.0],
        "memory_mb": [1.0, 0.0, 0.1, 9.0],
        "kept": [None, None, False, None],
    }
)


def test_a_page_keeps_what_it_does_not_measure_anew_and_capacity_is_reckoned_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "benchmarks.md"
    write_page({"speed": section(SPEED)}, page)
    assert "Limits kept: 0 of 1. Missed: motkit: funnel from the store." in page.read_text()
    assert list(read_sections(page)) == ["speed"]
    monkeypatch.setattr("sys.argv", ["motkit", "capacity", "--rates", str(page), "--out", str(tmp_path / "capacity.md"), "--set", "events_a_day=2e9"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "| events_a_day | events a day | 2,000,000,000 |" in (tmp_path / "capacity.md").read_text()


def test_twice_the_events_need_twice_the_hours() -> None:
    sections = {"speed": section(SPEED)}
    once, twice = (reckon_capacity(sections, Assumptions(events_a_day=n))[0] for n in (1e9, 2e9))
    assert (twice["needs"] / once["needs"]).round(9).to_list() == [2.0, 2.0, 1.0, 2.0, 2.0, 2.0]


def test_a_peer_that_answers_otherwise_is_seen() -> None:
    rows = {"job": ["funnel"] * 3, "who": ["motkit, raw file", "motkit, its store", "retentioneering"], "answer": [5, 5, 6], "cpu_s": [1.0, 0.1, 2.0], "connections": [0, 0, 0]}
    judged = _judge(pl.DataFrame(rows))
    assert judged["agrees"].to_list() == [True, True, False]
    assert judged["retentioneering_takes"].to_list() == [2.0, 20.0, None]
    assert judged["kept"].to_list() == [False, True, None]


def test_the_command_names_every_section() -> None:
    told = inspect.signature(bench).parameters["sections"].annotation.__metadata__[0].help
    assert told.partition(", or all")[0].split(", ") == list(SECTIONS)
