"""The reference of every public name, read off the code: signature, parameters with units, raises, source and example."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from fastcore.docments import docments

from builder.names import explain
from builder.notebooks import STAGES, Cell, Notebook, all_notebooks
from builder.prose import chip, code_block, is_built, link_page, plain_to_myst, raw_html, show_cell, unit_of
from builder.public import Public, by_stage, first_sentence, public_names
from builder.raising import may_raise
from builder.running import outputs_of
from builder.seen import Seen


def say_type(annotation: Any) -> str:
    """A type as people write it."""
    if annotation in (inspect.Parameter.empty, None):
        return "None" if annotation is None else ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\bpolars\.(?:\w+\.)*(\w+)", r"pl.\1", text)
    text = re.sub(r"\b(?:motkit|collections\.abc|typing|datetime|pathlib|os|numpy|types)\.(?:\w+\.)*(\w+)", r"\1", text)
    return text.replace("pl.DataFrame | pl.LazyFrame", "pl.DataFrame | pl.LazyFrame").replace("NoneType", "None")


def say_default(value: Any) -> str:
    """A default as it would be typed."""
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__name__
    text = repr(value)
    return text if len(text) <= 40 and " at 0x" not in text and not text.startswith("<") else "..."


def signature_of(function: Callable[..., Any], skip_first: bool = False) -> str:
    """Names and defaults, without types, which stand in the table below."""
    parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
    parts, star = [], False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        parts.append(mark + one.name + (f"={say_default(one.default)}" if one.default is not one.empty else ""))
    return f"({', '.join(parts)})"


def is_shown(name: str, field: dict[str, Any]) -> bool:
    """Whether a parameter belongs into the table."""
    return name not in ("self", "cls", "return") and not name.startswith("_")


def parameter_list(thing: Any, own: str) -> str:
    """The table of parameters or fields: name, type, default, unit, meaning."""
    rows = []
    for name, field in docments(thing, full=True, returns=False).items():
        if not is_shown(name, field):
            continue
        default = field["default"]
        has_default = default is not inspect.Parameter.empty and not isinstance(default, dataclasses._MISSING_TYPE)
        told = [chip(say_type(field["anno"]), "type"), chip(unit_of(name), "unit")]
        told += (
            [chip(f"default {say_default(default)}", "default")]
            if has_default and say_default(default) != "..."
            else []
        )
        chips = " ".join(filter(None, told))
        rows.append(f"`{name}` {chips}\n: {plain_to_myst(explain(name, field), own) or '...'}\n")
    return "`````{container} mk-params\n" + "\n".join(rows) + "`````\n" if rows else ""


def split_docstring(text: str) -> tuple[str, str, str]:
    """The docstring's prose, its sentence of errors and its source."""
    flat = " ".join(text.split())
    source = re.search(r"\bSources?: (.*)$", flat)
    flat = flat[: source.start()] if source else flat
    raises = re.search(r"((?:^|(?<=[.;] ))(?:Raises|raises|Issues|issues) .*?\.)(?= [A-Z]|\s*$)", flat)
    prose = flat[: raises.start()] + flat[raises.end() :] if raises else flat
    return prose.strip().rstrip(";"), raises[1] if raises else "", source[1] if source else ""


def paragraphs(text: str) -> list[str]:
    """The first line of a docstring, then the rest."""
    first, _, rest = text.strip().partition("\n")
    return [first.strip(), rest.strip()]


def tell_docstring(text: str, own: str) -> str:
    """What it does, the rule at the edge, what it raises, and where the formula comes from."""
    first, rest = paragraphs(text)
    prose, raises, source = split_docstring(rest)
    lead, lead_raises, lead_source = split_docstring(first)
    parts = [plain_to_myst(lead or first, own), plain_to_myst(prose, own)]
    raised, from_where = " ".join(filter(None, (lead_raises, raises))), " ".join(filter(None, (lead_source, source)))
    if raised:
        parts.append(
            f"```{{rubric}} Raises\n```\n{plain_to_myst(link_errors(re.sub(r'^[Rr]aises ', '', raised)), own)}"
        )
    if from_where:
        parts.append(f"```{{rubric}} Source\n```\n{plain_to_myst(from_where, own)}")
    return "\n\n".join(filter(None, parts))


def derived_raises(function: Callable[..., Any], own: str) -> str:
    """What a function and what it calls may raise, where its docstring does not say."""
    kinds = [f"`motkit.errors.{kind.__name__}`: {first_sentence(inspect.getdoc(kind) or '')}" for kind in may_raise(function) if f"motkit.errors.{kind.__name__}" in public_names()]
    rows = "\n".join(f"- {plain_to_myst(kind, own)}" for kind in kinds)
    return f"```{{rubric}} Raises\n```\nIt, or what it calls:\n\n{rows}" if rows else ""


def link_errors(text: str) -> str:
    """A sentence that begins with what is raised, as a sentence."""
    return text[:1].upper() + text[1:] if text and text[0] != "`" else text


_IMPORTS = re.compile(r"^(?:from .+|import .+|\s.*|\)|#.*|)$")


def _is_example(cell: Cell) -> bool:
    """Whether a cell shows something: code that is not exported and more than imports."""
    return (
        cell.kind == "code" and not cell.exports and not all(_IMPORTS.match(line) for line in cell.source.splitlines())
    )


@cache
def _words_of_cells() -> list[tuple[Notebook, int, frozenset[str]]]:
    """The words of every cell that shows something: guides last, since they are long."""
    books = sorted(all_notebooks(), key=lambda book: book.module is None)
    return [
        (book, place, frozenset(re.findall(r"\w+", cell.source)))
        for book in books
        for place, cell in enumerate(book.cells)
        if _is_example(cell)
    ]


def _right_below(public: Public) -> list[int]:
    """The places of the cells after the one that exports a name, up to the next exported one."""
    cells, found = public.book.cells, list[int]()
    start = next(place for place, cell in enumerate(cells) if public.short in cell.names)
    for place, cell in enumerate(cells[start + 1 :], start + 1):
        if cell.exports or (cell.kind == "markdown" and cell.source.startswith("#") and found):
            break
        found += [place] if cell.kind == "code" else []
    return found


def _first_use(names: list[str], own: Notebook) -> tuple[Notebook, list[int]] | None:
    """The first cell that uses one of the names: in its own notebook, else anywhere."""
    uses = [(book, place, name) for name in names for book, place, words in _words_of_cells() if name in words and is_built(book.docname)]
    uses.sort(key=lambda use: (names.index(use[2]), use[0] is not own))
    return (uses[0][0], [uses[0][1]]) if uses else None


def find_example(public: Public) -> tuple[Notebook, list[int]] | None:
    """Notebook and places of the cells that show a name at work: right below it, else where it, or what gives it, is first used."""
    if below := _right_below(public):
        return public.book, below
    return _first_use([public.short, *(other.short for other in users_of(public))], public.book)


def users_of(public: Public) -> list[Public]:
    """The public functions that give or take a class."""
    word = re.compile(rf"\b{public.short}\b")
    found = []
    for other in public_names().values():
        if inspect.isfunction(other.thing) and public.is_class:
            notes = other.thing.__annotations__
            if any(word.search(say_type(note)) for note in notes.values()):
                found.append(other)
    return found


def source_link(public: Public) -> str:
    """A link to the cell that writes it."""
    up = "../"
    return (
        raw_html(
            f'<p class="mk-source"><a href="{up}{public.book.docname}.html#{public.short}">Source: motkit.{public.home}</a></p>'
        )
        if is_built(public.book.docname)
        else ""
    )


def example_part(public: Public, shown_on_pages: Seen) -> str:
    """The smallest true example and what it shows; for views and pictures, what a page shows."""
    if seen := shown_on_pages.get(public.short):
        cell = Cell("code", seen["code"], False, ())
        note = "The code that the page gives to copy, on the study that `make demo` makes."
        return f"## Example\n\n{show_cell(cell, seen['outputs'], anchors=False)}\n{note}\n"
    found = find_example(public)
    if not found:
        return ""
    book, places = found
    outputs = outputs_of(book)
    shown = "\n".join(show_cell(book.cells[place], outputs[place], anchors=False) for place in places)
    page = link_page(book.docname, book.title)
    note = f"The names used here are made further up in the {'notebook' if book.module else 'guide'} {page}."
    return f"## Example\n\n{shown}\n{note}\n"


def method_part(thing: type, own: str) -> str:
    """The methods and properties of a class that are meant for users."""
    parts = []
    for name, member in vars(thing).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            parts.append(
                f"``````{{py:property}} {own}.{name}\n{tell_docstring(inspect.getdoc(member) or '', own)}\n``````\n"
            )
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            bare = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            skip = not isinstance(member, staticmethod)
            body = [tell_docstring(inspect.getdoc(bare) or "", own), parameter_list(bare, own), returns_part(bare, own)]
            parts.append(
                f"``````{{py:method}} {own}.{name}{signature_of(bare, skip)}\n"
                + "\n\n".join(filter(None, body))
                + "\n``````\n"
            )
    return "## Methods\n\n" + "\n".join(parts) if parts else ""


def about_type(annotation: Any) -> str:
    """What the classes of motkit that an annotation names are, each by its first sentence."""
    found = [
        f"`{public.name.removeprefix('motkit.')}`: {first_sentence(inspect.getdoc(public.thing) or '')}"
        for public in public_names().values()
        if public.is_class and re.search(rf"\b{public.short}\b", say_type(annotation))
    ]
    return " ".join(found)


def returns_part(function: Callable[..., Any], own: str) -> str:
    """What comes back: type and docment."""
    found = docments(function, full=True).get("return")
    if not found or found["anno"] in (None, inspect.Parameter.empty, "None"):
        return ""
    kind = chip(say_type(found["anno"]), "type")
    told = found["docment"] or about_type(found["anno"])
    meaning = f": {plain_to_myst(told, own)}\n" if told else ""
    return f"```{{rubric}} Returns\n```\n`````{{container}} mk-params\n{kind}\n{meaning}`````\n"


def describe(public: Public) -> str:
    """The body of one entry, by its kind."""
    thing, own = public.thing, public.name
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        fields = parameter_list(thing, own) if dataclasses.is_dataclass(thing) or "__init__" in vars(thing) else ""
        signature = (
            "" if dataclasses.is_dataclass(thing) or issubclass(thing, BaseException | Warning) else signature_of(thing)
        )
        body = [tell_docstring(text, own), f"```{{rubric}} Fields\n```\n{fields}" if fields else ""]
        return (
            f"```````{{py:class}} {own}{signature}\n"
            + "\n\n".join(filter(None, body))
            + "\n```````\n\n"
            + method_part(thing, own)
        )
    if callable(thing) and hasattr(thing, "__code__"):
        given = parameter_list(thing, own)
        body = [
            told := tell_docstring(text, own),
            "" if "{rubric} Raises" in told else derived_raises(thing, own),
            f"```{{rubric}} Parameters\n```\n{given}" if given else "",
            returns_part(thing, own),
        ]
        return f"```````{{py:function}} {own}{signature_of(thing)}\n" + "\n\n".join(filter(None, body)) + "\n```````\n"
    cell = next(cell for cell in public.book.cells if public.short in cell.names)
    return f"```````{{py:data}} {own}\n{code_block(statement_of(cell.source, public.short))}\n```````\n"


def statement_of(source: str, name: str) -> str:
    """The statement of a cell that gives a name its value, with the comment behind it; the whole cell where it is not found."""
    lines = source.splitlines()
    for one in ast.parse(source).body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if any(isinstance(part, ast.Name) and part.id == name for target in targets for part in ast.walk(target)):
            return "\n".join(lines[one.lineno - 1 : one.end_lineno])
    return source


def show_public(public: Public, shown_on_pages: Seen) -> str:
    """The page of one public name."""
    users = users_of(public)
    used = (
        "## Used by\n\n"
        + ", ".join(
            f"{{py:obj}}`{other.name.removeprefix('motkit.')} <{other.name}>`"
            for other in users
            if is_built(other.docname)
        )
        + "\n"
        if users
        else ""
    )
    head = f"# {public.name.rsplit('.', 1)[1]}\n\n"
    trail = raw_html(
        f'<p class="mk-trail"><a href="index.html#{STAGES[public.stage][0].lower()}">{STAGES[public.stage][0]}</a></p>'
    )
    return head + trail + describe(public) + source_link(public) + "\n" + example_part(public, shown_on_pages) + "\n" + used


def summary_of(public: Public) -> str:
    """One sentence for lists."""
    if callable(public.thing):
        return plain_to_myst(first_sentence(inspect.getdoc(public.thing) or ""))
    return "Names and types of the columns of a table"


def show_index(publics: list[Public]) -> str:
    """The page that lists every public name along the flow."""
    lead = f"Every public name, in the order of the data: {len(publics)} names, each with its parameters and units, what it raises, where a formula comes from, and an example that runs."
    parts = [f"# API reference\n\n```{{rst-class}} lead\n```\n{lead}\n"]
    for stage, all_names in by_stage().items():
        names = [public for public in all_names if public in publics]
        if not names:
            continue
        title, sentence = STAGES[stage]
        rows = "\n".join(
            f"`````{{div}} mk-row\n{{py:obj}}`{public.name.removeprefix('motkit.')} <{public.name}>`\n\n{summary_of(public)}\n`````"
            for public in names
        )
        parts.append(f"## {title}\n\n{sentence}.\n\n``````{{div}} mk-names\n{rows}\n``````\n")
    toc = "\n".join(f"/{public.docname}" for public in publics)
    return "\n".join(parts) + f"\n```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
