"""From the fields of the page to the form of ``task.created``, and from its faults back to the fields. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData

from contracts.task import Fault

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)

#: What the value of a choice begins with that is an exported model's id.
EXPORTED = "exported:"

#: The field a fault is about, where it is not the one of the same name.
_FIELDS = {"base_model": "base_model", "training_set": "training-set", "validation": "validation_mode"}


def form_of(fields: FormData, task_id: str, project: str) -> dict[str, Any]:
    """Return the form as far as it is filled in. What is no number where one belongs stays a text: a fault names it."""
    form: dict[str, Any] = {
        "task_id": task_id,
        "name": text(fields, "name"),
        "project": project,
        "training_type": text(fields, "training_type"),
        "base_model": base_of(text(fields, "base_model")),
        "hyperparameters": {
            field.removeprefix("hp."): text(fields, field)
            for field in fields
            if field.startswith("hp.") and text(fields, field)
        },
        "output_count": _whole(text(fields, "output_count") or "1"),
        "training_set": [_taken(fields, dataset_id) for dataset_id in ids(fields, "training_set")],
    }
    optional = {
        "description": text(fields, "description"),
        "preset_mix": _preset_mix(fields),
        "validation": _validation(fields),
        "quote_id": text(fields, "quote_id"),
    }
    return form | {field: value for field, value in optional.items() if value}


def base_of(value: str) -> dict[str, Any]:
    """Return the base model that a choice means: ``name@version``, or one that was exported earlier."""
    if value.startswith(EXPORTED):
        return {"custom_model_id": value.removeprefix(EXPORTED)}
    name, _, version = value.rpartition("@")
    return {"foundation": {"name": name, "version": version}}


def ids(fields: FormData, field: str) -> list[str]:
    """Return the datasets that a field names, each once."""
    return list(dict.fromkeys(value for value in fields.getlist(field) if isinstance(value, str)))


def text(fields: FormData, field: str) -> str:
    """Return a field's text without the space around it; a file is none."""
    value = fields.get(field, "")
    return value.strip() if isinstance(value, str) else ""


def field_of(fault: Fault) -> str:
    """Return the id of the field on the page that a fault is about."""
    top, _, rest = re.sub(r"\[.*", "", fault.field).partition(".")
    if top == "hyperparameters" and rest:
        return f"hp.{rest}"
    if top == "preset_mix":
        return "preset_percent" if rest else "preset"
    if top == "validation" and rest == "percent":
        return "validation_percent"
    return _FIELDS.get(top, top)


def _taken(fields: FormData, dataset_id: str) -> dict[str, Any]:
    multiplier = text(fields, f"multiplier.{dataset_id}")
    return {"dataset_id": dataset_id} | ({"multiplier": _number(multiplier)} if multiplier else {})


def _preset_mix(fields: FormData) -> Mapping[str, Any] | None:
    return {"percent": _whole(text(fields, "preset_percent"))} if text(fields, "preset") else None


def _validation(fields: FormData) -> Mapping[str, Any] | None:
    match text(fields, "validation_mode"):
        case "percent":
            return {"percent": _whole(text(fields, "validation_percent"))}
        case "datasets":
            return {"dataset_ids": ids(fields, "validation_set")}
        case _:
            return None


def _whole(value: str) -> int | str:
    return int(value) if _WHOLE.fullmatch(value) else value


def _number(value: str) -> float | str:
    return float(value) if _NUMBER.fullmatch(value) else value
