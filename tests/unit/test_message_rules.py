"""The rules of messages that sft and preference share: what the formats' own tests leave out."""

from typing import Any

import pytest

from contracts.strict_json import pointer
from handlers.validation.rules_preference import check_preference
from handlers.validation.rules_ranking import count_ranking
from handlers.validation.rules_sft import check_sft

FUNCTION: dict[str, Any] = {"name": "f"}
TOOLS = [{"type": "function", "function": FUNCTION}]
CALL = {"function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "q"}
ASSISTANT = {"role": "assistant", "content": "a"}
TOOL = {"role": "tool", "content": "t"}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
PAIR = {"role": "assistant", "chosen": "a", "rejected": "b"}


def sft(*messages: Any, **fields: Any) -> list[tuple[str, str]]:
    return [(each.code, pointer(each.path)) for each in check_sft({"messages": list(messages), **fields})]


def preference(*messages: Any, **fields: Any) -> list[tuple[str, str]]:
    return [(each.code, pointer(each.path)) for each in check_preference({"messages": list(messages), **fields})]


@pytest.mark.parametrize("messages", ["text", {"role": "user"}, 7, None, True])
def test_messages_that_are_no_list_are_one_fault(messages: Any) -> None:
    for check in (check_sft, check_preference):
        assert [(each.code, each.path) for each in check({"messages": messages})] == [("wrong-type", ("messages",))]


@pytest.mark.parametrize(
    ("thinking", "good"), [("on", True), (True, True), ({"type": "on"}, True), (None, True), (1, False), ([], False)]
)
def test_what_thinking_may_be(thinking: Any, good: bool) -> None:
    assert sft(USER, ASSISTANT, thinking=thinking) == ([] if good else [("wrong-type", "/thinking")])


@pytest.mark.parametrize(("parallel", "good"), [(True, True), (False, True), (None, True), (0, False), ("true", False)])
def test_what_parallel_tool_calls_may_be(parallel: Any, good: bool) -> None:
    assert sft(USER, ASSISTANT, parallel_tool_calls=parallel) == (
        [] if good else [("wrong-type", "/parallel_tool_calls")]
    )


def test_only_false_forbids_parallel_calls() -> None:
    two = {**CALLING, "tool_calls": [CALL, CALL]}
    assert sft(USER, two, tools=TOOLS, parallel_tool_calls=None) == []
    assert sft(USER, two, tools=TOOLS, parallel_tool_calls=0) == [("wrong-type", "/parallel_tool_calls")]


@pytest.mark.parametrize(
    ("field", "users", "assistants", "tools"),
    [("name", True, True, True), ("tool_calls", False, True, False), ("tool_call_id", False, False, True)],
)
def test_which_message_may_have_which_field(field: str, users: bool, assistants: bool, tools: bool) -> None:
    value: Any = None
    unknown = [
        ("unknown-field", f"/messages/{index}/{field}")
        for index, known in enumerate([users, assistants, tools, assistants])
        if not known
    ]
    talk = [{field: value, **message} for message in (USER, CALLING, TOOL, ASSISTANT)]
    assert sft(*talk, tools=TOOLS) == unknown


@pytest.mark.parametrize("field", ["tool_calls", "tool_call_id", "name"])
def test_a_message_without_a_role_may_have_the_fields_of_any(field: str) -> None:
    assert sft({"content": "x", field: None}, ASSISTANT) == [("missing-field", "/messages/0/role")]


def test_names_and_ids_are_strings_where_they_belong() -> None:
    assert sft({**USER, "name": 1}, ASSISTANT) == [("wrong-type", "/messages/0/name")]
    talk = [USER, CALLING, {**TOOL, "name": 1, "tool_call_id": 2}, ASSISTANT]
    assert sft(*talk, tools=TOOLS) == [
        ("wrong-type", "/messages/2/name"),
        ("wrong-type", "/messages/2/tool_call_id"),
    ]
    # Where the field does not belong, its type is nobody's business.
    assert sft({**USER, "tool_call_id": 1}, ASSISTANT) == [("unknown-field", "/messages/0/tool_call_id")]


@pytest.mark.parametrize("content", ["", None])
def test_what_a_message_says_may_be_empty_only_beside_calls(content: Any) -> None:
    code = "wrong-type" if content is None else "empty-content"
    assert sft(USER, {**ASSISTANT, "content": content, "tool_calls": []}) == [(code, "/messages/1/content")]
    assert sft({**USER, "content": content}, ASSISTANT) == [(code, "/messages/0/content")]


@pytest.mark.parametrize("calls", [{}, "f", 7])
def test_calls_that_are_no_list_are_one_fault(calls: Any) -> None:
    assert sft(USER, {**ASSISTANT, "tool_calls": calls}) == [("wrong-type", "/messages/1/tool_calls")]


def test_reasoning_is_a_text_on_the_last_assistant_message() -> None:
    assert sft(USER, {**ASSISTANT, "reasoning_content": "</s>"}) == [
        ("special-token-in-text", "/messages/1/reasoning_content")
    ]
    assert sft(USER, {**ASSISTANT, "reasoning_content": 1}) == [("wrong-type", "/messages/1/reasoning_content")]
    assert sft({**USER, "reasoning_content": "r"}) == [
        ("reasoning-not-on-last-assistant", "/messages/0/reasoning_content"),
        ("no-assistant-message", "/messages"),
    ]


@pytest.mark.parametrize("tools", [None, []])
def test_tools_are_missing_only_where_something_is_called(tools: Any) -> None:
    assert sft(USER, ASSISTANT, tools=tools) == []
    assert sft(USER, CALLING, tools=tools) == [("tools-missing", "/tools")]


def test_all_weights_0_are_said_where_every_one_is_a_number_and_0() -> None:
    untrained = {**ASSISTANT, "loss_weight": 0}
    assert sft(USER, untrained, USER, {**ASSISTANT, "loss_weight": False}) == [
        ("wrong-type", "/messages/3/loss_weight")
    ]
    assert sft(USER) == [("no-assistant-message", "/messages")]


# --- candidates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "candidates"),
    [
        ([{"score": 1}], True), ([{"text": "a"}], True), ([{"type": "text", "text": "a", "score": 1}], True),
        ([{"type": "text", "text": "a"}], False), ([{"type": "image"}], False), ([{}], False), ([], False),
        (["text", "score"], False), ([7], False), ({"text": "a"}, False), ("text", False), (None, False),
        ([7, {"score": 1}], True),
    ],
)  # fmt: skip
def test_what_is_taken_for_candidates(content: Any, candidates: bool) -> None:
    code = ("candidates-not-last", "/messages/0/content") if candidates else ("wrong-type", "/messages/0/content")
    if content == "text":
        assert preference({**USER, "content": content}, PAIR) == []
    else:
        assert preference({**USER, "content": content}, PAIR)[0] == code


def test_scores_are_compared_where_there_are_two_of_them_and_all_are_numbers() -> None:
    def judged(*scores: Any) -> list[str]:
        entries = [{"text": "t", "score": score} for score in scores]
        return [code for code, _ in preference(USER, {"role": "assistant", "content": entries})]

    assert judged(1) == ["candidate-count"]
    assert judged(1, 1) == ["no-preference-pair"]
    assert judged(True, True) == ["wrong-type", "wrong-type"]
    entries = [{"text": "t", "score": 1}, "t"]
    assert preference(USER, {"role": "assistant", "content": entries}) == [("wrong-type", "/messages/1/content/1")]


# --- labels -----------------------------------------------------------------------------------------------------


def test_labels_and_their_spellings_are_counted() -> None:
    def counted(*labels: Any) -> list[tuple[str, str]]:
        return sorted(count_ranking({"docs": [{"text": "t", "label": label} for label in labels]}))

    assert counted(1, 0, 0) == [
        ("labels", "negative"), ("labels", "negative"), ("labels", "positive"), ("spellings", "0/1"),
    ]  # fmt: skip
    assert counted(True, False) == [("labels", "negative"), ("labels", "positive"), ("spellings", "true/false")]
    assert [name for kind, name in counted(1.0, False) if kind == "spellings"] == ["0/1", "true/false"]
