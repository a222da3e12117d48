"""The plain samples of ``sft`` and ``preference``: user and assistant take turns, and nobody calls a tool."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from contracts.datasets.preference import FEWEST_CANDIDATES, MOST_CANDIDATES
from handlers.validation.plain import Plain, Seen, Shape
from handlers.validation.plain_special_tokens import add_plain_text, are_plain_texts, holds_special_token
from handlers.validation.statistics import Counted

#: Messages of a sample; with more it is left to the rules.
_MOST_MESSAGES = 64

#: The roles of so many messages: an odd one is the system's.
_TURNS = [["system"] * (size % 2) + ["user", "assistant"] * (size // 2) for size in range(_MOST_MESSAGES + 1)]
_TURNS[:2] = [["nobody"], ["nobody"]]


def _sft_shape(sample: Any, texts: list[str]) -> Shape | None:
    messages = sample["messages"]
    size = len(messages)
    said = [message["content"] for message in messages]
    if len(sample) > 1 or size > _MOST_MESSAGES or not all(said):
        return None
    # "messages", and of each message "role", its value, "content" and its value.
    strings = 1 + 4 * size
    if [message["role"] for message in messages if len(message) == 2] != _TURNS[size]:
        if [message["role"] for message in messages] != _TURNS[size]:
            return None
        more = _attributes(messages, said, may_reason=messages[-1])
        if more is None or _is_silent(messages):
            return None
        strings += more
    text = "\n".join(said)
    if holds_special_token(text):
        return None
    texts.append(text)
    return strings, size


def _sft_together(samples: Sequence[Any]) -> Seen | None:
    talks = [sample["messages"] for sample in samples]
    messages = list(chain.from_iterable(talks))
    said = [message["content"] for message in messages]
    sizes = Counter(map(len, talks))
    if (
        max(sizes) > _MOST_MESSAGES
        or [message["role"] for message in messages] != list(chain.from_iterable([_TURNS[len(talk)] for talk in talks]))
        or not all(said)
    ):
        return None
    more = [message for message in messages if len(message) > 2]
    # An answer without reasoning and with some weight: what is beside it does not matter.
    strings = _attributes(more, said, may_reason=None)
    if strings is None or any(message.get("loss_weight") == 0 for message in more) or not are_plain_texts(said):
        return None
    shapes: dict[Shape, int] = {(1 + 4 * size, size): times for size, times in sizes.items()}
    return Seen(len(talks) + 4 * len(messages) + strings, shapes, said)


def _attributes(messages: list[Any], said: list[Any], may_reason: Any) -> int | None:
    """Return how many strings messages have beyond role and content, or None; texts of them go to ``said``."""
    strings = 0
    for message in messages:
        if len(message) == 2:
            continue
        most = 1 if message["role"] == "assistant" else 0
        for name, value in message.items():
            if name in {"role", "content"}:
                continue
            strings += 1
            if name == "loss_weight":
                if value is not None and (type(value) not in {int, float} or not 0 <= value <= most):
                    return None
            elif name == "name" or (name == "reasoning_content" and message is may_reason):
                if value is not None:
                    said.append(value)
                    strings += 1
            else:
                return None
    return strings


def _is_silent(messages: list[dict[str, Any]]) -> bool:
    """Return whether no message of the assistant is trained on."""
    return all(message.get("loss_weight") == 0 for message in messages if message["role"] == "assistant")


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
    size = len(messages)
    if len(sample) > 1 or size > _MOST_MESSAGES or [message["role"] for message in messages] != _TURNS[size]:
        return None
    *prompt, answer = messages
    said = [message["content"] for message in prompt]
    # "messages", "role" and "assistant", and of each message of the prompt two names and two values.
    strings = 3 + 4 * len(prompt)
    if sum(map(len, prompt)) > 2 * len(prompt):
        more = _attributes(prompt, said, may_reason=None)
        if more is None:
            return None
        strings += more
    if len(answer) == 3:
        said += answer["chosen"], answer["rejected"]
        return (strings + 4, size, 2, _PAIR) if all(said) and add_plain_text(texts, said) else None
    candidates = answer["content"]
    if not FEWEST_CANDIDATES <= len(candidates) <= MOST_CANDIDATES:
        return None
    said += [candidate["text"] for candidate in candidates]
    masked = _masks(candidates)
    if masked is None or not _make_a_pair([candidate["score"] for candidate in candidates]) or not all(said):
        return None
    # "content", and of each candidate two names and a text.
    strings += 1 + 3 * len(candidates) + masked
    return (strings, size, len(candidates), _MASKED if masked else _SCORED) if add_plain_text(texts, said) else None


def _make_a_pair(scores: list[Any]) -> bool:
    return all(type(score) in {int, float} and 0 <= score <= 1 for score in scores) and len(set(scores)) > 1


def _masks(candidates: list[Any]) -> int | None:
    """Return how many candidates have a mask, or None where one is neither 0 nor 1."""
    masks = 0
    for candidate in candidates:
        if len(candidate) == 2:
            continue
        mask = candidate["lm_loss_mask"]
        if type(mask) not in {int, float} or mask not in {0, 1}:
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


SFT = Plain(_sft_shape, _sft_counted, _sft_together)
PREFERENCE = Plain(_preference_shape, _preference_counted)
