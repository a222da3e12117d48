"""The plain samples of ``sft`` and ``preference``: user and assistant take turns, and nobody calls a tool."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.datasets.preference import FEWEST_CANDIDATES, MOST_CANDIDATES
from handlers.validation.plain import Plain, Shape
from handlers.validation.statistics import Counted

#: Who may speak after whom.
_NEXT = {
    "nobody": frozenset({"system", "user"}),
    "system": frozenset({"user"}),
    "user": frozenset({"assistant"}),
    "assistant": frozenset({"user"}),
}


class _Said(NamedTuple):
    strings: int
    last: str
    silent: int  # Messages of the assistant that are not trained on.


def _said(messages: list[Any], texts: list[str], answer: Any) -> _Said | None:
    """Return what messages with a text each say, or None where one is not plain. Only ``answer`` may have reasoning."""
    strings = silent = 0
    before = "nobody"
    for message in messages:
        role, content = message["role"], message["content"]
        if role not in _NEXT[before] or type(content) is not str or not content:
            return None
        texts.append(content)
        if len(message) == 2:
            strings += 4
        else:
            more = _attributes(message, texts, may_reason=message is answer)
            if not more:
                return None
            strings += more
            silent += role == "assistant" and message.get("loss_weight") == 0
        before = role
    return _Said(strings, before, silent)


def _attributes(message: dict[str, Any], texts: list[str], *, may_reason: bool) -> int:
    """Return the number of strings of a message with more than a role and content; 0 where it is not plain."""
    strings = 0
    most = 1 if message["role"] == "assistant" else 0
    for name, value in message.items():
        strings += 1
        if name in {"role", "content"}:
            strings += 1
        elif name == "loss_weight":
            if value is not None and (type(value) not in {int, float} or not 0 <= value <= most):
                return 0
        elif name == "name" or (name == "reasoning_content" and may_reason):
            if value is not None:
                if type(value) is not str:
                    return 0
                texts.append(value)
                strings += 1
        else:
            return 0
    return strings


def _sft_shape(sample: Any, texts: list[str]) -> Shape | None:
    messages = sample["messages"]
    if len(sample) != 1 or type(messages) is not list or not messages:
        return None
    said = _said(messages, texts, messages[-1])
    if said is None or said.last != "assistant":
        return None
    if said.silent and said.silent == len(messages) // 2:
        return None
    return 1 + said.strings, len(messages)


def _roles(messages: int) -> dict[Counted, int]:
    """Return who says how many of so many messages: an odd one is the system's."""
    turns, system = divmod(messages, 2)
    counted: dict[Counted, int] = {("roles", "user"): turns, ("roles", "assistant"): turns}
    if system:
        counted["roles", "system"] = 1
    return counted


def _sft_counted(shape: Shape) -> Mapping[Counted, int]:
    return _roles(shape[1])


#: How candidates are written.
_PAIR, _SCORED, _MASKED = range(3)
_SPELLINGS = {_PAIR: ("chosen/rejected",), _SCORED: ("text/score",), _MASKED: ("text/score", "lm_loss_mask")}


def _preference_shape(sample: Any, texts: list[str]) -> Shape | None:
    messages = sample["messages"]
    if len(sample) != 1 or type(messages) is not list or not messages:
        return None
    answer = messages[-1]
    said = _said(messages[:-1], texts, None)
    if said is None or said.last != "user" or answer["role"] != "assistant":
        return None
    if len(answer) == 3:
        pair = answer["chosen"], answer["rejected"]
        texts += pair
        return (7 + said.strings, len(messages), 2, _PAIR) if _are_texts(pair) else None
    candidates = answer["content"]
    if len(answer) != 2 or type(candidates) is not list or not FEWEST_CANDIDATES <= len(candidates) <= MOST_CANDIDATES:
        return None
    masked = _masks(candidates)
    scores = [candidate["score"] for candidate in candidates]
    answers = [candidate["text"] for candidate in candidates]
    texts += answers
    if masked is None or not _are_texts(answers) or not _make_a_pair(scores):
        return None
    # "messages", "role", "assistant", "content"; each candidate has two names and a text.
    strings = 4 + said.strings + 3 * len(candidates) + masked
    return strings, len(messages), len(candidates), _MASKED if masked else _SCORED


def _are_texts(values: Any) -> bool:
    return all(type(value) is str and value for value in values)


def _make_a_pair(scores: list[Any]) -> bool:
    return all(type(score) in {int, float} and 0 <= score <= 1 for score in scores) and len(set(scores)) > 1


def _masks(candidates: list[Any]) -> int | None:
    """Return how many candidates have a mask, or None where one has something else besides text and score."""
    masks = 0
    for candidate in candidates:
        if len(candidate) == 2:
            continue
        mask = candidate["lm_loss_mask"]
        if len(candidate) != 3 or type(mask) not in {int, float} or mask not in {0, 1}:
            return None
        masks += 1
    return masks


def _preference_counted(shape: Shape) -> Mapping[Counted, int]:
    _, messages, candidates, spelling = shape
    counted = _roles(messages)
    counted["candidates", str(candidates)] = 1
    for name in _SPELLINGS[spelling]:
        counted["spellings", name] = 1
    return counted


SFT = Plain(_sft_shape, _sft_counted)
PREFERENCE = Plain(_preference_shape, _preference_counted)
