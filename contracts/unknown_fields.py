"""Fields that a contract does not know. They are ignored, so a misspelt one changes nothing unless somebody says so."""

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from contracts.spelling import clip, nearest
from contracts.task import Fault


def unknown_fields(value: Any, kind: Any, path: str = "") -> Iterator[Fault]:
    """Yield every field that a reader of this type ignores, with the known one it may have been meant for.

    None of them is a reason to refuse anything. Knows the types that ``faults_in`` knows. Never raises. Pure.
    """
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        for option in get_args(kind):
            yield from unknown_fields(value, option, path)
    elif isinstance(value, list) and origin is tuple:
        for index, each in enumerate(value):
            yield from unknown_fields(each, get_args(kind)[0], f"{path}[{index}]")
    elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        yield from _of_object(value, kind, path)


def _of_object(value: dict[str, Any], kind: type[Struct], path: str) -> Iterator[Fault]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, inside in value.items():
        place = f"{path}.{clip(name)}" if path else clip(name)
        if name in known:
            yield from unknown_fields(inside, known[name], place)
        else:
            yield Fault(place, "unknown-field", f"is not known, and is ignored{_remedy(name, known)}")


def _remedy(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""
