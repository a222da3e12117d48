"""Telling the formats apart by what objects look like: enough to name a wrong one, no judgement of its faults."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from contracts.dataset import Format
from contracts.spelling import clip

#: Formats of other tools, by the fields that give them away. They are named, not read.
_FOREIGN = {
    "the ShareGPT format": {"conversations"},
    "the Alpaca format": {"instruction", "output"},
    "the prompt/completion format": {"prompt", "completion"},
}
_FORMATS: tuple[str, ...] = get_args(Format)

SHAPES = {
    "sft": '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    "preference": '{"messages": [..., {"role": "assistant", "content": [{"text": "...", "score": 1.0}, ...]}]}',
    "ranking": '{"query": "...", "docs": [{"text": "...", "label": 1}, ...]}',
    "pretrain": '{"text": "..."}',
}


def looks_like(value: Any) -> str | None:
    """Return the format an object looks like, ours or a foreign one by its name, or None."""
    if not isinstance(value, dict):
        return None
    if isinstance(messages := value.get("messages"), list):
        return "preference" if any(map(_has_candidates, messages)) else "sft"
    if "docs" in value and "messages" not in value:
        return "ranking"
    if set(value) == {"text"}:
        return "pretrain"
    return next((name for name, fields in _FOREIGN.items() if fields <= set(value)), None)


def detected(seen: Sequence[str | None]) -> Format | None:
    """Return the format most of the first objects have, the earliest where several are level, or None."""
    ours = Counter(kind for kind in seen if kind in _FORMATS)
    most = max(ours.values(), default=0)
    first = next((kind for kind, count in ours.items() if count == most), None)
    return next((known for known in get_args(Format) if known == first), None)


def disagreement(declared: Format, seen: Sequence[str | None]) -> str | None:
    """Return what the first objects are where none of them is what was declared, or None."""
    named = [kind for kind in seen if kind is not None]
    if not named or declared in named:
        return None
    return Counter(named).most_common(1)[0][0]


def fields_of(value: Any) -> str:
    """Return the field names of an object, for a message about one that looks like nothing known."""
    return ", ".join(repr(clip(name, 40)) for name in list(value)[:5]) if isinstance(value, dict) and value else "none"


def _has_candidates(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    if "chosen" in message or "rejected" in message:
        return True
    content = message.get("content")
    # Parts of a multimodal message have a text, too, but also a type.
    return isinstance(content, list) and any(
        isinstance(part, dict) and "text" in part and "type" not in part for part in content
    )
