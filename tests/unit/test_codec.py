"""Bytes to events and back: nothing of an event is lost, and its id follows from its cause."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from contracts.codec import Poison, decode, encode
from contracts.envelope import Event, derived_id, inbound_id
from contracts.topics import TOPICS
from tests.examples import EVERY_EVENT, as_contract, as_sent, example

COMMAND = example("task.command", "minimal")
HEADERS: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"event-1"),
    ("ce_type", b"task.command"),
    ("ce_source", b"/console"),
    ("ce_time", b"2026-03-01T08:30:00Z"),
]


def _event(topic: str, data: Any) -> Event[Any]:
    key = getattr(data, TOPICS[topic].key_field) or "ds-poems"
    return Event(
        topic=topic, key=key, id="event-1", type=topic, source="/finetune-worker", subject="task/42",
        time=datetime(2026, 3, 1, 8, 30, 0, 125_000, tzinfo=UTC), data=data, correlation_id=key,
        causation_id="event-0", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )  # fmt: skip


@pytest.mark.parametrize(("topic", "body"), EVERY_EVENT)
def test_an_event_comes_back_as_it_was_said(topic: str, body: bytes) -> None:
    said = _event(topic, as_contract(topic, body))

    key, sent, headers = as_sent(said)
    heard = decode(topic, key, sent, headers)

    assert as_contract(topic, heard.body) == said.data
    assert isinstance(heard.data, TOPICS[topic].received_as)
    envelope = (
        "topic",
        "key",
        "id",
        "type",
        "source",
        "time",
        "subject",
        "correlation_id",
        "causation_id",
        "traceparent",
    )
    assert {name: getattr(heard, name) for name in envelope} == {name: getattr(said, name) for name in envelope}
    if TOPICS[topic].received_as is TOPICS[topic].contract:
        assert as_sent(heard) == (key, sent, headers)


@pytest.mark.parametrize("topic", TOPICS)
def test_an_unknown_field_is_ignored(topic: str) -> None:
    body = json.loads(example(topic, "minimal"))
    known = decode(topic, b"ds-poems", json.dumps(body).encode(), [])
    later = decode(topic, b"ds-poems", json.dumps(body | {"of_a_later_version": [{"x": None}]}).encode(), [])
    assert later.data == known.data


def test_the_same_event_gives_the_same_bytes() -> None:
    data = as_contract("dataset.rejected", example("dataset.rejected", "every-field"))
    assert encode(_event("dataset.rejected", data)) == encode(_event("dataset.rejected", data))


def test_what_the_headers_leave_out_follows_from_the_record() -> None:
    event = decode("task.command", b"task-42", COMMAND, [], timestamp_ms=1_772_353_800_000)

    assert event.id == inbound_id("task.command", b"task-42", COMMAND)
    assert event.time == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert (event.type, event.source) == ("task.command", "unknown")
    assert event.key == event.correlation_id == "task-42"
    assert (event.subject, event.causation_id, event.traceparent) == (None, None, None)
    assert event.body == COMMAND


def test_headers_of_others_are_ignored() -> None:
    event = decode("task.command", b"task-42", COMMAND, [*HEADERS, ("x-shard", b"7")])
    assert (event.id, event.source) == ("event-1", "/console")


def test_ids_follow_from_their_cause_for_ever() -> None:
    # Written out: another id for the same cause would tell every old story anew.
    assert (
        derived_id("training-dispatch", "-", "task-42", "training.dispatched", 0)
        == "f0fe67b4-cd53-50e5-ae47-73f405b669bb"
    )
    assert inbound_id("task.command", b"task-42", b"{}") == "b6b46a24-8f9a-5350-9d4f-a9202cf60f00"
    assert inbound_id("task.command", None, None) == "59f578d5-69ee-50d2-a4ae-3978f6ddfcdd"
    assert derived_id("a", "b:c") != derived_id("a:b", "c")


def test_a_derived_id_tells_topics_keys_and_bodies_apart() -> None:
    assert decode("task.created", b"k", b'{"task_id":"a"}', []).id == inbound_id(
        "task.created", b"k", b'{"task_id":"a"}'
    )
    events = {
        decode("task.created", key, body, []).id
        for key in (b"k", b"l", None)
        for body in (b'{"task_id":"a"}', b'{"task_id": "a"}')
    }
    assert len(events) == 6


def test_the_body_names_the_key_whatever_the_record_says() -> None:
    assert decode("task.command", b"another", COMMAND, []).key == "task-42"
    assert decode("task.command", None, COMMAND, []).key == "task-42"


def test_a_null_business_key_is_taken_from_the_record() -> None:
    body = example("cost.estimated", "without-a-task")
    assert decode("cost.estimated", b"ds-poems", body, []).key == "ds-poems"
    with pytest.raises(Poison, match="key is not UTF-8") as error:
        decode("cost.estimated", b"\xff", body, [])
    assert error.value.reason == "bad-key"


def test_a_time_in_another_zone_is_said_in_ours() -> None:
    data = as_contract("task.command", COMMAND)
    beijing = timezone(timedelta(hours=8))
    said = Event(
        topic="task.command", key="task-42", id="1", type="task.command", source="s", data=data,
        time=datetime(2026, 3, 1, 16, 30, tzinfo=beijing),
    )  # fmt: skip
    _, _, headers = encode(said)
    assert dict(headers)["ce_time"] == b"2026-03-01T08:30:00Z"
