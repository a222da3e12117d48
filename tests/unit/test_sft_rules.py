"""The rules of sft where they meet each other; each rule by itself is pinned by the examples."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.datasets import sft
from contracts.datasets.findings import CODES, codes_of
from contracts.strict_json import pointer
from handlers.validation.rules_sft import check_sft
from tests.mutations import mutated, mutations, values

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def user(content: Any = "hi", **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def assistant(content: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def tool(content: Any = "sunny", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **fields}


def calling(count: int = 1, **fields: Any) -> dict[str, Any]:
    call = {"function": {"name": "weather", "arguments": "{}"}}
    return assistant("", tool_calls=[call] * count, **fields)


def sample(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def found(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.code, pointer(problem.path)) for problem in check_sft(value)]


def test_every_fault_of_a_sample_is_found_at_its_place() -> None:
    value = sample(
        user("", loss_weight=0.5, mood="good"),
        {"role": "system", "content": 5},
        assistant("x", loss_weight=2, reasoning_content="why"),
        assistant("y", loss_weight=True),
        user(None),
        tools="weather",
        extra=1,
    )
    assert sorted(found(value)) == [
        ("consecutive-assistant-messages", "/messages/3"),
        ("empty-content", "/messages/0/content"),
        ("last-message-not-assistant", "/messages/4"),
        ("loss-weight-not-allowed", "/messages/0/loss_weight"),
        ("loss-weight-out-of-range", "/messages/2/loss_weight"),
        ("reasoning-not-on-last-assistant", "/messages/2/reasoning_content"),
        ("system-not-first", "/messages/1"),
        ("unknown-field", "/extra"),
        ("unknown-field", "/messages/0/mood"),
        ("wrong-type", "/messages/1/content"),
        ("wrong-type", "/messages/3/loss_weight"),
        ("wrong-type", "/messages/4/content"),
        ("wrong-type", "/tools"),
    ]


@pytest.mark.parametrize("entry", [None, 1, "user", [], True])
def test_a_message_that_is_no_object_is_its_only_fault(entry: Any) -> None:
    assert found(sample(entry, assistant())) == [("wrong-type", "/messages/0")]


@pytest.mark.parametrize("role", [None, 1, "", "User", "function", ["user"]])
def test_a_role_that_cannot_be_read_says_nothing_about_the_order(role: Any) -> None:
    code = "unknown-role" if isinstance(role, str) else "wrong-type"
    assert found(sample({"role": role, "content": "x"}, assistant())) == [(code, "/messages/0/role")]
    assert found(sample(user(), {"role": role, "content": "x"})) == [(code, "/messages/1/role")]


@pytest.mark.parametrize("weight", [0, 0.0, -0.0, None])
@pytest.mark.parametrize("role", ["system", "user"])
def test_the_weight_0_may_be_said_where_nothing_is_trained(role: str, weight: Any) -> None:
    first = {"role": role, "content": "x", "loss_weight": weight}
    assert found(sample(first, *[user()] * (role == "system"), assistant())) == []


@pytest.mark.parametrize("weight", [0.0001, 1, -1, 10**400])
def test_any_other_weight_may_not(weight: Any) -> None:
    assert found(sample(user(loss_weight=weight), assistant())) == [
        ("loss-weight-not-allowed", "/messages/0/loss_weight")
    ]


@pytest.mark.parametrize(
    ("weight", "good"), [(0.0001, True), (1, True), (1.0, True), (1.0001, False), (10**400, False)]
)
def test_the_bounds_of_an_assistants_weight(weight: Any, good: bool) -> None:
    expected = [] if good else [("loss-weight-out-of-range", "/messages/1/loss_weight")]
    assert found(sample(user(), assistant(loss_weight=weight))) == expected


def test_one_trained_message_is_enough() -> None:
    untrained = [user(), assistant(loss_weight=0), user()]
    assert found(sample(*untrained, assistant(loss_weight=0))) == [("nothing-to-train", "/messages")]
    assert found(sample(*untrained, assistant())) == []
    assert found(sample(*untrained, assistant(loss_weight=None))) == []


def test_reasoning_belongs_to_the_last_assistant_message_even_where_it_is_not_the_last_message() -> None:
    assert found(sample(user(), assistant(reasoning_content="x"), user())) == [
        ("last-message-not-assistant", "/messages/2")
    ]
    assert found(sample(user(), assistant(), user(reasoning_content="x"))) == [
        ("reasoning-not-on-last-assistant", "/messages/2/reasoning_content"),
        ("last-message-not-assistant", "/messages/2"),
    ]
    assert found(sample(user(), calling(reasoning_content="x"), tool(), assistant(), tools=[WEATHER])) == [
        ("reasoning-not-on-last-assistant", "/messages/1/reasoning_content")
    ]


# --- function calling -------------------------------------------------------------------------------------------


def test_a_conversation_that_calls_again_and_again() -> None:
    turns = [user(), calling(2), tool(), tool(), calling(), tool(), assistant(), user(), assistant()]
    assert found(sample(*turns, tools=[WEATHER])) == []


def test_a_sample_may_end_with_the_call_that_shall_be_learnt() -> None:
    assert found(sample(user(), calling(3), tools=[WEATHER])) == []


@pytest.mark.parametrize(
    ("turns", "place"),
    [
        ([user(), calling(2), tool(), assistant()], "/messages/1/tool_calls"),
        ([user(), calling(1), tool(), tool(), assistant()], "/messages/1/tool_calls"),
        ([user(), calling(1), user(), assistant()], "/messages/1/tool_calls"),
        ([user(), calling(1), calling(1)], "/messages/1/tool_calls"),
        ([user(), tool(), assistant()], "/messages/1"),
        ([tool(), user(), assistant()], "/messages/0"),
    ],
)
def test_calls_and_answers_must_balance(turns: list[Any], place: str) -> None:
    assert ("tool-call-count-mismatch", place) in found(sample(*turns, tools=[WEATHER]))


def test_calls_without_an_answer_from_the_assistant_break_the_turns() -> None:
    turns = [user(), calling(), tool(), user(), assistant()]
    assert found(sample(*turns, tools=[WEATHER])) == [("roles-not-alternating", "/messages/3")]


def test_several_calls_are_allowed_unless_forbidden() -> None:
    turns = [user(), calling(2), tool(), tool(), assistant()]
    assert found(sample(*turns, tools=[WEATHER], parallel_tool_calls=True)) == []
    assert found(sample(*turns, tools=[WEATHER], parallel_tool_calls=False)) == [
        ("parallel-tool-calls-not-allowed", "/messages/1/tool_calls")
    ]


@pytest.mark.parametrize("tools", [None, []])
def test_calling_without_tools_is_said_once(tools: Any) -> None:
    turns = [user(), calling(2), tool(), tool(), calling(), tool(), assistant()]
    assert found(sample(*turns, tools=tools)) == [("tools-missing", "/tools")]


def test_tools_that_cannot_be_read_make_no_call_unknown() -> None:
    codes = {code for code, _ in found(sample(user(), calling(), tools=[{"type": "function"}]))}
    assert codes == {"missing-field"}


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (7, ("wrong-type", "")),
        ({"id": 7, "function": {"name": "weather", "arguments": "{}"}}, ("wrong-type", "/id")),
        ({}, ("missing-field", "/function")),
        ({"function": None}, ("wrong-type", "/function")),
        ({"function": {"arguments": "{}"}}, ("missing-field", "/function/name")),
        ({"function": {"name": 1, "arguments": "{}"}}, ("wrong-type", "/function/name")),
        ({"function": {"name": "weather"}}, ("missing-field", "/function/arguments")),
        ({"function": {"name": "weather", "arguments": None}}, ("wrong-type", "/function/arguments")),
        ({"function": {"name": "weather", "arguments": "{]"}}, ("tool-arguments-not-json", "/function/arguments")),
        ({"function": {"name": "weather", "arguments": "NaN"}}, ("tool-arguments-not-json", "/function/arguments")),
        ({"function": {"name": "clock", "arguments": "{}"}}, ("unknown-tool", "/function/name")),
        ({"function": {"name": "weather", "arguments": "{}", "args": 1}}, ("unknown-field", "/function/args")),
    ],
)
def test_the_faults_of_one_call(call: Any, fault: tuple[str, str]) -> None:
    value = sample(user(), assistant("", tool_calls=[call]), tools=[WEATHER])
    assert found(value) == [(fault[0], "/messages/1/tool_calls/0" + fault[1])]


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({}, None),
        (None, None),
        ({"type": "object", "properties": {"a": {}, "b": True, "c": {"enum": [1, None]}}}, None),
        ([], ("wrong-type", "")),
        ({"type": "string"}, ("invalid-tool-schema", "/type")),
        ({"type": "dict"}, ("invalid-tool-schema", "/type")),
        ({"type": "object", "properties": []}, ("invalid-tool-schema", "/properties")),
        ({"type": "object", "properties": {"a": "string"}}, ("invalid-tool-schema", "/properties/a")),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, ("invalid-tool-schema", "/properties/a/type")),
        ({"properties": {"a": {"items": {"type": "str"}}}}, ("invalid-tool-schema", "/properties/a/items/type")),
        ({"properties": {"a": {"items": [{"type": "x"}]}}}, ("invalid-tool-schema", "/properties/a/items/0/type")),
        ({"anyOf": {"type": "object"}}, ("invalid-tool-schema", "/anyOf")),
        ({"anyOf": [{"type": 1}]}, ("invalid-tool-schema", "/anyOf/0/type")),
        ({"required": "a"}, ("invalid-tool-schema", "/required")),
        ({"$defs": {"x/y": {"type": "any"}}}, ("invalid-tool-schema", "/$defs/x~1y/type")),
    ],
)
def test_the_faults_of_one_schema(parameters: Any, fault: tuple[str, str] | None) -> None:
    described = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    expected = [(fault[0], "/tools/0/function/parameters" + fault[1])] if fault else []
    assert found(sample(user(), assistant(), tools=[described])) == expected


@pytest.mark.parametrize(
    ("text", "suspicious"),
    [
        ("a <|endoftext|> b", True), ("<｜User｜>", True), ("[INST] x", True), ("</s>", True), ("<end_of_turn>", True),
        ("a < b | c > d", False), ("<b>bold</b>", False), ("<||>", False), ("[inst]", False), ("<s>", False),
    ],
)  # fmt: skip
def test_texts_that_look_like_control_tokens(text: str, suspicious: bool) -> None:
    assert (found(sample(user(text), assistant())) == [("special-token-in-text", "/messages/0/content")]) == suspicious


# --- whatever arrives -------------------------------------------------------------------------------------------

WORDS = ["messages", "role", "content", "loss_weight", "reasoning_content", "tools", "tool_calls", "function", "name",
         "arguments", "type", "parameters", "properties", "items", "anyOf", "required", "thinking",
         "user", "assistant", "system", "tool", "weather", "object", "{}", "id", ""]  # fmt: skip
GOOD: dict[str, Any] = sample(
    {"role": "system", "content": "s"},
    user(loss_weight=0),
    calling(2),
    tool(),
    tool(tool_call_id="1", name="weather"),
    assistant(loss_weight=0.5, reasoning_content="r"),
    tools=[WEATHER],
    parallel_tool_calls=True,
    thinking="enabled",
)


@settings(max_examples=300)
@given(mutations(WORDS))
def test_a_mutated_sample_is_judged_and_what_passes_is_what_the_contract_decodes(steps: list[Any]) -> None:
    value = mutated(GOOD, steps)
    problems = list(check_sft(value))
    assert {problem.code for problem in problems} <= codes_of("sft")
    assert all(problem.message and problem.hint for problem in problems)
    msgspec.json.encode([[pointer(problem.path), *problem[1:]] for problem in problems])
    if not any(CODES[problem.code].severity == "error" for problem in problems):
        msgspec.convert(value, sft.Sample)


@given(st.dictionaries(st.sampled_from(WORDS), values(WORDS)))
def test_any_object_is_judged(value: dict[str, Any]) -> None:
    assert {problem.code for problem in check_sft(value)} <= codes_of("sft")


def test_the_sample_that_is_mutated_is_good() -> None:
    assert found(GOOD) == []
