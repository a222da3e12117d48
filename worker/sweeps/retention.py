"""Finds the models whose time is over, and has them go. The rules are in handlers/retention.py."""

import asyncio
from datetime import datetime

import structlog

from contracts.model import Expiry
from handlers import retention
from handlers.errors import Transient
from handlers.kept_models import KeptModel, KeptModels
from handlers.model_export import exported_at
from handlers.model_uses import in_use
from handlers.ports.clock import Clock
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.tenancy.projects import Projects
from worker.delivery.publishing import Publisher
from worker.sweeps.members import Members

log = structlog.get_logger()


class RetentionSweep:
    """One worker sweeps at a time (:class:`Members`); two of them, or one killed anywhere, do no harm.

    A sweep costs a listing of the repository. A manifest and an export's receipt are read once; who uses models is
    asked only where one is to go.
    """

    def __init__(
        self,
        store: ObjectStore,
        receipts: Receipts,
        projects: Projects,
        publisher: Publisher,
        clock: Clock,
        *,
        every_seconds: float,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._projects = projects
        self._publisher = publisher
        self._clock = clock
        self._every_seconds = every_seconds
        # It is said at each sweep who is there; so one is missed only after the next.
        self._members = Members(store, clock, "retention", 2 * every_seconds, 1)
        self._models = KeptModels(store)
        self._exported: dict[str, datetime] = {}

    async def run(self) -> None:
        """Sweep until cancelled. What does not go now goes at a later sweep."""
        try:
            while True:
                try:
                    if await self._members.share():
                        await self.sweep()
                except Transient as error:
                    log.warning("retention.waits", error=repr(error))
                except Exception:
                    # Whatever it is, it must not end all stages of this worker.
                    log.exception("retention.broken")
                await asyncio.sleep(self._every_seconds)
        finally:
            await self._members.leave()

    async def sweep(self) -> None:
        """Mark the models whose time is over, and delete those that were found marked; neither where one is used.

        Raises Transient where the bucket does not answer; a model that cannot go keeps no other one.
        """
        models = await self._models.listed()
        marked = [model for model in models if model.facts.expiry and model.files]
        over = [model for model in models if not model.facts.expiry and await self._expiry(model)]
        if not marked and not over:
            return
        used = await in_use(self._store, self._models)
        for model in (*marked, *over):
            if model.facts.model_id not in used:
                await self._try_to_expire(model)

    async def _try_to_expire(self, model: KeptModel) -> None:
        name = model.facts.model_id
        try:
            if model.facts.expiry:
                await retention.delete_files(self._store, name, model.files, self._publisher.publish)
                log.info("model.expired", model_id=name, objects=len(model.files))
            elif expiry := await self._expiry(model):
                await retention.mark(self._store, name, expiry)
                log.info("model.marked", model_id=name, exported_at=expiry.exported_at.isoformat())
        except Transient as error:
            log.warning("retention.model_waits", model_id=name, error=str(error))
        except Exception:
            log.exception("retention.model_failed", model_id=name)

    async def _expiry(self, model: KeptModel) -> Expiry | None:
        """Return that a model's time is over, or None. Its receipt is read only where its project's models expire."""
        facts = model.facts
        kept = self._projects.model_retention(facts.project)
        if kept is None:
            return None
        if facts.model_id not in self._exported:
            found = await exported_at(facts.task_id, facts.attempt, facts.step, self._receipts)
            if found is None:
                return None
            self._exported[facts.model_id] = found
        return retention.expiry_of(self._exported[facts.model_id], kept, self._clock.now())
