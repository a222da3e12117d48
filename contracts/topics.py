"""The topics: who publishes them, what they carry and how the broker keeps them."""

from typing import Literal, NamedTuple

from contracts.dataset import DatasetImported, DatasetRejected, DatasetValidated
from contracts.model import ModelExpired, ModelExported
from contracts.quote import CostEstimated
from contracts.task import TaskCommand, TaskForm, TaskStatus, TaskSubmission
from contracts.training import TrainingDispatched, TrainingProgress

DEAD_LETTER_SUFFIX = ".dead-letter"


class Topic(NamedTuple):
    """One topic: its contract, its key and its broker settings.

    ``received_as`` is what the codec decodes into where that is laxer than the contract: a form with faults is
    answered, not dead-lettered. ``version`` counts the contract's breaking changes: each has a schema file of its own.
    """

    name: str
    contract: type
    key_field: str
    publisher: Literal["platform", "executors", "worker"]
    meaning: str
    received_as: type
    partitions: int = 12
    compacted: bool = False
    version: int = 1

    @property
    def dead_letter(self) -> str:
        """Return the topic that takes what could not be processed from this one."""
        return self.name + DEAD_LETTER_SUFFIX


def _topic(
    name: str, contract: type, key: str, publisher: Literal["platform", "executors", "worker"], meaning: str,
    *, received_as: type | None = None, compacted: bool = False, version: int = 1,
) -> Topic:  # fmt: skip
    return Topic(name, contract, key, publisher, meaning, received_as or contract, compacted=compacted, version=version)


_ALL = (
    _topic("dataset.imported", DatasetImported, "dataset_id", "platform", "files of a dataset are in the bucket"),
    _topic("task.created", TaskForm, "task_id", "platform", "a user submitted the form", received_as=TaskSubmission),
    _topic("task.command", TaskCommand, "task_id", "platform", "stop, pause, resume, export or delete a task"),
    _topic("training.progress", TrainingProgress, "task_id", "executors", "a job's state, step, metrics, checkpoint"),
    _topic("dataset.validated", DatasetValidated, "dataset_id", "worker", "every sample of a dataset is valid"),
    _topic("dataset.rejected", DatasetRejected, "dataset_id", "worker", "a dataset has faults, or cannot be read"),
    _topic("cost.estimated", CostEstimated, "task_id", "worker", "the training fee, itemised"),
    _topic("training.dispatched", TrainingDispatched, "task_id", "worker", "an attempt has begun, for an executor"),
    _topic("task.status", TaskStatus, "task_id", "worker", "where a task is, and why", compacted=True),
    _topic("model.exported", ModelExported, "task_id", "worker", "one kept output is in the model repository"),
    _topic("model.expired", ModelExpired, "task_id", "worker", "a model's time is over, and its files are deleted"),
)

TOPICS: dict[str, Topic] = {topic.name: topic for topic in _ALL}
