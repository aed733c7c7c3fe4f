"""The public names: what `import motkit` gives, what the modules for users export, the errors a reader may meet, every view and
picture of the pages, and whatever else a guide imports."""

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import motkit
import motkit.views
from builder.notebooks import STAGES, Notebook, all_notebooks, homes


def modules_for_users() -> list[str]:
    """The modules that users import from by name: those that `motkit` names, and the errors."""
    return [*(name for name in motkit.__all__ if isinstance(getattr(motkit, name), ModuleType)), "errors"]



@dataclass(frozen=True)
class Public:
    """One public name: how users type it, the thing, and the notebook that it is written in."""

    name: str  # as typed, e.g. 'motkit.survival.cox'
    thing: Any
    home: str  # the module that defines it
    short: str  # its name there
    docname: str

    @property
    def book(self) -> Notebook:
        """The notebook that writes it."""
        return homes()[self.home, self.short]

    @property
    def stage(self) -> str:
        """The stage of the flow that it belongs to."""
        return self.book.stage

    @property
    def is_class(self) -> bool:
        """Whether it is a class."""
        return inspect.isclass(self.thing)

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return first_sentence(inspect.getdoc(self.thing) or "" if callable(self.thing) else "")


def first_sentence(text: str) -> str:
    """The first line of a docstring, to its full stop."""
    return text.strip().split("\n")[0]


def _home_of(name: str, module: str, thing: Any) -> tuple[str, str]:
    """The module that defines a name, and its name there."""
    own = getattr(thing, "__module__", None) or ""
    short = getattr(thing, "__name__", name)
    candidates = [(own.removeprefix("motkit."), short), (module, name)]
    found = next((pair for pair in candidates if pair in homes()), None)
    return found or next((home, short) for home, short in homes() if short == name)


def _is_shown(name: str, thing: Any) -> bool:
    """Whether a name of a module of views or pictures is a view or a picture, and no helper."""
    if not inspect.isfunction(thing):
        return False
    of_study = "study" in thing.__annotations__ and thing.__annotations__.get("return") in ("View", motkit.views.View)
    return name.startswith("plot_") or of_study


def _views_and_plots() -> Iterator[tuple[str, str, Any]]:
    """Module, name and thing of each view and picture; `motkit.views` and `motkit.plots` come first."""
    books = [book.module for book in all_notebooks() if book.module and re.search(r"(views|plots|what_ifs)$", book.module)]
    yield from (("views", name, getattr(motkit.views, name)) for name in ("View", "StudyTables"))
    for module in sorted(books, key=lambda module: module not in ("views", "plots")):
        loaded = importlib.import_module(f"motkit.{module}")
        yield from ((module, name, thing) for name in loaded.__all__ if _is_shown(name, thing := getattr(loaded, name)))


def _in_guides() -> Iterator[tuple[str, str, Any]]:
    """Module, name and thing of what guides import from a module of motkit."""
    for book in all_notebooks():
        if book.module:
            continue
        for cell in book.cells:
            for module, names in re.findall(r"^\s*from motkit\.(\w+) import (.+)$", cell.source, re.MULTILINE):
                if (loaded := importlib.import_module(f"motkit.{module}")) and not module.startswith("_"):
                    yield from ((module, name, getattr(loaded, name)) for name in re.findall(r"\w+", names))


@cache
def _typed() -> dict[str, tuple[str, Any]]:
    """Each public name as users type it, with the module to look in first."""
    found: dict[str, tuple[str, Any]] = {}
    for name in motkit.__all__:
        thing = getattr(motkit, name)
        if not isinstance(thing, ModuleType):
            found[f"motkit.{name}"] = ("schema", thing)
    for module in modules_for_users():
        loaded = __import__(f"motkit.{module}", fromlist=["x"])
        for name in loaded.__all__:
            if f"motkit.{name}" not in found or module == "errors":
                found[f"motkit.{module}.{name}"] = (module, getattr(loaded, name))
    known = [thing for _, thing in found.values()]
    for module, name, thing in (*_views_and_plots(), *_in_guides()):
        if not any(thing is other for other in known):
            found[f"motkit.{module}.{name}"] = (module, thing)
            known.append(thing)
    return found


@cache
def public_names() -> dict[str, Public]:
    """All public names, in the order of the flow."""
    made: dict[str, Public] = {}
    taken: set[str] = set()
    for name, (module, thing) in _typed().items():
        home, short = _home_of(name.rsplit(".", 1)[1], module, thing)
        docname = "api/" + name.removeprefix("motkit.").lower()
        docname += (
            "-class"
            if docname in taken
            or (inspect.isclass(thing) and name.lower() in {other.lower() for other in _typed() if other != name})
            else ""
        )
        taken.add(docname)
        made[name] = Public(name, thing, home, short, docname)
    order = {book.module: place for place, book in enumerate(all_notebooks())}
    return dict(sorted(made.items(), key=lambda item: (order[item[1].home], item[1].name)))


def by_stage() -> dict[str, list[Public]]:
    """The public names of each stage."""
    return {
        stage: found
        for stage in STAGES
        if (found := [public for public in public_names().values() if public.stage == stage])
    }
