"""What the console knows of tasks, datasets, fees and models: a fold over the topics, made anew at every start."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from contracts.dataset import DatasetImported, DatasetRejected, DatasetVerdict
from contracts.envelope import Event
from contracts.model import ModelExpired, ModelExported
from contracts.quote import CostEstimated
from contracts.task import TaskStatus, TaskSubmission
from contracts.training import TrainingProgress
from worker.console.changes import Changes, Kind
from worker.console.curve_points import Run

#: What the console reads. Commands are answered by statuses, dispatches by phases.
FOLLOWED = (
    "dataset.imported", "dataset.validated", "dataset.rejected", "cost.estimated", "task.created", "task.status",
    "training.progress", "model.exported", "model.expired",
)  # fmt: skip


class TaskView(Struct, kw_only=True):
    """A task: its form as it was submitted, and its newest status."""

    task_id: str
    project: str
    form: dict[str, Any] = {}
    submitted_at: datetime | None = None
    status: TaskStatus | None = None
    #: What the worker last said to a command or a second form that changed nothing.
    answer: TaskStatus | None = None
    models: dict[str, ModelExported] = {}

    @property
    def name(self) -> str:
        """Return what its user called it, or its id."""
        name = self.form.get("name")
        return name if isinstance(name, str) and name else self.task_id

    @property
    def moved_at(self) -> datetime | None:
        """Return when it last changed."""
        return self.status.changed_at if self.status else self.submitted_at


class DatasetView(Struct, kw_only=True):
    """A dataset: its newest import and the newest verdict, without the findings, which the bucket has."""

    dataset_id: str
    project: str
    uris: tuple[str, ...] = ()
    imported_at: datetime | None = None
    verdict: DatasetVerdict | None = None

    @property
    def rejected(self) -> bool:
        """Return whether the newest verdict, without a form's tolerance, is against it."""
        return isinstance(self.verdict, DatasetRejected)

    @property
    def unreadable(self) -> bool:
        """Return whether it was rejected without a look at its samples; the verdict's message says why."""
        return isinstance(self.verdict, DatasetRejected) and self.verdict.reason == "unreadable"


class View:
    """A fold over events, in whatever order and however often they come. What it holds a task is bounded.

    A project is part of what a thing is called: what one project says about an id is never shown in another.
    """

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self._tasks: dict[str, TaskView] = {}
        self._datasets: dict[tuple[str, str], DatasetView] = {}
        self._fees: dict[tuple[str, str], CostEstimated] = {}
        self._models: dict[str, ModelExported] = {}
        self._expired: set[str] = set()
        self._runs: dict[str, Run] = {}
        #: Whether all that was there at the start has been read.
        self.caught_up = False

    def tasks(self) -> list[TaskView]:
        """Return all tasks, the newest first."""
        return sorted(self._tasks.values(), key=lambda task: str(task.submitted_at or task.moved_at), reverse=True)

    def task(self, task_id: str) -> TaskView | None:
        """Return a task, or None."""
        return self._tasks.get(task_id)

    def run(self, task_id: str) -> Run:
        """Return a task's curve, an empty one where nothing was said."""
        return self._runs.get(task_id) or Run()

    def dataset(self, project: str, dataset_id: str) -> DatasetView | None:
        """Return a project's dataset, or None."""
        return self._datasets.get((project, dataset_id))

    def datasets(self, project: str) -> list[DatasetView]:
        """Return a project's datasets, the newest import first."""
        found = [dataset for (owner, _), dataset in self._datasets.items() if owner == project]
        return sorted(found, key=lambda dataset: str(dataset.imported_at), reverse=True)

    def fee(self, project: str, task_id: str) -> CostEstimated | None:
        """Return the newest fee of a project's task, or None."""
        return self._fees.get((project, task_id))

    def model(self, model_id: str) -> ModelExported | None:
        """Return an exported model, or None."""
        return self._models.get(model_id)

    def models(self, project: str) -> list[ModelExported]:
        """Return a project's exported models, by id."""
        found = [model for model in self._models.values() if model.project == project]
        return sorted(found, key=lambda model: model.model_id)

    def projects(self) -> list[str]:
        """Return every project that something is known of."""
        return sorted({task.project for task in self._tasks.values()} | {project for project, _ in self._datasets})

    def take(self, event: Event[Any]) -> None:
        """Fold an event in. Idempotent."""
        match event.data:
            case DatasetImported() as imported:
                self._imported(imported, event.time)
            case DatasetVerdict() as verdict:
                self._judged(verdict)
            case CostEstimated() as estimated:
                self._estimated(estimated)
            case TaskSubmission() as submission:
                self._submitted(submission.task_id, event)
            case TaskStatus() as status:
                self._moved(status)
            case TrainingProgress() as progress:
                if self._runs.setdefault(progress.task_id, Run()).take(progress):
                    self._changed("task", progress.task_id)
            case ModelExported() as model:
                self._exported(model)
            case ModelExpired() as model:
                self._gone(model)

    def _imported(self, imported: DatasetImported, time: datetime) -> None:
        dataset = self._of(imported.project, imported.dataset_id)
        at = imported.imported_at or time
        if dataset.imported_at is None or at >= dataset.imported_at:
            dataset.imported_at = at
            dataset.uris = tuple(file.uri for file in imported.files)
            self.changes.add("dataset", imported.dataset_id, imported.project)

    def _judged(self, verdict: DatasetVerdict) -> None:
        dataset = self._of(verdict.project, verdict.dataset_id)
        if dataset.verdict is None or verdict.imported_at >= dataset.verdict.imported_at:
            # The findings are in the bucket, whole; a thousand verdicts with their findings would not be bounded.
            dataset.verdict = msgspec.structs.replace(verdict, findings=(), draft=None)
            self.changes.add("dataset", verdict.dataset_id, verdict.project)

    def _of(self, project: str, dataset_id: str) -> DatasetView:
        new = DatasetView(dataset_id=dataset_id, project=project)
        return self._datasets.setdefault((project, dataset_id), new)

    def _estimated(self, estimated: CostEstimated) -> None:
        if estimated.task_id is None:
            return
        key = (estimated.project, estimated.task_id)
        held = self._fees.get(key)
        if held is None or estimated.revision >= held.revision:
            self._fees[key] = estimated
            self.changes.add("fee", estimated.task_id, estimated.project)

    def _submitted(self, task_id: str, event: Event[Any]) -> None:
        form = _as_dict(event.body)
        project = form.get("project", "default")
        task = self._tasks.setdefault(task_id, TaskView(task_id=task_id, project=str(project)))
        # The first form wins, as it does with the worker; of another project's it must not even show the name.
        if not task.form and task.project == project:
            task.form, task.submitted_at = form, event.time
            self._changed("task", task_id)

    def _moved(self, status: TaskStatus) -> None:
        task = self._tasks.setdefault(status.task_id, TaskView(task_id=status.task_id, project=status.project))
        if task.project != status.project:
            # The worker says whose it is. What another project said of it was not about this task.
            task.project, task.form, task.submitted_at = status.project, {}, None
        if task.status is None or status.revision > task.status.revision:
            task.status, task.answer = status, None
            self._changed("task", status.task_id)
        elif status.revision == task.status.revision and status.reason != task.status.reason:
            # Of equal revisions the first holds: what refuses a command or a second form is no change of the task.
            task.answer = status
            self._changed("task", status.task_id)

    def _exported(self, model: ModelExported) -> None:
        if model.model_id in self._expired:
            return  # said again: a model that expired never comes back
        self._models[model.model_id] = model
        task = self._tasks.setdefault(model.task_id, TaskView(task_id=model.task_id, project=model.project))
        if task.project == model.project and task.models.get(model.model_id) != model:
            task.models = task.models | {model.model_id: model}
            self._changed("task", model.task_id)

    def _gone(self, model: ModelExpired) -> None:
        self._expired.add(model.model_id)
        self._models.pop(model.model_id, None)
        task = self._tasks.get(model.task_id)
        if task and model.model_id in task.models:
            task.models = {name: each for name, each in task.models.items() if name != model.model_id}
            self._changed("task", model.task_id)

    def _changed(self, kind: Kind, task_id: str) -> None:
        task = self._tasks.get(task_id)
        self.changes.add(kind, task_id, task.project if task else None)


def _as_dict(body: bytes) -> dict[str, Any]:
    try:
        form = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return form if isinstance(form, dict) else {}
