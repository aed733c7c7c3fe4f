"""The pages between the notebooks: home, lists, decisions, validation, benchmarks, tables and glossary."""

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from builder import tables, words
from builder.dependencies import dependencies_page
from builder.names import dictionary
from builder.notebooks import GUIDES, ROOT, STAGES, Notebook, all_notebooks
from builder.prose import is_built, plain_to_myst
from builder.public import public_names
from motkit import list_formats

DOCS = ROOT / "docs"


def _title_of(path: Path) -> str:
    return (
        next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
        .removeprefix("# ")
        .replace("`", "")
        .strip()
    )


def decisions() -> list[Path]:
    """The decision records, in order."""
    return sorted((DOCS / "decisions").glob("[0-9]*.md"))


REPORTS = {
    "Is it right?": ["validation*"],
    "Is it fast?": ["bench*", "capacity*", "soak*"],
    "Is it safe?": ["reliability", "security", "privacy"],
}  # what commands such as `motkit validate` and `motkit bench` wrote beside this folder; a report that is not there is left out


def reports(group: str) -> list[Path]:
    """The reports of one group that there are, in order."""
    return [path for pattern in REPORTS[group] for path in sorted(DOCS.glob(f"{pattern}.md"))]


def _links(paths: list[Path]) -> list[tuple[str, str]]:
    return [(f"reference/{path.stem}", _title_of(path)) for path in paths]


REFERENCE = {
    "Reference": [
        ("reference/index", "Overview"),
        ("reference/tables", "Tables of a study"),
        ("reference/settings", "Settings"),
        ("reference/commands", "Commands"),
        ("reference/glossary", "Glossary"),
    ],
    "Is it right?": [*_links(reports("Is it right?")), ("reference/references", "Numbers from elsewhere")],
    "Is it fast?": _links(reports("Is it fast?")),
    "Is it safe?": [*_links(reports("Is it safe?")), ("reference/dependencies", "Dependencies")],
    "Decisions": [("reference/decisions", "All decisions"), *_links(decisions())],
    "Project": [("reference/changelog", "Changelog"), ("reference/contributing", "Working on motkit")],
}
REFERENCE = {title: links for title, links in REFERENCE.items() if links}


@cache
def guide_groups() -> dict[str, tuple[Notebook, ...]]:
    """The guides by kind, as `docs/guides.toml` says."""
    guides = {
        book.path.stem: book for book in all_notebooks() if book.stage == GUIDES or book.path.name == "index.ipynb"
    }
    kinds = tomllib.loads((DOCS / "guides.toml").read_text(encoding="utf-8"))
    groups = {title: tuple(guides.pop(stem) for pattern in patterns for stem in fnmatch.filter(list(guides), pattern)) for title, patterns in kinds.items()}
    return {title: found for title, found in (groups | {"More": tuple(guides.values())}).items() if found}


def toctree(docnames: list[str]) -> str:
    """A hidden list of pages, for the order of pages and the navigation on top."""
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(f"/{name}" for name in docnames) + "\n```\n"


def cards(books: tuple[Notebook, ...]) -> str:
    """A card for each guide."""
    items = "\n".join(
        f":::{{grid-item-card}} {book.title}\n:link: /{book.docname}\n:link-type: doc\n\n{plain(book.sentence)}\n:::\n"
        for book in books
    )
    return f"::::{{grid}} 1 1 2 2\n:gutter: 3\n\n{items}\n::::\n"


def plain(text: str) -> str:
    """A sentence without links, for a card that is one."""
    return re.sub(r"\{py:obj\}`(\S+) <[^>]*>`", r"`\1`", plain_to_myst(text))


def lead(text: str) -> str:
    """The sentence under a title."""
    return f"```{{rst-class}} lead\n```\n{text}\n"


def guide_index(built: list[Notebook]) -> str:
    """The list of guides."""
    groups = {
        title: found
        for title, books in guide_groups().items()
        if (found := tuple(book for book in books if book in built))
    }
    parts = [
        f"# Guides\n\n{lead('From raw events to decisions, on data that you can run yourself. Every number in a guide is asserted in the cell above it.')}"
    ]
    parts += [f"## {title}\n\n{cards(books)}" for title, books in groups.items()]
    return "\n".join(parts) + toctree([book.docname for books in groups.values() for book in books])


def notebook_index(built: list[Notebook]) -> str:
    """The list of the notebooks that are the source of the package."""
    books = [book for book in built if book.module]
    parts = [
        f"# Source notebooks\n\n{lead(f'The source of motkit is {len(books)} notebooks, in the order of the data. Each tells one part, writes one module, and runs from top to bottom: what its cells show was made by this version.')}"
    ]
    for stage, (title, sentence) in STAGES.items():
        rows = "\n".join(
            f"`````{{div}} mk-row\n[{book.title}](/{book.docname}.md)\n\n{plain_to_myst(book.sentence)}\n`````"
            for book in books
            if book.stage == stage
        )
        if rows:
            parts.append(f"## {title}\n\n{sentence}.\n\n``````{{div}} mk-names\n{rows}\n``````\n")
    return "\n".join(parts) + toctree([book.docname for book in books])


def mend_links(markdown: str) -> str:
    """Links of a page of the repository, as they stand in the site."""
    places = {
        "CONTRIBUTING.md": "/reference/contributing.md",
        "CHANGELOG.md": "/reference/changelog.md",
        "docs/decisions/README.md": "/reference/decisions.md",
        "docs/decisions": "/reference/decisions.md",
    }
    files = {path.name: f"/reference/{path.stem}.md" for path in decisions()}

    def mend(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        place = places.get(target) or files.get(Path(target).name)
        if place:
            return f"[{text}]({place})"
        return found[0] if re.match(r"https?:|#|/", target) else text

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", mend, markdown)


def _rows_of(report: str) -> Iterator[dict[str, str]]:
    """The rows of the tables of a report, by the names of their columns."""
    head: list[str] = []
    for line in report.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")] if line.startswith("|") else []
        if not head:
            head = cells
        elif not cells:
            head = []
        elif set(line) - set("|-: "):
            yield dict(zip(head, cells, strict=False))


def tell_report(report: str) -> str:
    """How many bars of a report are met, and what its measures are; nothing where it has none."""
    rows, known = list(_rows_of(report)), dictionary()["measures"]
    met = [answer for row in rows if (answer := row.get("passes", row.get("ok"))) in ("true", "false")]
    used = {row.get("measure", "").split(", ")[0] for row in rows} | {row.get("measure") for row in rows} | {name for row in rows for name in row}
    words = [f"`{name}`\n: {plain_to_myst(meaning)}\n" for name, meaning in known.items() if name in used]
    told = f"{met.count('true')} of {len(met)} bars (`at_least`, `at_most`) are met.\n\n" if met else ""
    return told + ("`````{container} mk-params\n" + "\n".join(words) + "`````\n" if words else "")


def report_page(path: Path) -> str:
    """A report that a command wrote, its tables as they are, with what its measures mean before the first."""
    report = path.read_text(encoding="utf-8")
    opening, bar, rest = report.partition("\n|")
    told = tell_report(report) if path in reports("Is it right?") else ""  # the words of other reports are their own
    return opening + "\n" + told + bar + re.sub(r"\bnull\b", "·", rest)


def decision_index() -> str:
    """The list of the decision records."""
    rows = "\n".join(f"- [{_title_of(path)}](/reference/{path.stem}.md)" for path in decisions())
    return f"# Decisions\n\n{lead('Why motkit is as it is: one page a decision, never rewritten, replaced by a later one that names it.')}\n{rows}\n"


def references_page() -> str:
    """What independent numbers the tests compare with, as the folders of the tests say themselves."""
    parts = [
        f"# Numbers from elsewhere\n\n{lead('What motkit computes is compared by its tests with numbers that other programs or papers gave. These are the sources, as they stand beside the numbers in `tests/reference/`.')}"
    ]
    for folder in sorted(path for path in (ROOT / "tests" / "reference").iterdir() if path.is_dir()):
        files = sorted(path.name for path in folder.iterdir() if path.name != "README.md")
        if not files:
            continue
        readme = folder / "README.md"
        text = (
            readme.read_text(encoding="utf-8")
            if readme.exists()
            else f"# {folder.name.replace('_', ' ').capitalize()}\n"
        )
        told = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)
        parts.append(
            f"{told.strip()}\n\nFiles in `tests/reference/{folder.name}/`: {', '.join(f'`{name}`' for name in files)}.\n"
        )
    return "\n\n".join(parts)


def settings_page() -> str:
    """Every setting, as the file of the defaults explains it."""
    text, parts = (ROOT / "settings.ini").read_text(encoding="utf-8"), []
    _, *sections = re.split(r"^\[(\w+)\]\n", text, flags=re.MULTILINE)
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        rows, told = [], []
        for line in body.strip().splitlines():
            if line.startswith("#"):
                told.append(line.removeprefix("#").strip())
            elif "=" in line:
                key, _, value = line.partition("=")
                chips = (
                    f"`default {value.strip()}`{{.mk-default}}" if value.strip() else "`default: empty`{.mk-default}"
                )
                rows.append(f"`{key.strip()}` {chips}\n: {plain_to_myst(' '.join(told)) or '...'}\n")
                told = []
        parts.append(f"## {name}\n\n`````{{container}} mk-params\n" + "\n".join(rows) + "`````\n")
    intro = "What people decide about an analysis: copy [`settings.ini`](#the-whole-file), change what you need, and type `motkit run --events LOG --settings FILE --out study`. Units stand in the names, so that every value is a plain number; lists are written with commas; an unknown name is an error."
    return (
        f"# Settings\n\n{lead(intro)}\n"
        + "\n".join(parts)
        + f"\n## The whole file\n\n```{{code-block}} ini\n{text}\n```\n"
    )


def commands_page() -> str:
    """What can be typed after `motkit`, as the program says itself."""
    from typer.main import get_command

    from motkit.__main__ import app

    command, parts = get_command(app), []
    for name, one in command.commands.items():
        rows = []
        for given in one.params:
            if given.name == "help":
                continue
            typed = ", ".join(given.opts) if given.param_type_name == "option" else given.name.upper()
            default = (
                f" `default {given.default}`{{.mk-default}}"
                if given.default not in (None, False, (), "") and "Sentinel" not in repr(given.default)
                else ""
            )
            rows.append(f"`{typed}`{default}\n: {plain_to_myst(getattr(given, 'help', None) or '...')}\n")
        given_parts = "`````{container} mk-params\n" + "\n".join(rows) + "`````\n" if rows else ""
        parts.append(f"## motkit {name}\n\n{plain_to_myst(one.help or '')}\n\n{given_parts}")
    return (
        f"# Commands\n\n{lead('Exit code 0 on success, 2 on bad usage or input with one paragraph that says what to type, 1 on anything else.')}\n"
        + "\n".join(parts)
    )


def reference_index() -> str:
    """The overview of the reference part."""
    groups = "\n".join(
        f"## {title}\n\n"
        + "\n".join(f"- [{text}](/{name}.md)" for name, text in links if name != "reference/index")
        + "\n"
        for title, links in REFERENCE.items()
    )
    return (
        f"# Reference\n\n{lead('Tables, settings and words; what shows that the numbers are right; and why things are as they are.')}\n{groups}"
        + toctree([name for links in REFERENCE.values() for name, _ in links if name != "reference/index"])
    )


def reference_pages(study: Path | None) -> dict[str, str]:
    """The pages of the reference part by name."""
    read = lambda path: path.read_text(encoding="utf-8")  # noqa: E731
    made = {
        "index": reference_index(),
        "settings": settings_page(),
        "commands": commands_page(),
        "references": references_page(),
        "decisions": decision_index(),
        "dependencies": dependencies_page(),
    }
    made |= {"tables": tables.show_tables(study), "glossary": words.show_glossary()}
    made |= {path.stem: report_page(path) for group in REPORTS for path in reports(group)}
    made |= {path.stem: mend_links(read(path)) for path in decisions()}
    return made | {
        "changelog": mend_links(read(ROOT / "CHANGELOG.md")),
        "contributing": mend_links(read(ROOT / "CONTRIBUTING.md")),
    }


QUESTIONS = {
    "Until which day must a customer be onboarded?": (
        "find_threshold",
        "The day beyond which customers who are not onboarded are at risk, with the days that the data allow.",
    ),
    "Which interactions make or break loyalty?": (
        "find_moments",
        "Compared with customers of the same recent activity, with a placebo and a stated share of false finds.",
    ),
    "Where do customers leave the path we planned?": (
        "map_journey",
        "The journey that people wrote down, filled with reach, time, pains and answers.",
    ),
    "Which promises do we keep?": (
        "check_promises",
        "By week and segment, with open cases counted as open, and what a broken one goes with.",
    ),
    "Who are our customers?": (
        "build_personas",
        "Kinds of customers that hold still when customers are drawn again, with cards to read.",
    ),
    "How engaged is everyone, and why?": (
        "fit_engagement",
        "A score fitted to what customers did later, checked on a later window, explained signal by signal.",
    ),
    "What should we do next, for whom?": (
        "Decider",
        "The next best action under a contact policy, with a reason for every yes and no.",
    ),
    "What has just changed?": (
        "watch.Watch",
        "Early warning with one budget of false alarms, and the segments that drive it.",
    ),
    "Did it work?": ("compare_arms", "Holdouts, tests, uplift and the right number of contacts, where chance dealt."),
}
GALLERY = {
    "overview": "Overview",
    "journey": "Journey",
    "moments": "Moments",
    "promises": "Promises",
    "personas": "Personas",
    "engagement": "Engagement",
    "decisions": "Decisions",
    "watch": "Early warning",
    "paths": "Paths",
}


def question_cards() -> str:
    """What motkit answers, each with the name that answers it."""
    names = public_names()
    items = "\n".join(
        f":::{{grid-item-card}} {question}\n:link: /{names[f'motkit.{name}'].docname}\n:link-type: doc\n\n{answer}\n:::\n"
        for question, (name, answer) in QUESTIONS.items()
        if is_built(names[f"motkit.{name}"].docname)
    )
    return f"::::{{grid}} 1 1 2 3\n:gutter: 3\n\n{items}\n::::\n" if items else ""


def show_picture(name: str, title: str, linked: bool, kind: str) -> str:
    """The top of a real page, as it looks on this screen: wide or a phone's, light or dark."""
    parts = []
    for size, look in (("desk", ""), ("phone", "phone")):
        for mode in ("light", "dark"):
            file = "-".join(filter(None, [name, look, "" if look and mode == "light" else mode]))
            if not (DOCS / "shots" / f"{file}.png").exists():
                continue
            picture = f"![{title}](shots/{file}-top.png)"
            picture = f"[{picture}](shots/{file}.png)" if linked else picture
            parts.append(f":::{{div}} {kind} mk-{size} only-{mode}\n{picture}\n:::")
    return "\n".join(parts)


def gallery() -> str:
    """Pictures of the real pages that there are, which lead to the whole picture."""
    found = [(name, title) for name, title in GALLERY.items() if (DOCS / "shots" / f"{name}-light.png").exists()]
    cells = "\n".join(
        f"::::{{grid-item}}\n{show_picture(name, f'The page {title} of the demo', True, 'mk-thumb')}\n{title}\n::::\n"
        for name, title in found
    )
    return f":::::{{grid}} 2 2 2 3\n:gutter: 3\n:class-container: mk-gallery\n\n{cells}\n:::::\n"


def known_exports() -> str:
    """The systems whose exports are recognised, by their names, each once."""
    titles = list_formats()["title"].to_list()
    names = [re.split(r",| \(", title)[0] for title in titles]
    return " · ".join(dict.fromkeys(names))


def home() -> str:
    """The first page, from `docs/pages/home.md`."""
    text = (
        (DOCS / "pages" / "home.md")
        .read_text(encoding="utf-8")
        .replace("@@exports@@", known_exports())
        .replace("@@questions@@", question_cards())
        .replace("@@gallery@@", gallery())
        .replace("@@picture@@", show_picture("onboarding", "The onboarding page: until which day, how sure, and what follows", False, "mk-shot"))
    )
    links = lambda found: found[0] if is_built(found[2]) or found[2].startswith("reference/") else found[1]  # noqa: E731
    text = re.sub(r"(?<!!)\[([^\]]+)\]\(/([^)]+)\.md\)", links, text)
    return text + toctree(["guides/index", "api/index", "notebooks/index", "reference/index"])
