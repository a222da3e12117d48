"""From the fields of the page to the form of ``task.created``, and from its faults back to the fields. Pure."""

import re
from typing import Any

from starlette.datastructures import FormData

from contracts.task import Fault

_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)

#: What the value of a choice begins with that is an exported model's id.
EXPORTED = "exported:"

#: The field on the page that a fault is about, where it is not the one of the same name.
_FIELDS = {
    "training_set": "training-set",
    "preset_mix": "preset",
    "preset_mix.percent": "preset_percent",
    "preset_mix.when_short": "preset_short",
    "validation.percent": "validation_percent",
    "tolerance.max_invalid_ratio": "tolerance_ratio",
    "tolerance.max_invalid_records": "tolerance_records",
}


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
        "visibility": text(fields, "visibility"),
        "tags": _tags(text(fields, "tags")),
        "preset_mix": _preset_mix(fields),
        "validation": _validation(fields),
        "tolerance": _tolerance(fields),
        "max_cost": _max_cost(fields),
        "quote_id": text(fields, "quote_id"),
    }
    return form | _shuffle(fields) | {field: value for field, value in optional.items() if value not in (None, "", [])}


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
    name = re.sub(r"\[.*", "", fault.field)
    top, _, rest = name.partition(".")
    if top == "hyperparameters" and rest:
        return f"hp.{rest}"
    return _FIELDS.get(name) or _FIELDS.get(top, top)


def _taken(fields: FormData, dataset_id: str) -> dict[str, Any]:
    taken: dict[str, Any] = {"dataset_id": dataset_id}
    if multiplier := text(fields, f"multiplier.{dataset_id}"):
        taken["multiplier"] = _number(multiplier)
    if sample_count := text(fields, f"sample_count.{dataset_id}"):
        taken["sample_count"] = _whole(sample_count)
    return taken


def _tags(lines: str) -> list[dict[str, str]]:
    """Return the tags of lines of ``key=value``; one without a value has an empty one."""
    pairs = [line.partition("=") for line in lines.splitlines() if line.strip()]
    return [{"key": key.strip(), "value": value.strip()} for key, _, value in pairs]


def _preset_mix(fields: FormData) -> dict[str, Any] | None:
    if not text(fields, "preset"):
        return None
    short = text(fields, "preset_short")
    return {"percent": _whole(text(fields, "preset_percent"))} | ({"when_short": short} if short else {})


def _validation(fields: FormData) -> dict[str, Any] | None:
    match text(fields, "validation"):
        case "percent":
            return {"percent": _whole(text(fields, "validation_percent"))}
        case "datasets":
            return {"dataset_ids": ids(fields, "validation_set")}
        case _:
            return None


def _tolerance(fields: FormData) -> dict[str, Any] | None:
    match text(fields, "tolerance"):
        case "ratio":
            return {"max_invalid_ratio": _number(text(fields, "tolerance_ratio"))}
        case "records":
            return {"max_invalid_records": _whole(text(fields, "tolerance_records"))}
        case _:
            return None


def _shuffle(fields: FormData) -> dict[str, int | str]:
    """Return how samples are shuffled, where that is said. A seed that is not there stays empty: a fault says so."""
    how = text(fields, "shuffle")
    if how == "seed":
        return {"shuffle": _whole(text(fields, "shuffle_seed"))}
    return {"shuffle": how} if how else {}


def _max_cost(fields: FormData) -> dict[str, str] | None:
    amount = text(fields, "max_cost")
    return {"amount": amount, "currency": text(fields, "max_cost_currency")} if amount else None


def _whole(value: str) -> int | str:
    return int(value) if _WHOLE.fullmatch(value) else value


def _number(value: str) -> float | str:
    return float(value) if _NUMBER.fullmatch(value) else value
