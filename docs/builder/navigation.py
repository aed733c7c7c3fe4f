"""The left-hand navigation: each part of the site as groups of links, made once for all pages of the part."""

from functools import cache
from typing import Any

from builder.notebooks import GUIDES, STAGES, all_notebooks
from builder.pages import REFERENCE, guide_groups
from builder.public import by_stage

Group = dict[str, Any]


@cache
def groups_of(part: str) -> list[Group]:
    """The groups of links of one part: title, and (docname, text) for each page."""
    if part == "api":
        return [
            {"title": STAGES[stage][0], "links": [(name.docname, name.name.removeprefix("motkit.")) for name in names]}
            for stage, names in by_stage().items()
        ]
    if part == "notebooks":
        books = [book for book in all_notebooks() if book.module and book.stage != GUIDES]
        return [
            {"title": title, "links": [(book.docname, book.title) for book in books if book.stage == stage]}
            for stage, (title, _) in STAGES.items()
        ]
    if part == "guides":
        return [
            {"title": title, "links": [(book.docname, book.title) for book in books]}
            for title, books in guide_groups().items()
        ]
    return [{"title": title, "links": links} for title, links in REFERENCE.items()]


def add_navigation(app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the template of a page its groups, with those pages only that this build has."""
    part, built = pagename.split("/")[0], app.env.found_docs
    groups = [group | {"links": [link for link in group["links"] if link[0] in built]} for group in groups_of(part)]
    context["motkit_groups"] = [
        group | {"open": any(link[0] == pagename for link in group["links"])} for group in groups if group["links"]
    ]
    context["motkit_folded"] = part in ("api", "notebooks")
    if doctree is not None and any(
        'class="mk-plot"' in node.astext() for node in doctree.findall(lambda node: node.tagname == "raw")
    ):
        app.add_js_file("bokeh.min.js", priority=100)
