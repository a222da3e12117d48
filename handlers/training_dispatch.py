"""task.created, dataset.validated, dataset.rejected -> training.dispatched | task.status.

Two topics are joined by markers in the bucket, see handlers/join.py. Of two events that cross at least one sees the
other; where both do, the receipt lets one win.
"""

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from contracts.dataset import DatasetRejected, DatasetValidated
from contracts.envelope import Event
from contracts.form import form_digest, read_form
from contracts.task import Fault, Phase, TaskForm, TaskSubmission
from handlers import datasets, join, layout, submissions, task_state
from handlers.first_attempt import FirstAttempt
from handlers.outcome import Decision, Outcome
from handlers.ports.catalog import Catalog
from handlers.ports.clock import Clock
from handlers.ports.executors import Executors
from handlers.ports.planner import Planner
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounter
from handlers.submissions import Judged, Submission
from handlers.task_data import wanted_data
from handlers.task_state import TaskState
from handlers.tenancy.projects import Projects

STAGE = "training-dispatch"


async def dispatch_training(
    event: Event[TaskSubmission | DatasetValidated | DatasetRejected],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    executors: Executors,
    receipts: Receipts,
    clock: Clock,
    retry_limit: int,
    cancel_grace_seconds: float,
    quote_valid_seconds: float,
    projects: Projects,
) -> Outcome:
    """Dispatch every task that has now all it needs.

    Idempotent: a task is decided once (receipt by task id), and its first attempt submitted under one name. A form
    with faults is answered with all of them in one ``task.status``; the same task id with another form is answered
    with ``conflict`` and changes nothing.
    """
    first = FirstAttempt(
        store=store,
        catalog=catalog,
        tokens=tokens,
        planner=planner,
        executors=executors,
        clock=clock,
        projects=projects,
        cancel_grace_seconds=cancel_grace_seconds,
        quote_valid_seconds=quote_valid_seconds,
    )
    dispatch = _Dispatch(store, catalog, receipts, clock, retry_limit, first)
    if isinstance(event.data, TaskSubmission):
        return await dispatch.on_submission(event)
    return await dispatch.on_verdict(event, event.data.dataset_id)


@dataclass(frozen=True)
class _Dispatch:
    """The join, over its ports. ``first`` decides what has all it needs."""

    store: ObjectStore
    catalog: Catalog
    receipts: Receipts
    clock: Clock
    retry_limit: int
    first: FirstAttempt

    async def on_submission(self, event: Event[Any]) -> Outcome:
        submission, won = await submissions.claim(self.store, event)
        if not won:
            return await self._conflict(event, submission)
        judged = await submissions.judged(bytes(submission.form), self.catalog, self.store)
        state = await self._enter(submission, judged)
        if recorded := await self.receipts.recorded(STAGE, submission.task_id):
            wanted = self._wanted(judged.form) if judged.form else ()
            await join.wait_no_more(self.store, submission.task_id, wanted)
            return Outcome(name=recorded.name, events=recorded.events + task_state.said(state, event, STAGE))
        if judged.form is None:
            return await self._refused(event, state)
        # One that has ended is decided too: it may have ended in a decision that crashed before its receipt.
        if not state.phase.terminal:
            # The marker goes first, the reports are read second: see join.py.
            await self.store.put(layout.active(submission.task_id), b"")
            if judged.form.base_model.custom_model_id:
                # Again: only now it is to be seen that the model is used, and it may have expired (see retention.py).
                again = await submissions.judged(bytes(submission.form), self.catalog, self.store)
                if again.form is None:
                    return await self._refused(event, await self._enter(submission, again))
            await join.wait(self.store, submission.task_id, self._wanted(judged.form))
        return await self._decide(event, judged, judged.form, submission)

    async def on_verdict(self, event: Event[Any], dataset_id: str) -> Outcome:
        said: list[Event[Any]] = []
        links: list[str] = []
        failures: list[Exception] = []
        for task_id in await join.woken_by(self.store, dataset_id, event.id):
            try:
                woken = await self._woken(event, task_id, dataset_id)
                said += woken.events
                links += woken.links
            except Exception as error:  # noqa: BLE001 - raised below, once the others have been decided
                failures.append(error)
        if failures:
            raise failures[0]
        return Outcome(name="woke-tasks" if said else "nobody-waits", events=tuple(said), links=tuple(links))

    async def _woken(self, event: Event[Any], task_id: str, dataset_id: str) -> Outcome:
        submission = await submissions.load(self.store, task_id)
        if submission is None:
            return Outcome(name="unknown-task")
        judged = await submissions.judged(bytes(submission.form), self.catalog, self.store)
        if judged.form is not None:
            return await self._decide(event, judged, judged.form, submission)
        # Its model was withdrawn while it waited: it must not wait for good.
        refused = await self._refused(event, await self._enter(submission, judged))
        await join.wait_no_more(self.store, task_id, [dataset_id])
        return refused

    async def _enter(self, submission: Submission, judged: Judged) -> TaskState:
        """Return the task's state: new at the first delivery, ended where it waits with a form that has faults now."""

        def entered(state: TaskState | None) -> TaskState | None:
            if state is not None and (judged.form is not None or state.phase is not Phase.PREPROCESSING):
                # A stop that came before the form may not have said whose task it is.
                return replace(state, project=judged.project) if state.project != judged.project else None
            new = state or TaskState(task_id=submission.task_id, retry_limit=self.retry_limit)
            new = replace(new, project=judged.project)
            if judged.form is None:
                message = f"the form has {len(judged.faults)} fault{'s' * (len(judged.faults) != 1)}: " + "; ".join(
                    f"{fault.field}: {fault.message}" for fault in judged.faults
                )
                return replace(
                    new, phase=Phase.FAILED, reason="invalid-form", party="user", message=message, faults=judged.faults
                )
            return replace(new, message="waiting for the reports on its datasets")

        state = await task_state.change(self.store, self.clock, submission.task_id, entered)
        assert state is not None
        return state

    async def _refused(self, event: Event[Any], state: TaskState) -> Outcome:
        """Answer a form with faults. The refusal is recorded as any other decision is: a task's story is its receipts.

        Not where an earlier delivery began the task and crashed before its receipt: that is not refused any more.
        """
        if state.phase is Phase.FAILED and not state.attempt:

            async def work() -> Decision:
                return Decision(name="refused")

            await self.receipts.once(STAGE, state.task_id, event, work)
        return Outcome(name="refused", events=task_state.said(state, event, STAGE))

    async def _conflict(self, event: Event[Any], held: Submission) -> Outcome:
        """Answer a second, different form: nothing changes, and the answer is the same at every delivery."""
        current = await task_state.read(self.store, held.task_id)
        project = read_form(bytes(held.form)).project
        state = current or TaskState(task_id=held.task_id, project=project, changed_at=held.submitted_at)
        message = (
            f"task {held.task_id} was submitted with another form before, which stands; "
            "submit this form under a new task_id"
        )

        async def work() -> Decision:
            fault = Fault("task_id", "conflict", message)
            answer = replace(state, reason="conflict", party="user", message=message, faults=(fault,))
            return Decision(name="conflict", follow_ons=(replace(task_state.status(answer), event_id=None),))

        # Not below the task's id: of two objects in a directory, none can be below the other ("t.json" is an id too).
        key = f"conflict/{held.task_id}/{form_digest(event.body)}"
        outcome = await self.receipts.once(STAGE, key, event, work)
        # The topic is compacted: what stands last in it must be where the task is.
        now = task_state.said(current, event, STAGE) if current else ()
        return Outcome(name=outcome.name, events=outcome.events + now)

    async def _decide(self, event: Event[Any], judged: Judged, form: TaskForm, submission: Submission) -> Outcome:
        known = await datasets.load_all(self.store, self._wanted(form))
        found = await task_state.read(self.store, form.task_id)
        assert found is not None
        if found.phase is Phase.PREPROCESSING and any(each is None for each in known.values()):
            return Outcome(name="waiting", events=task_state.said(found, event, STAGE))
        ready = {name: each for name, each in known.items() if each is not None}

        async def work() -> Decision:
            return await self.first.begin(form, judged, ready, found, submission.submitted_at, event.traceparent)

        outcome = await self.receipts.once(STAGE, form.task_id, event, work)
        await join.wait_no_more(self.store, form.task_id, known)
        state = await task_state.read(self.store, form.task_id)
        assert state is not None
        submitted_in = submission.traceparent
        links = (submitted_in,) if submitted_in and submitted_in != event.traceparent else ()
        return Outcome(name=outcome.name, events=outcome.events + task_state.said(state, event, STAGE), links=links)

    def _wanted(self, form: TaskForm) -> list[str]:
        """Return the ids of every dataset a form needs a report on."""
        return wanted_data(form, self.catalog).dataset_ids()
