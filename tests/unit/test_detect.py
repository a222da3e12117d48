"""Telling formats apart by what the first objects look like."""

from typing import Any

import pytest

from handlers.validation.detect import detected, disagreement, fields_of, foreigner, looks_like
from handlers.validation.foreign import FOREIGN

ANSWER = {"role": "assistant", "content": "a"}
SFT = {"messages": [{"role": "user", "content": "q"}, ANSWER]}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (SFT, "sft"),
        ({"messages": [{"role": "assistant", "content": [{"text": "a", "score": 1}]}]}, "preference"),
        ({"messages": [{"role": "assistant", "chosen": "a"}]}, "preference"),
        ({"messages": [{"chosen": "a"}, ANSWER]}, "preference"),
        ({"messages": [ANSWER, {"role": "user", "content": "q"}]}, "a conversation"),
        ({"messages": [{"role": "user", "content": "a"}]}, "a conversation"),
        ({"messages": [{"role": "assistant", "content": None}]}, "a conversation"),
        ({"messages": [ANSWER, "text"]}, "a conversation"),
        ({"messages": ["text", ANSWER]}, "sft"),
        ({"messages": []}, "a conversation"),
        ({"messages": [], "docs": [], "text": ""}, "a conversation"),
        ({"docs": []}, "ranking"),
        ({"docs": [], "text": "", "conversations": []}, "ranking"),
        ({"text": "a"}, "pretrain"),
        ({"text": "a", "url": "b"}, "pretrain"),
        ({"conversations": []}, "the ShareGPT format"),
        ({"instruction": "a", "output": "b", "text": "c"}, "the Alpaca format"),
        ({"prompt": "a", "completion": "b"}, "the prompt/completion format"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "the chosen/rejected format"),
        ({"query": "a", "pos": [], "neg": []}, "the query/positive/negative format"),
        # Less than all the fields of a foreign format says nothing.
        ({"instruction": "a"}, None), ({"output": "a"}, None), ({"prompt": "a"}, None), ({"completion": "a"}, None),
        ({"chosen": "a"}, None), ({"rejected": "a"}, None), ({"query": "a", "pos": []}, None),
        ({"query": "a", "neg": []}, None), ({"pos": [], "neg": []}, None),
        ({"instruction": "a", "text": "b"}, "pretrain"),
        # With messages that are no list, it was meant for a conversation, whatever else is there.
        ({"messages": "a", "docs": []}, None), ({"messages": None, "text": "a"}, None), ({}, None),
        ([], None), (["text"], None), ("text", None), (None, None), (7, None),
    ],
)  # fmt: skip
def test_what_an_object_looks_like(value: Any, kind: str | None) -> None:
    assert looks_like(value) == kind


@pytest.mark.parametrize(
    ("seen", "format"),
    [
        ([], None), ([None], None), (["the Alpaca format"] * 3, None), (["a conversation"], "sft"),
        ([None, "a conversation"], "sft"), (["a conversation", "pretrain"], "pretrain"),
        (["sft", "ranking", "ranking"], "ranking"), (["ranking", "ranking", "sft"], "ranking"),
        (["ranking", "sft"], "ranking"), (["sft", "ranking"], "sft"), ([None, None, "preference"], "preference"),
        (["the Alpaca format", "the Alpaca format", "pretrain"], "pretrain"),
    ],
)  # fmt: skip
def test_most_of_the_first_objects_decide_the_earliest_where_level(seen: list[str | None], format: str | None) -> None:
    assert detected(seen) == format


@pytest.mark.parametrize(
    ("declared", "seen", "looks"),
    [
        ("sft", [], None), ("sft", [None, "a conversation"], None), ("preference", ["a conversation"], None),
        ("ranking", [None], None), ("ranking", ["a conversation"], "a conversation"),
        ("pretrain", ["a conversation", None], "a conversation"),
        ("sft", ["ranking"], "ranking"), ("sft", ["ranking", "sft"], None), ("ranking", ["sft", "ranking"], None),
        ("sft", ["ranking", "pretrain", "pretrain"], "pretrain"), ("sft", ["pretrain", "ranking"], "pretrain"),
        ("sft", [None, None, "ranking"], "ranking"), ("ranking", [None, None, "sft"], "sft"),
        ("sft", ["a conversation", "a conversation", "pretrain"], "pretrain"),
        ("ranking", ["sft", "sft", "pretrain"], "sft"),
    ],
)  # fmt: skip
def test_a_format_is_wrong_where_no_object_has_it_and_one_has_another(
    declared: Any, seen: list[str | None], looks: str | None
) -> None:
    assert disagreement(declared, seen) == looks


def test_the_fields_that_are_named_are_five_each_cut_to_forty_characters() -> None:
    assert fields_of(dict.fromkeys(["a", "b", "c", "d", "e", "f"])) == "'a', 'b', 'c', 'd', 'e'"
    assert fields_of({"x" * 40: 1, "y" * 41: 1}) == f"'{'x' * 40}', '{'y' * 40}...'"
    assert fields_of({}) == fields_of([]) == fields_of(["a"]) == "none"


def test_the_foreign_format_is_the_one_most_objects_have_of_those_that_are_foreign() -> None:
    one, other, *_ = FOREIGN
    assert foreigner([None, None, None, "sft", "sft", "sft", one, other, other]) == other
    assert foreigner([None, "sft"]) is None
