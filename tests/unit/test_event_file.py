"""Events in an object of the bucket: they come out as they went in, and what is none of them is poison."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts import event_file
from contracts.codec import Poison, decode, encode
from contracts.envelope import Event
from contracts.training import TrainingProgress

SAID = Event(
    topic="training.progress",
    key="t-1",
    id="an-id",
    type="training.progress",
    source="trainer/t-1",
    time=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    data=TrainingProgress(task_id="t-1", attempt=2, seq=7, state="running"),
    subject="t-1",
    correlation_id="t-1",
    causation_id="a-cause",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def changed(**changes: Any) -> bytes:
    """Return a batch of one event, with changes to what is written of it."""
    (written,) = msgspec.json.decode(event_file.written([SAID]))
    return msgspec.json.encode([written | changes])


def test_events_come_out_as_the_records_they_would_have_been() -> None:
    bare = replace(SAID, id="another", subject=None, correlation_id=None, causation_id=None, traceparent=None)
    read = event_file.read(event_file.written([SAID, bare]))
    assert [event_file.record(event) for event in read] == [
        ("training.progress", *encode(SAID)),
        ("training.progress", *encode(replace(bare, correlation_id="t-1"))),
    ]
    assert read[0].data == SAID.data


def test_a_body_keeps_what_our_contract_does_not_know() -> None:
    data = {"task_id": "t-1", "attempt": 2, "seq": 7, "state": "running", "mood": "good"}
    (event,) = event_file.read(changed(data=data))
    topic, key, body, headers = event_file.record(event)
    assert msgspec.json.decode(body) == data
    assert decode(topic, key, body, headers).id == "an-id"
    assert event_file.read(event_file.written([event])) == [event]


def test_it_is_a_batch_of_cloud_events_in_json() -> None:
    (written,) = msgspec.json.decode(event_file.written([SAID]))
    assert written == {
        "specversion": "1.0",
        "id": "an-id",
        "type": "training.progress",
        "source": "trainer/t-1",
        "time": "2026-01-02T03:04:05.678901Z",
        "subject": "t-1",
        "datacontenttype": "application/json",
        "correlationid": "t-1",
        "causationid": "a-cause",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"task_id": "t-1", "attempt": 2, "seq": 7, "state": "running"},
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid-batch"),
        (b"\xff", "invalid-batch"),
        (b'{"id": "1"}', "invalid-batch"),
        (b'[{"id": "1"}]', "invalid-batch"),
        (changed(source="a-name").replace(b"a-name", b"\xff"), "invalid-batch"),
        (changed(type="nobody.knows"), "unknown-type"),
        (changed(specversion="2.0"), "unknown-envelope"),
        (changed(time="yesterday"), "bad-header"),
        (changed(data={"task_id": "t-1"}), "breaks-contract"),
        (changed(data=3), "breaks-contract"),
    ],
)
def test_what_is_no_batch_of_events_is_poison(body: bytes, reason: str) -> None:
    with pytest.raises(Poison) as caught:
        event_file.read(body)
    assert caught.value.reason == reason


def test_one_broken_event_holds_all_of_its_batch_back() -> None:
    good = msgspec.json.decode(event_file.written([SAID]))
    bad = msgspec.json.decode(changed(data={}))
    with pytest.raises(Poison):
        event_file.read(msgspec.json.encode(good + bad))
