"""The rules of a form that concern several fields together. They read plain data, faulty or not, and never raise."""

from collections.abc import Iterator, Mapping
from typing import Any

from contracts.spelling import clip
from contracts.task import MAX_SAMPLE_COUNT, Fault


def choices(form: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield every fault of fields that are wrong only together; what has the wrong type is passed over."""
    yield from _base_model(form.get("base_model"))
    yield from _repeated(_values(form.get("tags"), "tags", "key"), "duplicate-tag", "give each tag key once")
    yield from _training_set(form.get("training_set"))
    trained_on = set(_values(form.get("training_set"), "training_set", "dataset_id").values())
    yield from _validation(form.get("validation"), trained_on)
    tolerance = form.get("tolerance")
    if isinstance(tolerance, dict) and None not in (
        tolerance.get("max_invalid_ratio"),
        tolerance.get("max_invalid_records"),
    ):
        message = "give max_invalid_ratio or max_invalid_records, not both"
        yield Fault("tolerance", "tolerance-choice", message)


def _base_model(given: Any) -> Iterator[Fault]:
    if not isinstance(given, dict):
        return
    named = [name for name in ("foundation", "custom_model_id") if given.get(name) is not None]
    if len(named) != 1:
        message = "name exactly one of foundation (name and version) and custom_model_id"
        yield Fault("base_model", "base-model-choice", message)


def _training_set(given: Any) -> Iterator[Fault]:
    for index, entry in enumerate(given if isinstance(given, list) else ()):
        if isinstance(entry, dict) and None not in (entry.get("multiplier"), entry.get("sample_count")):
            message = "give multiplier or sample_count, not both"
            yield Fault(f"training_set[{index}]", "multiplier-and-sample-count", message)
        count = entry.get("sample_count") if isinstance(entry, dict) else None
        # What does not fit 64 bits is a fault of its type already. Not in the schema: there it would be a new version.
        if type(count) is int and MAX_SAMPLE_COUNT < count < 2**63:
            message = f"must be at most {MAX_SAMPLE_COUNT:,}, but is {count:,}; draw fewer, and train more epochs"
            yield Fault(f"training_set[{index}].sample_count", "out-of-range", message)
    remedy = "name each dataset once; a multiplier repeats it"
    yield from _repeated(_values(given, "training_set", "dataset_id"), "duplicate-dataset", remedy)


def _validation(given: Any, trained_on: set[str]) -> Iterator[Fault]:
    if not isinstance(given, dict):
        return
    percent, dataset_ids = given.get("percent"), given.get("dataset_ids", [])
    if percent is not None and dataset_ids not in (None, []):
        message = "give percent or dataset_ids, not both"
        yield Fault("validation", "validation-choice", message)
    elif percent is None and dataset_ids == []:
        message = "give percent or dataset_ids, or leave validation out to switch it off"
        yield Fault("validation", "validation-choice", message)
    listed = dataset_ids if isinstance(dataset_ids, list) else []
    named = {f"validation.dataset_ids[{index}]": name for index, name in enumerate(listed) if isinstance(name, str)}
    yield from _repeated(named, "duplicate-dataset", "name each dataset once")
    for place in (place for place, name in named.items() if name in trained_on):
        message = f"{clip(named[place])!r} is in the training set too; validate on data that are not trained on"
        yield Fault(place, "validation-overlaps-training", message)


def _values(entries: Any, field: str, name: str) -> dict[str, str]:
    """Return the text each entry of a list has under a name, by its place."""
    listed = entries if isinstance(entries, list) else []
    given = {
        f"{field}[{index}].{name}": entry.get(name) for index, entry in enumerate(listed) if isinstance(entry, dict)
    }
    return {place: value for place, value in given.items() if isinstance(value, str)}


def _repeated(named: Mapping[str, str], code: str, remedy: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, name in named.items():
        if name in seen:
            yield Fault(place, code, f"{clip(name)!r} is there more than once; {remedy}")
        seen.add(name)
