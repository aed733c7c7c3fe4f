"""The glossary: one concept, one name, and a search for the words that are not used."""

import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

from builder.notebooks import ROOT, Cell, all_notebooks
from builder.prose import is_built, plain_to_myst
from builder.public import public_names


@cache
def glossary() -> dict[str, Any]:
    """The glossary as it is written."""
    return tomllib.loads((ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))


def show_glossary() -> str:
    """The page of words."""
    entries = []
    for term in sorted(glossary()["term"], key=lambda term: term["name"].lower()):
        public = public_names().get(f"motkit.{term['see']}") if "see" in term else None
        see = f" See {{py:obj}}`{term['see']} <{public.name}>`." if public and is_built(public.docname) else ""
        entries.append(f"{term['name']}\n: {plain_to_myst(term['means'])}{see}\n")
    lead = "One concept, one name. The same word means the same in the code, in tables, on pages and in guides; a test looks for the words that are not used. Names of columns are told on the page [Tables of a study](/reference/tables.md)."
    return (
        f"# Glossary\n\n```{{rst-class}} lead\n```\n{lead}\n\n```{{glossary}}\n"
        + "\n".join(f"{entry.replace(chr(10) + ': ', chr(10) + '    ')}" for entry in entries)
        + "```\n"
    )


def written_in(cell: Cell) -> Iterator[str]:
    """What people read of a cell: prose, comments, docstrings and messages, without names in code type."""
    if cell.kind != "code":
        yield re.sub(r"`[^`]*`|```.*?```", "", cell.source, flags=re.DOTALL)
        return
    for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
        said = token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string)
        if said:
            yield re.sub(r"`[^`]*`|\{[^}]*\}", "", token.string)


def unwanted_words() -> list[str]:
    """Where a word stands that the glossary does not use."""
    wrong = {word: term["name"] for term in glossary()["term"] for word in term.get("not", [])}
    pattern = re.compile("|".join(rf"(?P<w{place}>\b(?:{word})\b)" for place, word in enumerate(wrong)), re.IGNORECASE)
    names, found = list(wrong.values()), []
    for book in all_notebooks():
        if book.path.stem in glossary()["but"]:
            continue
        for cell in book.cells:
            for text in written_in(cell):
                for hit in pattern.finditer(text):
                    found.append(f"{book.path.name}: '{hit[0]}', say '{names[int(str(hit.lastgroup)[1:])]}'")
    return found


def unknown_terms() -> list[str]:
    """Names that the glossary points to and that are not public."""
    return [
        term["see"] for term in glossary()["term"] if "see" in term and f"motkit.{term['see']}" not in public_names()
    ]
