"""The page of all tables of a study: names and types are read off a study that was computed, so nothing is typed again."""

import json
from functools import cache
from pathlib import Path

import polars as pl

from builder.names import dictionary, meaning_in, schema_of
from builder.prose import chip, plain_to_myst, unit_of

STAGE_TITLES = {"record": "The log", "paths": "Paths", "buying": "Repeat buying", "path_groups": "Paths compared"}


@cache
def read_tables(study: Path) -> dict[str, dict[str, pl.Schema]]:
    """The schema of every table, by stage."""
    stages = json.loads((study / "manifest.json").read_text(encoding="utf-8"))["stages"]
    files = {path.name.split(".")[0]: path for path in sorted((study / "tables").glob("*.parquet"))}
    return {
        name: {table: pl.read_parquet_schema(files[table]) for table in stage["tables"] if table in files}
        for name, stage in stages.items()
        if stage["tables"]
    }


def undescribed(study: Path) -> list[str]:
    """Tables and columns of which nothing says what they mean."""
    faults = []
    for tables in read_tables(study).values():
        for table, schema in tables.items():
            faults += [table] if table not in dictionary()["rows"] else []
            words = schema_of(list(schema))
            faults += [f"{table}.{column}" for column in schema if not meaning_in(table, column, words)]
    return faults


def say_dtype(kind: pl.DataType | type[pl.DataType]) -> str:
    """A type as people read it."""
    return (
        str(kind)
        .replace("Datetime(time_unit='us', time_zone='UTC')", "Datetime, UTC")
        .replace("Datetime('us', 'UTC')", "Datetime, UTC")
    )


def show_table(name: str, schema: pl.Schema) -> str:
    """One table: what a row is, and its columns with type, unit and meaning."""
    words = schema_of(list(schema))
    rows = [
        f"`{column}` {chip(say_dtype(kind), 'type')} {chip(unit_of(column), 'unit')}\n: {plain_to_myst(meaning_in(name, column, words)) or '...'}\n"
        for column, kind in schema.items()
    ]
    row = plain_to_myst(dictionary()["rows"].get(name, ""))
    return (
        f"### {name}\n\n{row[:1].upper() + row[1:]}.\n\n`````{{container}} mk-params mk-columns\n"
        + "\n".join(rows)
        + "`````\n"
    )


def show_tables(study: Path | None) -> str:
    """Every table with its columns, stage by stage."""
    found = read_tables(study) if study else {}
    count, columns = (
        sum(map(len, found.values())),
        sum(len(schema) for tables in found.values() for schema in tables.values()),
    )
    lead = f"What `study.table(name)` gives: {count} tables with {columns:,} columns, as the study of the demo has them. A study has the tables that its data and settings allow; times are UTC, and units stand in the names."
    parts = [f"# Tables of a study\n\n```{{rst-class}} lead\n```\n{plain_to_myst(lead)}\n"]
    for stage, tables in found.items():
        title = STAGE_TITLES.get(stage, stage.replace("_", " ").capitalize())
        parts.append(f"## {title}\n\n" + "\n".join(show_table(name, schema) for name, schema in tables.items()))
    return "\n".join(parts)
