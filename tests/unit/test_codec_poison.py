"""Everything that is poison: what the codec refuses, and that it never fails in any other way."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import Poison, decode, encode
from contracts.envelope import Headers
from contracts.topics import TOPICS
from tests.examples import example

COMMAND = example("task.command", "minimal")
DEEP = b"[" * 100_000 + b"]" * 100_000
HEADERS: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"event-1"),
    ("ce_type", b"task.command"),
    ("ce_source", b"/console"),
    ("ce_time", b"2026-03-01T08:30:00Z"),
]


def _with(**changed: bytes | None) -> Headers:
    return [(name, changed.get(name, value)) for name, value in HEADERS]


POISON_BODIES = [
    pytest.param(None, "empty-body", "no body", id="null"),
    pytest.param(b"", "invalid-json", "truncated", id="empty"),
    pytest.param(b"stop task 42", "invalid-json", "malformed", id="not JSON"),
    pytest.param(COMMAND[:-3], "invalid-json", "truncated", id="cut off"),
    pytest.param(COMMAND + b"{}", "invalid-json", "trailing", id="two documents"),
    pytest.param(b"\xef\xbb\xbf" + COMMAND, "invalid-json", "malformed", id="byte-order mark"),
    pytest.param(COMMAND.decode().encode("utf-16"), "invalid-utf8", "byte 0", id="UTF-16"),
    pytest.param(COMMAND.replace(b"cmd-1", b"\xff"), "invalid-utf8", "not UTF-8", id="not UTF-8"),
    pytest.param(COMMAND.replace(b"{", b'{"x":"\xff",', 1), "invalid-utf8", "byte 6", id="unknown field not UTF-8"),
    pytest.param(COMMAND.replace(b"cmd-1", rb"\ud800"), "invalid-json", "surrogate", id="lone surrogate"),
    pytest.param(b"null", "breaks-contract", "the event: must be an object, but is null", id="null in JSON"),
    pytest.param(b"[" + COMMAND + b"]", "breaks-contract", "must be an object, but is a list", id="an array"),
    pytest.param(b'{"task_id":"task-42","command":"stop"}', "breaks-contract", "command_id", id="missing field"),
    pytest.param(COMMAND.replace(b'"stop"', b'"start"'), "breaks-contract", "command: 'start'", id="unknown command"),
    pytest.param(COMMAND.replace(b'"stop"', b"null"), "breaks-contract", "command", id="null in a required field"),
    pytest.param(COMMAND.replace(b"cmd-1", b"../etc"), "breaks-contract", "command_id", id="a path as id"),
    pytest.param(COMMAND.replace(b"cmd-1", b""), "breaks-contract", "command_id", id="empty id"),
    pytest.param(COMMAND.replace(b"cmd-1", rb"cmd-1\n"), "breaks-contract", "command_id", id="line break after the id"),
    pytest.param(COMMAND.replace(b"{", b'{"x":' + DEEP + b",", 1), "invalid-json", "recursion", id="deep nesting"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason", "text"), POISON_BODIES)
def test_a_body_that_can_never_be_processed_is_poison(body: bytes | None, reason: str, text: str) -> None:
    with pytest.raises(Poison, match=text) as error:
        decode("task.command", b"task-42", body, HEADERS)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("headers", "reason", "text"),
    [
        (_with(ce_type=b"task.created"), "unknown-type", "ce_type is 'task.created', but task.command carries only"),
        (_with(ce_specversion=b"0.3"), "unknown-envelope", "ce_specversion is '0.3'; only '1.0' is known"),
        (_with(ce_id=None), "bad-header", "header 'ce_id' is null"),
        (_with(ce_source=b"\xff"), "bad-header", "header 'ce_source' is not UTF-8"),
        ([*HEADERS, ("x-other", b"\xff")], "bad-header", "header 'x-other' is not UTF-8"),
        ([*HEADERS, ("x-other", None)], "bad-header", "header 'x-other' is null"),
        (_with(ce_time=b"yesterday"), "bad-header", "ce_time is not an RFC 3339 time: 'yesterday'"),
        (_with(ce_time=b""), "bad-header", "ce_time is not an RFC 3339 time"),
        (_with(ce_time=b"2026-03-01"), "bad-header", "ce_time is not an RFC 3339 time"),
        (_with(ce_time=b"2026-03-01T08:30:00"), "bad-header", "ce_time has no time zone"),
        (_with(ce_time=b"9999-12-31T23:59:59-23:00"), "bad-header", "ce_time is out of range"),
        (_with(ce_time=b"0001-01-01T00:00:00+23:00"), "bad-header", "ce_time is out of range"),
    ],
)  # fmt: skip
def test_an_envelope_that_cannot_be_read_is_poison(headers: Headers, reason: str, text: str) -> None:
    with pytest.raises(Poison, match=text) as error:
        decode("task.command", b"task-42", COMMAND, headers)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ('"2026-03-01T08:30:00"', "imported_at: must be RFC 3339, with its time zone"),
        ("1772353800", "imported_at: must be RFC 3339"),
        ('"0001-01-01T00:00:00+23:00"', "imported_at: must be of the years 1900 to 8999"),
        ('"9999-12-31T23:59:59-23:00"', "imported_at: must be of the years 1900 to 8999"),
    ],
)
def test_a_moment_nobody_can_compare_breaks_the_contract(when: str, text: str) -> None:
    body = f'{{"dataset_id":"d","files":[{{"uri":"u"}}],"imported_at":{when}}}'
    with pytest.raises(Poison, match=text) as error:
        decode("dataset.imported", b"d", body.encode(), [])
    assert error.value.reason == "breaks-contract"


def test_the_text_names_every_field_that_breaks_the_contract_and_its_remedy() -> None:
    with pytest.raises(Poison) as error:
        decode("dataset.imported", b"d", b'{"dataset_id":"x y","files":[],"format":"sftt"}', [])
    assert [fault.field for fault in error.value.faults] == ["dataset_id", "files", "format"]
    assert str(error.value) == (
        "dataset_id: must be 1-128 characters of A-Z a-z 0-9 . _ -; files: must have 1 to 20 entries; "
        "format: 'sftt' is not known; did you mean 'sft'?"
    )


def test_what_is_broken_behind_its_first_fault_is_still_poison() -> None:
    with pytest.raises(Poison, match="dataset_id") as error:
        decode("dataset.imported", b"d", b'{"dataset_id":"x y","files":[}', [])
    assert (error.value.reason, error.value.faults) == ("breaks-contract", ())


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-1", "0.5", "true", '"1"'])
def test_a_number_outside_its_field_breaks_the_contract(number: str) -> None:
    body = f'{{"task_id":"t","attempt":1,"seq":{number},"state":"running"}}'
    with pytest.raises(Poison, match="seq") as error:
        decode("training.progress", b"t", body.encode(), [])
    assert error.value.reason == "breaks-contract"


def test_a_huge_number_in_an_unknown_field_harms_nobody() -> None:
    body = COMMAND.replace(b"{", b'{"x":' + b"9" * 100_000 + b",", 1)
    assert decode("task.command", b"task-42", body, []).key == "task-42"


@pytest.mark.parametrize("timestamp_ms", [-1, -(10**18)])
def test_a_record_without_a_timestamp_has_the_earliest_time(timestamp_ms: int) -> None:
    assert decode("task.command", b"t", COMMAND, [], timestamp_ms).time == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_timestamp_no_calendar_has_is_poison() -> None:
    with pytest.raises(Poison, match="timestamp is out of range") as error:
        decode("task.command", b"t", COMMAND, [], timestamp_ms=2**63 - 1)
    assert error.value.reason == "bad-timestamp"


@pytest.mark.parametrize("body", [b"{}", b'{"task_id":7}', b'{"task_id":""}', b'{"task_id":"a/b"}'])
def test_a_form_without_a_legal_task_id_cannot_be_answered(body: bytes) -> None:
    with pytest.raises(Poison, match="task_id") as error:
        decode("task.created", None, body, [])
    assert error.value.reason == "breaks-contract"


def test_a_form_with_any_other_fault_is_answered_not_poison() -> None:
    body = b'{"task_id":"task-42","name":7,"training_set":"all of them"}'
    assert decode("task.created", b"task-42", body, []).body == body


def _outcome(topic: str, key: bytes | None, body: bytes | None, headers: Headers, timestamp_ms: int = 0) -> Any:
    """Return the event or the poison; any other exception is a failure of the codec."""
    try:
        return decode(topic, key, body, headers, timestamp_ms)
    except Poison as poison:
        return poison


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_NAMES = st.sampled_from(["ce_id", "ce_type", "ce_specversion", "ce_time", "ce_source", "traceparent", "x"])


@given(
    topic=st.sampled_from(sorted(TOPICS)),
    key=st.none() | st.binary(max_size=20),
    body=st.none() | st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.lists(st.tuples(_NAMES, st.none() | st.binary(max_size=30)), max_size=4),
    timestamp_ms=st.integers(-(2**63), 2**63 - 1),
)
def test_whatever_arrives_is_an_event_or_poison(
    topic: str, key: bytes | None, body: bytes | None, headers: list[tuple[str, bytes | None]], timestamp_ms: int
) -> None:
    outcome = _outcome(topic, key, body, headers, timestamp_ms)
    if isinstance(outcome, Poison):
        assert outcome.reason
        assert str(outcome)
    else:
        assert outcome.id
        encode(outcome)


@given(topic=st.sampled_from(sorted(TOPICS)), field=st.text(max_size=8), value=_JSON, data=st.data())
def test_whatever_a_field_holds_is_an_event_or_poison(topic: str, field: str, value: Any, data: st.DataObject) -> None:
    body = json.loads(example(topic, "every-field"))
    changed = data.draw(st.sampled_from([field, *body]))
    outcome = _outcome(topic, b"k", json.dumps(body | {changed: value}).encode(), [])
    if isinstance(outcome, Poison):
        assert outcome.reason in {"breaks-contract", "invalid-json"}
    else:
        encode(outcome)
