"""Laws of a task's life: whatever is ordered, said, lost and swept in whatever order, these hold after each of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.task import Phase
from handlers import task_state
from handlers.ports.jobs import JobStatus
from handlers.task_state import WITH_JOB, TaskState
from tests.fakes.swept import PATIENCE, Swept
from tests.fakes.world import command_event

#: So long that every silence is an answer, and every orphan has been one for long enough.
LONG = 100 * PATIENCE

COMMANDS = ("pause", "resume", "stop", "export", "delete")
ENDS = ("succeeded", "failed", "stopped")


class Life:
    """One task, and everything that may happen to it. ``successes`` are the attempts whose trainer said so."""

    def __init__(self) -> None:
        self.swept = Swept(orphan_seconds=PATIENCE)
        self.successes: set[int] = set()
        self._seqs: dict[int, int] = {}
        self._commands = 0

    async def begin(self) -> None:
        await self.swept.world.dispatched()

    async def order(self, command: str) -> None:
        """Let the user order something; each order is a new one."""
        self._commands += 1
        ordered = command_event(command, command_id=f"c-{self._commands}")
        await self.swept.world.deliver("task-command", ordered)

    async def say(self, state: str, back: int) -> None:
        """Let a trainer say something: the current one's, or one of ``back`` attempts before it."""
        attempt = max(1, (await self.swept.state()).attempt - back)
        seq = self._seqs[attempt] = self._seqs.get(attempt, -1) + 1
        said: dict[str, Any] = {"progress": {"step": seq + 1, "total_steps": 99, "trained_tokens": seq}}
        if state in ("running", "stopped"):
            key = f"tasks/t-1/attempts/{attempt}/checkpoints/{seq}/"
            said["checkpoint"] = {"step": seq + 1, "uri": self.swept.world.store.uri(key)}
        if state == "succeeded":
            said["outputs"] = [await self.swept.world.leave_output(attempt=attempt)]
            self.successes.add(attempt)
        if state == "failed":
            said["failure"] = {"reason": "disk-full", "party": "platform", "message": "m"}
        await self.swept.world.progress(state, seq, attempt=attempt, **said)
        if state in ENDS:
            self.swept.world.executor.end("t-1", attempt, 0 if state != "failed" else 1)

    async def lose(self, back: int) -> None:
        """Let a job vanish from its engine's sight."""
        self.swept.world.executor.lose("t-1", max(1, (await self.swept.state()).attempt - back))

    async def find(self, back: int) -> None:
        """Let a job run that its engine had lost, or started twice."""
        attempt = max(1, (await self.swept.state()).attempt - back)
        self.swept.world.executor.set_state("t-1", attempt, JobStatus(state="running"))

    async def deafen(self, deaf: bool) -> None:
        """Let jobs ignore, or heed, that they should end."""
        self.swept.world.executor.exit_on_cancel = None if deaf else -15

    async def sweep(self, after: float) -> None:
        await self.swept.sweep(after=after)


Step = Callable[[Life], Awaitable[None]]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(COMMANDS).map(lambda command: lambda life: life.order(command)),
    st.tuples(st.sampled_from(("deploying", "running", *ENDS)), st.integers(0, 2)).map(
        lambda said: lambda life: life.say(*said)
    ),
    st.integers(0, 1).map(lambda back: lambda life: life.lose(back)),
    st.integers(0, 1).map(lambda back: lambda life: life.find(back)),
    st.booleans().map(lambda deaf: lambda life: life.deafen(deaf)),
    st.sampled_from((0.0, PATIENCE, LONG)).map(lambda after: lambda life: life.sweep(after)),
)


def _lived(steps: Sequence[Step]) -> None:
    async def live() -> None:
        life = Life()
        await life.begin()
        before = await life.swept.state()
        for step in steps:
            await step(life)
            now = await life.swept.state()
            _follows(before, now)
            _holds(life, now)
            before = now
        await _comes_to_rest(life)

    asyncio.run(live())


def _follows(before: TaskState, now: TaskState) -> None:
    assert now.revision >= before.revision
    assert now.attempt >= before.attempt, "attempts only rise"
    assert now.retry_count <= now.retry_limit
    if before.phase.terminal:
        assert now.phase is before.phase
        assert (now.promoted, now.attempt) == (before.promoted, before.attempt), "nothing follows the end"
        assert now.settlement == before.settlement, "a bill is written once"
    assert (now.settlement is not None) == now.phase.terminal
    if before.promoted:
        assert now.promoted == before.promoted


def _holds(life: Life, now: TaskState) -> None:
    if now.promoted is not None:
        assert now.promoted in life.successes, "only what succeeded is promoted"
        assert now.phase in (Phase.COMPLETING, Phase.COMPLETED)
        assert now.desired in ("run", "delete"), "there is nothing left to pause"
    if now.phase is Phase.PAUSED:
        assert now.desired in ("pause", "resume")
    assert task_state.resumable(now) == (now.desired == "pause" and now.phase in WITH_JOB | {Phase.PAUSED})
    if now.checkpoint is not None:
        assert "tasks/t-1/attempts/" in now.checkpoint.uri


async def _comes_to_rest(life: Life) -> None:
    """Once nothing more happens, nothing runs that nobody wants, and nobody waits for what does not come."""
    await life.deafen(False)
    for _ in range(6):
        await life.sweep(LONG)
    state = await life.swept.state()
    assert state.phase is not Phase.TERMINATING
    assert not (state.phase in WITH_JOB and state.desired != "run"), "a wish is carried out in the end"
    assert not (state.phase is Phase.PAUSED and state.desired == "resume")
    for job in await life.swept.world.executor.jobs():
        wanted = state.phase in WITH_JOB and job.attempt == state.attempt
        assert wanted or job.state not in ("queued", "running"), "a job runs for nobody"
    if state.phase in WITH_JOB:
        running = await life.swept.world.executor.status("t-1", state.attempt)
        assert running.state in ("queued", "running"), "a task trains for which no job runs"


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_to_a_task_its_life_holds_together(steps: list[Step]) -> None:
    _lived(steps)
