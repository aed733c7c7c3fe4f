"""What a function may raise, read off its code and the code that it calls, where its docstring does not say."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any

from motkit.errors import MotkitError, StatisticalWarning


def _called(tree: ast.AST) -> set[str]:
    """The names that are called or handed on as functions."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _raised(tree: ast.AST) -> set[str]:
    """The names of the classes that are raised or warned with."""
    made = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    warned = [
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "warn"
        for word in node.args
    ]
    classes = [one.func if isinstance(one, ast.Call) else one for one in (*made, *warned)]
    return {one.id for one in classes if isinstance(one, ast.Name)}


def _methods(tree: ast.AST, function: FunctionType) -> Iterator[Any]:
    """The methods that are called on parameters whose class is known."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            kind = function.__annotations__.get(node.value.id)
            kind = function.__globals__.get(kind) if isinstance(kind, str) else kind
            if inspect.isclass(kind):
                yield getattr(kind, node.attr, None)


@cache
def _read(function: FunctionType) -> tuple[frozenset[type], frozenset[FunctionType]]:
    """What a function raises itself, and the functions of motkit that it mentions."""
    tree, space = ast.parse(textwrap.dedent(inspect.getsource(function))), function.__globals__
    kinds = {space.get(name) for name in _raised(tree)}
    own = {kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, MotkitError | StatisticalWarning)}
    named = [space.get(name) for name in _called(tree)]
    others = {inspect.unwrap(one) for one in (*named, *_methods(tree, function)) if inspect.isroutine(one)}
    return frozenset(own), frozenset(
        other for other in others if inspect.isfunction(other) and other.__module__.startswith("motkit.")
    )


@cache
def may_raise(function: Any) -> tuple[type, ...]:
    """The errors and warnings of motkit that a function and what it calls raise, in the order of their names."""
    waiting, seen, found = [inspect.unwrap(function)], set[FunctionType](), set[type]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        own, others = _read(one)
        found |= own
        waiting += others
    return tuple(sorted(found, key=lambda kind: kind.__name__))
