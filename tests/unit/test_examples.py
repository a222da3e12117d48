"""Every topic has example events, every example belongs to a topic, and each is what its name says."""

import json

import pytest
from jsonschema import Draft202012Validator

from contracts.schema.derive import topic_schema
from contracts.topics import TOPICS, Topic
from tests.examples import EVENTS, EVERY_EVENT, as_contract, example

every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
every_event = pytest.mark.parametrize(("topic", "body"), EVERY_EVENT)


def test_no_example_is_an_orphan() -> None:
    places = {path.relative_to(EVENTS) for path in EVENTS.rglob("*") if path.is_file()}
    orphans = [str(place) for place in places if place.parent.as_posix() not in TOPICS or place.suffix != ".json"]
    assert orphans == []


@every_topic
def test_every_topic_has_its_smallest_and_its_fullest_event(topic: Topic) -> None:
    schema = topic_schema(topic)["$defs"][topic.contract.__name__]
    assert set(json.loads(example(topic.name, "minimal"))) == set(schema["required"])
    assert set(json.loads(example(topic.name, "every-field"))) == set(schema["properties"])


@every_event
def test_an_example_is_what_its_schema_says(topic: str, body: bytes) -> None:
    validator = Draft202012Validator(topic_schema(TOPICS[topic]), format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate(json.loads(body))


@every_event
def test_an_example_is_what_its_contract_says(topic: str, body: bytes) -> None:
    as_contract(topic, body)


@every_event
def test_only_examples_of_unknown_fields_have_any(topic: str, body: bytes, request: pytest.FixtureRequest) -> None:
    unknown = set(json.loads(body)) - set(
        topic_schema(TOPICS[topic])["$defs"][TOPICS[topic].contract.__name__]["properties"]
    )
    assert bool(unknown) == ("unknown-field" in request.node.callspec.id)
