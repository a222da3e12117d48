"""Hyperparameters: the rules registered for a model, version and training type, and a form judged by them."""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from contracts.spelling import clip, nearest
from contracts.task import Fault

Value = int | float | bool | str

#: Faults of one form that are named.
MAX_FAULTS = 100

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,4})?", re.ASCII)
_TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


class HyperparameterRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hyperparameter: its type, default and range or enumeration.

    ``needs`` names a switch that must be on where this one is not at its default.
    """

    type: Literal["int", "float", "bool", "str"]
    default: int | float | bool | str
    min: float | None = None
    max: float | None = None
    enum: tuple[str, ...] = ()
    needs: str | None = None


def resolve(
    hyperparameters: Mapping[str, Any], rules: Mapping[str, HyperparameterRule]
) -> tuple[dict[str, Value], tuple[Fault, ...]]:
    """Return a value for every rule, in the rule's own type, and every fault of what was given.

    A value may be given as a text ("3", "1e-5", "true"). What is not given, or faulty, has its default. At most
    ``MAX_FAULTS`` are returned: they travel in one event. Pure.
    """
    values: dict[str, Value] = {name: _typed(rule.default, rule) for name, rule in rules.items()}
    faults: list[Fault] = []
    for name, given in hyperparameters.items():
        rule = rules.get(name)
        judged = _unknown(name, rules) if rule is None else _judge(name, given, rule)
        if isinstance(judged, Fault):
            faults.append(judged)
            if len(faults) == MAX_FAULTS:
                break
        else:
            values[name] = judged
    faulty = {fault.field for fault in faults}
    faults += [
        _without(name, rules[name])
        for name in values
        if _misses_its_switch(name, values, rules) and f"hyperparameters.{rules[name].needs}" not in faulty
    ]
    return values, tuple(faults[:MAX_FAULTS])


def _misses_its_switch(name: str, values: Mapping[str, Value], rules: Mapping[str, HyperparameterRule]) -> bool:
    needs = rules[name].needs
    return needs is not None and values[name] != rules[name].default and not values[needs]


def _without(name: str, rule: HyperparameterRule) -> Fault:
    message = f"needs {rule.needs}: set {rule.needs} to true, or leave {name} at {rule.default}"
    return Fault(f"hyperparameters.{name}", "needs-another", message)


def _unknown(name: str, rules: Mapping[str, HyperparameterRule]) -> Fault:
    close = nearest(name, rules)
    if close:
        remedy = f"did you mean {close!r}?"
    elif rules:
        remedy = f"known are {', '.join(sorted(rules))}"
    else:
        remedy = "this training type has none: leave it out"
    shown = _shown(name)
    return Fault(f"hyperparameters.{shown}", "unknown-hyperparameter", f"{shown!r} is not known here; {remedy}")


def _judge(name: str, given: Any, rule: HyperparameterRule) -> Value | Fault:
    field = f"hyperparameters.{name}"
    value = _read(given, rule)
    if value is None:
        message = f"must be {_TYPE_NAMES[rule.type]}, but is {_shown(given)}; default {rule.default}"
        return Fault(field, "wrong-type", message)
    if not isinstance(value, str | bool) and not _in_range(value, rule):
        return Fault(field, "out-of-range", f"must be {_range(rule)}, but is {_shown(value)}; default {rule.default}")
    if rule.enum and value not in [_read(choice, rule) for choice in rule.enum]:
        close = nearest(str(value), rule.enum)
        remedy = f"; did you mean {close!r}?" if close else ""
        return Fault(field, "unknown-value", f"must be one of {', '.join(rule.enum)}{remedy}")
    return value


def _read(given: Any, rule: HyperparameterRule) -> Value | None:
    """Return a value in the rule's type, or None where it is of another."""
    match rule.type:
        case "bool":
            return _read_bool(given)
        case "int":
            return _read_int(given)
        case "float":
            return _read_float(given)
        case "str":
            return given if isinstance(given, str) else None


def _read_bool(given: Any) -> bool | None:
    if isinstance(given, str):
        return {"true": True, "false": False}.get(given.strip().casefold())
    return given if isinstance(given, bool) else None


def _read_int(given: Any) -> int | None:
    if isinstance(given, str) and _INTEGER.fullmatch(given.strip()):
        return int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    number = _read_float(given)
    return int(number) if number is not None and number.is_integer() else None


def _read_float(given: Any) -> float | None:
    if isinstance(given, str):
        return float(given) if _NUMBER.fullmatch(given.strip()) else None
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        return float(given)
    except OverflowError:  # An integer beyond any float: the range refuses it by name.
        return math.inf if given > 0 else -math.inf


def _in_range(value: float, rule: HyperparameterRule) -> bool:
    # What does not fit 64 bits could neither be stored nor computed with.
    if isinstance(value, int) and abs(value) >= 2**63:
        return False
    if not math.isfinite(value):
        return False
    return (rule.min is None or value >= rule.min) and (rule.max is None or value <= rule.max)


def _range(rule: HyperparameterRule) -> str:
    if rule.min is None and rule.max is None:
        return "a number of at most 64 bits"
    if rule.min is None:
        return f"at most {rule.max:g}"
    if rule.max is None:
        return f"at least {rule.min:g}"
    return f"between {rule.min:g} and {rule.max:g}"


def _shown(given: Any) -> str:
    text = given if isinstance(given, str) else "a very long number" if _is_huge(given) else repr(given)
    return clip(text, 60)


def _is_huge(given: Any) -> bool:
    return isinstance(given, int) and abs(given) >= 10**60


def _typed(default: Value, rule: HyperparameterRule) -> Value:
    """Return a default in the rule's type: a table may say 1 where 1.0 is meant."""
    read = _read(default, rule)
    return default if read is None else read
