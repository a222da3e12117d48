"""What is wrong with an event is said before it is published, with the field and the remedy."""

import json
from typing import Any

import pytest

from tests.examples import EVERY_EVENT, example
from worker.event_check import NotPublishable, check_event, split_events

COMMAND = example("task.command", "minimal")


def _changed(topic: str, **changes: Any) -> bytes:
    return json.dumps(json.loads(example(topic, "minimal")) | changes).encode()


def _fault(topic: str, body: bytes) -> str:
    with pytest.raises(NotPublishable) as error:
        check_event(topic, body)
    return str(error.value)


@pytest.mark.parametrize(("topic", "body"), EVERY_EVENT)
def test_every_example_is_publishable(topic: str, body: bytes) -> None:
    (event,) = split_events(body)
    checked = check_event(topic, event)
    assert (checked.topic, checked.body) == (topic, body.strip())


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("task.comand", "no topic 'task.comand'; did you mean task.command?"),
        ("TASK.CREATED", "no topic 'TASK.CREATED'; did you mean task.created?"),
        ("xyz", "no topic 'xyz'; there are dataset.imported, task.created, "),
    ],
)
def test_an_unknown_topic_is_answered_with_the_nearest(topic: str, text: str) -> None:
    assert _fault(topic, COMMAND).startswith(text)


@pytest.mark.parametrize(
    ("topic", "changes", "fault"),
    [
        (
            "task.command", {"command": "start"},
            'command: must be one of "delete", "export", "pause", "resume", "stop"',
        ),
        ("task.command", {"task_id": "a/b"}, "task_id: must be opaque, 1-128 characters of A-Z a-z 0-9 . _ -"),
        ("task.command", {"task_id": 42}, "task_id: must be opaque, 1-128 characters of A-Z a-z 0-9 . _ -"),
        (
            "dataset.imported", {"imported_at": "2026-03-01T08:30:00"},
            "imported_at: must be RFC 3339, with its time zone; ours are UTC",
        ),
        ("dataset.imported", {"files": [{"uri": "a"}, {"uri": 7}]}, "files[1].uri: expected `str`, got `int`"),
        ("dataset.imported", {"files": [{}]}, "files[0].uri: is required; add it"),
        ("dataset.imported", {"files": []}, "files: expected `array` of length >= 1"),
        ("training.progress", {"attempt": 0}, "attempt: expected `int` >= 1"),
        (
            "training.progress", {"failure": {"reason": "r", "party": "me", "message": "m"}},
            'failure.party: must be one of "platform", "unknown", "user"',
        ),
        (
            "training.progress", {"outputs": [{"step": 1, "uri": "u", "kind": "big", "files": []}]},
            'outputs[0].kind: must be one of "adapter", "full"',
        ),
        ("task.status", {"phase": "Done"}, 'phase: must be one of "Completed", "Completing", "Deploying", '),
    ],
)  # fmt: skip
def test_a_fault_names_its_field_and_the_remedy(topic: str, changes: dict[str, Any], fault: str) -> None:
    assert _fault(topic, _changed(topic, **changes)).startswith(fault)


def test_what_is_not_json_for_others_is_not_for_us() -> None:
    assert _fault("task.command", COMMAND.replace(b'"stop"', b"NaN")).startswith("task.command: JSON is malformed")
    assert _fault("task.created", _changed("task.created", shuffle=float("nan"))).startswith("shuffle: ")


def test_a_missing_field_is_to_be_added() -> None:
    assert _fault("task.command", b'{"task_id":"t","command":"stop"}') == "command_id: is required; add it"


def test_all_faults_of_a_form_are_said_at_once() -> None:
    body = _changed("task.created", name="two words", output_count=11, training_set=[])
    assert [line.split(":")[0] for line in _fault("task.created", body).splitlines()] == [
        "name", "training_set", "output_count",
    ]  # fmt: skip


def test_a_faulty_form_can_be_forced_as_far_as_it_can_be_answered() -> None:
    faulty = _changed("task.created", output_count=11)
    assert check_event("task.created", faulty, force=True).body == faulty
    with pytest.raises(NotPublishable, match="task_id: must be opaque"):
        check_event("task.created", _changed("task.created", task_id="a b"), force=True)


def test_a_file_holds_one_event_over_many_lines_or_many() -> None:
    assert split_events(b'\xef\xbb\xbf\r\n{\r\n "a": "}{"\r\n}\r\n') == [b'{\r\n "a": "}{"\r\n}']
    assert split_events(b'{"a":1}\n\n{"a":2}\n') == [b'{"a":1}', b'{"a":2}']
    assert split_events('{"a":"古诗"} {"b":2}'.encode()) == ['{"a":"古诗"}'.encode(), b'{"b":2}']


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "there is no event: the file is empty"),
        (b" \n\n", "there is no event: the file is empty"),
        (b'{"a":1}\n{"a":}\n', "line 2: not JSON: expecting value"),
        (b'{"a":1}\nstop\n', "line 2: not JSON"),
        (b'\n[{"a":1}]', "line 2: an event is a JSON object; write several events one a line, not as a list"),
        (b'{"a":1}\n7', "line 2: an event is a JSON object"),
        (b'{"a":1}\n{"a":"\xff"}', "line 2: not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_file_that_holds_no_events_names_the_line(content: bytes, text: str) -> None:
    with pytest.raises(NotPublishable) as error:
        split_events(content)
    assert str(error.value).startswith(text)


def test_a_long_file_is_split_in_linear_time() -> None:
    assert len(split_events(COMMAND * 20_000)) == 20_000
