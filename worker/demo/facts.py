"""What a demo run showed, gathered from the events alone: a platform would know no more."""

from datetime import datetime
from typing import Any

from contracts.dataset import DatasetValidated
from contracts.envelope import Event
from contracts.model import ModelExported
from contracts.quote import CostEstimated
from contracts.task import TaskStatus
from contracts.training import TrainingDispatched, TrainingProgress


class Facts:
    """The facts of one task and its dataset. Feed it every event, in the order they arrive; repeats are ignored."""

    def __init__(self, task_id: str, dataset_id: str, imported_at: datetime) -> None:
        self.task_id = task_id
        self.dataset_id = dataset_id
        self.imported_at = imported_at
        self.events: list[Event[Any]] = []
        self.verdict: Any = None
        self.estimate: Event[CostEstimated] | None = None
        self.dispatched: TrainingDispatched | None = None
        self.status: TaskStatus | None = None
        self.first_loss: float | None = None
        self.last_loss: float | None = None
        self.steps = 0
        self.checkpoints = 0
        self.models: dict[str, ModelExported] = {}
        self._seen: set[str] = set()

    def take(self, event: Event[Any]) -> bool:
        """Take an event in; return whether it is new and about this run."""
        if event.id in self._seen or event.key not in (self.task_id, self.dataset_id):
            return False
        self._seen.add(event.id)
        self.events.append(event)
        data = event.data
        if event.topic in ("dataset.validated", "dataset.rejected"):
            self.verdict = data
        elif isinstance(data, CostEstimated):
            self.estimate = event
        elif isinstance(data, TrainingDispatched):
            self.dispatched = data
        elif isinstance(data, TrainingProgress):
            self._progress(data)
        elif isinstance(data, ModelExported):
            self.models[data.model_id] = data
        elif isinstance(data, TaskStatus) and (self.status is None or data.revision > self.status.revision):
            self.status = data
        return True

    @property
    def rejected(self) -> bool:
        """Return whether the dataset has faults."""
        return self.verdict is not None and not isinstance(self.verdict, DatasetValidated)

    @property
    def ended(self) -> bool:
        """Return whether the task is in a terminal phase and every kept model has been said."""
        if self.status is None or not self.status.terminal:
            return False
        return self.status.phase.value != "Completed" or bool(self.models)

    def _progress(self, said: TrainingProgress) -> None:
        self.checkpoints += said.checkpoint is not None
        if said.progress is None or said.progress.loss is None:
            return
        self.steps = max(self.steps, said.progress.step)
        self.first_loss = said.progress.loss if self.first_loss is None else self.first_loss
        self.last_loss = said.progress.loss

    def as_json(self, tokens: int | None, paths: dict[str, str]) -> dict[str, Any]:
        """Return the facts as the one object of ``worker demo --json``."""
        quote = self.estimate.data.quote if self.estimate else None
        late = (self.estimate.time - self.imported_at).total_seconds() if self.estimate else None
        return {
            "dataset": {
                "dataset_id": self.dataset_id,
                "valid": self.verdict is not None and not self.rejected,
                "samples": self.verdict.samples if self.verdict else 0,
                "tokens": tokens,
            },
            "estimate": {
                "amount": quote.amount if quote else None,
                "currency": quote.currency if quote else None,
                "complete": quote.complete if quote else False,
                "seconds_after_import": round(late, 3) if late is not None else None,
            },
            "training": {
                "task_id": self.task_id,
                "attempt": self.status.attempt if self.status else 0,
                "executor": self.dispatched.executor if self.dispatched else None,
                "steps": self.steps,
                "first_loss": self.first_loss,
                "last_loss": self.last_loss,
            },
            "models": [
                {
                    "model_id": model.model_id,
                    "path": paths[model.model_id],
                    "size_bytes": model.size_bytes,
                    "step": model.step,
                }
                for model in sorted(self.models.values(), key=lambda model: model.step)
            ],
            "events": [
                {"topic": event.topic, "key": event.key, "id": event.id, "type": event.type, "time": event.time}
                for event in self.events
            ],
        }
