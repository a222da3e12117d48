"""Every way in which plain data breaks a msgspec type. A typed decoder stops at the first."""

import enum
import re
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from contracts.spelling import alike, clip
from contracts.task import Fault
from contracts.type_walk import in_field, in_list, union_options, unwrap

_NAMES = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object",
    list: "a list", tuple: "a list", datetime: "a time", NoneType: "null",
}  # fmt: skip


def faults_in(value: Any, kind: Any, path: str) -> list[Fault]:
    """Return every fault of a value that is to become a type, each with its path; none: ``msgspec.convert`` works.

    Knows what contracts use: Structs, ``Annotated`` with one Meta, tuples and dicts of any length, literals, enums of
    texts, times, ``Any``, unions with at most one Struct. Unknown fields of objects are ignored. Never raises.
    """
    kind, meta = unwrap(kind)
    origin = get_origin(kind)
    if kind is Any:
        return []
    if options := union_options(kind):
        return _union(value, options, path)
    if origin is Literal:
        return _literal(value, get_args(kind), path)
    base = origin or kind
    if isinstance(base, type) and issubclass(base, Struct):
        return _object(value, base, path)
    if isinstance(base, type) and issubclass(base, enum.Enum):
        return _literal(value, tuple(each.value for each in base), path)
    if base is datetime:
        return _time(value, meta, path)
    if not _is_a(value, base):
        return [wrong_type(value, base, path)]
    if base is tuple:
        item = get_args(kind)[0]
        faults = [fault for i, each in enumerate(value) for fault in faults_in(each, item, in_list(path, i))]
        return _limits(value, meta, path) + faults
    if base is dict:
        item = get_args(kind)[1]
        return [fault for name, each in value.items() for fault in faults_in(each, item, in_field(path, name))]
    return _limits(value, meta, path)


def wrong_type(value: Any, expected: type, path: str) -> Fault:
    """Return the fault of a value of another type than expected."""
    return Fault(path, "wrong-type", f"must be {_NAMES[expected]}, but is {_NAMES.get(type(value), 'something else')}")


def _is_a(value: Any, base: Any) -> bool:
    if base is tuple:
        return isinstance(value, list)
    if base is dict:
        return isinstance(value, dict)
    if base is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    # bool is an int to Python, never to a form.
    return type(value) is base


def _object(value: Any, kind: type[Struct], path: str) -> list[Fault]:
    if not isinstance(value, dict):
        return [wrong_type(value, dict, path)]
    faults: list[Fault] = []
    for field in msgspec.structs.fields(kind):
        place = in_field(path, field.encode_name)
        if field.encode_name in value:
            faults += faults_in(value[field.encode_name], field.type, place)
        elif field.required:
            faults.append(Fault(place, "missing-field", f"{field.encode_name} is required"))
    return faults


def _literal(value: Any, known: tuple[Any, ...], path: str) -> list[Fault]:
    if value in known and type(value) is type(known[0]):
        return []
    if type(value) is not type(known[0]):
        return [wrong_type(value, type(known[0]), path)]
    close = " or ".join(map(repr, alike(value, known)))
    remedy = f"did you mean {close}?" if close else f"choose one of {', '.join(known)}"
    why = "must not be empty" if value == "" else f"{clip(value)!r} is not known"
    return [Fault(path, "unknown-value", f"{why}; {remedy}")]


def _time(value: Any, meta: Meta, path: str) -> list[Fault]:
    try:
        msgspec.convert(value, Annotated[datetime, meta])
    except msgspec.ValidationError:
        return [Fault(path, "invalid-format", f"must be {meta.description or _NAMES[datetime]}")]
    return []


def _union(value: Any, options: tuple[Any, ...], path: str) -> list[Fault]:
    kinds = [option for option in options if option is not NoneType]
    by_kind = [faults_in(value, kind, path) for kind in kinds]
    if (value is None and NoneType in options) or not all(by_kind):
        return []
    names = list(dict.fromkeys(_NAMES[_base(kind)] for kind in kinds))
    # The type the value was meant for is the one that it has; its faults are worth reading.
    for faults in by_kind:
        if faults[0].code != "wrong-type" or faults[0].field != path:
            return _with_others(faults, path, [name for name in names if name != _NAMES.get(type(value))])
    if len(by_kind) == 1:
        return by_kind[0]
    expected = " or ".join(names)
    return [Fault(path, "wrong-type", f"must be {expected}, but is {_NAMES.get(type(value), 'something else')}")]


def _with_others(faults: list[Fault], path: str, others: list[str]) -> list[Fault]:
    """Return a value's faults; where it is a word that is close to none known, with what else may stand there."""
    first = faults[0]
    if first.field != path or first.code != "unknown-value" or first.message.endswith("?"):
        return faults
    return [Fault(path, first.code, ", or ".join((first.message, *others)))]


def _base(option: Any) -> type:
    kind, _ = unwrap(option)
    if get_origin(kind) is Literal:
        return type(get_args(kind)[0])
    base: type = get_origin(kind) or kind
    if issubclass(base, enum.Enum):
        return str
    return dict if issubclass(base, Struct) else base


def _limits(value: Any, meta: Meta, path: str) -> list[Fault]:
    low, high = _bounds(meta)
    if meta.pattern is not None and not re.search(meta.pattern, value):
        return [Fault(path, "invalid-format", f"must be {meta.description or f'a text like {meta.pattern}'}")]
    if (meta.min_length or 0) > _length(value) or (meta.max_length is not None and meta.max_length < _length(value)):
        unit = "characters" if isinstance(value, str) else "entries"
        return [Fault(path, "invalid-length", f"must have {_said(meta.min_length, meta.max_length)} {unit}")]
    if (low or high) and not _within(value, meta):
        wanted = " and ".join(filter(None, (low, high)))
        return [Fault(path, "out-of-range", f"must be {wanted}, but is {_short(value)}")]
    if isinstance(value, int) and abs(value) >= 2**63:
        return [Fault(path, "out-of-range", "must fit 64 bits")]
    return []


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | dict) else 0


def _said(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"{low} to {high}" if low else f"at most {high}"


def _bounds(meta: Meta) -> tuple[str, str]:
    low = f"at least {meta.ge}" if meta.ge is not None else f"more than {meta.gt}" if meta.gt is not None else ""
    high = f"at most {meta.le}" if meta.le is not None else f"less than {meta.lt}" if meta.lt is not None else ""
    return low, high


def _within(value: Any, meta: Meta) -> bool:
    return (
        (meta.ge is None or value >= meta.ge)
        and (meta.gt is None or value > meta.gt)
        and (meta.le is None or value <= meta.le)
        and (meta.lt is None or value < meta.lt)
    )


def _short(number: float) -> str:
    return str(number) if not isinstance(number, int) or abs(number) < 10**30 else "far beyond that"
