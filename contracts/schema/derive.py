"""Documents from the topic table: one JSON Schema a topic, and one AsyncAPI document. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from contracts.envelope import END
from contracts.schema.asyncapi import asyncapi
from contracts.topics import Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_FILE = "asyncapi.json"


def schema_file(topic: Topic, version: int | None = None) -> str:
    """Return the name of a topic's schema file; ``version`` is the current one where not given."""
    return f"{topic.name}.v{version or topic.version}.json"


def documents(topics: Iterable[Topic]) -> dict[str, dict[str, Any]]:
    """Return every derived document under its file name. The same table gives equal documents."""
    topics = tuple(topics)
    derived = {schema_file(topic): topic_schema(topic) for topic in topics}
    return derived | {ASYNCAPI_FILE: asyncapi(topics, _components(topics, "#/components/schemas/{name}"))}


def topic_schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema of a topic's body."""
    definitions = _components([topic], "#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "title": f"{topic.name} v{topic.version}",
        "description": topic.meaning,
        "$ref": f"#/$defs/{topic.contract.__name__}",
        "$defs": definitions,
    }


def as_text(document: dict[str, Any]) -> str:
    """Return a document as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _components(topics: Iterable[Topic], reference: str) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([topic.contract for topic in topics], ref_template=reference)
    return {name: _tidied(components[name]) for name in sorted(components)}


def _tidied(node: Any) -> Any:
    """Return a schema with docstrings as plain text and patterns as JSON Schema knows them."""
    if isinstance(node, list | tuple):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidied(value) for key, value in node.items()}
    # A property may be called "description" or "pattern"; then its value is a schema.
    if isinstance(tidy.get("description"), str):
        tidy["description"] = _plain(tidy["description"])
    if isinstance(tidy.get("pattern"), str):
        # In ECMA 262, which JSON Schema names, the dollar sign alone is the end.
        tidy["pattern"] = tidy["pattern"].replace(END, "$")
    return tidy


def _plain(docstring: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", docstring).replace("``", "`")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
