"""What motkit needs: versions as pinned, licences as the installed packages say, reasons and days of review as `docs/dependencies.toml` says."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

MAKING = ("dev", "docs")  # extras that only making motkit needs
SYSTEMS = (
    {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"},
    {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"},
    {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin"},
)  # a package that one of them needs is needed


def plain_name(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def told() -> dict[str, Any]:
    """What people wrote about packages."""
    return tomllib.loads((ROOT / "docs" / "dependencies.toml").read_text(encoding="utf-8"))


@cache
def named() -> dict[str, list[Requirement]]:
    """The packages that `pyproject.toml` names: what is always needed under '', then by extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {group: [Requirement(one) for one in names] for group, names in groups.items()}


@cache
def pinned() -> dict[str, tuple[str, ...]]:
    """The versions of `constraints.txt`; several where they differ by Python or system."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
            found[plain_name(match[1])] = (*found.get(plain_name(match[1]), ()), match[2])
    return found


def _holds(one: Requirement, extras: Iterable[str]) -> bool:
    return one.marker is None or any(one.marker.evaluate({"extra": extra, **system}) for extra in ("", *extras) for system in SYSTEMS)


def needed_by(requirements: Iterable[Requirement]) -> dict[str, set[str]]:
    """Every package that these need in the end, and which packages ask for it; one that is not installed here is followed no further."""
    asked: dict[str, set[str]] = {}
    todo, seen = [(one, "motkit") for one in requirements], set[tuple[str, frozenset[str]]]()
    while todo:
        one, by = todo.pop()
        name = plain_name(one.name)
        asked.setdefault(name, set()).add(by)
        if (name, frozenset(one.extras)) not in seen:
            seen.add((name, frozenset(one.extras)))
            todo += [(more, name) for more in map(Requirement, _requires(name)) if _holds(more, one.extras)]
    return asked


def _requires(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


@cache
def at_run_time() -> dict[str, set[str]]:
    """Every package that may run when motkit is used, and which packages ask for it."""
    return needed_by([one for group, names in named().items() if group not in MAKING for one in names])


def licence_of(name: str) -> str:
    """The licence that the installed package states; what `[licences]` says where it is not installed or states none."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return str(told()["licences"][name])
    free = (about.get("License") or "").strip()
    stated = about.get("License-Expression") or (free if 0 < len(free) < 50 and "\n" not in free and free != "UNKNOWN" else "")
    listed = [one.split(" :: ")[-1] for one in about.get_all("Classifier", []) if one.startswith("License :: ") and "DFSG" not in one]
    return stated or " or ".join(listed) or str(told()["licences"][name])


def reviews() -> dict[str, tuple[str, tuple[str, ...]]]:
    """When each package was last looked at, and in which versions."""
    return {name: (day, (versions,) if isinstance(versions, str) else tuple(versions)) for day, names in told()["reviewed"].items() for name, versions in names.items()}


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ("---",) * len(heads), *rows]) + "\n"


def _row(name: str, why: str) -> tuple[str, ...]:
    day = reviews().get(name, ("",))[0]
    return name, ", ".join(pinned().get(name, ())), licence_of(name), why, day


def _rows(reasons: Mapping[str, str]) -> str:
    return _table(("package", "version", "licence", "what it is for", "looked at"), [_row(name, why) for name, why in reasons.items()])


def dependencies_page() -> str:
    """Every package, with version, licence, reason and the day on which it was last looked at."""
    reasons, run = told()["for"], at_run_time()
    parts = [f"# Dependencies\n\n{told()['opening']}"]
    for group, names in named().items():
        title = "Always needed" if not group else f"Extra `{group}`"
        parts.append(f"## {title}\n\n{_rows({plain_name(one.name): reasons[plain_name(one.name)] for one in names})}")
    direct = {plain_name(one.name) for names in named().values() for one in names}
    onward = {name: f"needed by {', '.join(sorted(by))}" for name, by in sorted(run.items()) if name not in direct}
    parts.append(f"## What these need in turn\n\nOf what runs when motkit is used.\n\n{_rows(onward)}")
    beside = [(one["name"], one["licence"], one["for"]) for one in told()["beside"]]
    parts.append(f"## Beside the packages\n\n{_table(('what', 'licence', 'what it is for'), beside)}")
    return "\n\n".join(parts)
