"""From notebooks' Markdown and docstrings to MyST: names in code type become links that the build checks."""

import html
import json
import re
from functools import cache

from builder.names import dictionary
from builder.notebooks import Cell, Notebook, all_notebooks
from builder.public import public_names
from builder.running import Output

_CODE = re.compile(r"(?<!`)(`[^`\n]+`)(?!`)")
_NOTEBOOK = re.compile(r"\[([^\]\n]+(?:\n[^\]\n]+)?)\]\((?:[^)\s]*/)?([^)\s/]+\.ipynb)\)")
_SPECIAL = re.compile(r"([\\*_<>\[\]{}$|~^#@])")


UNITS = {
    "days": "days", "day": "day", "minutes": "minutes", "hours": "hours", "weeks": "weeks", "months": "months", "s": "seconds",
    "seconds": "seconds", "us": "microseconds", "ms": "milliseconds", "mb": "megabytes", "km": "kilometres", "px": "pixels", "share": "share, 0 to 1",
}  # fmt: skip
BUILT: set[str] = set()  # the pages of this build; empty: all


def is_built(docname: str) -> bool:
    """Whether the page is part of this build, since a small one has a few only."""
    return not BUILT or docname in BUILT


def link_page(docname: str, text: str) -> str:
    """A link to a page of this build, else its text."""
    return f"[{text}](/{docname}.md)" if is_built(docname) else f"*{text}*"


@cache
def _targets() -> dict[str, str]:
    """The full public name for each way that prose may write it."""
    names = {name: public for name, public in public_names().items() if is_built(public.docname)}
    short = {full.rsplit(".", 1)[1]: full for full in reversed(names)}
    tables = dictionary()["rows"]
    told = {name: full for name, full in short.items() if ("_" in name or name[0].isupper()) and name not in tables}
    return (
        told
        | {full.removeprefix("motkit."): full for full in names if full.count(".") > 1}
        | {full: full for full in names}
    )


def link_name(code: str, own: str = "") -> str:
    """A name in code type as a link, if it is a public name other than the page's own."""
    text = code.strip("`")
    name = re.sub(r"\(.*\)$", "", text)
    called = f"motkit.{name}" if text != name and f"motkit.{name}" in public_names() else name
    full = _targets().get(called)
    return f"{{py:obj}}`{text} <{full}>`" if full and full != own and "<" not in text else code


def link_names(markdown: str, own: str = "") -> str:
    """Markdown with public names linked; headings stay as they are."""
    lines = (
        line if line.startswith("#") else _CODE.sub(lambda found: link_name(found[1], own), line)
        for line in markdown.split("\n")
    )
    return "\n".join(lines)


def link_notebooks(markdown: str) -> str:
    """Links from one notebook to another, as JupyterLab follows them, as links to its page of the site."""
    pages = {book.path.name: book.docname for book in all_notebooks()}
    return _NOTEBOOK.sub(lambda found: link_page(pages[found[2]], found[1]) if found[2] in pages else found[0], markdown)


def plain_to_myst(text: str, own: str = "") -> str:
    """Text of a docstring or a comment, in which only back-ticks mean something, as MyST."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        link_name(part, own) if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts)
    )


def unit_of(name: str) -> str:
    """The unit that a name carries, as in `gap_minutes`."""
    return UNITS.get(name.rsplit("_", 1)[-1], "") if "_" in name or name in ("days", "hours", "minutes") else ""


def chip(text: str, kind: str) -> str:
    """A short text in code type with a look of its own; nothing for no text."""
    return f"`{text}`{{.mk-{kind}}}" if text else ""


def code_block(source: str, language: str = "python") -> str:
    """A block of highlighted code; the fence is longer than any in the code."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", source)), default=0))
    return f"{fence}{{code-block}} {language}\n{source}\n{fence}\n"


def raw_html(markup: str) -> str:
    """HTML as it is."""
    return f"``````{{raw}} html\n{markup.strip()}\n``````\n"


def _clean_table(markup: str) -> str:
    """A table without the style sheet that polars puts before each."""
    return re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL).replace('border="1"', "")


def show_output(output: Output) -> str:
    """One output of a cell."""
    if "bokeh" in output:
        document = json.dumps(output["bokeh"]).replace("</", "<\\/")
        return raw_html(f'<div class="mk-plot"><script type="application/json">{document}</script></div>')
    if "png" in output:
        return raw_html(
            f'<div class="mk-out"><img alt="the picture that the code above draws" src="data:image/png;base64,{output["png"].strip()}"></div>'
        )
    if "html" in output:
        return raw_html(f'<div class="mk-out mk-table">{_clean_table(output["html"])}</div>')
    kind = "mk-text" if re.search(r"[│┆┌]|  .*  ", output["text"]) else "mk-text mk-words"
    return raw_html(f'<pre class="mk-out {kind}">{html.escape(output["text"])}</pre>')


def show_cell(cell: Cell, outputs: list[Output], anchors: bool = True) -> str:
    """One cell of a notebook as MyST: prose, or code with what it shows."""
    if cell.kind != "code":
        return link_notebooks(link_names(cell.source))
    if cell.exports and not cell.names:
        return (
            raw_html('<details class="mk-imports"><summary>Imports of the module</summary>')
            + code_block(cell.source)
            + raw_html("</details>")
            if cell.source.strip()
            else ""
        )
    marks = "".join(f'<a class="mk-anchor" id="{name}"></a>' for name in cell.names) if anchors else ""
    kind = "mk-exported" if cell.exports else "mk-example"
    body = f"`````{{container}} {kind}\n{code_block(cell.source)}`````\n"
    return (raw_html(marks) if marks else "") + body + "\n".join(map(show_output, outputs))


def show_notebook(book: Notebook, outputs: list[list[Output]]) -> str:
    """A whole notebook as a page."""
    first, rest = book.cells[0], book.cells[1:]
    opening = first.source.split("\n", 2)
    head = f"# {book.title}\n\n```{{rst-class}} lead\n```\n{link_names(book.sentence)}\n\n" + (
        link_names(opening[2]) if len(opening) > 2 else ""
    )
    told = ""
    if book.module:
        place = book.path.relative_to(book.path.parents[2])
        told = raw_html(
            f'<p class="mk-origin">This notebook, <code>{place}</code>, writes the module <code>motkit.{book.module}</code>. What is marked <span class="mk-key"></span> is exported.</p>'
        )
    return (
        "\n\n".join([head, told, *(show_cell(cell, shown) for cell, shown in zip(rest, outputs[1:], strict=True))])
        + "\n"
    )
