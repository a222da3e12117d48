"""Putting a changed module in the place of the real one, in a process where others have imported it already.

Functions are the same objects wherever they were imported to, so their code is exchanged; every other value is given
to each module that has the old one under the same name. Meant for a process that ends right after.
"""

import ast
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any


def graft(name: str, tree: ast.Module) -> None:
    """Run a module's changed tree and let everybody see it. Raises whatever the changed module raises."""
    module = sys.modules[name]
    fresh = ModuleType(name)
    fresh.__file__ = module.__file__
    code = compile(ast.fix_missing_locations(tree), module.__file__ or name, "exec")
    exec(code, fresh.__dict__)  # noqa: S102 - it is our own source, changed in one place
    for each, new in vars(fresh).items():
        if not each.startswith("__"):
            _exchange(each, vars(module)[each], new)


def _exchange(name: str, old: Any, new: Any) -> None:
    if old is new:
        return
    if isinstance(new, type):
        for each, value in vars(new).items():
            _exchange_member(old, each, value)
    elif not _exchange_code(old, new) and old != new:
        for other in list(sys.modules.values()):
            if vars(other).get(name) is old:
                setattr(other, name, new)


def _exchange_member(owner: type, name: str, new: Any) -> None:
    old = vars(owner)[name]
    simple = isinstance(new, int | str | tuple) and not name.startswith("__")
    if not _exchange_code(old, new) and simple and old != new:
        setattr(owner, name, new)


def _exchange_code(old: Any, new: Any) -> bool:
    """Exchange what a function does, and return whether it is one."""
    target, source = _function(old), _function(new)
    if target is None or source is None:
        return False
    target.__code__, target.__defaults__, target.__kwdefaults__ = (
        source.__code__,
        source.__defaults__,
        source.__kwdefaults__,
    )
    forget: Callable[[], None] | None = getattr(old, "cache_clear", None)
    if forget is not None:
        forget()
    return True


def _function(value: Any) -> FunctionType | None:
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__wrapped__", getattr(value, "__func__", value))
    return value if isinstance(value, FunctionType) else None
