"""The rules of function calling: the tools of a sample, and the calls its messages make."""

from collections.abc import Iterator
from typing import Any

from contracts.datasets.sft import SCHEMA_TYPES
from contracts.spelling import clip
from contracts.strict_json import InvalidJson, Path, StrictParser
from handlers.validation.problems import Problem, missing, name_of_type, optional_strings, unknown_fields, wrong_type

_TOOL = ("type", "function")
_FUNCTION = ("name", "description", "parameters", "strict")
_CALL = ("function", "id", "type", "index")
_CALLED = ("name", "arguments")

#: Keywords of JSON Schema that hold one schema, a list of them, or a schema by name.
_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")


def tool_names(tools: Any) -> frozenset[str] | None:
    """Return the names of a sample's tools; None where they cannot all be read, so that no call can be judged."""
    if tools is None:
        return frozenset()
    try:
        names = [tool["function"]["name"] for tool in tools]
    except (TypeError, KeyError):
        return None
    return frozenset(names) if all(isinstance(name, str) for name in names) else None


def check_tools(tools: Any) -> Iterator[Problem]:
    """Yield every problem of a sample's ``tools``; None is no tools."""
    if tools is None:
        return
    if not isinstance(tools, list):
        yield wrong_type(("tools",), tools, "a list")
        return
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        path: Path = ("tools", index)
        if not isinstance(tool, dict):
            yield wrong_type(path, tool, "an object")
            continue
        yield from unknown_fields(path, tool, _TOOL)
        if "type" not in tool:
            yield missing((*path, "type"), 'write "type": "function"')
        elif not isinstance(tool["type"], str):
            yield wrong_type((*path, "type"), tool["type"], "a string")
        elif tool["type"] != "function":
            yield _schema((*path, "type"), f"type is {clip(tool['type'])!r}", 'write "type": "function"')
        if "function" not in tool:
            yield missing((*path, "function"))
        else:
            yield from _check_function((*path, "function"), tool["function"], seen)


def _check_function(path: Path, function: Any, seen: set[str]) -> Iterator[Problem]:
    if not isinstance(function, dict):
        yield wrong_type(path, function, "an object")
        return
    yield from unknown_fields(path, function, _FUNCTION)
    name = function.get("name")
    if "name" not in function:
        yield missing((*path, "name"))
    elif not isinstance(name, str):
        yield wrong_type((*path, "name"), name, "a string")
    elif not name:
        yield _schema((*path, "name"), "name is empty", "name the tool")
    elif name in seen:
        yield _schema((*path, "name"), f"{clip(name)!r} is the name of an earlier tool", "name each tool once")
    else:
        seen.add(name)
    yield from optional_strings(path, function, ("description",))
    parameters = function.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        yield wrong_type((*path, "parameters"), parameters, "an object")
    elif parameters.get("type", "object") != "object" and parameters["type"] in SCHEMA_TYPES:
        hint = 'write "type": "object" and the parameters as its properties'
        yield _schema((*path, "parameters", "type"), f"type is {parameters['type']!r}", hint)
    else:
        yield from _check_schema((*path, "parameters"), parameters)


def _check_schema(path: Path, schema: Any) -> Iterator[Problem]:
    """Yield every problem of a JSON Schema. Recursion is bounded by the depth a line may have."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield _schema(path, f"a schema must be an object, but is {name_of_type(schema)}", 'as in {"type": "string"}')
        return
    kind = schema.get("type", "object")
    if kind not in SCHEMA_TYPES:
        shown = clip(kind) if isinstance(kind, str) else "not a string"
        yield _schema((*path, "type"), f"type is {shown}", f"known are {', '.join(SCHEMA_TYPES)}")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield _schema((*path, "required"), "required must be a list of strings", "list the names of properties")
    for keyword, expected, children in _children(schema):
        if children is None:
            yield _schema((*path, keyword), f"{keyword} must be {expected}", "write it as JSON Schema has it")
            continue
        for steps, child in children:
            yield from _check_schema((*path, keyword, *steps), child)


def _children(schema: dict[str, Any]) -> Iterator[tuple[str, str, list[tuple[Path, Any]] | None]]:
    """Yield (keyword, what it must be, the schemas under it with their steps); None: it is something else."""
    for keyword, value in schema.items():
        if keyword in _ONE and not (keyword == "items" and isinstance(value, list)):
            yield keyword, "a schema", [((), value)]
        elif keyword in _LIST or keyword == "items":
            listed = list(enumerate(value)) if isinstance(value, list) else None
            yield keyword, "a list", None if listed is None else [((index,), child) for index, child in listed]
        elif keyword in _NAMED:
            named = list(value.items()) if isinstance(value, dict) else None
            yield keyword, "an object", None if named is None else [((name,), child) for name, child in named]


def check_calls(path: Path, calls: list[Any], known: frozenset[str] | None) -> Iterator[Problem]:
    """Yield every problem of a message's ``tool_calls``. ``known`` are the names that may be called; None: any."""
    for index, call in enumerate(calls):
        place: Path = (*path, index)
        if not isinstance(call, dict):
            yield wrong_type(place, call, "an object")
            continue
        yield from unknown_fields(place, call, _CALL)
        yield from optional_strings(place, call, ("id", "type"))
        function = call.get("function")
        if "function" not in call:
            yield missing((*place, "function"))
        elif not isinstance(function, dict):
            yield wrong_type((*place, "function"), function, "an object")
        else:
            yield from unknown_fields((*place, "function"), function, _CALLED)
            yield from _check_name((*place, "function", "name"), function, known)
            yield from _check_arguments((*place, "function", "arguments"), function)


def _check_name(path: Path, function: dict[str, Any], known: frozenset[str] | None) -> Iterator[Problem]:
    name = function.get("name")
    if "name" not in function:
        yield missing(path)
    elif not isinstance(name, str):
        yield wrong_type(path, name, "a string")
    elif known and name not in known:
        shown = ", ".join(clip(tool, 40) for tool in sorted(known)[:10])
        yield Problem(path, "unknown-tool", f"{clip(name)!r} is not one of the sample's tools", f"its tools: {shown}")


def _check_arguments(path: Path, function: dict[str, Any]) -> Iterator[Problem]:
    arguments = function.get("arguments")
    if "arguments" not in function:
        yield missing(path, 'a call without arguments has "{}"')
        return
    if not isinstance(arguments, str):
        yield wrong_type(path, arguments, "a string", "write the arguments as a string that holds JSON")
        return
    try:
        broken = StrictParser().parse(arguments).invalid
        reason = broken.message if broken else None
    except InvalidJson as error:
        reason = f"{error} at character {error.position + 1}"
    if reason:
        hint = "write JSON into the string" if arguments.strip() else 'a call without arguments has "{}"'
        yield Problem(path, "tool-arguments-not-json", f"the arguments are not JSON: {reason}", hint)


def _schema(path: Path, message: str, hint: str) -> Problem:
    return Problem(path, "invalid-tool-schema", message, hint)
