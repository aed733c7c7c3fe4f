"""The moments-of-truth toolkit: find the interactions that make or break loyalty, and how sure you can be

Modules:

- `motkit.apps.api`: Decisions over HTTP, as a process of its own: decide, observe, outcome, contact, card, health. JSON in and out."""

from types import FunctionType
from typing import Any

import lazy_loader

from motkit.arguments import checked

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used; a function of motkit asks what it is given before it starts."""
    found = _load(name)
    globals()[name] = checked(found) if isinstance(found, FunctionType) else found
    return globals()[name]
