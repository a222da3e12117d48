"""Formats of other tools, told by the fields that give them away. They are named, with what to write instead."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.dataset import Format


class Foreign(NamedTuple):
    """A format that is not read: the fields that give it away, and how its samples are written in one of ours."""

    fields: frozenset[str]
    ours: Format
    conversion: str


def _turn(user: str, assistant: str) -> str:
    return f'{{"messages": [{{"role": "user", "content": {user}}}, {{"role": "assistant", "content": {assistant}}}]}}'


def _pair(prompt: str, chosen: str, rejected: str) -> str:
    return (
        f'{{"messages": [{{"role": "user", "content": {prompt}}}, '
        f'{{"role": "assistant", "chosen": {chosen}, "rejected": {rejected}}}]}}'
    )


def _documents(positive: str, negative: str, query: str = "QUERY") -> str:
    return (
        f'{{"query": {query}, "docs": [{{"text": {positive}, "label": 1}}, {{"text": {negative}, "label": 0}}, ...]}}'
    )


FOREIGN = {
    "the ShareGPT format": Foreign(
        frozenset({"conversations"}),
        "sft",
        "write messages for conversations, role for from (user for human, assistant for gpt) and content for value",
    ),
    "the OpenAI preference format": Foreign(
        frozenset({"input", "preferred_output", "non_preferred_output"}),
        "preference",
        "append to the messages of input one more: "
        '{"role": "assistant", "chosen": PREFERRED_OUTPUT, "rejected": NON_PREFERRED_OUTPUT}',
    ),
    "the Alpaca format": Foreign(
        frozenset({"instruction", "output"}), "sft", f"write {_turn('INSTRUCTION and INPUT', 'OUTPUT')}"
    ),
    "the KTO format": Foreign(
        frozenset({"prompt", "completion", "label"}),
        "preference",
        f"answers without a pair are not read: write {_pair('PROMPT', 'GOOD COMPLETION', 'BAD COMPLETION')}",
    ),
    "the prompt/completion format": Foreign(
        frozenset({"prompt", "completion"}), "sft", f"write {_turn('PROMPT', 'COMPLETION')}"
    ),
    "the chosen/rejected format": Foreign(
        frozenset({"chosen", "rejected"}),
        "preference",
        f"write {_pair('PROMPT', 'CHOSEN', 'REJECTED')}; "
        "where both are conversations, what they share goes before their last texts",
    ),
    "the query/positive/negative format": Foreign(
        frozenset({"query", "pos", "neg"}), "ranking", f"write {_documents('POS', 'NEG')}"
    ),
    "the anchor/positive/negative format": Foreign(
        frozenset({"anchor", "positive"}), "ranking", f"write {_documents('POSITIVE', 'NEGATIVE', 'ANCHOR')}"
    ),
}

#: Looked for last: whoever has such fields beside a text may mean the text.
LOOSE = {
    f"the {user}/{assistant} format": Foreign(
        frozenset({user, assistant}), "sft", f"write {_turn(user.upper(), assistant.upper())}"
    )
    for user, assistant in (
        ("prompt", "response"), ("instruction", "response"), ("question", "answer"), ("query", "response"),
        ("input", "output"),
    )
}  # fmt: skip


def foreign_name(value: Mapping[str, Any], among: Mapping[str, Foreign]) -> str | None:
    """Return the name of the format whose fields an object has, or None."""
    return next((name for name, foreign in among.items() if foreign.fields <= value.keys()), None)


def conversion(name: str) -> Foreign | None:
    """Return what a format is called that ``foreign_name`` gave; None: it is one of ours."""
    return FOREIGN.get(name) or LOOSE.get(name)
