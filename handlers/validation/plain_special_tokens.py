"""Texts without a control token in them, which most are: quicker than asking for where it is."""

from collections.abc import Sequence
from typing import Any

from handlers.validation.texts import SPECIAL_TOKEN

#: Every control token holds one of these, and looking for them is much faster.
_MARKS = ("<|", "<｜", "</s>", "_of_turn>", "<bos>", "<eos>", "<pad>")


def holds_special_token(text: str) -> bool:
    """Return whether a text holds what a tokenizer may take for a control token."""
    if "<" not in text and "[" not in text:
        return False
    return ("INST]" in text or any(mark in text for mark in _MARKS)) and SPECIAL_TOKEN.search(text) is not None


def add_plain_text(texts: list[str], said: Sequence[Any]) -> bool:
    """Append what was said as one text, unless it holds a special token. Raises TypeError where it is not all text."""
    text = "\n".join(said)
    if holds_special_token(text):
        return False
    texts.append(text)
    return True


def are_plain_texts(values: Sequence[Any]) -> bool:
    """Return whether all are texts and none holds a special token."""
    if set(map(type, values)) != {str}:
        return False
    return not any(map(holds_special_token, [text for text in values if "<" in text or "[" in text]))
