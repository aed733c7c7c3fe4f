"""Notebooks as the site sees them: their cells, what each exports, and where they stand in the flow."""

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NBS = ROOT / "nbs"
GUIDES = "80_guides"
STAGES = {
    "00_ground": ("Ground", "Errors, settings, the tables that travel, and survival analysis"),
    "10_record": ("Record", "Any log or export to events, identities, sessions and what customers write"),
    "20_journey": (
        "Journey",
        "Paths, funnels, cohorts, and the journey that people planned filled with what customers do",
    ),
    "30_loyalty": ("Loyalty", "Engagement, onboarding thresholds, repeat buying and personas"),
    "40_moments": ("Moments", "Moments of truth, promises kept, and early warning"),
    "50_act": ("Act", "Contact policy, offers, triggers, assignment, decisions and their record"),
    "60_measure": ("Measure", "Holdouts, experiments, uplift and rollout"),
    "65_study": ("Study", "The whole analysis as a folder of tables, computed once"),
    "70_show": ("Show", "Views, pictures, pages and the report"),
}


@dataclass(frozen=True)
class Cell:
    """One cell; `names` are those that it exports, none for prose and examples."""

    kind: str
    source: str
    exports: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class Notebook:
    """One notebook; `module` is what it writes, None for a guide."""

    path: Path
    module: str | None
    title: str
    sentence: str
    cells: tuple[Cell, ...]

    @property
    def stage(self) -> str:
        """The folder, which is the stage of the flow."""
        return self.path.parent.name

    @property
    def docname(self) -> str:
        """Where its page stands in the site."""
        if self.path.name == "index.ipynb":
            return "guides/first-look"
        folder = "guides" if self.stage == GUIDES else f"notebooks/{self.stage[3:]}"
        return f"{folder}/{re.sub(r'^[0-9]+_', '', self.path.stem).replace('_', '-')}"


def names_of(source: str) -> tuple[str, ...]:
    """The names that a cell of code defines at its top level."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return tuple(found)


def read_cell(raw: dict) -> Cell:
    """One cell, without the directives of nbdev."""
    source = "".join(raw["source"])
    directives = re.findall(r"^#\|\s*(\w+)", source, re.MULTILINE)
    bare = re.sub(r"^#\|.*\n?", "", source, flags=re.MULTILINE).strip("\n")
    exports = raw["cell_type"] == "code" and bool({"export", "default_exp"} & set(directives))
    names = names_of(bare) if exports and "export" in directives else ()
    return Cell(raw["cell_type"], bare, exports, names)


@cache
def read_notebook(path: Path) -> Notebook:
    """One notebook, its title and sentence taken from the first cell."""
    raw = json.loads(path.read_text(encoding="utf-8"))["cells"]
    module = next(
        (
            found[1]
            for cell in raw
            if (found := re.search(r"^#\|\s*default_exp\s+(\S+)", "".join(cell["source"]), re.MULTILINE))
        ),
        None,
    )
    cells = tuple(cell for one in raw if (cell := read_cell(one)).source)
    head = re.match(r"# (.+)\n> (.+)", cells[0].source)
    if not head:
        raise SystemExit(f"{path} does not open with a title and one sentence")
    return Notebook(path, module, head[1].strip(), head[2].strip(), cells)


@cache
def all_notebooks() -> tuple[Notebook, ...]:
    """All notebooks, in the order of the flow; numbers are compared as text."""
    return tuple(
        read_notebook(path)
        for path in sorted(NBS.rglob("*.ipynb"), key=lambda path: (path.parent.name, path.name.split("_")[0]))
    )


@cache
def homes() -> dict[tuple[str, str], Notebook]:
    """The notebook of each (module, name) that is exported."""
    return {
        (book.module, name): book
        for book in all_notebooks()
        if book.module
        for cell in book.cells
        for name in cell.names
    }
