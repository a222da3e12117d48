"""What breaks between two schemas, and for whom."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.schema.compatibility import Schema, breaking_changes
from contracts.schema.derive import topic_schema
from contracts.topics import TOPICS, Topic

TEXT: Schema = {"type": "string"}


def _body(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    """Return a schema as they are derived: the body is a definition that the top refers to."""
    body = {"title": "Body", "type": "object", "properties": properties, "required": list(required)}
    return {"$ref": "#/$defs/Body", "$defs": {"Body": body, "Part": _part("number")}}


def _part(kind: str) -> Schema:
    return {"type": "object", "properties": {"size": {"type": kind}}, "required": ["size"]}


def _field(schema: Schema) -> Schema:
    return _body(f=schema)


def _nullable(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}]}


#: old, new, what an inbound topic breaks by it, what an outbound one does.
CHANGES = [
    pytest.param(_body(), _body(f=TEXT), None, None, id="optional field added"),
    pytest.param(_body(), _body(("f",), f=TEXT), "f: required field added", None, id="required field added"),
    pytest.param(_body(f=TEXT), _body(), "f: field removed", "f: field removed", id="optional field removed"),
    pytest.param(_body(("f",), f=TEXT), _body(), "f: field removed", "f: field removed", id="required field removed"),
    pytest.param(_body(f=TEXT), _body(("f",), f=TEXT), "f: became required", None, id="optional to required"),
    pytest.param(_body(("f",), f=TEXT), _body(f=TEXT), None, "f: no longer always there", id="required to optional"),
    pytest.param(
        _field(TEXT), _field({"type": "integer"}),
        "f: type changed from string to integer: string is no longer accepted",
        "f: type changed from string to integer: integer is new to consumers", id="type changed",
    ),
    pytest.param(
        _field(TEXT), _field(_nullable(TEXT)),
        None, "f: type changed from string to string | null: null is new to consumers", id="null allowed",
    ),
    pytest.param(
        _field(_nullable(TEXT)), _field(TEXT),
        "f: type changed from string | null to string: null is no longer accepted", None, id="null forbidden",
    ),
    pytest.param(
        _field({"type": "integer"}), _field({"type": "number"}),
        None, "f: type changed from integer to number: number is new to consumers", id="fractions allowed",
    ),
    pytest.param(
        _field(TEXT), _field({}),
        None, "f: type changed from string to any: any is new to consumers", id="anything allowed",
    ),
    pytest.param(
        _field({"enum": ["a", "b"]}), _field({"enum": ["a"]}), "f: values removed: b", None, id="enum value removed"
    ),
    pytest.param(
        _field({"enum": ["a"]}), _field({"enum": ["a", "b"]}),
        None, "f: values added, which consumers do not know: b", id="enum value added",
    ),
    pytest.param(
        _field(TEXT), _field({"enum": ["a"]}), "f: values removed: any other", None, id="text to enum"
    ),
    pytest.param(
        _field({"enum": ["a"]}), _field(TEXT),
        None, "f: values added, which consumers do not know: any other", id="enum to text",
    ),
    pytest.param(_field({"enum": ["a"]}), _field({"const": "a"}), None, None, id="enum of one to constant"),
    pytest.param(
        _field({"type": "integer", "maximum": 10}), _field({"type": "integer", "maximum": 5}),
        "f: maximum tightened from 10 to 5", None, id="maximum lowered",
    ),
    pytest.param(
        _field({"type": "integer", "maximum": 5}), _field({"type": "integer"}),
        None, "f: maximum loosened from 5 to None", id="maximum removed",
    ),
    pytest.param(
        _field({"type": "integer"}), _field({"type": "integer", "minimum": 0}),
        "f: minimum tightened from None to 0", None, id="minimum added",
    ),
    pytest.param(
        _field({"type": "array", "items": TEXT, "minItems": 1}), _field({"type": "array", "items": TEXT}),
        None, "f: minItems loosened from 1 to None", id="empty list allowed",
    ),
    pytest.param(
        _field(TEXT | {"pattern": "^a$"}), _field(TEXT | {"pattern": "^b$"}),
        "f: pattern tightened from ^a$ to ^b$", "f: pattern loosened from ^a$ to ^b$", id="pattern changed",
    ),
    pytest.param(
        _field(TEXT), _field(TEXT | {"format": "date-time"}),
        "f: format tightened from None to date-time", None, id="format added",
    ),
    pytest.param(
        _field({"type": "array", "items": TEXT}), _field({"type": "array", "items": {"type": "integer"}}),
        "f[]: type changed from string to integer: string is no longer accepted",
        "f[]: type changed from string to integer: integer is new to consumers", id="items changed",
    ),
    pytest.param(
        _field({"type": "object", "additionalProperties": {"type": "integer"}}), _field({"type": "object"}),
        None, "f.*: type changed from integer to any: any is new to consumers", id="values of a map freed",
    ),
    pytest.param(
        _field({"type": "object"}), _field({"type": "object", "additionalProperties": False}),
        "f: unknown fields no longer accepted", None, id="unknown fields refused",
    ),
    pytest.param(
        _field(TEXT | {"default": "a"}), _field(TEXT | {"default": "b"}),
        "f: default changed from 'a' to 'b'", None, id="default changed",
    ),
    pytest.param(_field(TEXT), _field(TEXT | {"default": "a", "title": "F"}), None, None, id="words added"),
    pytest.param(
        _field({"type": "array", "prefixItems": [TEXT]}), _field({"type": "array", "prefixItems": [{}]}),
        "f: prefixItems changed in a way that cannot be compared",
        "f: prefixItems changed in a way that cannot be compared", id="a keyword unknown here",
    ),
    pytest.param(
        {"type": "object"}, TEXT,
        "the body: type changed from object to string: object is no longer accepted",
        "the body: type changed from object to string: string is new to consumers", id="the body itself",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "inbound", "outbound"), CHANGES)
def test_a_change_breaks_whom_it_breaks(old: Schema, new: Schema, inbound: str | None, outbound: str | None) -> None:
    assert breaking_changes(old, new, "inbound") == [inbound] * (inbound is not None)
    assert breaking_changes(old, new, "outbound") == [outbound] * (outbound is not None)


def test_a_changed_definition_is_found_wherever_it_is_referred_to() -> None:
    old = _body(a={"$ref": "#/$defs/Part"}, b=_nullable({"$ref": "#/$defs/Part"}))
    new = old | {"$defs": old["$defs"] | {"Part": _part("integer")}}
    reason = "type changed from number to integer: number is no longer accepted"
    assert breaking_changes(old, new, "inbound") == [f"a.size: {reason}", f"b.size: {reason}"]
    assert breaking_changes(old, new, "outbound") == []


def test_a_renamed_definition_breaks_nothing() -> None:
    old = _body(a={"$ref": "#/$defs/Part"})
    new = _body(a={"$ref": "#/$defs/Piece"})
    new["$defs"]["Piece"] = new["$defs"].pop("Part")
    assert breaking_changes(old, new, "inbound") == breaking_changes(old, new, "outbound") == []


def test_a_type_that_contains_itself_is_compared_once() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}, "name": TEXT}}
    old = {"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}}
    new = {"$ref": "#/$defs/Tree", "$defs": {"Tree": tree | {"required": ["name"]}}}
    assert breaking_changes(old, old, "inbound") == []
    assert breaking_changes(old, new, "inbound") == ["name: became required"]


@pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
def test_no_contract_breaks_itself(topic: Topic) -> None:
    schema = topic_schema(topic)
    assert breaking_changes(schema, schema, "inbound") == breaking_changes(schema, schema, "outbound") == []


VALUES: tuple[Any, ...] = (None, True, 0, 3, 7, 20, 0.5, "", "a", "b", "ab", [], ["a"], [1], {}, {"x": 1}, {"x": "a"})


@pytest.mark.parametrize(("old", "new", "inbound", "outbound"), CHANGES)
def test_what_is_called_compatible_is_so_for_real_values(
    old: Schema, new: Schema, inbound: str | None, outbound: str | None
) -> None:
    # Nobody has sent a field yet that the old schema does not know.
    known = "f" in old.get("$defs", {}).get("Body", {}).get("properties", {})
    bodies = [{}, *({"f": value} for value in VALUES if known)]
    before = {repr(body) for body in bodies if Draft202012Validator(old).is_valid(body)}
    after = {repr(body) for body in bodies if Draft202012Validator(new).is_valid(body)}
    if inbound is None:
        assert before <= after
    if outbound is None:
        assert after <= before
