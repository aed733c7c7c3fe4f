"""The moments-of-truth toolkit."""
__version__ = "0.1.0"
