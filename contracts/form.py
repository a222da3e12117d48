"""Reading a form: field by field, with every fault it has. Nothing here raises on what a user sent."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from contracts.envelope import DEFAULT_PROJECT, Id
from contracts.every_fault import faults_in
from contracts.form_rules import choices
from contracts.hyperparameters import MAX_FAULTS, HyperparameterRule, Value, resolve
from contracts.spelling import clip
from contracts.strict_json import Document, InvalidJson, Path, StrictParser
from contracts.task import (
    BaseModel,
    Fault,
    PresetMix,
    Shuffle,
    TaskForm,
    Tolerance,
    TrainingDataset,
    TrainingType,
    Validation,
)

FormRules = Mapping[str, HyperparameterRule]


class Draft(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A form as far as it can be used: what is absent or faulty is None. Faulty hyperparameters are left out.

    ``faults`` says what was left out for being faulty: a draft is not to be read as if its user had not said it.
    """

    task_id: Id | None = None
    base_model: BaseModel | None = None
    training_type: TrainingType | None = None
    training_set: tuple[TrainingDataset, ...] | None = None
    hyperparameters: dict[str, Value] | None = None
    preset_mix: PresetMix | None = None
    validation: Validation | None = None
    tolerance: Tolerance | None = None
    shuffle: Shuffle | None = None
    faults: tuple[Fault, ...] = ()


class FormReading(NamedTuple):
    """What a form says: the form where it is without fault, every fault otherwise, and in any case its usable part.

    ``project`` is not in the draft: what is priced, and so the name of a quote, does not depend on it.
    """

    form: TaskForm | None
    faults: tuple[Fault, ...]
    draft: Draft
    project: str = DEFAULT_PROJECT


def read_form(body: bytes, *, rules: FormRules | None = None) -> FormReading:
    """Read a form and find all its faults. Never raises. Pure.

    The rules of its hyperparameters depend on the model and the training type, which are in the form: read it, look the
    rules up by ``reading.draft``, then call :func:`check_hyperparameters`; all faults are in one list either way. Where
    the rules are known before, give them here. Unknown fields are ignored. At most ``MAX_FAULTS`` faults are named.
    """
    try:
        document = StrictParser().parse(body.decode())
    except UnicodeDecodeError as error:
        return _unreadable("invalid-utf8", f"byte {error.start} is not UTF-8; send the form as UTF-8")
    except InvalidJson as error:
        return _unreadable("invalid-json", f"{error} at character {error.position + 1}; send one JSON object")
    if not isinstance(document.value, dict):
        return _unreadable("not-an-object", "the form must be one JSON object")
    reading = _read(document)
    return reading if rules is None else check_hyperparameters(reading, rules)


def check_hyperparameters(reading: FormReading, rules: FormRules) -> FormReading:
    """Return a reading with the faults its hyperparameters have under these rules added. Pure."""
    _, faults = resolve(reading.draft.hyperparameters or {}, rules)
    every = _capped([*reading.faults, *faults])
    return reading._replace(form=None if every else reading.form, faults=every)


def read_draft(draft: Mapping[str, Any]) -> Draft:
    """Return the usable part of a form that is not filled in yet. Never raises. Pure."""
    filled_in = _without_nulls(draft)
    if isinstance(hyperparameters := filled_in.get("hyperparameters"), dict):
        filled_in["hyperparameters"] = _without_nulls(hyperparameters)
    return _draft(filled_in, _every_fault(filled_in))


def form_digest(body: bytes) -> str:
    """Return the SHA-256 (hex) of a form. The order of names and white space do not matter. Never raises."""
    try:
        document = StrictParser().parse(body.decode())
    except (UnicodeDecodeError, InvalidJson):
        return sha256(body).hexdigest()
    if document.oddities:
        return sha256(body).hexdigest()
    canonical = json.dumps(document.value, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


def _read(document: Document) -> FormReading:
    known = set(TaskForm.__struct_encode_fields__)
    odd = [
        Fault(_dotted(oddity.path), oddity.code, f"{oddity.message}; write it once, as plain JSON")
        for oddity in document.oddities
        if oddity.code == "invalid-json" or oddity.path[0] in known
    ]
    places = {fault.field for fault in odd}
    every = odd + [fault for fault in _every_fault(document.value) if fault.field not in places]
    if document.invalid:
        return FormReading(None, _capped(every), Draft())
    form = msgspec.convert(document.value, TaskForm) if not every else None
    faulty = any(_top(fault) == "project" for fault in every)
    project = DEFAULT_PROJECT if faulty else document.value.get("project", DEFAULT_PROJECT)
    return FormReading(form, _capped(every), _draft(document.value, every), project)


def _unreadable(code: str, message: str) -> FormReading:
    return FormReading(None, (Fault("", code, message),), Draft())


def _every_fault(form: Mapping[str, Any]) -> list[Fault]:
    """Return every fault that does not depend on the catalogue."""
    return [_reworded(fault) for fault in (*faults_in(dict(form), TaskForm, ""), *choices(form))]


def _reworded(fault: Fault) -> Fault:
    if fault.field == "training_type" and fault.code == "unknown-value":
        return Fault(fault.field, "unknown-training-type", fault.message)
    return fault


def _without_nulls(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is filled in: in a draft null says no more than nothing."""
    return {name: value for name, value in given.items() if value is not None}


def _draft(form: Mapping[str, Any], every: Iterable[Fault]) -> Draft:
    every = list(every)
    faulty = _faulty_fields(every)
    fields: dict[str, Any] = {"faults": _capped([fault for fault in every if _left_out(fault)])}
    for field in _DRAFTED:
        given = form.get(field.name)
        if field.name == "hyperparameters" and isinstance(given, dict):
            names = faulty.get(field.name, set())
            given = {name: value for name, value in given.items() if clip(name) not in names and value is not None}
        elif given is None or field.name in faulty:
            continue
        fields[field.name] = msgspec.convert(given, field.type)
    return Draft(**fields)


#: The fields of a form that a draft has too.
_DRAFTED = tuple(field for field in msgspec.structs.fields(Draft) if field.name != "faults")


def _left_out(fault: Fault) -> bool:
    """Return whether something that a draft says is left out of it: not what is only not there yet."""
    drafted = _top(fault) in {field.name for field in _DRAFTED}
    return drafted and not (fault.code == "missing-field" and fault.field == _top(fault))


def _top(fault: Fault) -> str:
    return re.split(r"[.\[]", fault.field, maxsplit=1)[0]


def _faulty_fields(faults: Iterable[Fault]) -> dict[str, set[str]]:
    """Return the top-level fields that have faults, and for each the first steps inside it that do."""
    faulty: dict[str, set[str]] = {}
    for fault in faults:
        field, inside = re.split(r"[.\[]", fault.field + ".", maxsplit=1)
        faulty.setdefault(field, set()).add(inside.removesuffix("."))
    return faulty


def _dotted(path: Path) -> str:
    return "".join(_steps(path)).removeprefix(".")


def _steps(path: Path) -> Iterator[str]:
    for step in path:
        yield f"[{step}]" if isinstance(step, int) else f".{clip(step)}"


def _capped(faults: list[Fault]) -> tuple[Fault, ...]:
    if len(faults) <= MAX_FAULTS:
        return tuple(faults)
    left = len(faults) - MAX_FAULTS + 1
    return (*faults[: MAX_FAULTS - 1], Fault("", "more-faults", f"and {left} more; mend these first"))
