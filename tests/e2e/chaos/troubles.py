"""What goes wrong in a round, when, in an order that follows from the seed."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from deploy.local.kafka import ApacheKafka
from deploy.local.s3 import S3Server
from handlers import task_state
from handlers.ports.store import ObjectStore
from tests.e2e.chaos.jobs import Job, running, step_of
from tests.e2e.chaos.processes import ChaosWorker
from tests.e2e.chaos.s3_faults import FaultyS3
from tests.e2e.chaos.trainers import TrainerKind
from tests.wait import wait_until
from worker.settings import Settings

#: Share of the requests to the bucket that go wrong while there is trouble.
FAULT_RATE = 0.03
#: How long a trainer is waited for that could be killed: at all, and with a checkpoint (a real one loads torch first).
_TRAINER_SECONDS = 5.0
_CHECKPOINT_SECONDS = 180.0
#: Trainers a round that are killed when a checkpoint of theirs is known.
_SAVED_KILLS = 2


class Killed(NamedTuple):
    """A trainer that was killed when the task's state knew this step's checkpoint of it (0: none)."""

    job: Job
    step: int


@dataclass(frozen=True)
class Scene:
    """What can be broken, and the trainers that were."""

    kafka: ApacheKafka
    s3: S3Server
    proxy: FaultyS3
    workers: list[ChaosWorker]
    settings: Settings
    store: ObjectStore
    kind: TrainerKind
    tasks: list[str]
    #: Of these, who is to train to the end: a killed trainer of another may be followed by none.
    completed: list[str]
    killed: list[Killed] = field(default_factory=list)

    def running(self) -> list[Job]:
        """Return the jobs whose trainers run now."""
        return running(self.settings.work_dir)


Act = Callable[[Scene, random.Random], Awaitable[str]]


async def trouble(scene: Scene, seed: int, times: int) -> list[str]:
    """Break ``times`` things, one after the other, beside what every round has; return what was broken.

    At the end everything is whole again.
    """
    dice = random.Random(seed + 1)  # noqa: S311 - a story that can be told again
    kinds: list[Act] = [_kill, _terminate, _kill_trainer, _kill_supervisor]
    log = []
    began = time.monotonic()
    scene.proxy.rate = FAULT_RATE
    plan = [dice.choice(kinds) for _ in range(times)]
    for special in (_restart_kafka, _restart_s3, *[_kill_trainer_that_saved] * _SAVED_KILLS):
        plan.insert(dice.randrange(len(plan) + 1), special)
    for act in plan:
        await asyncio.sleep(dice.uniform(0.2, 1.5))  # when a thing breaks is part of the story
        log.append(f"{await act(scene, dice)} by {time.monotonic() - began:.0f} s")
    scene.proxy.rate = 0.0
    return log


async def _kill(scene: Scene, dice: random.Random) -> str:
    number = dice.randrange(len(scene.workers))
    scene.workers[number].send(signal.SIGKILL)
    return f"worker {number} killed"


async def _terminate(scene: Scene, dice: random.Random) -> str:
    number = dice.randrange(len(scene.workers))
    scene.workers[number].send(signal.SIGTERM)
    return f"worker {number} told to end"


async def _kill_trainer(scene: Scene, dice: random.Random) -> str:
    try:
        await wait_until(scene.running, _TRAINER_SECONDS, "a trainer")
    except AssertionError:
        return "no trainer to kill"
    jobs = scene.running()
    return await _killed(scene, dice.choice(jobs)) if jobs else "no trainer to kill"


async def _kill_trainer_that_saved(scene: Scene, dice: random.Random) -> str:
    """Kill a trainer that has a checkpoint to go on from, as the service knows, and whose task goes on."""
    found: list[Job] = []

    async def saved() -> bool:
        jobs = [job for job in scene.running() if job.spec.task_id in scene.completed]
        found[:] = [job for job in jobs if await _known_step(scene.store, job)]
        return bool(found) or (not jobs and await _over(scene))

    try:
        await wait_until(saved, _CHECKPOINT_SECONDS, "a trainer with a checkpoint")
        await asyncio.sleep(dice.uniform(0, scene.kind.training_seconds))
        await wait_until(saved, _CHECKPOINT_SECONDS, "a trainer with a checkpoint")
    except AssertionError:
        return "no trainer with a checkpoint to kill"
    return await _killed(scene, dice.choice(found)) if found else "no trainer with a checkpoint left to kill"


async def _over(scene: Scene) -> bool:
    """Return whether nobody will train any more."""
    states = [await task_state.read(scene.store, task_id) for task_id in scene.tasks]
    return all(state is not None and state.phase.terminal for state in states)


async def _killed(scene: Scene, job: Job) -> str:
    step = await _known_step(scene.store, job)
    pid = job.trainer()
    if pid is None:
        return f"the trainer of {job.name} ended before it could be killed"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    scene.killed.append(Killed(job, step))
    return f"trainer of {job.name} killed" + (f" after its checkpoint at step {step}" if step else "")


async def _known_step(store: ObjectStore, job: Job) -> int:
    """Return the step of the attempt's own newest checkpoint that its task's state knows; 0 where there is none."""
    state = await task_state.read(store, job.spec.task_id)
    if state is None or state.checkpoint is None or f"/{job.prefix}" not in state.checkpoint.uri:
        return 0
    return step_of(state.checkpoint.uri)


async def _kill_supervisor(scene: Scene, dice: random.Random) -> str:
    """Kill what looks after a trainer: the trainer goes on, and nobody will write down how it ended."""
    jobs = [job for job in scene.running() if job.supervisor()]
    if not jobs:
        return "no supervisor to kill"
    job = dice.choice(jobs)
    if pid := job.supervisor():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return f"supervisor of {job.name} killed"


async def _restart_kafka(scene: Scene, dice: random.Random) -> str:
    await scene.kafka.kill()
    await asyncio.sleep(dice.uniform(0, 1))
    await scene.kafka.start()
    return "Kafka killed and started"


async def _restart_s3(scene: Scene, dice: random.Random) -> str:
    await scene.s3.kill()
    await asyncio.sleep(dice.uniform(0, 1))
    await scene.s3.start()
    return "S3 server killed and started"
