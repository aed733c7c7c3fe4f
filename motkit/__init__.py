"""The moments-of-truth toolkit: find the interactions that make or break loyalty, and how sure you can be

Modules:

- `motkit.apps.api`: Decisions over HTTP, as a process of its own: decide, observe, outcome, contact, card, health. JSON in and out."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
