"""Works off the queue of attempts that wait for a quota. Who is next is decided in handlers/tenancy/fairness.py."""

from collections.abc import Callable, Iterable

import structlog

from contracts.training import Failure
from handlers import compare_and_set, layout, task_state
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState
from handlers.tenancy import fairness, ledger, queue
from handlers.tenancy.ledger import Ask, Ledger
from handlers.tenancy.projects import Projects
from handlers.tenancy.queue import Place
from worker.sweeps.admission_places import TOLD_AT_ONCE, AdmissionPlaces
from worker.sweeps.remedies import Remedies

log = structlog.get_logger()

_REMEDY = "make the task smaller, or ask this platform's operators for a larger quota"

#: Who waits, by project, each line in its order.
_Lines = dict[str, list[Place]]


class AdmissionSweep:
    """Lets out who may start. Safe to be done by two at once, and to be killed anywhere: one object has the grants.

    Where there are no quotas it does nothing, and asks nothing of the bucket.
    """

    def __init__(
        self, store: ObjectStore, projects: Projects, clock: Clock, remedies: Remedies, place_seconds: float
    ) -> None:
        """``place_seconds``: between two times that a task's place is said."""
        self._store = store
        self._projects = projects
        self._clock = clock
        self._remedies = remedies
        self._places = AdmissionPlaces(store, clock, remedies, place_seconds)
        #: What was asked for, by key and ETag: each is read once.
        self._asks: dict[tuple[str, str], Ask] = {}

    async def waiting(self, shards: Iterable[int | None]) -> set[str]:
        """Return the tasks of these shards that wait for a quota; None is all shards."""
        if not self._projects.limited:
            return set()
        prefixes = map(layout.admission_shard, shards)
        return {place.task_id for prefix in prefixes for place in await queue.places(self._store, prefix)}

    async def sweep(self) -> None:
        """Take back what is not held any more, let out who may start, and tell the others where they are."""
        if not self._projects.limited:
            return
        grants = await self._observed()
        lines = await self._lines()
        await self._let_out_granted(lines, grants)
        grants = await self._grant_all(lines, grants)
        left = TOLD_AT_ONCE
        for line in lines.values():
            if left and line and (ask := await self._ask(line[0])):
                left -= await self._places.tell(line, fairness.shortage(grants, ask, self._projects), left)

    async def _observed(self) -> Ledger:
        """Return the ledger once it agrees with what the granted tasks are now."""
        held = await queue.read(self._store)
        states: dict[str, TaskState] = {}
        for task_id in held.grants:
            if state := await task_state.read(self._store, task_id):
                states[task_id] = state

        def decided(found: Ledger | None) -> Ledger | None:
            now, before = self._clock.now(), found or Ledger()
            after = ledger.observed(ledger.on_day_of(before, now), states, now)
            return after if after != before else None

        return await self._change(decided)

    async def _lines(self) -> _Lines:
        found = await queue.places(self._store, layout.admission_shard())
        lines: _Lines = {}
        for place in sorted(found, key=lambda place: place.order):
            lines.setdefault(place.project, []).append(place)
        there = {(place.key, place.etag) for place in found}
        self._asks = {name: ask for name, ask in self._asks.items() if name in there}
        self._places.forget_all_but({place.key for place in found})
        return lines

    async def _let_out_granted(self, lines: _Lines, grants: Ledger) -> None:
        """Let out whom a worker that was killed had granted: whoever came before it since, it has its grant."""
        for line in lines.values():
            for place in [each for each in line if each.task_id in grants.grants]:
                ask = await self._ask(place)
                if ask and grants.granted(ask.task_id, ask.attempt):
                    line.remove(place)
                    await self._let_out(place)

    async def _grant_all(self, lines: _Lines, grants: Ledger) -> Ledger:
        """Let out one after the other who may start; return the ledger afterwards. In the lines is left who waits."""
        while True:
            firsts = [ask for line in lines.values() if (ask := await self._first(line, grants))]
            ask = fairness.next_to_start(grants, firsts, self._projects)
            if ask is None:
                return grants
            place = lines[ask.project][0]
            state = await task_state.read(self._store, ask.task_id)
            if state is None or not queue.waits(state, ask):
                # Stopped or paused, or granted and gone on by another worker's sweep.
                await self._store.delete(lines[ask.project].pop(0).key)
                continue
            grants = await self._grant(ask)
            if grants.granted(ask.task_id, ask.attempt):
                log.info("task.admitted", task_id=ask.task_id, attempt=ask.attempt, project=ask.project)
                lines[ask.project].pop(0)
                await self._let_out(place)

    async def _first(self, line: list[Place], grants: Ledger) -> Ask | None:
        """Return what the first of a line asks for. Whoever asks for more than a whole quota is refused, and leaves."""
        while line:
            ask = await self._ask(line[0])
            short = fairness.shortage(grants, ask, self._projects) if ask else None
            if ask and not (short and short.for_good):
                return ask
            if ask and short:
                await self._refuse(ask, f"{short.message}: {_REMEDY}")
            await self._store.delete(line.pop(0).key)
        return None

    async def _refuse(self, ask: Ask, why: str) -> None:
        state = await task_state.read(self._store, ask.task_id)
        if state and queue.waits(state, ask):
            await self._remedies.refuse(state, Failure("quota-too-small", "user", why, retryable=False))

    async def _grant(self, ask: Ask) -> Ledger:
        """Grant an ask, unless others have used the quota up meanwhile; return the ledger afterwards."""

        def decided(found: Ledger | None) -> Ledger | None:
            now = self._clock.now()
            today = ledger.on_day_of(found or Ledger(), now)
            if today.granted(ask.task_id, ask.attempt) or fairness.shortage(today, ask, self._projects):
                return None
            return ledger.with_grant(today, ask, now)

        return await self._change(decided)

    async def _let_out(self, place: Place) -> None:
        if state := await task_state.read(self._store, place.task_id):
            await self._remedies.let_out(state)
        # Last: from now on the reconciler looks after it, and submits it.
        await self._store.delete(place.key)

    async def _change(self, decide: Callable[[Ledger | None], Ledger | None]) -> Ledger:
        return await compare_and_set.update(self._store, layout.QUOTA_LEDGER, Ledger, decide) or Ledger()

    async def _ask(self, place: Place) -> Ask | None:
        """Return what an attempt asks for; None where it has left the queue."""
        name = (place.key, place.etag)
        if name not in self._asks and (ask := await queue.asked(self._store, place)):
            self._asks[name] = ask
        return self._asks.get(name)
