"""Walking through plain data beside the msgspec type it is to become: a type's parts, and how a place is written."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Meta

from contracts.spelling import clip


def unwrap(kind: Any) -> tuple[Any, Meta]:
    """Return a type without its limits, and these; where there are none, a Meta that limits nothing."""
    if get_origin(kind) is not Annotated:
        return kind, Meta()
    base, *metas = get_args(kind)
    return base, next((meta for meta in metas if isinstance(meta, Meta)), Meta())


def union_options(kind: Any) -> tuple[Any, ...]:
    """Return the types that a union is of, None's among them; of any other type none."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else ()


def in_field(place: str, name: str) -> str:
    """Return the place of a field of an object: ``place.name``. The place of the whole is empty; names are clipped."""
    return f"{place}.{clip(name)}" if place else clip(name)


def in_list(place: str, index: int) -> str:
    """Return the place of an entry of a list: ``place[index]``."""
    return f"{place}[{index}]"
