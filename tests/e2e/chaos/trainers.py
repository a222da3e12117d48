"""The trainers a round can be played with, and what a round has to be like for each."""

import random
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from tests.e2e.chaos import stand_in
from tests.platform import sample

TrainerName = Literal["stand-in", "real"]


class TrainerKind(NamedTuple):
    """A trainer and the round around it. Times are in seconds.

    ``tasks`` and ``times`` (how often something is broken) are what a round has where nothing else is said.
    ``same_weights``: every task of a round trains the same, so all must end with the same weights, whatever crashed.
    """

    name: TrainerName
    tasks: int
    times: int
    last_step: int
    same_weights: bool
    publish_pause: float
    #: The share of stops that wait until the task trains; the others come at any time.
    stops_in_training: float
    #: About how long a trainer trains.
    training_seconds: float
    settling_seconds: float
    settings: dict[str, Any]
    #: The samples of a task's dataset, as lines.
    lines: Callable[[str], bytes]
    #: What the round's forms say beside what every form says.
    form: Callable[[random.Random], dict[str, Any]]


def _questions(_: str) -> bytes:
    return b"".join(sample(f"Who is number {n}?", f"Number {n} is nobody but number {n}.") for n in range(8))


_REAL_STEPS = 200


def _real_form(dice: random.Random) -> dict[str, Any]:
    return {
        "training_type": dice.choice(("FinetuneSft", "FinetuneLoRA")),
        # Enough steps for a trainer to be killed in the midst of them more than once.
        "hyperparameters": {"max_steps": _REAL_STEPS, "checkpoint_steps": 10, "batch_size": 4},
        # A seed of its own, so that the tasks differ in nothing but their names.
        "shuffle": 7,
    }


#: Steps that only take time: many tasks in a minute.
STAND_IN = TrainerKind(
    name="stand-in",
    tasks=10,
    times=8,
    last_step=stand_in.STEPS,
    same_weights=False,
    publish_pause=0.05,
    stops_in_training=0.0,
    training_seconds=0.3,
    settling_seconds=180.0,
    settings={"local_slots": 4, "lost_job_seconds": 2.0, "heartbeat_seconds": 0.5},
    lines=lambda name: sample(f"Who is {name}?"),
    form=lambda _: {},
)

#: ``worker.trainer`` itself, with torch and the model ``tiny``. Its import alone takes ten seconds.
REAL = TrainerKind(
    name="real",
    tasks=4,
    times=4,
    last_step=_REAL_STEPS,
    same_weights=True,
    publish_pause=0.3,
    stops_in_training=0.7,
    training_seconds=10.0,
    settling_seconds=300.0,
    settings={"local_slots": 2, "lost_job_seconds": 3.0, "heartbeat_seconds": 1.0, "cancel_grace_seconds": 15.0},
    lines=_questions,
    form=_real_form,
)

KINDS: dict[TrainerName, TrainerKind] = {kind.name: kind for kind in (STAND_IN, REAL)}
