"""`llms.txt`: what motkit is, and every page with one sentence, for programs that read."""

from pathlib import Path

import motkit
from builder.notebooks import STAGES, Notebook
from builder.pages import REFERENCE, guide_groups
from builder.public import public_names


def _line(docname: str, text: str, sentence: str) -> str:
    return (
        f"- [{text}](_sources/{docname}.md.txt): {' '.join(sentence.split())}"
        if sentence
        else f"- [{text}](_sources/{docname}.md.txt)"
    )


def write_llms(site: Path, books: list[Notebook]) -> None:
    """Write the list beside the pages; links lead to the Markdown of each page."""
    summary = (motkit.__doc__ or "").split("\n")[0]
    parts = [f"# motkit\n\n> {summary}\n"]
    parts += [
        f"## {title}\n\n"
        + "\n".join(_line(book.docname, book.title, book.sentence) for book in group if book in books)
        + "\n"
        for title, group in guide_groups().items()
    ]
    for stage, (title, _) in STAGES.items():
        names = [
            public
            for public in public_names().values()
            if public.stage == stage and (site / f"{public.docname}.html").exists()
        ]
        if names:
            parts.append(
                f"## API: {title}\n\n"
                + "\n".join(_line(public.docname, public.name, public.summary) for public in names)
                + "\n"
            )
    parts += [
        f"## {title}\n\n"
        + "\n".join(_line(name, text, "") for name, text in links if (site / f"{name}.html").exists())
        + "\n"
        for title, links in REFERENCE.items()
    ]
    parts.append(
        "## Source notebooks\n\n"
        + "\n".join(_line(book.docname, f"motkit.{book.module}", book.sentence) for book in books if book.module)
        + "\n"
    )
    (site / "llms.txt").write_text("\n".join(parts), encoding="utf-8")
