"""What is wrong with an event is said before it is published, with the field and the remedy."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.examples import EVERY_EVENT, example
from worker.cli import app
from worker.event_check import NotPublishable, UnknownTopic, check_event, ignored_fields, split_events
from worker.publish import PublishedEvent

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
    with pytest.raises(UnknownTopic) as error:
        check_event(topic, COMMAND)
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("topic", "changes", "fault"),
    [
        ("task.command", {"command": "stopp"}, "command: 'stopp' is not known; did you mean 'stop'?"),
        ("task.command", {"command": 1}, "command: must be a text, but is a whole number"),
        ("task.command", {"task_id": "a/b"}, "task_id: must be 1-128 characters of A-Z a-z 0-9 . _ -"),
        ("task.command", {"task_id": 42}, "task_id: must be a text, but is a whole number"),
        (
            "dataset.imported", {"imported_at": "2026-03-01T08:30:00"},
            "imported_at: must be RFC 3339, with its time zone; ours are UTC",
        ),
        ("dataset.imported", {"imported_at": "9999-12-31T00:00:00Z"}, "imported_at: must be of the years 1900 to "),
        ("dataset.imported", {"files": [{"uri": "a"}, {"uri": 7}]}, "files[1].uri: must be a text, but is a whole "),
        ("dataset.imported", {"files": [{}]}, "files[0].uri: uri is required"),
        ("dataset.imported", {"files": []}, "files: must have 1 to 20 entries"),
        ("training.progress", {"attempt": 0}, "attempt: must be at least 1, but is 0"),
        (
            "training.progress", {"failure": {"reason": "r", "party": "me", "message": "m"}},
            "failure.party: 'me' is not known; choose one of user, platform, unknown",
        ),
        (
            "training.progress", {"outputs": [{"step": 1, "uri": "u", "kind": "big", "files": []}]},
            "outputs[0].kind: 'big' is not known; choose one of adapter, full",
        ),
        ("task.created", {"shuffle": ""}, "shuffle: must not be empty; choose one of random, none, or a whole number"),
        ("task.created", {"shuffle": "7x"}, "shuffle: '7x' is not known; choose one of random, none, or a whole num"),
        ("task.created", {"shuffle": "randm"}, "shuffle: 'randm' is not known; did you mean 'random'?"),
        ("task.created", {"visibility": ""}, "visibility: must not be empty; choose one of private, project, public"),
        ("task.status", {"phase": "Done"}, "phase: 'Done' is not known; choose one of Preprocessing, Queued, "),
        ("task.status", {"changed_at": "today"}, "changed_at: must be RFC 3339, with its time zone; ours are UTC"),
    ],
)  # fmt: skip
def test_a_fault_names_its_field_and_the_remedy(topic: str, changes: dict[str, Any], fault: str) -> None:
    assert _fault(topic, _changed(topic, **changes)).startswith(fault)


def test_what_is_not_json_for_others_is_not_for_us() -> None:
    assert _fault("task.command", COMMAND.replace(b'"stop"', b"NaN")).startswith("task.command: JSON is malformed")
    assert _fault("task.created", _changed("task.created", shuffle=float("nan"))).startswith("shuffle: ")


def test_a_missing_field_is_to_be_added() -> None:
    assert _fault("task.command", b'{"task_id":"t","command":"stop"}') == "command_id: command_id is required"


def test_all_faults_of_an_event_are_said_at_once() -> None:
    body = b'{"dataset_id":"x y/../z","files":[],"format":"stf","drft":{}}'
    assert _fault("dataset.imported", body).splitlines() == [
        "dataset_id: must be 1-128 characters of A-Z a-z 0-9 . _ -",
        "files: must have 1 to 20 entries",
        "format: 'stf' is not known; did you mean 'sft'?",
    ]


@pytest.mark.parametrize(
    ("topic", "changes", "said"),
    [
        (
            "task.created", {"hyperparameter": {"epochs": 1}},
            ["hyperparameter: is not known, and is ignored; did you mean 'hyperparameters'?"],
        ),
        (
            "task.created", {"training_set": [{"dataset_id": "d"}, {"dataset_id": "e", "multiplyer": 2}]},
            ["training_set[1].multiplyer: is not known, and is ignored; did you mean 'multiplier'?"],
        ),
        (
            "task.created", {"preset_mix": {"percent": 9, "when_shrt": "repeat"}, "x": {"name": 1}},
            [
                "preset_mix.when_shrt: is not known, and is ignored; did you mean 'when_short'?",
                "x: is not known, and is ignored",
            ],
        ),
        # Whatever a hyperparameter is called, the catalogue judges it.
        ("task.created", {"hyperparameters": {"epoch": 1}}, []),
        ("dataset.imported", {"drft": {}}, ["drft: is not known, and is ignored; did you mean 'draft'?"]),
        (
            "dataset.imported", {"draft": {"task_id": "t", "base_modl": {}}},
            ["draft.base_modl: is not known, and is ignored; did you mean 'base_model'?"],
        ),
    ],
)  # fmt: skip
def test_what_nobody_will_read_is_said_and_refuses_nothing(
    topic: str, changes: dict[str, Any], said: list[str]
) -> None:
    body = _changed(topic, **changes)
    assert ignored_fields(topic, body) == said
    assert check_event(topic, body).body == body


@pytest.mark.parametrize(("topic", "body"), EVERY_EVENT)
def test_only_the_examples_of_unknown_fields_say_what_nobody_reads(
    topic: str, body: bytes, request: pytest.FixtureRequest
) -> None:
    (event,) = split_events(body)
    assert bool(ignored_fields(topic, event)) == ("unknown-field" in request.node.name)


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"output_count": 11}, 1)])
def test_publish_says_what_nobody_will_read_whether_it_publishes_or_not(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: int
) -> None:
    async def checked(_: object, topic: str, content: bytes, **__: object) -> list[PublishedEvent]:
        return [PublishedEvent(topic, 0, 0, "id", check_event(topic, content).key)]

    monkeypatch.setattr("worker.publish.publish_file", checked)
    body = _changed("task.created", hyperparameter={"epochs": 1}, **changes)
    done = CliRunner().invoke(app, ["publish", "task.created", "-", "--json"], input=body)
    note = "hyperparameter: is not known, and is ignored; did you mean 'hyperparameters'?"
    assert done.exit_code == code
    assert f"worker publish: {note}" in done.stderr
    if code == 0:
        assert json.loads(done.stdout)["notes"] == [note]


def test_programs_read_every_fault_and_note_of_what_is_not_published() -> None:
    body = _changed("task.created", name="two words", output_count=11, hyperparameter={})
    done = CliRunner().invoke(app, ["publish", "task.created", "-", "--json"], input=body)
    said = json.loads(done.stdout)
    assert (done.exit_code, [fault.partition(":")[0] for fault in said["faults"]]) == (1, ["name", "output_count"])
    assert said["error"] == f"not published: {'; '.join(said['faults'])}"
    assert [note.partition(":")[0] for note in said["notes"]] == ["hyperparameter"]
    assert done.stderr.splitlines()[1:] == ["worker publish: not published:", *said["faults"]]


def test_what_a_forced_form_will_be_refused_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def published(_: object, topic: str, content: bytes, **options: bool) -> list[PublishedEvent]:
        return [PublishedEvent(topic, 0, 0, "id", check_event(topic, content, force=options["force"]).key)]

    monkeypatch.setattr("worker.publish.publish_file", published)

    def publish(*words: str, **changes: Any) -> Any:
        body = _changed("task.created", name="two words", output_count=11, **changes)
        return CliRunner().invoke(app, ["publish", "task.created", "-", "--force", *words], input=body)

    done, read = publish(), json.loads(publish("--json").stdout)
    assert done.exit_code == 0
    assert [fault.partition(":")[0] for fault in read["faults"]] == ["name", "output_count"]
    said = [line for line in done.stderr.splitlines() if line.startswith("worker publish: will be refused: ")]
    assert said == [f"worker publish: will be refused: {fault}" for fault in read["faults"]]
    kept_back = publish(task_id="a/b")
    assert kept_back.exit_code == 1
    assert [line.partition(":")[0] for line in kept_back.stderr.splitlines()[1:]] == ["task_id", "name", "output_count"]


def test_all_faults_of_a_form_are_said_at_once() -> None:
    body = _changed("task.created", name="two words", output_count=11, training_set=[])
    assert [line.split(":")[0] for line in _fault("task.created", body).splitlines()] == [
        "name", "training_set", "output_count",
    ]  # fmt: skip


def test_a_faulty_form_can_be_forced_as_far_as_it_can_be_answered() -> None:
    faulty = _changed("task.created", output_count=11)
    assert check_event("task.created", faulty, force=True).body == faulty
    with pytest.raises(NotPublishable, match="task_id: must be 1-128"):
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
