"""Fields that a contract does not know. They are ignored, so a misspelt one changes nothing unless somebody says so."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from contracts.spelling import nearest
from contracts.task import Fault
from contracts.type_walk import in_field, in_list, union_options, unwrap


def unknown_fields(value: Any, kind: Any, path: str = "") -> Iterator[Fault]:
    """Yield every field that a reader of this type ignores, with the known one it may have been meant for.

    None of them is a reason to refuse anything. Knows the types that ``faults_in`` knows. Never raises. Pure.
    """
    kind, _ = unwrap(kind)
    for option in union_options(kind):
        yield from unknown_fields(value, option, path)
    if isinstance(value, list) and get_origin(kind) is tuple:
        for index, each in enumerate(value):
            yield from unknown_fields(each, get_args(kind)[0], in_list(path, index))
    elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        yield from _of_object(value, kind, path)


def _of_object(value: dict[str, Any], kind: type[Struct], path: str) -> Iterator[Fault]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, inside in value.items():
        place = in_field(path, name)
        if name in known:
            yield from unknown_fields(inside, known[name], place)
        else:
            yield Fault(place, "unknown-field", f"is not known, and is ignored{_remedy(name, known)}")


def _remedy(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""
