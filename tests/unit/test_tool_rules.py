"""The rules of function calling, one fault at a time, with its place."""

from typing import Any

import pytest

from contracts.strict_json import pointer
from handlers.validation.problems import Problem
from handlers.validation.rules_tools import check_calls, check_tools, tool_names

WEATHER: dict[str, Any] = {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}


def places(problems: Any) -> list[tuple[str, str]]:
    return [(problem.code, pointer(problem.path)) for problem in problems]


def tool(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": WEATHER, **fields}


def function(**fields: Any) -> dict[str, Any]:
    return tool(function={**WEATHER, **fields})


def without(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in given.items() if each != name}


@pytest.mark.parametrize("tools", [None, [], [tool()], [tool(), function(name="clock")]])
def test_good_tools(tools: Any) -> None:
    assert places(check_tools(tools)) == []


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("weather", ("wrong-type", "")),
        (tool(strict=True), ("unknown-field", "/strict")),
        (without(tool(), "type"), ("missing-field", "/type")),
        (tool(type=1), ("wrong-type", "/type")),
        (tool(type="tool"), ("invalid-tool-schema", "/type")),
        (without(tool(), "function"), ("missing-field", "/function")),
        (tool(function="weather"), ("wrong-type", "/function")),
        (function(arguments={}), ("unknown-field", "/function/arguments")),
        (tool(function=without(WEATHER, "name")), ("missing-field", "/function/name")),
        (function(name=1), ("wrong-type", "/function/name")),
        (function(name=""), ("invalid-tool-schema", "/function/name")),
        (function(name="clock"), ("invalid-tool-schema", "/function/name")),
        (function(description=1), ("wrong-type", "/function/description")),
        (function(parameters="{}"), ("wrong-type", "/function/parameters")),
    ],
)
def test_the_faults_of_one_tool_stop_no_other_tool_from_being_judged(entry: Any, fault: tuple[str, str]) -> None:
    clock = function(name="clock")
    last = tool(type=1, function=function(name="last")["function"])
    assert places(check_tools([clock, entry, last])) == [
        (fault[0], "/tools/1" + fault[1]),
        ("wrong-type", "/tools/2/type"),
    ]


def test_tools_that_are_no_list() -> None:
    assert places(check_tools({"type": "function"})) == [("wrong-type", "/tools")]


def test_all_faults_of_a_tool_are_found() -> None:
    entry = {"type": "tool", "function": {"nam": "x", "name": "", "description": [], "parameters": {"type": "array"}}}
    assert places(check_tools([entry])) == [
        ("invalid-tool-schema", "/tools/0/type"),
        ("unknown-field", "/tools/0/function/nam"),
        ("invalid-tool-schema", "/tools/0/function/name"),
        ("wrong-type", "/tools/0/function/description"),
        ("invalid-tool-schema", "/tools/0/function/parameters/type"),
    ]


# --- schemas ----------------------------------------------------------------------------------------------------


def schema_faults(parameters: dict[str, Any]) -> list[tuple[str, str]]:
    faults = places(check_tools([function(parameters=parameters)]))
    return [(code, place.removeprefix("/tools/0/function/parameters")) for code, place in faults]


@pytest.mark.parametrize(
    "keyword", ["items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"]
)
def test_a_keyword_that_holds_one_schema(keyword: str) -> None:
    assert schema_faults({keyword: {"type": "str"}}) == [("invalid-tool-schema", f"/{keyword}/type")]
    assert schema_faults({keyword: {"type": "string"}}) == schema_faults({keyword: True}) == []
    assert schema_faults({keyword: "string"}) == [("invalid-tool-schema", f"/{keyword}")]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf", "prefixItems", "items"])
def test_a_keyword_that_holds_a_list_of_schemas(keyword: str) -> None:
    assert schema_faults({keyword: [{}, {"type": "str"}]}) == [("invalid-tool-schema", f"/{keyword}/1/type")]


@pytest.mark.parametrize("keyword", ["not", "if", "contains"])
def test_a_list_where_one_schema_belongs(keyword: str) -> None:
    assert schema_faults({keyword: [{"type": "str"}]}) == [("invalid-tool-schema", f"/{keyword}")]


@pytest.mark.parametrize("keyword", ["properties", "patternProperties", "$defs", "definitions"])
def test_a_keyword_that_holds_schemas_by_name(keyword: str) -> None:
    assert schema_faults({keyword: {"a": {}, "b": {"type": "str"}}}) == [("invalid-tool-schema", f"/{keyword}/b/type")]
    assert schema_faults({keyword: []}) == [("invalid-tool-schema", f"/{keyword}")]


def test_what_is_wrong_with_one_keyword_does_not_hide_the_next() -> None:
    faulty = {"properties": [], "required": "a", "anyOf": {}, "not": {"type": 1}, "enum": "x"}
    assert schema_faults(faulty) == [
        ("invalid-tool-schema", "/required"),
        ("invalid-tool-schema", "/properties"),
        ("invalid-tool-schema", "/anyOf"),
        ("invalid-tool-schema", "/not/type"),
    ]


@pytest.mark.parametrize("kind", ["string", "number", "boolean", "integer", "object", "array"])
def test_every_type_a_property_may_have(kind: str) -> None:
    assert schema_faults({"properties": {"a": {"type": kind}}}) == []


@pytest.mark.parametrize("kind", ["null", "String", ["string"], None, {}])
def test_types_a_property_may_not_have(kind: Any) -> None:
    assert schema_faults({"properties": {"a": {"type": kind}}}) == [("invalid-tool-schema", "/properties/a/type")]


@pytest.mark.parametrize(("kind", "code"), [("object", None), ("array", "invalid"), ("dict", "invalid")])
def test_parameters_are_an_object_and_said_once_where_they_are_not(kind: str, code: str | None) -> None:
    assert schema_faults({"type": kind}) == ([("invalid-tool-schema", "/type")] if code else [])


def test_a_type_nobody_knows_does_not_hide_what_else_is_wrong() -> None:
    assert schema_faults({"type": "dict", "required": "a"}) == [
        ("invalid-tool-schema", "/type"),
        ("invalid-tool-schema", "/required"),
    ]


@pytest.mark.parametrize(
    ("names", "good"), [(["a", "b"], True), ([], True), (["a", 1], False), ("a", False), (None, False)]
)
def test_required_is_a_list_of_names(names: Any, good: bool) -> None:
    assert schema_faults({"required": names}) == ([] if good else [("invalid-tool-schema", "/required")])


# --- calls ------------------------------------------------------------------------------------------------------

CALLED = {"name": "weather", "arguments": "{}"}
CALL = {"function": CALLED, "id": "1", "type": "function", "index": 0}


def calls(*given: Any, known: frozenset[str] | None = frozenset({"weather"})) -> list[Problem]:
    return list(check_calls(("c",), list(given), known))


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("weather", ("wrong-type", "")),
        ({**CALL, "name": "weather"}, ("unknown-field", "/name")),
        ({**CALL, "id": 1}, ("wrong-type", "/id")),
        ({**CALL, "type": 1}, ("wrong-type", "/type")),
        (without(CALL, "function"), ("missing-field", "/function")),
        ({**CALL, "function": "weather"}, ("wrong-type", "/function")),
        ({**CALL, "function": {**CALLED, "args": 1}}, ("unknown-field", "/function/args")),
        ({**CALL, "function": without(CALLED, "name")}, ("missing-field", "/function/name")),
        ({**CALL, "function": {**CALLED, "name": None}}, ("wrong-type", "/function/name")),
        ({**CALL, "function": {**CALLED, "name": "clock"}}, ("unknown-tool", "/function/name")),
        ({**CALL, "function": without(CALLED, "arguments")}, ("missing-field", "/function/arguments")),
        ({**CALL, "function": {**CALLED, "arguments": {}}}, ("wrong-type", "/function/arguments")),
        ({**CALL, "function": {**CALLED, "arguments": "{"}}, ("tool-arguments-not-json", "/function/arguments")),
    ],
)
def test_the_faults_of_one_call_stop_no_other_call_from_being_judged(call: Any, fault: tuple[str, str]) -> None:
    last = {"function": CALLED, "id": 7}
    assert places(calls(CALL, call, last)) == [(fault[0], "/c/1" + fault[1]), ("wrong-type", "/c/2/id")]


@pytest.mark.parametrize("known", [None, frozenset()])
def test_where_no_tools_are_known_none_is_unknown(known: frozenset[str] | None) -> None:
    assert calls(CALL, known=known) == []


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        (None, frozenset()), ([], frozenset()), ([tool(), function(name="clock")], frozenset({"weather", "clock"})),
        (7, None), ([7], None), ([{}], None), ([tool(), function(name=1)], None), (["x"], None), (["function"], None),
        ([[]], None), ([{"function": [1]}], None), ([{"function": "name"}], None),
    ],
)  # fmt: skip
def test_the_names_of_tools_are_known_where_all_can_be_read(tools: Any, names: frozenset[str] | None) -> None:
    assert tool_names(tools) == names


def test_what_is_wrong_with_arguments_is_said_with_its_place_and_the_remedy() -> None:
    def said(arguments: str) -> tuple[str, str]:
        (problem,) = calls({"function": {"name": "weather", "arguments": arguments}})
        return problem.message, problem.hint

    assert said('{"a": }') == (
        "the arguments are not JSON: expecting value at character 7", "write JSON into the string",
    )  # fmt: skip
    assert said("NaN")[0] == "the arguments are not JSON: NaN, Infinity and numbers out of range are not JSON"
    assert said(" ") == (
        "the arguments are not JSON: expecting value at character 2", 'a call without arguments has "{}"',
    )  # fmt: skip


def test_an_unknown_tool_is_answered_with_the_first_ten_by_name_each_cut_to_forty_characters() -> None:
    names = frozenset({"x" * 41, *(f"{number:02}" for number in range(9, 0, -1)), "z"})
    (problem,) = calls({"function": {"name": "clock", "arguments": "{}"}}, known=names)
    assert problem.message == "'clock' is not one of the sample's tools"
    assert problem.hint == "its tools: 01, 02, 03, 04, 05, 06, 07, 08, 09, " + "x" * 40 + "..."
