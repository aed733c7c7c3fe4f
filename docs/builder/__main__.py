"""Builds the site: `python -m builder` from docs/, or `make docs`. Warnings are errors."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from builder import api, llms, pages
from builder.notebooks import ROOT, Notebook, all_notebooks
from builder.prose import BUILT, show_notebook
from builder.public import public_names
from builder.running import outputs_of, run_all
from builder.seen import seen

DOCS = ROOT / "docs"


def write(folder: Path, docname: str, text: str, written: set[Path]) -> None:
    """Write a page, and leave its time alone when nothing changed, so that Sphinx reads only what did."""
    path = folder / f"{docname}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    written.add(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def chosen_notebooks(small: list[str] | None) -> list[Notebook]:
    """All notebooks, or for a small site those that are named and every one that a public name is written in."""
    books = list(all_notebooks())
    return books if small is None else [book for book in books if book.path.stem in small]


def make_sources(folder: Path, books: list[Notebook], study: Path | None, small: bool) -> set[Path]:
    """Write every page as MyST."""
    written: set[Path] = set()
    homes = {book.module for book in books}
    publics = [public for public in public_names().values() if not small or public.home in homes]
    BUILT.update(one.docname for one in (*books, *publics))
    for book in books:
        write(folder, book.docname, show_notebook(book, outputs_of(book)), written)
    for public in publics:
        write(folder, public.docname, api.show_public(public, seen(study)), written)
    write(folder, "api/index", api.show_index(publics), written)
    write(folder, "guides/index", pages.guide_index(books), written)
    write(folder, "notebooks/index", pages.notebook_index(books), written)
    for name, text in pages.reference_pages(study).items():
        write(folder, f"reference/{name}", text, written)
    write(folder, "index", pages.home(), written)
    return written


def crop_top(picture: Path, top: Path) -> None:
    """What is seen of a page without scrolling."""
    from PIL import Image

    whole, tall = Image.open(picture), 1.7 if "-phone" in picture.stem else 0.68
    whole.crop((0, 0, whole.width, min(whole.height, round(whole.width * tall)))).save(top, optimize=True)


def copy_files(folder: Path) -> None:
    """What pages need beside text: pictures of the real pages, and Bokeh from the installed package."""
    import bokeh

    scripts = folder / "_bokeh"
    scripts.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js", scripts)
    shots = folder / "shots"
    shots.mkdir(exist_ok=True)
    for picture in (DOCS / "shots").glob("*.png"):
        top = shots / f"{picture.stem}-top.png"
        if not top.exists() or top.stat().st_mtime < picture.stat().st_mtime:
            shutil.copy(picture, shots)
            crop_top(picture, top)


def make_study(folder: Path) -> Path:
    """The study of the demo, whose tables are the ones that the reference lists; stages that did not change are taken over."""
    command = [sys.executable, "-m", "motkit", "demo", "--out", str(folder), "--no-serve", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def build(source: Path, site: Path, fresh: bool) -> None:
    """Let Sphinx make pages of the sources."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-n",
        "-W",
        "--keep-going",
        "-q",
        "-j",
        "2",
        "-c",
        str(DOCS),
        "-d",
        str(source.parent / "_doctrees" if source.name == "_src" else source / "_doctrees"),
    ]
    environment = os.environ | {"MOTKIT_DOCS_SRC": str(source), "PYTHONPATH": f"{ROOT}:{DOCS}"}
    whole = fresh or not (site / "searchindex.js").exists()  # a build that was broken off has no index to add to
    done = subprocess.run(
        [*command, *(["-E", "-a"] if whole else []), str(source), str(site)], check=False, env=environment
    )
    if done.returncode:
        raise SystemExit("The site has warnings, which are errors: see above.")


def main() -> None:
    """Run what changed, write the sources, build, and write `llms.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source", type=Path, default=DOCS / "_src", help="where the pages are written before Sphinx reads them"
    )
    parser.add_argument("--site", type=Path, default=DOCS / "site", help="where the site goes")
    parser.add_argument(
        "--small", nargs="*", metavar="NOTEBOOK", help="only these notebooks and their names, nothing is run"
    )
    parser.add_argument("--processes", type=int, default=2, help="how many notebooks run at a time")
    parser.add_argument("--fresh", action="store_true", help="read every page anew")
    chosen = parser.parse_args()
    started, small = time.monotonic(), chosen.small is not None
    books = chosen_notebooks(chosen.small)
    if not small:
        run_all(books, chosen.processes)
    study = None if small else make_study(DOCS / "_cache" / "demo-study")
    source = chosen.source.resolve()
    written = make_sources(source, books, study, small)
    for path in set(source.rglob("*.md")) - written:
        path.unlink()
    copy_files(source)
    build(source, chosen.site.resolve(), chosen.fresh)
    llms.write_llms(chosen.site, books)
    print(
        f"The site is in {chosen.site}: open {chosen.site / 'index.html'}. It took {time.monotonic() - started:.0f} s."
    )


if __name__ == "__main__":
    main()
