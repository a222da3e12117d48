"""Telling the formats apart by what objects look like: enough to name a wrong one, no judgement of its faults."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from contracts.dataset import Format
from contracts.spelling import clip
from handlers.validation.foreign import FOREIGN, LOOSE, conversion, foreign_name
from handlers.validation.rules_preference import has_candidates

_FORMATS: tuple[str, ...] = get_args(Format)

#: What messages look like that are too faulty to tell which of these they were meant for.
_CONVERSATION = "a conversation"
_CONVERSATIONS = ("sft", "preference")

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
        return _conversation(messages)
    if "docs" in value and "messages" not in value:
        return "ranking"
    if foreign := foreign_name(value, FOREIGN):
        return foreign
    if "messages" in value:
        return None
    return "pretrain" if "text" in value else foreign_name(value, LOOSE)


def detected(seen: Sequence[str | None]) -> Format | None:
    """Return the format most of the first objects have, the earliest where several are level, or None."""
    ours = Counter(kind for kind in seen if kind in _FORMATS)
    first = max(ours, key=ours.__getitem__, default=None)
    if first is None and _CONVERSATION in seen:
        return "sft"
    return next((known for known in get_args(Format) if known == first), None)


def disagreement(declared: Format, seen: Sequence[str | None]) -> str | None:
    """Return what the first objects are where none of them is what was declared, or None."""
    may_be = {None, _CONVERSATION} if declared in _CONVERSATIONS else {None}
    named = [kind for kind in seen if kind not in may_be]
    if not named or declared in named:
        return None
    counts = Counter(named)
    return max(counts, key=counts.__getitem__)


def foreigner(seen: Sequence[str | None]) -> str | None:
    """Return the format of another tool that most of the first objects have, or None."""
    named = Counter(kind for kind in seen if kind and conversion(kind)).most_common(1)
    return named[0][0] if named else None


def remedy(settled: Format | None, looks: str) -> str:
    """Return what to write instead of what a file looks like, where it is read as ``settled``; None: as what it is."""
    foreign = conversion(looks)
    if foreign and settled in {None, foreign.ours}:
        return f"as {foreign.ours}: {foreign.conversion}"
    return f"{settled} is {SHAPES[settled]}" if settled else ""


def fields_of(value: Any) -> str:
    """Return the field names of an object, for a message about one that looks like nothing known."""
    return ", ".join(repr(clip(name, 40)) for name in list(value)[:5]) if isinstance(value, dict) and value else "none"


def _conversation(messages: list[Any]) -> str:
    """Return which format messages are in: with candidates, with an answer at the end, or not to be told."""
    if any(map(has_candidates, messages)):
        return "preference"
    last = messages[-1] if messages and isinstance(messages[-1], dict) else {}
    return "sft" if last.get("role") == "assistant" and isinstance(last.get("content"), str) else _CONVERSATION
