"""The rules of the format ``pretrain``, as a pure function of one decoded object."""

from collections.abc import Iterator
from typing import Any

from handlers.validation.problems import Problem, unknown_fields
from handlers.validation.texts import required_text


def check_pretrain(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of one sample. Never raises on what JSON can hold."""
    yield from unknown_fields((), sample, ("text",))
    yield from required_text((), sample, "text", "empty-text", "write the text, or remove the line")
