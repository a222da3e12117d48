"""The one table: which topic leads to which handler, and what follows. Read this first."""

from collections.abc import Callable
from typing import Any, NamedTuple

from handlers.cost_estimation import estimate_cost
from handlers.dataset_validation import VERSION as VALIDATION_VERSION
from handlers.dataset_validation import validate_dataset
from handlers.exact_estimation import estimate_exactly
from handlers.model_export import export_models
from handlers.redelivery import IN_ORDER, Retry
from handlers.task_command import obey_command
from handlers.training_dispatch import dispatch_training
from handlers.training_progress import keep_progress, only_steps

SAID_BY_SWEEPS = ("model.expired",)  # no event leads to it, only time: worker/sweeps/retention.py


class Stage(NamedTuple):
    """One stage: a handler with the topics it reads and the topics it may say.

    ``folds``: the handler takes the run of events that wait under one key, not one event; ``unhurried`` says of which
    bodies a few seconds do not matter, so that longer runs are folded. ``due``: events wait until the dataset's import
    time plus the set delay. ``version`` is bumped when a pure stage's rules change; 0 for stages
    that act on the world and are never computed anew, or record under the name of another one.
    """

    name: str
    topics: tuple[str, ...]
    handler: Callable[..., Any]
    says: tuple[str, ...]
    version: int = 0
    folds: bool = False
    unhurried: Callable[[Any], bool] | None = None
    due: bool = False
    retry: Retry = Retry()


STAGES = (
    Stage(
        "dataset-validation", ("dataset.imported",), validate_dataset,
        ("dataset.validated", "dataset.rejected"), version=VALIDATION_VERSION,
    ),
    Stage(
        "cost-estimation", ("dataset.validated", "dataset.rejected"), estimate_cost, ("cost.estimated",),
        version=1, due=True,
    ),
    Stage("exact-estimation", ("cost.estimated",), estimate_exactly, ("cost.estimated",)),
    Stage(
        "training-dispatch", ("task.created", "dataset.validated", "dataset.rejected"), dispatch_training,
        ("training.dispatched", "task.status"),
    ),
    Stage(
        "training-progress", ("training.progress",), keep_progress, ("task.status",), folds=True, unhurried=only_steps,
        retry=IN_ORDER,
    ),
    Stage("model-export", ("task.status",), export_models, ("model.exported", "task.status")),
    Stage("task-command", ("task.command",), obey_command, ("task.status", "model.exported"), retry=IN_ORDER),
)  # fmt: skip
