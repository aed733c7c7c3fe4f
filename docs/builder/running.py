"""Runs notebooks and keeps what their cells show; a notebook is run again only when it or the code below it changed.

As in the tests, the module of a notebook is imported, and its exported cells are not run a second time. One process
runs many notebooks, each with fresh names, so that libraries are imported once.
"""

import ast
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from builder.notebooks import NBS, ROOT, Notebook, read_notebook

CACHE = ROOT / "docs" / "_cache"
LONGEST_TEXT = 6_000  # characters of a printed output
LARGEST_HTML = 400_000  # characters of a table or picture
Output = dict[str, Any]


@cache
def code_below(module: str) -> frozenset[str]:
    """The modules that a module imports, directly or not, and itself."""
    source = (ROOT / "motkit" / f"{module}.py").read_text(encoding="utf-8")
    direct = set(re.findall(r"^\s*from (?:motkit)?\.(\w+) import", source, re.MULTILINE)) - {module}
    return frozenset({module}).union(
        *(code_below(name) for name in direct if (ROOT / "motkit" / f"{name}.py").exists())
    )


@cache
def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _homes_of_names() -> dict[str, str]:
    """The module of each name that `import motkit` gives."""
    stub = ast.parse((ROOT / "motkit" / "__init__.pyi").read_text(encoding="utf-8"))
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: line.module or alias.name for line in lines for alias in line.names}


def modules_used(book: Notebook) -> frozenset[str]:
    """The modules that a guide names, and all that these import."""
    code = "\n".join(cell.source for cell in book.cells if cell.kind == "code")
    imported = set(re.findall(r"^\s*from motkit\.(\w+) import", code, re.MULTILINE))
    named = {_homes_of_names().get(name, name) for name in re.findall(r"\bmotkit\.(\w+)", code)}
    return frozenset().union(*(code_below(name) for name in imported | named if (ROOT / "motkit" / f"{name}.py").exists()))


def key_of(book: Notebook) -> str:
    """The hash of all that what a notebook shows depends on."""
    names = code_below(book.module) if book.module else modules_used(book)
    files = [ROOT / "motkit" / f"{name}.py" for name in sorted(names)]
    files += [
        book.path,
        *sorted((ROOT / "data").glob("*")),
        *sorted((ROOT / "motkit" / "demo").glob("*")),
        ROOT / "settings.ini",
        Path(__file__),
    ]
    parts = [f"{path.relative_to(ROOT)} {_hash_file(path)}" for path in files if path.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _cached(book: Notebook) -> Path:
    return CACHE / f"{book.path.stem}.{key_of(book)}.json"


def draw_picture(value: Any) -> Output | None:
    """A picture of HoloViews or a `Drawing` as the JSON of its Bokeh document; None for anything else."""
    from motkit.plots import Drawing, figure_of

    holoviews = sys.modules.get("holoviews")
    if not isinstance(value, (Drawing, holoviews.core.Dimensioned) if holoviews else Drawing):
        return None
    from bokeh.embed import json_item

    return {"bokeh": json_item(figure_of(value))}


def draw_output(data: dict[str, Any]) -> Output | None:
    """The richest form of what a cell displays that a page can show."""
    if "text/html" in data and len(data["text/html"]) <= LARGEST_HTML and "<script" not in data["text/html"]:
        return {"html": data["text/html"]}
    if "image/svg+xml" in data:
        return {"html": data["image/svg+xml"]}
    if "image/png" in data:
        return {"png": data["image/png"]}
    return {"text": data["text/plain"][:LONGEST_TEXT]} if data.get("text/plain") else None


def split_last(source: str) -> tuple[str, str]:
    """The code of a cell, and its last expression, whose value is shown; nothing where it ends with a semicolon or a statement."""
    last = ast.parse(source).body[-1:]
    if not last or not isinstance(last[0], ast.Expr) or source.rstrip().endswith(";"):
        return source, ""
    lines = source.splitlines()
    return "\n".join(lines[: last[0].lineno - 1]), "\n".join(lines[last[0].lineno - 1 :])


def run_cell(shell: Any, source: str, name: str) -> list[Output]:
    """What one cell prints and displays. An error stops the build and names the cell."""
    from IPython.utils.capture import capture_output

    body, last = split_last(source)
    with capture_output() as got:
        result = shell.run_cell(body, store_history=False)
        value = eval(compile(last, name, "eval"), shell.user_ns) if last and result.success else None
    if not result.success:
        raise SystemExit(f"{name} fails: {result.error_in_exec or result.error_before_exec!r}\n{source}")
    outputs: list[Output] = [{"text": got.stdout[:LONGEST_TEXT].rstrip()}] if got.stdout.strip() else []
    shown = [draw_output(rich.data) for rich in got.outputs]
    if value is not None:
        shown.append(draw_picture(value) or draw_output(shell.display_formatter.format(value)[0]))
    return [*outputs, *filter(None, shown)]


def run_notebook(shell: Any, book: Notebook) -> list[list[Output]]:
    """The outputs of every cell; none for prose and exported code."""
    os.chdir(book.path.parent)
    shell.reset(new_session=False)
    if book.module:
        shell.user_ns |= vars(importlib.import_module(f"motkit.{book.module}")) | {"__name__": "__main__"}
    run = [cell.kind == "code" and not cell.exports for cell in book.cells]
    return [
        run_cell(shell, cell.source, f"{book.path.name}, cell {place}") if runs else []
        for place, (cell, runs) in enumerate(zip(book.cells, run, strict=True))
    ]


def work(paths: list[str]) -> None:
    """What a worker process does: run notebooks and keep their outputs."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    for path in paths:
        book, started = read_notebook(Path(path)), time.process_time()
        made = run_notebook(shell, book)
        for old in CACHE.glob(f"{book.path.stem}.*.json"):
            old.unlink()
        _cached(book).write_text(json.dumps(made), encoding="utf-8")
        print(f"  {book.path.relative_to(NBS)}  {time.process_time() - started:.1f} CPU s", flush=True)


def run_all(books: list[Notebook], processes: int) -> None:
    """Run the notebooks whose outputs are not kept yet, in a few processes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    missing = [str(book.path) for book in books if not _cached(book).exists()]
    if not missing:
        return
    print(f"Running {len(missing)} notebooks; what they show is kept in {CACHE.relative_to(ROOT)}.", flush=True)
    shares = [share for start in range(processes) if (share := missing[start::processes])]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'docs'}", "MPLBACKEND": "agg"}
    workers = [subprocess.Popen([sys.executable, "-m", "builder.running", *share], env=environment) for share in shares]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise SystemExit("A notebook failed, so the site was not built.")


def outputs_of(book: Notebook) -> list[list[Output]]:
    """What the cells of a notebook show; nothing where it was not run."""
    kept = _cached(book)
    return json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else [[] for _ in book.cells]


if __name__ == "__main__":
    work(sys.argv[1:])
