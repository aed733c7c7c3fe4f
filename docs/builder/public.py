"""The public names: what `import motkit` gives, what the modules for users export, and the errors a reader may meet."""

import inspect
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import motkit
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
