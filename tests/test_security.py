"""What the page on security promises of the code itself: nothing is unpickled or evaluated, no network client, every package named."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from motkit.errors import MotkitError
from motkit.offers import render_text

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "motkit").rglob("*.py"))
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "requests", "httpx", "aiohttp", "urllib.request", "ftplib", "smtplib", "telnetlib", "subprocess"}
STARTS_PROCESSES = {"peer_bench"}  # the benchmark alone asks others in an environment of their own, by a list of words and without a shell
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_evaluates_unpickles_and_fetches_nothing(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    allow = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell") and getattr(node.value, "value", None) is True]
    assert imported & FORBIDDEN_IMPORTS == ({"subprocess"} if module.stem in STARTS_PROCESSES else set())
    assert called & FORBIDDEN_CALLS == set()
    assert allow == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ first_name.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% for k in range(10**9) %}x{% endfor %}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
    ],
)
def test_a_template_that_reaches_for_more_than_names_is_refused(text: str) -> None:
    with pytest.raises(MotkitError):
        render_text(text, {"first_name": "Ann"})


def test_every_package_that_is_needed_stands_in_the_changelog_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[\[<>=; ]", one)[0] for one in project["dependencies"]} | {
        re.split(r"[\[<>=; ]", one)[0] for extra, names in project["optional-dependencies"].items() if extra != "dev" for one in names
    }
    told = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    missing = {name for name in needed if not any(re.search(rf"\b{re.escape(name)}\b", line) for line in told)}
    assert missing == set()


def test_every_package_that_is_needed_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {re.split(r"==| @", line)[0].strip().lower() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    needed = {re.split(r"[\[<>=; ]", one)[0].lower() for names in [project["dependencies"], *project["optional-dependencies"].values()] for one in names}
    assert {name for name in needed if name not in pinned and name.replace("_", "-") not in pinned} == set()
