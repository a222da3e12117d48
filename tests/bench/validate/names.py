"""Seeing a name that is given twice, by hand: no JSON library here tells, each keeps the last.

Then a line has more quotes than what was decoded needs: two for each string, and those inside. That is the quickest way
known to us, several times as fast as the standard library's pairs, which only the few lines are asked for that differ.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.bench.validate.result import Format


def repeats(format: Format) -> Callable[[bytes, Any], bool]:
    """Return what says whether the line of a valid sample, decoded, repeats a name."""
    return _conversation_repeats if format == "sft" else _document_repeats


def repeats_typed(format: Format) -> Callable[[bytes, Any], bool]:
    """As ``repeats``, for samples with attributes."""
    return _typed_conversation_repeats if format == "sft" else _typed_document_repeats


def _conversation_repeats(line: bytes, sample: dict[str, Any]) -> bool:
    strings, inside = 1, 0
    for message in sample["messages"]:
        strings += len(message) + 2
        content = message["content"]
        if '"' in content:
            inside += content.count('"')
        if len(message) > 2:
            for name in ("name", "reasoning_content"):
                if (value := message.get(name)) is not None:
                    strings += 1
                    inside += value.count('"')
    return _differ(line, strings, inside)


def _typed_conversation_repeats(line: bytes, sample: Any) -> bool:
    strings, inside = 1, 0
    for message in sample.messages:
        strings += 4
        content = message.content
        if '"' in content:
            inside += content.count('"')
        if message.loss_weight is not None:
            strings += 1
        for value in (message.name, message.reasoning_content):
            if value is not None:
                strings += 2
                inside += value.count('"')
    return _differ(line, strings, inside)


def _document_repeats(line: bytes, sample: dict[str, Any]) -> bool:
    return _differ(line, 2, sample["text"].count('"'))


def _typed_document_repeats(line: bytes, sample: Any) -> bool:
    return _differ(line, 2, sample.text.count('"'))


def _differ(line: bytes, strings: int, inside: int) -> bool:
    if line.count(b'"') == 2 * strings + inside and not (inside and b"\\u0022" in line):
        return False
    try:
        json.loads(line, object_pairs_hook=_refuse_repeats)
    except KeyError:
        return True
    return False


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise KeyError
