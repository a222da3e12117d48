"""A service that trains, and another with directories of its own, on which the same tasks are planned."""

from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from contracts.task import Settlement
from handlers import layout
from tests.e2e.exports import verifies
from tests.e2e.formats.machine import Machine
from tests.e2e.formats.samples import Split
from tests.e2e.formats.tampering import fails_when_tampered_with
from tests.platform import form
from worker.trainer import base_models

_SECONDS = 300


class Service(NamedTuple):
    """``here`` tasks are trained, ``elsewhere`` they are only planned."""

    here: Machine
    elsewhere: Machine

    async def trained(
        self, training_type: str, split: Split, *, on: str | None = None, **hyperparameters: Any
    ) -> tuple[Path, list[float]]:
        """Have a tiny model, or one exported earlier, trained on samples.

        Of every format is made sure that the task is billed what it was quoted, that what it exported proves itself,
        and that the same task has the same plan elsewhere, where its base is there too.
        Return where the exported model is, and the loss of each step.
        """
        # Tests share the service in any order: one form under another's id would be a conflict.
        task_id = f"{training_type}-{len(split.training)}-on-{on or 'base'}"[:60]
        base = {"custom_model_id": on} if on else {"foundation": {"name": model_of(training_type), "version": "1"}}
        asked = form(task_id, task_id, training_type=training_type, base_model=base, hyperparameters=hyperparameters)
        machines = (self.here,) if on else tuple(self)
        for machine in machines:
            await machine.submit(asked, split.training)
        platform = self.here.platform
        ended = await platform.wait_for_phase(task_id, "Completed", _SECONDS)
        await self._is_billed_as_quoted(task_id, ended.settlement)
        assert len({await machine.plan_hash(task_id) for machine in machines}) == 1

        exported = (await platform.wait_for("model.exported", task_id)).data
        folder = self.here.bucket / layout.model(exported.model_id)
        await verifies(folder, self.here.settings)
        await fails_when_tampered_with(folder, self.here.settings, self.elsewhere.settings.work_dir / "tampered")
        said = {event.data.seq: event.data for event in platform.said("training.progress", task_id)}
        steps = {each.progress.step: each.progress.loss for _, each in sorted(said.items()) if each.progress}
        return folder, list(steps.values())

    async def _is_billed_as_quoted(self, task_id: str, settlement: Settlement) -> None:
        """Make sure that a task which succeeded is billed its last quote to the cent, and trained what that prices."""
        await self.here.platform.wait_for("cost.estimated", task_id)
        estimates = [event.data for event in self.here.platform.said("cost.estimated", task_id)]
        quote = max(estimates, key=lambda estimate: estimate.revision).quote
        assert quote.complete
        assert (settlement.basis, settlement.quote_id) == ("quote", quote.quote_id)
        assert settlement.amount == settlement.quoted_amount == quote.amount
        assert Decimal(quote.amount) > 0
        assert settlement.trained_tokens == settlement.quoted_tokens == quote.billed_tokens

    def base(self, training_type: str) -> Path:
        """Return where the base model of a training type is."""
        return self.here.bucket / base_models.prefix_of(model_of(training_type))


def model_of(training_type: str) -> str:
    return "tiny-encoder" if training_type == "Embedding" else "tiny"
