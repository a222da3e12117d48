"""Where a module can be changed: everything that decides, nothing that only describes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.changes import Mutation, Place, first_line
from tests.mutants.operators import broken, negated, removed

ROOT = Path(__file__).parents[2]

#: Fields that hold types, which decide nothing at run time.
_TYPES = {"annotation", "returns"}


class Module(NamedTuple):
    """A source file, relative to the repository, its tree, and every mutation of it."""

    file: str
    name: str
    tree: ast.Module
    mutations: list[Mutation]


def load(file: str) -> Module:
    """Read a module and find its mutations."""
    tree = ast.parse((ROOT / file).read_text())
    finder = _Finder(file)
    finder.walk(tree, "", tree)
    return Module(file, file.removesuffix(".py").replace("/", "."), tree, finder.found)


class _Finder:
    def __init__(self, file: str) -> None:
        self._file = file
        self.found: list[Mutation] = []

    def walk(self, node: ast.AST, scope: str, statement: ast.AST) -> None:
        """Find what is in a node, which is in a statement of a scope."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}".removeprefix(".")
        for place in _places(node):
            child = place.get()
            around = child if isinstance(child, ast.stmt) else statement
            for new in _changes(place, child):
                self._add(place, new, scope, around)
            self.walk(child, scope, around)

    def _add(self, place: Place, new: Any, scope: str, statement: ast.AST) -> None:
        old, was = place.get(), first_line(statement)
        place.put(new)
        becomes = "" if old is statement else first_line(statement)
        place.put(old)
        line = getattr(old, "lineno", None) or getattr(statement, "lineno", 1)
        self.found.append(Mutation(self._file, line, scope, was, becomes, place, new))


def _changes(place: Place, child: ast.AST) -> Iterator[ast.AST]:
    if isinstance(child, ast.stmt):
        left = removed(child)
        if left is not None:
            yield left
    elif isinstance(child, ast.expr):
        if place.field in {"test", "ifs"}:
            yield negated(child)
        if not _stored(child):
            yield from broken(child)


def _stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _places(node: ast.AST) -> Iterator[Place]:
    """Yield where the children of a node are that decide something."""
    if isinstance(node, ast.Assert | ast.JoinedStr):
        # What is asserted holds anyway; of a message, only the parts that are computed are looked at.
        node_fields = [] if isinstance(node, ast.Assert) else ["values"]
    else:
        node_fields = [name for name, _ in ast.iter_fields(node) if name not in _TYPES]
    for name in node_fields:
        value = getattr(node, name)
        if isinstance(value, list):
            yield from (Place(node, name, index) for index, entry in enumerate(value) if isinstance(entry, ast.AST))
        elif isinstance(value, ast.AST):
            yield Place(node, name)
