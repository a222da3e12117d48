"""A dead letter: the original, unchanged, and everything one needs to know to put it back."""

from datetime import UTC, datetime

from contracts.codec import decode, encode_body
from handlers.table import STAGES
from tests.fakes.delivery import FakeRecord, items_of
from worker.delivery.dead_letters import dead_letter, reason_of, without_body
from worker.delivery.item import Item

STAGE = next(stage for stage in STAGES if stage.name == "task-command")

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BODY = encode_body({"command_id": "c-1", "task_id": "t-1", "command": "stop", "later": "扩展"})


def _record(**fields: object) -> FakeRecord:
    record = FakeRecord(partition=3, offset=42, key=b"t-1", value=BODY, timestamp=1_700_000_000_123)
    record.headers = [("ce_id", b"event-1"), ("ce_correlationid", b"corr-1"), ("traceparent", b"00-ab-cd-01")]
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def _item(record: FakeRecord) -> Item:
    item = items_of([record])[0]
    item.attempts = 3
    return item


def test_it_says_everything() -> None:
    record = _record()
    item = _item(record)
    topic, key, body, headers = dead_letter(item, stage=STAGE, reason="bug", text="KeyError: 'x'", now=NOW)
    assert topic == "task.command.dead-letter"
    assert (key, body) == (b"t-1", BODY)
    assert headers[:3] == record.headers
    said = reason_of(headers)
    identity = said.pop("id")
    assert said == {
        "reason": "bug",
        "text": "KeyError: 'x'",
        "topic": "task.command",
        "partition": "3",
        "offset": "42",
        "timestamp": "1700000000123",
        "stage": "task-command",
        "attempts": "3",
        "time": "2026-01-02T03:04:05+00:00",
        "correlation_id": "corr-1",
    }
    assert len(identity) == 36


def test_its_id_follows_from_the_source_offset_alone() -> None:
    def identity(record: FakeRecord, **said: str) -> str:
        letter = dead_letter(_item(record), **({"reason": "b", "text": "c"} | said), stage=STAGE, now=NOW)
        return str(reason_of(letter[3])["id"])

    first = identity(_record())
    assert identity(_record(value=b"other", key=None), reason="y", text="z") == first
    others = [_record(offset=43), _record(partition=4), _record(topic="task.created")]
    assert len({first, *(identity(other) for other in others)}) == 4


def test_what_cannot_be_decoded_is_carried_byte_for_byte() -> None:
    headers = [("ce_id", b"\xff\xfe"), ("empty", b""), ("nothing", None)]
    record = _record(value=b"\x00\xffnot JSON", key=b"\xff", headers=headers)
    item = _item(record)
    assert item.poison
    letter = dead_letter(item, stage=STAGE, reason=item.poison.reason, text=str(item.poison), now=NOW)
    assert (letter[1], letter[2]) == (b"\xff", b"\x00\xffnot JSON")
    assert letter[3][:2] == [("ce_id", b"\xff\xfe"), ("empty", b"")]
    said = reason_of(letter[3])
    assert said["reason"] == "bad-header"
    assert said["null_headers"] == "nothing"
    assert "correlation_id" not in said


def test_no_key_and_no_body_stay_absent() -> None:
    letter = dead_letter(_item(_record(value=None, key=None)), stage=STAGE, reason="r", text="t", now=NOW)
    assert letter[1:3] == (None, None)


def test_put_back_it_is_the_event_it_was() -> None:
    record = _record()
    item = _item(record)
    _, key, body, headers = dead_letter(item, stage=STAGE, reason="bug", text="t", now=NOW)
    again = decode(record.topic, key, body, headers, record.timestamp)
    assert again == item.event
    # Failing again, it says why it failed this time, once.
    back = _item(FakeRecord(partition=3, offset=99, key=key, value=body, headers=headers))
    second = dead_letter(back, stage=STAGE, reason="transient-fault", text="u", now=NOW)[3]
    assert [name for name, _ in second if name == "dl_reason"] == ["dl_reason"]
    assert reason_of(second)["reason"] == "transient-fault"
    assert reason_of(second)["offset"] == "99"
    assert second[:3] == record.headers


def test_a_text_is_cut_and_never_refused() -> None:
    letter = dead_letter(_item(_record()), stage=STAGE, reason="bug", text="\ud800" + "长" * 10_000, now=NOW)
    text = reason_of(letter[3])["text"]
    assert text.startswith("\\ud800长")
    assert len(text) <= 2010


def test_too_large_a_letter_leaves_its_body_where_it_was() -> None:
    letter = dead_letter(_item(_record()), stage=STAGE, reason="bug", text="t", now=NOW)
    topic, key, body, headers = without_body(letter)
    assert (topic, key, body) == (letter[0], letter[1], b"")
    assert reason_of(headers) == reason_of(letter[3]) | {"body_left_out": f"{len(BODY)} bytes"}
