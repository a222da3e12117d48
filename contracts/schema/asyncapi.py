"""The AsyncAPI 3.0 document: a channel a topic, with its key, its headers and its body. Pure.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Iterable
from typing import Any, get_args

from msgspec.structs import fields

from contracts.codec import CONTENT_TYPE, SPEC_VERSION
from contracts.topics import Topic

VERSION = "3.0.0"
#: https://github.com/asyncapi/bindings/tree/v3.0.0/kafka
BINDING_VERSION = "0.5.0"

_INFO = {
    "title": "finetune-worker",
    "version": "1.0.0",
    "description": (
        "Events of model fine-tuning: CloudEvents 1.0 in Kafka's binary mode, bodies in UTF-8 JSON. Receivers ignore "
        "fields they do not know. Publishers partition by key with murmur2 (librdkafka: `murmur2_random`). What cannot "
        "be processed goes to `<topic>.dead-letter`, the original bytes and key with the reason in headers."
    ),
    "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
}

_TEXT: dict[str, Any] = {"type": "string"}


def asyncapi(topics: Iterable[Topic], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the document; ``schemas`` are the bodies' schemas by name, referring to ``#/components/schemas/``."""
    topics = tuple(topics)
    return {
        "asyncapi": VERSION,
        "info": _INFO,
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {f"{_action(topic)}.{topic.name}": _operation(topic) for topic in topics},
        "components": {
            "messages": {topic.name: _message(topic) for topic in topics},
            "schemas": schemas,
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    kept = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    return {
        "address": topic.name,
        "description": f"{topic.meaning}; published by {topic.publisher}",
        "messages": {topic.contract.__name__: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": kept,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _action(topic: Topic) -> str:
    """Return what the worker, whose document this is, does with a topic."""
    return "send" if topic.publisher == "worker" else "receive"


def _operation(topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    return {
        "action": _action(topic),
        "channel": {"$ref": channel},
        "summary": topic.meaning,
        "messages": [{"$ref": f"{channel}/messages/{topic.contract.__name__}"}],
    }


def _message(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name,
        "title": f"{topic.contract.__name__} v{topic.version}",
        "summary": topic.meaning,
        "contentType": CONTENT_TYPE,
        "headers": _headers(topic),
        "payload": {"$ref": f"#/components/schemas/{topic.contract.__name__}"},
        "correlationId": {
            "description": "the task's or the dataset's id",
            "location": "$message.header#/ce_correlationid",
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": _key(topic)},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _key(topic: Topic) -> str:
    nullable = any(
        field.name == topic.key_field and type(None) in get_args(field.type) for field in fields(topic.contract)
    )
    return f"the body's `{topic.key_field}`" + ("; where that is null, the dataset's id" if nullable else "")


def _headers(topic: Topic) -> dict[str, Any]:
    """Return the schema of a message's headers. Ours all say who they are; publishers may leave everything out."""
    ours = topic.publisher == "worker"
    identity = "UUIDv5 of the cause: the same event always has the same id" if ours else (
        "any string unique to the event; derived from topic, key and body where there is none"
    )  # fmt: skip
    return {
        "type": "object",
        "properties": {
            "ce_specversion": {"type": "string", "const": SPEC_VERSION},
            "ce_id": {"type": "string", "minLength": 1, "description": identity},
            "ce_type": {"type": "string", "const": topic.name},
            "ce_source": {"type": "string", "description": "who says it"},
            "ce_time": {"type": "string", "format": "date-time", "description": "when it happened"},
            "ce_subject": _TEXT | {"description": "what it is about"},
            "ce_correlationid": _TEXT | {"description": "the task's or the dataset's id"},
            "ce_causationid": _TEXT | {"description": "the id of the event that led to this one"},
            "traceparent": _TEXT | {"description": "W3C trace context"},
            "content-type": {"type": "string", "const": CONTENT_TYPE},
        },
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"] if ours else [],
    }
