"""The AsyncAPI document is well formed, and says what the codec does."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft7Validator

from contracts.codec import encode
from contracts.envelope import Event
from contracts.schema.derive import ASYNCAPI_FILE, documents
from contracts.topics import TOPICS, Topic
from tests.examples import as_contract, example

DOCUMENT = documents(TOPICS.values())[ASYNCAPI_FILE]
#: AsyncAPI's default schema format is a superset of this dialect.
DRAFT_07 = {
    "type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "title", "description", "default", "$ref",
}  # fmt: skip
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))


def _at(reference: str) -> Any:
    """Return what a reference leads to; KeyError where it leads nowhere."""
    assert reference.startswith("#/")
    found: Any = DOCUMENT
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(child)


def _message(topic: Topic) -> Any:
    return DOCUMENT["components"]["messages"][topic.name]


def test_the_document_has_what_the_specification_requires() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert DOCUMENT.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    assert DOCUMENT["components"].keys() <= {"messages", "schemas"}


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in _objects(DOCUMENT) if isinstance(node.get("$ref"), str)]
    assert len(references) > len(TOPICS)
    assert all(_at(reference) for reference in references)


def test_names_are_legal_and_used() -> None:
    components = DOCUMENT["components"]
    names = [*components["messages"], *components["schemas"], *DOCUMENT["channels"], *DOCUMENT["operations"]]
    assert [name for name in names if not re.fullmatch(r"[a-zA-Z0-9.\-_]+", name)] == []
    used = {node["$ref"] for node in _objects(DOCUMENT) if isinstance(node.get("$ref"), str)}
    declared = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    assert declared - used == set()


@every_topic
def test_every_topic_is_a_channel_with_its_message(topic: Topic) -> None:
    channel = DOCUMENT["channels"][topic.name]
    assert channel["address"] == topic.name
    (reference,) = channel["messages"].values()
    assert _at(reference["$ref"]) == _message(topic)
    kafka = channel["bindings"]["kafka"]
    assert kafka["partitions"] == topic.partitions
    assert ("compact" in kafka["topicConfiguration"]["cleanup.policy"]) == topic.compacted


def test_there_is_no_channel_without_a_topic() -> None:
    assert list(DOCUMENT["channels"]) == list(TOPICS)


@every_topic
def test_every_topic_has_one_operation_on_its_own_channel(topic: Topic) -> None:
    channel = f"#/channels/{topic.name}"
    (operation,) = (o for o in DOCUMENT["operations"].values() if o["channel"]["$ref"] == channel)
    assert operation["action"] == ("send" if topic.publisher == "worker" else "receive")
    assert [message["$ref"] for message in operation["messages"]] == [
        f"{channel}/messages/{name}" for name in DOCUMENT["channels"][topic.name]["messages"]
    ]


@every_topic
def test_headers_and_key_are_described(topic: Topic) -> None:
    message = _message(topic)
    assert message["headers"]["type"] == "object"
    assert message["contentType"] == "application/json"
    assert topic.key_field in message["bindings"]["kafka"]["key"]["description"]
    name = re.fullmatch(r"\$message\.header#/(.+)", message["correlationId"]["location"])
    assert name is not None
    assert name[1] in message["headers"]["properties"]


@every_topic
def test_what_the_codec_says_is_what_the_headers_promise(topic: Topic) -> None:
    data = as_contract(topic.name, example(topic.name, "minimal"))
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    full = Event(
        topic=topic.name, key="k", id="1", type=topic.name, source="s", time=moment, data=data, subject="x",
        correlation_id="k", causation_id="0", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )  # fmt: skip
    bare = Event(topic=topic.name, key="k", id="1", type=topic.name, source="s", time=moment, data=data)
    schema = _message(topic)["headers"]

    for event in (full, bare):
        _, _, headers = encode(event)
        Draft7Validator(schema).validate({name: value.decode() for name, value in headers})

    assert {name for name, _ in encode(full)[2]} == set(schema["properties"])
    assert not Draft7Validator(schema).is_valid({"ce_type": "another.topic"})


def test_schemas_keep_to_the_dialect_asyncapi_reads_by_default() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
        assert _keywords(schema) <= DRAFT_07


def _keywords(schema: Any) -> set[str]:
    found = set(schema)
    children = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    children += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return found.union(*map(_keywords, children))
