"""The rules of the format ``ranking``, as a pure function of one decoded object: every fault, not the first.

contracts/datasets/ranking.py says the shape that these rules accept.
"""

from collections.abc import Iterator
from typing import Any

from contracts.datasets.ranking import MOST_NEGATIVES
from contracts.spelling import clip
from contracts.strict_json import Path
from handlers.validation.problems import Problem, is_number, missing, unknown_fields, wrong_type
from handlers.validation.statistics import Counted
from handlers.validation.texts import required_text

_SAMPLE = ("query", "docs")
_DOC = ("text", "label")


def check_ranking(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of one sample. Never raises on what JSON can hold."""
    yield from unknown_fields((), sample, _SAMPLE)
    yield from required_text((), sample, "query", "empty-text", "write what is asked for")
    docs = sample.get("docs")
    if "docs" not in sample:
        yield missing(("docs",), 'as in "docs": [{"text": "...", "label": 1}]')
    elif not isinstance(docs, list):
        yield wrong_type(("docs",), docs, "a list")
    elif not docs:
        yield Problem(
            ("docs",), "empty-docs", "docs is empty", "write one document with the label 1, and up to 5 with 0"
        )
    else:
        for index, doc in enumerate(docs):
            yield from _check_doc(("docs", index), doc)
        yield from _check_counts([_label(doc) for doc in docs])


def count_ranking(sample: dict[str, Any]) -> Iterator[Counted]:
    """Yield the label of each document of a valid sample, and how labels are written."""
    for doc in sample["docs"]:
        yield "labels", "positive" if _label(doc) else "negative"
    for kind in {type(doc["label"]) is bool for doc in sample["docs"]}:
        yield "spellings", "true/false" if kind else "0/1"


def _label(doc: Any) -> bool | None:
    """Return whether a document is positive, or None where its label cannot be read."""
    label = doc.get("label") if isinstance(doc, dict) else None
    if isinstance(label, bool):
        return label
    return label == 1 if is_number(label) and label in {0, 1} else None


def _check_doc(path: Path, doc: Any) -> Iterator[Problem]:
    if not isinstance(doc, dict):
        yield wrong_type(path, doc, "an object", 'as in {"text": "...", "label": 1}')
        return
    yield from unknown_fields(path, doc, _DOC)
    yield from required_text(path, doc, "text", "empty-text", "write the document, or remove it")
    place, label = (*path, "label"), doc.get("label")
    hint = "1 or true for the document that answers the query, 0 or false for any other"
    if "label" not in doc:
        yield missing(place, hint)
    elif _label(doc) is None:
        if is_number(label) or isinstance(label, str):
            shown = repr(clip(label, 40)) if isinstance(label, str) else clip(str(label), 20)
            yield Problem(place, "invalid-label", f"label is {shown}", hint)
        else:
            yield wrong_type(place, label, "0, 1, true or false", hint)


def _check_counts(labels: list[bool | None]) -> Iterator[Problem]:
    """Yield the problems of how many documents there are of each kind. A label that cannot be read may be either."""
    positives, negatives = labels.count(True), labels.count(False)
    if positives > 1 or (positives == 0 and None not in labels):
        message = f"{positives} positive documents" if positives else "no positive document"
        yield Problem(("docs",), "positive-count", message, "give exactly one document the label 1")
    if negatives > MOST_NEGATIVES:
        hint = f"keep at most {MOST_NEGATIVES}, or make several samples of it"
        yield Problem(("docs",), "too-many-negatives", f"{negatives} negative documents", hint)
