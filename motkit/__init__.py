"""motkit, the moments-of-truth toolkit: find the interactions that make or break loyalty, and how sure you can be.

Public names are listed in `__init__.pyi` and are imported when they are first used, so that `import motkit` is quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
