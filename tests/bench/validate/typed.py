"""The checks by hand of a decoded and typed sample: what a model cannot say of its fields alone."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tests.bench.validate.checks import (
    FAULT,
    FINE,
    SPECIAL_TOKEN,
    WARNED,
    Patterns,
    judge_extras,
    judge_order,
)
from tests.bench.validate.result import Format


class Message(Protocol):
    """A message whose fields have the right types; its content is not empty, its weight between 0 and 1."""

    role: Any
    content: str
    loss_weight: float | None
    reasoning_content: str | None
    name: str | None


class Conversation(Protocol):
    messages: Sequence[Message]


class Document(Protocol):
    text: str


def judge_typed(format: Format) -> Callable[[Any, Patterns], int]:
    """Return what gives the verdict on a typed sample, and counts the roles of a valid conversation."""
    return _judge_conversation if format == "sft" else _judge_document


def _judge_conversation(sample: Conversation, patterns: Patterns) -> int:
    verdict, roles, more = FINE, [], False
    for message in sample.messages:
        content = message.content
        if ("<" in content or "[" in content) and SPECIAL_TOKEN.search(content):
            verdict = WARNED
        if message.loss_weight is not None or message.reasoning_content is not None:
            more = True
        roles.append(message.role)
    pattern = tuple(roles)
    verdict = max(verdict, judge_order(pattern))
    if more:
        extras = [(each.role, each.loss_weight, each.reasoning_content) for each in sample.messages]
        verdict = max(verdict, judge_extras(extras))
    if verdict != FAULT:
        patterns[pattern] += 1
    return verdict


def _judge_document(sample: Document, _: Patterns) -> int:
    text = sample.text
    return WARNED if ("<" in text or "[" in text) and SPECIAL_TOKEN.search(text) else FINE
