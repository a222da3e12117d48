"""One small change of a module's syntax tree, made and taken back in place."""

import ast
from typing import Any, NamedTuple


class Mutation(NamedTuple):
    """A change at one place: a node or a text in the tree becomes ``new``.

    ``scope`` is the function it is in, or else the class, or empty; ``was`` and ``becomes`` are the first line of the
    statement around it.
    """

    file: str
    line: int
    scope: str
    in_function: bool
    was: str
    becomes: str
    place: "Place"
    new: Any

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what tells it from others, and stays when lines move."""
        return self.file, self.scope, self.was, self.becomes


class Place(NamedTuple):
    """A field of a node, or one entry of a field that is a list."""

    holder: ast.AST
    field: str
    entry: int | None = None

    def get(self) -> Any:
        """Return what is there."""
        value = getattr(self.holder, self.field)
        return value if self.entry is None else value[self.entry]

    def put(self, new: Any) -> None:
        """Change what is there."""
        if self.entry is None:
            setattr(self.holder, self.field, new)
        else:
            getattr(self.holder, self.field)[self.entry] = new


def first_line(statement: ast.AST) -> str:
    """Return a statement as one line; of one with a body, what is before the body."""
    return ast.unparse(ast.fix_missing_locations(statement)).split("\n", 1)[0]
