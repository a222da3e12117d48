"""Hyperparameter rules, written once: what all training types share, what one adds, what a model has otherwise.

Each layer is a table of rules by name. A rule in a later layer replaces of the earlier one only what it says:
``{ default = 3 }`` leaves type and range as they are.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.hyperparameters import HyperparameterRule, resolve


class PartialRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as a file has it, or a part of one. A misspelt bound must not pass as none."""

    type: Literal["int", "float", "bool", "str"] | UnsetType = UNSET
    default: int | float | bool | str | UnsetType = UNSET
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    enum: tuple[str, ...] | UnsetType = UNSET
    needs: str | UnsetType = UNSET


Layer = Mapping[str, PartialRule]


class RuleError(ValueError):
    """A rule that cannot be used; the text begins with its name."""


def layered(layers: Iterable[Layer]) -> dict[str, HyperparameterRule]:
    """Return the rules that layers make, the first lowest. Raises RuleError. Pure."""
    found: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for name, rule in layer.items():
            found.setdefault(name, {}).update(_said(rule))
    rules = {name: _checked(name, fields) for name, fields in found.items()}
    for name, checked in rules.items():
        if checked.needs is not None and (checked.needs not in rules or rules[checked.needs].type != "bool"):
            raise RuleError(f"{name}.needs: {checked.needs!r} is no bool of the same training type")
    return rules


def _said(rule: PartialRule) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(rule).items() if value is not UNSET}


def _checked(name: str, fields: dict[str, Any]) -> HyperparameterRule:
    missing = [field for field in ("type", "default") if field not in fields]
    if missing:
        raise RuleError(f"{name}: has no {' and no '.join(missing)}, nor is there a rule that it changes")
    rule = HyperparameterRule(**fields)
    if rule.type in ("bool", "str") and (rule.min is not None or rule.max is not None):
        raise RuleError(f"{name}: a {rule.type} has no min and no max")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise RuleError(f"{name}: min {rule.min} is above max {rule.max}")
    # Texts pass as numbers in a form, not in the catalogue.
    if isinstance(rule.default, str) != (rule.type == "str"):
        raise RuleError(f"{name}.default: must be of type {rule.type}, but is {rule.default!r}")
    _, faults = resolve({name: rule.default}, {name: rule})
    if faults:
        raise RuleError(f"{name}.default: {faults[0].message}")
    return rule
