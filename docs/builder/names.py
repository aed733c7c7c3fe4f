"""What names mean: comments beside the columns of schemas first, then the one dictionary `docs/names.toml`."""

import ast
import inspect
import tokenize
import tomllib
from functools import cache
from io import StringIO
from typing import Any

from builder.notebooks import ROOT, all_notebooks

Words = dict[str, str]


@cache
def dictionary() -> dict[str, Any]:
    """The dictionary of names."""
    return tomllib.loads((ROOT / "docs" / "names.toml").read_text(encoding="utf-8"))


def _comments(source: str) -> dict[int, str]:
    """The comment of each line."""
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


@cache
def schemas() -> dict[str, Words]:
    """The columns of every schema constant that has comments beside them, with the comments."""
    found: dict[str, Words] = {}
    for book in all_notebooks():
        for cell in book.cells:
            if not cell.exports or "Schema(" not in cell.source:
                continue
            comments = _comments(cell.source)
            for node in ast.parse(cell.source).body:
                inside = (
                    node.value.args[0]
                    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args
                    else None
                )
                if (
                    isinstance(node, ast.Assign)
                    and isinstance(inside, ast.Dict)
                    and isinstance(node.targets[0], ast.Name)
                ):
                    keys = [key for key in inside.keys if isinstance(key, ast.Constant)]
                    words = {str(key.value): comments.get(key.lineno, "") for key in keys}
                    if any(words.values()):
                        found[f"{book.module}.{node.targets[0].id}"] = words
    return found


def schema_of(columns: list[str]) -> Words:
    """The comments of the largest schema whose columns a table has all."""
    fitting = [words for words in schemas().values() if len(words) > 1 and set(words) <= set(columns)]
    return max(fitting, key=len, default={})


def meaning_of(name: str) -> str:
    """What a name means wherever it is used; empty if the dictionary does not say."""
    return dictionary()["names"].get(name, "")


def meaning_in(table: str, column: str, schema: Words) -> str:
    """What a table means by a column."""
    own = dictionary()["tables"].get(table, {})
    return own.get(column) or schema.get(column) or meaning_of(column) or own.get("*", "")


def explain(name: str, field: dict[str, Any]) -> str:
    """What a parameter or field means: its comment, else the dictionary, else the first sentence about its type."""
    kind = field.get("anno")
    about_type = (
        (inspect.getdoc(kind) or "").split("\n")[0]
        if inspect.isclass(kind) and kind.__module__.startswith("motkit")
        else ""
    )
    return field.get("docment") or meaning_of(name) or about_type
