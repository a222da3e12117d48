"""Texts that hold what a tokenizer may take for a control token."""

from typing import Any

import pytest

from contracts.strict_json import pointer
from handlers.validation.texts import check_text, required_text


def token_in(text: str) -> str | None:
    found = [problem.message for problem in check_text(("text",), text)]
    assert len(found) <= 1
    return found[0].removesuffix(" looks like a control token").strip("'") if found else None


@pytest.mark.parametrize(
    "token",
    [
        "<|x|>", "<|im_start|>", f"<|{'x' * 40}|>", "<｜x｜>", "<｜begin▁of▁sentence｜>", f"<｜{'x' * 40}｜>", "[INST]",
        "[/INST]", "</s>", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>",
    ],
)  # fmt: skip
def test_control_tokens_are_named(token: str) -> None:
    assert token_in(f"before {token} behind") == token


@pytest.mark.parametrize(
    "text",
    [
        "", "<||>", f"<|{'x' * 41}|>", "<|a b|>", "<｜｜>", f"<｜{'x' * 41}｜>", "<｜a<b｜>", "[inst]", "INST", "<s>",
        "< /s>", "<middle_of_turn>", "<BOS>", "<unk>", "a < b | c > d", "<b>bold</b>",
    ],
)  # fmt: skip
def test_other_texts_are_left_alone(text: str) -> None:
    assert token_in(text) is None


def test_the_first_token_of_a_text_is_the_one_that_is_named() -> None:
    assert token_in("<eos> <|x|>") == "<eos>"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, ("missing-field", "/a/text", "add text")),
        ({"text": None}, ("wrong-type", "/a/text", "write it in double quotes")),
        ({"text": ""}, ("empty-text", "/a/text", "the hint")),
        (
            {"text": "<pad>"},
            ("special-token-in-text", "/a/text", "remove it, unless the model shall learn to read it as text"),
        ),
        ({"text": " "}, None),
    ],
)
def test_a_text_that_has_to_be_there(given: dict[str, Any], fault: tuple[str, str, str] | None) -> None:
    problems = required_text(("a",), given, "text", "empty-text", "the hint")
    assert [(each.code, pointer(each.path), each.hint) for each in problems] == ([fault] if fault else [])
