"""What a changed schema breaks, in words. Pure.

One rule serves both directions: whatever a writer may write, a reader must accept, where one of the two still goes by
the old schema. Of a topic that others publish they are the writers, and we read by the new one; our own topics we
write by the new one, and consumers still read by the old one.
"""

from collections.abc import Iterable
from typing import Any, Literal

Schema = dict[str, Any]
Direction = Literal["inbound", "outbound"]

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
#: Keywords that can only narrow, in ways nobody can compare: any other value counts as narrower.
_OPAQUE = ("pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "contentMediaType")
_FOLLOWED = ("type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items")
_NOTES = ("title", "description", "examples", "default", "$schema", "$id", "$defs", "$ref")
_KNOWN = {*_LOWER_BOUNDS, *_UPPER_BOUNDS, *_OPAQUE, *_FOLLOWED, *_NOTES}
_KINDS = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "NoneType": "null"}


def breaking_changes(old: Schema, new: Schema, direction: Direction) -> list[str]:
    """Return what breaks between two versions of a topic's schema, as ``path: what``; empty where nothing does.

    ``inbound``: what publishers may send must not shrink. ``outbound``: what consumers may receive must not go beyond
    what they were told. A field that goes is breaking in both, a changed default of an inbound one too. What cannot
    be compared (a changed pattern, a keyword unknown here) counts as breaking.
    """
    return _Comparison(old, new, direction).found()


class _Comparison:
    def __init__(self, old: Schema, new: Schema, direction: Direction) -> None:
        self._old, self._new = old, new
        self._inbound = direction == "inbound"
        self._changes: list[str] = []
        self._open: list[tuple[str, str]] = []

    def found(self) -> list[str]:
        self._compare("", self._old, self._new)
        return self._changes

    def _say(self, path: str, what: str) -> None:
        self._changes.append(f"{path.lstrip('.') or 'the body'}: {what}")

    def _compare(self, path: str, old: Schema, new: Schema) -> None:
        definitions = (str(old.get("$ref")), str(new.get("$ref")))
        if "$ref" in old and definitions in self._open:  # a type that contains itself
            return
        self._open.append(definitions)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if self._inbound and "default" in old and old["default"] != new.get("default"):
            self._say(path, f"default changed from {old['default']!r} to {new.get('default')!r}")
        self._kinds(path, _by_kind(old, self._old), _by_kind(new, self._new))
        self._open.pop()

    def _kinds(self, path: str, olds: dict[str, Schema], news: dict[str, Schema]) -> None:
        writers, readers = (olds, news) if self._inbound else (news, olds)
        for kind, writer in writers.items():
            reader = next((readers[name] for name in (kind, *_wider(kind)) if name in readers), None)
            if reader is None:
                text = f"type changed from {' | '.join(olds)} to {' | '.join(news)}"
                self._say(path, f"{text}: {kind} is {'no longer accepted' if self._inbound else 'new to consumers'}")
            elif self._inbound:
                self._same_kind(path, writer, reader)
            else:
                self._same_kind(path, reader, writer)

    def _same_kind(self, path: str, old: Schema, new: Schema) -> None:
        self._values(path, old, new)
        self._constraints(path, old, new)
        self._fields(path, old, new)
        if "items" in old or "items" in new:
            self._compare(f"{path}[]", old.get("items", {}), new.get("items", {}))

    def _values(self, path: str, old: Schema, new: Schema) -> None:
        before, after = _values(old), _values(new)
        if self._inbound and after is not None:
            gone = "any other" if before is None else [value for value in before if value not in after]
            if gone:
                self._say(path, f"values removed: {_list(gone)}")
        if not self._inbound and before is not None:
            more = "any other" if after is None else [value for value in after if value not in before]
            if more:
                self._say(path, f"values added, which consumers do not know: {_list(more)}")

    def _constraints(self, path: str, old: Schema, new: Schema) -> None:
        reader, writer = (new, old) if self._inbound else (old, new)
        changed = "tightened" if self._inbound else "loosened"
        for bound in (*_LOWER_BOUNDS, *_UPPER_BOUNDS):
            if bound in reader and not _as_wide(bound, reader[bound], writer.get(bound)):
                self._say(path, f"{bound} {changed} from {old.get(bound)} to {new.get(bound)}")
        for keyword in _OPAQUE:
            if keyword in reader and reader[keyword] != writer.get(keyword):
                self._say(path, f"{keyword} {changed} from {old.get(keyword)} to {new.get(keyword)}")
        for keyword in sorted({*old, *new} - _KNOWN):
            if old.get(keyword) != new.get(keyword):
                self._say(path, f"{keyword} changed in a way that cannot be compared")

    def _fields(self, path: str, old: Schema, new: Schema) -> None:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name in after:
                self._compare(f"{path}.{name}", before[name], after[name])
            else:
                self._say(f"{path}.{name}", "field removed")
        must_before, must_after = set(old.get("required", ())), set(new.get("required", ()))
        if self._inbound:
            for name in sorted(must_after - must_before):
                self._say(f"{path}.{name}", "became required" if name in before else "required field added")
        else:
            for name in sorted((must_before - must_after) & set(after)):
                self._say(f"{path}.{name}", "no longer always there")
        self._unnamed_fields(path, old.get("additionalProperties", True), new.get("additionalProperties", True))

    def _unnamed_fields(self, path: str, old: bool | Schema, new: bool | Schema) -> None:
        if isinstance(old, bool) and isinstance(new, bool):
            if old and not new and self._inbound:
                self._say(path, "unknown fields no longer accepted")
            elif new and not old and not self._inbound:
                self._say(path, "fields beyond the named ones, which consumers refuse")
        else:
            self._compare(f"{path}.*", _as_schema(old), _as_schema(new))


def _resolved(schema: Schema, document: Schema) -> Schema:
    """Return a schema with its references followed; what stands beside a reference is kept."""
    while "$ref" in schema:
        target: Schema = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target | {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
    return schema


def _by_kind(schema: Schema, document: Schema) -> dict[str, Schema]:
    """Return the alternatives of a schema by the kind of value they take; several objects by their titles."""
    kinds: dict[str, Schema] = {}
    for alternative in schema.get("anyOf", [schema]):
        resolved = _resolved(alternative, document)
        for kind in _kinds(resolved):
            title = f" {resolved.get('title')}" if kind in kinds else ""
            kinds[kind + title] = resolved if "enum" not in resolved else _of_kind(resolved, kind)
    return kinds


def _kinds(schema: Schema) -> list[str]:
    if "type" in schema:
        return [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    values = _values(schema)
    return ["any"] if values is None else list(dict.fromkeys(_KINDS[type(value).__name__] for value in values))


def _of_kind(schema: Schema, kind: str) -> Schema:
    return schema | {"enum": [value for value in schema["enum"] if _KINDS[type(value).__name__] == kind]}


def _wider(kind: str) -> Iterable[str]:
    return ("number", "any") if kind == "integer" else ("any",)


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _as_wide(bound: str, reader: float, writer: float | None) -> bool:
    if writer is None:
        return False
    return reader <= writer if bound in _LOWER_BOUNDS else reader >= writer


def _as_schema(schema: bool | Schema) -> Schema:
    """Return the schema that a boolean stands for: anything, or only a value that there is not."""
    if isinstance(schema, bool):
        return {} if schema else {"enum": []}
    return schema


def _list(values: str | list[Any]) -> str:
    return values if isinstance(values, str) else ", ".join(map(str, values))
