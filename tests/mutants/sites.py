"""Where a module can be changed: everything that decides, nothing that only describes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.changes import Mutation, Place, first_line
from tests.mutants.operators import broken, negated, removed

ROOT = Path(__file__).parents[2]

#: Fields that decide nothing at run time: types, and how results are kept.
_PASSED_OVER = {"annotation", "returns", "bases", "decorator_list"}

#: What a type is written with outside of an annotation.
_GENERIC = {"tuple", "dict", "list", "Literal"}


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
    finder.walk(tree, tree)
    return Module(file, file.removesuffix(".py").replace("/", "."), tree, finder.found)


class _Finder:
    def __init__(self, file: str) -> None:
        self._file = file
        self._scopes: list[ast.AST] = []
        self.found: list[Mutation] = []

    def walk(self, node: ast.AST, statement: ast.AST) -> None:
        """Find what is in a node, which is in a statement."""
        is_scope = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if is_scope:
            self._scopes.append(node)
        for place in _places(node):
            child = place.get()
            around = child if isinstance(child, ast.stmt | ast.excepthandler) else statement
            for new in _changes(place, child):
                self._add(place, new, around)
            self.walk(child, around)
        if is_scope:
            self._scopes.pop()

    def _add(self, place: Place, new: Any, statement: ast.AST) -> None:
        old, was = place.get(), first_line(statement)
        place.put(new)
        becomes = "" if old is statement else first_line(statement)
        place.put(old)
        line: int = getattr(old, "lineno", getattr(statement, "lineno", 1))
        scope = ".".join(getattr(each, "name", "") for each in self._scopes)
        in_function = bool(self._scopes) and not isinstance(self._scopes[-1], ast.ClassDef)
        self.found.append(Mutation(self._file, line, scope, in_function, was, becomes, place, new))


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
    if _says_nothing(node):
        return
    for name, value in ast.iter_fields(node):
        if name in _PASSED_OVER or (isinstance(node, ast.ClassDef) and name == "keywords"):
            continue
        if isinstance(value, list):
            yield from (Place(node, name, index) for index, entry in enumerate(value) if isinstance(entry, ast.AST))
        elif isinstance(value, ast.AST):
            yield Place(node, name)


def _says_nothing(node: ast.AST) -> bool:
    """Return whether a node is a type, or something that holds anyway: an assertion, and ``zip(strict=True)``."""
    match node:
        case ast.Assert() | ast.keyword(arg="strict"):
            return True
        case ast.Subscript(value=ast.Name(id=name)):
            return name in _GENERIC
        case ast.Assign(value=ast.BinOp(op=ast.BitOr())):
            return True
    return False
