"""Decimal commas: what was written is read again, what is ambiguous is never guessed, and logs with points stay as they were."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from motkit.decimals import EITHER_COMMA, EITHER_POINT, SHOWS_COMMA, SHOWS_POINT, count_marks, read_number
from motkit.errors import SourceError
from motkit.events import EventLog, read_events

hundredths = st.integers(-10_000_000_000, 10_000_000_000)
GROUPS = st.sampled_from(["", ".", " ", "\u00a0", "\u202f"])


def german(cents: int, group: str) -> str:
    """An amount as a German spreadsheet writes it."""
    return f"{cents / 100:,.2f}".replace(",", "group").replace(".", ",").replace("group", group)


def read(path: Path, amounts: list[str], separator: str = ";", **rules: Any) -> EventLog:
    lines = [separator.join([f"c{k}", f"{1 + k % 28:02}.12.2025", "sale", amount]) for k, amount in enumerate(amounts)]
    path.write_text(
        "\n".join([separator.join(["customer", "date", "event", "amount"]), *lines]) + "\n", encoding="utf-8"
    )
    return read_events(path, day_first=True, **rules)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(hundredths, GROUPS), min_size=1, max_size=20))
def test_amounts_written_with_a_comma_are_read_as_they_were_meant(written: list[tuple[int, str]]) -> None:
    frame = pl.DataFrame({"amount": [german(cents, group) for cents, group in written]})
    assert count_marks(frame.lazy(), ["amount"])["amount"].decimal_comma
    assert frame.select(read_number(pl.col("amount"), True))["amount"].to_list() == [
        cents / 100 for cents, _ in written
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(hundredths, min_size=1, max_size=20))
def test_amounts_written_with_a_point_show_no_comma_and_are_read_as_before(written: list[int]) -> None:
    frame = pl.DataFrame(
        {"plain": [f"{cents / 100:.2f}" for cents in written], "grouped": [f"{cents / 100:,.2f}" for cents in written]}
    )
    marks = count_marks(frame.lazy(), ["plain", "grouped"])
    assert marks["plain"].comma == marks["grouped"].comma == 0
    read_as = frame.select(
        before=pl.col("plain").cast(pl.Float64),
        plain=read_number(pl.col("plain")),
        told=read_number(pl.col("grouped"), False),
    )
    assert (
        read_as["before"].to_list()
        == read_as["plain"].to_list()
        == read_as["told"].to_list()
        == [cents / 100 for cents in written]
    )


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[+-]?[0-9.,]{1,9}", fullmatch=True))
def test_no_text_shows_both_marks_and_what_shows_neither_reads_two_ways(text: str) -> None:
    frame = pl.DataFrame({"text": [text]})
    comma, point, either_comma, either_point = frame.select(
        pl.col("text").str.contains(pattern).alias(str(k))
        for k, pattern in enumerate((SHOWS_COMMA, SHOWS_POINT, EITHER_COMMA, EITHER_POINT))
    ).row(0)
    assert comma + point + either_comma + either_point <= 1
    with_comma, with_point = (frame.select(read_number(pl.col("text"), told)).item() for told in (True, False))
    assume(with_comma is not None and with_point is not None)
    assert (with_comma == with_point) == (not (either_comma or either_point)) or with_comma == 0


def test_a_german_export_is_read_without_a_word(tmp_path: Path) -> None:
    log = read(tmp_path / "export.csv", ["12,50", "1.234,56", "1.234", "-7", "", "soon"])
    assert log.events.collect()["value"].to_list() == [12.5, 1234.56, 1234.0, -7.0, None]
    assert log.rejected["reason"].to_list() == ["value is not a number"]
    assert any(
        "'amount' such as 12,50 were read with a decimal comma, as 2 of them show" in note for note in log.summary.notes
    )


def test_a_comma_that_comes_late_is_found_where_semicolons_are_between_columns(tmp_path: Path) -> None:
    log = read(tmp_path / "export.csv", ["1.234"] * 1200 + ["12,50"])
    assert log.summary.rejected == 0
    assert log.events.select(pl.col("value").sum()).collect().item() == 1234 * 1200 + 12.5


@pytest.mark.parametrize(
    ("told", "values"), [(None, [5.0]), (True, [1.234, 5.0]), (False, [1234.0, 5.0]), (["amount"], [1.234, 5.0])]
)
def test_a_thousand_or_a_decimal_is_asked_for_and_not_guessed(
    told: bool | None, values: list[float], tmp_path: Path
) -> None:
    log = read(tmp_path / "export.csv", ["1,234", "5"], decimal_comma=told)
    assert log.events.collect()["value"].to_list() == values
    assert any(
        "can be a thousand or a little more than one" in note and "decimal_comma=" in note for note in log.summary.notes
    ) == (told is None)


def test_a_column_with_both_marks_keeps_the_point_and_says_so(tmp_path: Path) -> None:
    log = read(tmp_path / "export.csv", ["12,50", "12.50"])
    assert log.events.collect()["value"].to_list() == [12.5]
    assert log.summary.rejected == 1
    assert any("decimal comma (1) and with a decimal point (1)" in note for note in log.summary.notes)


def test_thousands_with_a_point_alone_are_told(tmp_path: Path) -> None:
    log = read(tmp_path / "export.csv", ["1.234", "5"])
    assert log.events.collect()["value"].to_list() == [1.234, 5.0]
    assert any("such as 1.234 were read as a little more than one" in note for note in log.summary.notes)


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_logs_with_points_are_read_and_noted_as_with_the_mark_told(separator: str, tmp_path: Path) -> None:
    amounts = ["12.50", "0.125", "1e3", "7", "", "-3.", "nonsense"]
    logs = [read(tmp_path / "export.csv", amounts, separator, decimal_comma=told) for told in (None, [])]
    assert logs[0].events.collect().equals(logs[1].events.collect())
    assert logs[0].summary == logs[1].summary
    assert not any("decimal" in note for note in logs[0].summary.notes)


def test_types_of_a_description_know_the_comma_before_its_expressions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "customer;date;event;net;pieces\na;2025-12-31;sale;1.000,50;3\nb;2025-12-31;sale;2,25;4\n", encoding="utf-8"
    )
    described = 'path = "a.csv"\n[types]\nnet = "number"\npieces = "integer"\n[expressions]\nvalue = "net * pieces"\n'
    (tmp_path / "source.toml").write_text(described, encoding="utf-8")
    events = read_events(tmp_path / "source.toml").events.collect()
    assert events["value"].to_list() == [3001.5, 9.0]
    assert events["net"].to_list() == [1000.5, 2.25]


def test_a_comma_for_a_column_that_is_none_of_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"`decimal_comma` names \['Amount'\]"):
        read(tmp_path / "export.csv", ["12,50"], decimal_comma=["Amount"])
