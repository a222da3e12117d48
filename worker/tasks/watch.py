"""Following tasks as they go: where each is now, and then every change."""

from collections.abc import AsyncIterator, Callable

from contracts.task import Phase, TaskStatus
from handlers.ports.store import ObjectStore
from worker.kafka.broker import Brokers
from worker.kafka.topic_reader import following
from worker.tasks import overview
from worker.tasks.overview import Filter


class Watch:
    """Tasks that are watched: all that have not ended, or those that are named, until each of them has ended.

    ``open_ids`` are the named tasks that go on; ``ended`` in which phases the others ended. ``waits`` is called once
    what is known has been said, with the named tasks of which nothing is: not submitted yet, or misspelt.
    """

    def __init__(self, brokers: Brokers, wanted: Filter, waits: Callable[[set[str]], None] = lambda _: None) -> None:
        self._brokers = brokers
        self._wanted = wanted
        self._waits = waits
        self._whose = Filter(task_ids=wanted.task_ids, project=wanted.project)
        self._revisions: dict[str, int] = {}
        self.open_ids = set(wanted.task_ids)
        self.ended: dict[str, Phase] = {}

    async def changes(self, store: ObjectStore) -> AsyncIterator[TaskStatus]:
        """Yield where the tasks are now, then each change, in order a task.

        Without names it never ends. A phase that is asked for decides what is yielded, not for how long. Costs what
        listing them costs, once; after that ``task.status`` is followed from its end, without a group.

        Raises BrokerUnavailable, NoSuchTopic, Unavailable.
        """
        named = self._wanted.task_ids
        # The topic first, the bucket second: of what happens between, both tell.
        async with following(self._brokers, overview.TOPIC) as records:
            for status in await (overview.of(store, named) if named else overview.unfinished(store)):
                if self._news(status):
                    yield status
            self._waits(self.unknown())
            while self.open_ids or not named:
                record = await anext(records)
                said = overview.status_in(record.key, record.value, record.headers)
                if said and self._news(said):
                    yield said

    def unknown(self) -> set[str]:
        """Return the named tasks of which nothing was heard."""
        return self.open_ids - self._revisions.keys()

    def _news(self, status: TaskStatus) -> bool:
        """Note a status; return whether it is asked for, and newer than what was seen of its task."""
        task_id = status.task_id
        if not self._whose.matches(status) or status.revision <= self._revisions.get(task_id, -1):
            return False
        self._revisions[task_id] = status.revision
        if task_id in self.open_ids and status.phase.terminal:
            self.open_ids.discard(task_id)
            self.ended[task_id] = status.phase
        return self._wanted.matches(status)
