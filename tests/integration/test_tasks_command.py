"""``worker tasks``: which tasks there are, following them, and orders with their answers."""

import asyncio
from collections.abc import AsyncIterator
from io import StringIO

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from contracts.task import Phase, Progress
from handlers import layout, task_state
from handlers.task_state import TaskState
from tests.integration.conftest import World
from tests.platform import form
from tests.wait import wait_until
from worker.cli import app
from worker.clock import SystemClock
from worker.kafka.broker import Brokers
from worker.tasks.overview import Filter
from worker.tasks.watch import Watch

pytestmark = pytest.mark.parametrize("servers", ["embedded"], indirect=True)

RUNNING = TaskState(
    task_id="t-1", project="poems", phase=Phase.RUNNING, attempt=2, reason="running",
    progress=Progress(step=40, total_steps=80, loss=0.25, eta_seconds=90.0),
)  # fmt: skip
QUEUED = TaskState(task_id="t-2", project="prose", phase=Phase.QUEUED, attempt=1, reason="dispatched", queue_position=3)


async def _worker(world: World, *words: str) -> tuple[int, str, str]:
    """Run a command in a thread, as it has a loop of its own; return exit code, stdout and stderr."""
    settings = {
        "WORKER_STORAGE_URL": world.settings.storage_url,
        "KAFKA_BOOTSTRAP_SERVERS": world.settings.kafka_bootstrap_servers,
    }
    result = await asyncio.to_thread(CliRunner().invoke, app, ["tasks", *words], env=settings)
    return result.exit_code, result.stdout, result.stderr


async def _kept(world: World, state: TaskState) -> TaskState:
    """Put a task's state into the bucket as its next revision, with the marker that says whether it has ended."""
    await world.store.put(layout.active(state.task_id), b"")
    after = await task_state.change(world.store, SystemClock(), state.task_id, lambda _: state)
    assert after is not None
    if after.phase.terminal:
        await world.store.delete(layout.active(state.task_id))
    return after


async def _said(world: World, state: TaskState) -> None:
    """Say a task's state, as a worker does."""
    status = task_state.status(state)
    await world.platform.publish("task.status", state.task_id, status.data, event_id=status.event_id)


async def _went(world: World, state: TaskState, phase: Phase) -> TaskState:
    after = await _kept(world, replace(state, phase=phase, reason=phase.value.lower()))
    await _said(world, after)
    return after


async def test_the_tasks_that_have_not_ended_are_listed_from_the_bucket(world: World) -> None:
    for state in (RUNNING, QUEUED, replace(RUNNING, task_id="t-0", phase=Phase.PREPROCESSING)):
        await _kept(world, state)
    await _kept(world, replace(RUNNING, task_id="t-0", phase=Phase.FAILED))
    code, out, err = await _worker(world, "list")
    assert code == 0
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "t-1 Running attempt 2, step 40/80, loss 0.25, 2 min left poems",
        "t-2 Queued attempt 1, place 3 prose",
    ]
    assert err == "1 Running, 1 Queued\n"
    for words in (["--project", "prose"], ["--phase", "queued"]):
        listed = msgspec.json.decode((await _worker(world, "list", *words, "--json"))[1])
        assert [task["task_id"] for task in listed["tasks"]] == ["t-2"]


async def test_all_tasks_are_listed_as_their_topic_tells_of_them_last(world: World) -> None:
    first = await _kept(world, RUNNING)
    await _went(world, first, Phase.COMPLETING)
    await _went(world, first, Phase.COMPLETED)
    await _said(world, first)  # late, and overtaken
    await world.platform.send("task.status", b"t-9", b"no JSON")
    listed = msgspec.json.decode((await _worker(world, "list", "--all", "--json"))[1])
    assert [(task["task_id"], task["phase"]) for task in listed["tasks"]] == [("t-1", "Completed")]
    # A phase that ends is one that the bucket's list never has.
    listed = msgspec.json.decode((await _worker(world, "list", "--phase", "Completed", "--json"))[1])
    assert [task["task_id"] for task in listed["tasks"]] == ["t-1"]


async def test_a_phase_that_does_not_exist_is_refused_with_those_that_do(world: World) -> None:
    code, _, err = await _worker(world, "list", "--phase", "Sleeping")
    assert code == 2
    assert "no phase Sleeping; there are Preprocessing, Queued" in " ".join(err.split())


async def test_a_named_task_is_watched_from_where_it_is_to_its_end_each_change_once(world: World) -> None:
    first, other = await _kept(world, RUNNING), await _kept(world, QUEUED)
    watch = Watch(Brokers.of(world.settings), Filter(task_ids=frozenset({"t-1"})))
    seen = []
    async with asyncio.timeout(60):
        async for status in watch.changes(world.store):
            seen.append(status.phase)
            if status.phase is Phase.RUNNING:
                await _said(world, first)
                await _said(world, other)
                await _said(world, await _went(world, first, Phase.COMPLETING))
            elif status.phase is Phase.COMPLETING:
                await _went(world, first, Phase.COMPLETED)
    assert seen == [Phase.RUNNING, Phase.COMPLETING, Phase.COMPLETED]
    assert (watch.open_ids, watch.ended) == (set(), {"t-1": Phase.COMPLETED})


@pytest.mark.parametrize(("last", "code"), [(Phase.COMPLETED, 0), (Phase.FAILED, 1)])
async def test_the_exit_code_of_a_watch_is_how_its_tasks_ended(world: World, last: Phase, code: int) -> None:
    await _kept(world, replace(RUNNING, phase=Phase.COMPLETING))
    await _kept(world, replace(RUNNING, phase=last))
    exit_code, out, _ = await _worker(world, "watch", "t-1", "--json")
    assert (exit_code, msgspec.json.decode(out)["phase"]) == (code, last.value)


async def test_a_watch_gives_up_in_time_and_names_what_goes_on(world: World) -> None:
    await _kept(world, RUNNING)
    code, out, err = await _worker(world, "watch", "t-1", "--timeout", "1")
    assert (code, out.split()[0]) == (2, "t-1")
    assert err == "worker tasks watch: 1 s are over; still going: t-1\n"


async def test_a_watch_says_of_which_task_nothing_is_known(world: World) -> None:
    await _kept(world, RUNNING)
    code, _, err = await _worker(world, "watch", "t-1", "t-misspelt", "--timeout", "1")
    assert (code, err.splitlines()) == (
        2,
        [
            "nothing is known yet of t-misspelt; waiting",
            "worker tasks watch: 1 s are over; still going: t-1; nothing is known of: t-misspelt",
        ],
    )


async def test_a_broker_that_is_not_there_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world = world._replace(settings=replace(world.settings, kafka_bootstrap_servers="127.0.0.1:1"))
    code, _, err = await _worker(world, "list", "--all")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "Unable connect" not in caplog.text


@pytest.fixture
async def dispatched(world: World, logged: StringIO) -> AsyncIterator[World]:  # noqa: ARG001 - never to stdout
    """A worker, and a task that it handed over."""
    async with world.worker():
        await world.import_dataset("d-1")
        await world.platform.publish("task.created", "t-1", form("t-1", "d-1"))
        await wait_until(lambda: len(world.executor.submits) >= 1, 60, "the job")
        yield world


async def test_an_order_is_an_event_whose_answer_is_waited_for(dispatched: World) -> None:
    code, out, _ = await _worker(dispatched, "stop", "t-1", "--command-id", "c-1", "--json")
    answer = msgspec.json.decode(out)
    assert (code, answer["outcome"], answer["command_id"]) == (0, "obeyed", "c-1")
    assert answer["phase"] in ("Terminating", "Terminated")
    # The same order again is answered the same, and another one that cannot be obeyed with why.
    assert msgspec.json.decode((await _worker(dispatched, "stop", "t-1", "--command-id", "c-1", "--json"))[1])[
        "outcome"
    ] == "obeyed"  # fmt: skip
    await dispatched.platform.wait_for_phase("t-1", "Terminated")
    code, out, _ = await _worker(dispatched, "resume", "t-1", "--json")
    refused = msgspec.json.decode(out)
    assert (code, refused["outcome"], refused["reason"]) == (1, "refused", "resume-not-allowed")
    assert refused["command_id"].startswith("cli-")
    code, out, _ = await _worker(dispatched, "stop", "t-1")
    assert (code, out.split(";")[0]) == (0, "t-1: stop nothing-to-do")


async def test_nobody_is_told_anything_about_a_task_that_nobody_knows(world: World) -> None:
    code, out, err = await _worker(world, "stop", "t-9", "--json")
    assert (code, "nothing is known of task t-9" in err) == (1, True)
    assert "nothing is known" in msgspec.json.decode(out)["error"]
    assert world.platform.said("task.command") == []


async def test_an_order_that_no_worker_obeys_in_time_stands(world: World) -> None:
    await _kept(world, RUNNING)
    code, _, err = await _worker(world, "pause", "t-1", "--timeout", "0.5", "--command-id", "c-1")
    assert code == 2
    assert "no answer" not in err
    assert "the order stands as c-1" in err
    code, out, _ = await _worker(world, "pause", "t-1", "--no-wait", "--json")
    assert (code, msgspec.json.decode(out)["outcome"]) == (0, "published")
    said = await world.platform.wait_for("task.command", "t-1", 2)
    assert (said.data.command, said.data.project) == ("pause", "poems")
