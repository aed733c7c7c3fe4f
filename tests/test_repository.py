"""The rules of the house, as tests: clean notebooks, modules equal to them, imports along the flow, words that are true."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import motkit
from motkit.settings import Settings, read_settings

ROOT = Path(__file__).parent.parent
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(NBS.rglob("*.ipynb"))
BY_HAND = {"__init__", "__main__", "_modidx"}
HEAVY = ("panel", "hvplot", "holoviews", "bokeh", "statsmodels", "pandas", "lifelines", "matplotlib", "sqlalchemy", "fastapi", "pg8000", "sklearn")
ids = lambda path: str(path.relative_to(ROOT))  # noqa: E731


def cells_of(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def source_of(cell: dict) -> str:
    return "".join(cell["source"])


def exported(notebook: Path) -> str:
    """The code of a notebook that goes into its module."""
    code = (source_of(cell) for cell in cells_of(notebook) if cell["cell_type"] == "code")
    return "\n".join(source for source in code if re.search(r"^#\|\s*export\b", source, re.MULTILINE))


def module_of(notebook: Path) -> str | None:
    """The module that a notebook writes."""
    found = (re.search(r"^#\|\s*default_exp\s+(\S+)", source_of(cell), re.MULTILINE) for cell in cells_of(notebook))
    return next((match[1] for match in found if match), None)


def stage_numbers() -> dict[str, str]:
    """The number of each module, which is its place in the flow: '05' comes before '051', and that before '06'."""
    return {module: path.name.split("_")[0] for path in NOTEBOOKS if (module := module_of(path))}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_a_notebook_is_committed_clean(notebook: Path) -> None:
    for cell in cells_of(notebook):
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
        assert cell["metadata"] == {}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_a_cell_holds_at_most_forty_lines(notebook: Path) -> None:
    lengths = {cell["id"]: len(source_of(cell).splitlines()) for cell in cells_of(notebook)}
    assert {cell: length for cell, length in lengths.items() if length > 40} == {}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_a_notebook_opens_with_a_title_and_one_sentence(notebook: Path) -> None:
    first = cells_of(notebook)[0]
    assert first["cell_type"] == "markdown"
    assert re.match(r"# .+\n> .+", source_of(first))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_no_import_is_a_wildcard(notebook: Path) -> None:
    for cell in cells_of(notebook):
        if cell["cell_type"] == "code":
            assert not re.search(r"^\s*from .* import \*", source_of(cell), re.MULTILINE)


def test_numbers_and_modules_are_unique() -> None:
    numbered = [path.name.split("_")[0] for path in NOTEBOOKS if module_of(path)]
    assert all(number.isdigit() and path.parent.name[0] == number[0] for number, path in zip(numbered, filter(module_of, NOTEBOOKS), strict=True))
    modules = [module for path in NOTEBOOKS if (module := module_of(path))]
    assert len(numbered) == len(set(numbered))
    assert len(modules) == len(set(modules))


@pytest.mark.parametrize("notebook", [path for path in NOTEBOOKS if module_of(path)], ids=ids)
def test_a_module_imports_only_from_earlier_stages(notebook: Path) -> None:
    numbers = stage_numbers()
    own = numbers[module_of(notebook) or ""]
    for node in ast.walk(ast.parse(exported(notebook))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name and name.startswith("motkit."):
                assert numbers[name.removeprefix("motkit.")] < own, f"{name} comes later in the flow"


def test_the_modules_are_those_of_the_notebooks(tmp_path: Path) -> None:
    for part in ("nbs", "motkit", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    generated = {path.name for path in (ROOT / "motkit").glob("*.py") if path.stem not in BY_HAND}
    assert generated == {f"{module}.py" for module in stage_numbers()}
    for name in generated:
        (tmp_path / "motkit" / name).unlink()
    export = Path(sys.executable).with_name("nbdev-export")
    subprocess.run([export], cwd=tmp_path, check=True, capture_output=True)
    for name in [*generated, "_modidx.py"]:
        assert (tmp_path / "motkit" / name).read_text() == (ROOT / "motkit" / name).read_text(), f"{name}: type make export"


def test_the_settings_file_holds_the_defaults() -> None:
    assert read_settings(ROOT / "settings.ini") == Settings()


def test_every_public_name_can_be_imported() -> None:
    for name in motkit.__all__:
        assert getattr(motkit, name) is not None


def test_a_public_name_is_not_also_a_module() -> None:
    both = {"explorers", "survival", "watch"}  # the first two are modules for users, the third can be called (see the decision records)
    assert {name for name in motkit.__all__ if (ROOT / "motkit" / f"{name}.py").exists()} <= both


def test_importing_motkit_is_quick_and_light() -> None:
    code = f"import sys, time; t = time.process_time(); import motkit; print(time.process_time() - t); print([m for m in {HEAVY} if m in sys.modules])"
    seconds, heavy = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert float(seconds) < 1
    assert heavy == "[]"


def test_reading_and_running_do_not_import_what_only_pages_need() -> None:
    code = f"import sys, motkit; motkit.read_events, motkit.run_study, motkit.simulate_customers; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_the_core_has_no_network_client() -> None:
    clients = re.compile(r"^\s*(?:import|from) (?:requests|urllib(?!\.parse)|http|httpx|aiohttp|socket)\b", re.MULTILINE)
    assert [path.name for path in (ROOT / "motkit").glob("*.py") if clients.search(path.read_text())] == []


def readme_blocks(language: str) -> list[str]:
    """The code blocks of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_of_the_readme_runs_and_prints_what_stands_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```(?:\n+It prints:\n+```text\n(.*?)```)?", text, re.DOTALL)
    assert blocks[0][1]
    space: dict[str, object] = {"__name__": "__main__"}
    for block, shown in blocks:
        exec(compile(block.replace('"study"', repr(str(tmp_path / "study"))), "README.md", "exec"), space)
        printed = capsys.readouterr().out
        assert not shown or printed == shown


def test_the_example_of_the_readme_has_twenty_lines_at_most() -> None:
    assert len(readme_blocks("python")[0].strip().splitlines()) <= 20


def test_the_commands_of_the_readme_exist() -> None:
    commands = [line for block in readme_blocks("sh") for line in block.splitlines() if line.strip() and not line.startswith("#")]
    makefile = (ROOT / "Makefile").read_text()
    shown = subprocess.run([sys.executable, "-m", "motkit", "--help"], check=True, capture_output=True, text=True).stdout
    for command in commands:
        words = command.split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), command
        elif words[0] == "motkit":
            assert re.search(rf"^\s*{words[1]}\b", shown, re.MULTILINE), command
    assert {"make demo", "make test"} <= {" ".join(command.split()[:2]) for command in commands}


def test_a_wheel_holds_the_package_and_works_without_the_apps_extra(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("motkit-*.whl"))
    written = subprocess.run(["git", "ls-files", "motkit"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("motkit/")} == set(written)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel], check=True, capture_output=True)
    blocked = ("panel", "panel_material_ui", "hvplot", "holoviews", "bokeh", "ipywidgets", "duckdb", "nbdev", "fastcore", "sqlalchemy", "pg8000", "fastapi", "uvicorn")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); sys.path.insert(0, {str(tmp_path / 'site')!r}); import motkit; "
        "assert 'site' in motkit.__file__; [getattr(motkit, name) for name in motkit.__all__]; "
        "print(motkit.simulate_customers(n=60, seed=1).events.height > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_the_source_description_of_the_readme_is_one(tmp_path: Path) -> None:
    for block in readme_blocks("toml"):
        (tmp_path / "source.toml").write_text(block, encoding="utf-8")
        frame = pl.DataFrame({"CustomerID": ["1"], "InvoiceDate": ["2026-07-01 10:00"], "InvoiceNo": ["C1"], "Quantity": ["-2"], "UnitPrice": ["2.5"]})
        log = motkit.read_events(frame, description=tmp_path / "source.toml")
        assert log.events.select("event", "channel", "value").collect().rows() == [("cancellation", "web", -5.0)]
        assert log.summary.first == datetime(2026, 7, 1, 9, tzinfo=UTC)
