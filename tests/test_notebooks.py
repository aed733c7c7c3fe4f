"""Every notebook runs from top to bottom: its module is imported, its examples are executed and assert."""

import importlib
import json
import linecache
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))


def read_code(notebook: Path) -> list[tuple[str, str]]:
    """The id and source of every code cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def has(directive: str, source: str) -> bool:
    """Whether a cell carries a directive such as `export`."""
    return re.search(rf"^#\|\s*{directive}\b", source, re.MULTILINE) is not None


IN_A_KERNEL = {"index.ipynb", "801_tutorial.ipynb"}


def run_notebook(notebook: Path) -> None:
    """Run the cells that are not exported, with the names of the module, from the folder of the notebook."""
    space: dict[str, Any] = {"__name__": "__main__", "display": print, "_repr_html_": None}
    for cell_id, source in read_code(notebook):
        module = re.search(r"^#\|\s*default_exp\s+(\S+)", source, re.MULTILINE)
        if module:
            space |= vars(importlib.import_module(f"motkit.{module[1]}"))
            space["__name__"] = "__main__"
        elif not has("export", source) and not has("eval: *false", source):
            name = f"{notebook.name}:{cell_id}"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            exec(compile(source, name, "exec"), space)


@pytest.mark.parametrize("notebook", [path for path in NOTEBOOKS if path.name not in IN_A_KERNEL], ids=lambda path: str(path.relative_to(ROOT / "nbs")))
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(notebook.parent)
    monkeypatch.delenv("MOTKIT_POSTGRES", raising=False)
    run_notebook(notebook)


@pytest.mark.postgres
def test_the_guide_to_postgresql_runs_on_a_real_server(postgres_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    guide = ROOT / "nbs" / "80_guides" / "836_use_postgresql.ipynb"
    monkeypatch.chdir(guide.parent)
    monkeypatch.setenv("MOTKIT_POSTGRES", postgres_server)
    run_notebook(guide)
    assert capsys.readouterr().out.startswith("Reading from your server.")


@pytest.mark.parametrize("guide", [str(path.relative_to(ROOT / "nbs")) for path in NOTEBOOKS if path.name in IN_A_KERNEL])
def test_a_page_for_newcomers_runs_in_a_fresh_kernel(guide: str, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "nbs" / guide, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str((ROOT / "nbs" / guide).parent)}})
    client.execute(env=os.environ | {"IPYTHONDIR": str(tmp_path)})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not any(output.output_type == "error" for output in outputs)


def test_the_tutorial_has_at_most_thirty_cells() -> None:
    cells = json.loads((ROOT / "nbs" / "80_guides" / "801_tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    assert len(cells) <= 30
