"""Samples of the sizes and shapes that real files have: English and Chinese, two to six messages or one text."""

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.bench.validate.texts import Texts

_TURNS = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
    ("user", "assistant", "user", "assistant", "user", "assistant"),
)
_SHARES = (50, 20, 15, 8, 7)

#: How much of a sample a message of a role is.
_LENGTHS = {"system": 1, "user": 2, "assistant": 5}


def sft(seed: int) -> Iterator[dict[str, Any]]:
    """Yield conversations without end, most of 400 to 1500 bytes as a line of UTF-8. One in ten has a loss weight."""
    random = Random(seed)  # noqa: S311 - a file to measure with, no secret
    texts = Texts(random)
    while True:
        roles = random.choices(_TURNS, _SHARES)[0]
        chinese = random.random() < 0.5
        room = random.randrange(400, 1500) - 45 * len(roles)
        total = sum(_LENGTHS[role] for role in roles)
        messages: list[dict[str, Any]] = [
            {"role": role, "content": texts.text(room * _LENGTHS[role] // total, chinese=chinese)} for role in roles
        ]
        if random.random() < 0.1:
            messages[-1]["loss_weight"] = random.choice((1.0, 0.5, 1))
        yield {"messages": messages}


def pretrain(seed: int) -> Iterator[dict[str, Any]]:
    """Yield texts without end, of 0.5 to 8 KB."""
    random = Random(seed)  # noqa: S311 - as above
    texts = Texts(random)
    while True:
        yield {"text": texts.text(random.randrange(500, 8000), chinese=random.random() < 0.5)}
