"""What is wrong with a TOML file, in its own words: the table and the key as they are written there, and what is known.

The library that reads the file names a table ``$.projects[...]``, and no known key.
"""

from collections.abc import Collection, Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct, UnsetType

from contracts.spelling import clip, nearest
from contracts.type_walk import in_field, in_list, union_options, unwrap


def first_fault(said: Any, kind: Any) -> str | None:
    """Return the first fault of what a file says, after its place; None where this finds none. Never raises. Pure."""
    return next(_faults(said, kind, ""), None)


def _faults(said: Any, kind: Any, place: str) -> Iterator[str]:
    inner = _without_none(kind)
    origin = get_origin(inner)
    if isinstance(said, dict) and isinstance(inner, type) and issubclass(inner, Struct):
        yield from _in_table(said, inner, place)
    elif isinstance(said, dict) and origin is dict:
        keys, values = get_args(inner)
        for name, value in said.items():
            yield from _in_value(name, keys, in_field(place, name))
            yield from _faults(value, values, in_field(place, name))
    elif isinstance(said, list) and origin is tuple:
        for index, value in enumerate(said):
            yield from _faults(value, get_args(inner)[0], in_list(place, index))
    # Also where all inside is right: there may be too few of them.
    yield from _in_value(said, kind, place)


def _in_table(said: dict[str, Any], kind: type[Struct], place: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in said:
        if name not in fields:
            yield _at(place, f"unknown key {clip(name)!r}; {_meant(name, fields)}")
    for name, field in fields.items():
        if name in said:
            yield from _faults(said[name], field.type, in_field(place, name))
        elif field.required:
            yield _at(place, f"{name} is missing")


def _in_value(said: Any, kind: Any, place: str) -> Iterator[str]:
    try:
        msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        known = _literals(kind)
        if isinstance(said, str) and known:
            yield _at(place, f"{clip(said)!r} is not known; {_meant(said, known)}")
        else:
            yield _at(place, str(error))


def _meant(name: str, known: Collection[str]) -> str:
    close = nearest(name, known)
    there = f"there are {', '.join(known)}"
    return f"did you mean {close!r}? {there}" if close else there


def _without_none(kind: Any) -> Any:
    """Return a type without its limits and without None, if that leaves one."""
    kind, _ = unwrap(kind)
    left = [option for option in union_options(kind) if option not in (type(None), UnsetType)]
    return _without_none(left[0]) if len(left) == 1 else kind


def _literals(kind: Any) -> tuple[str, ...]:
    inner = _without_none(kind)
    return get_args(inner) if get_origin(inner) is Literal else ()


def _at(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text
