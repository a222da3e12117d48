"""What goes wrong in a round, when, in an order that follows from the seed."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from deploy.local.kafka import ApacheKafka
from deploy.local.s3 import S3Server
from tests.e2e.chaos.boundaries import BOUNDARIES
from tests.e2e.chaos.processes import ChaosWorker, kill_a_trainer
from tests.e2e.chaos.s3_faults import FaultyS3
from tests.wait import wait_until

#: Share of the requests to the bucket that go wrong while there is trouble.
FAULT_RATE = 0.03
#: How long a trainer is waited for that could be killed.
_TRAINER_SECONDS = 5.0


class Scene(NamedTuple):
    """What can be broken."""

    kafka: ApacheKafka
    s3: S3Server
    proxy: FaultyS3
    workers: list[ChaosWorker]
    work_dir: Path


async def trouble(scene: Scene, seed: int, times: int) -> list[str]:
    """Break ``times`` things, one after the other, and return what was broken. At the end everything is whole again."""
    dice = random.Random(seed + 1)  # noqa: S311 - a story that can be told again
    boundaries = sorted(BOUNDARIES)
    kinds: list[Callable[[Scene, random.Random], Awaitable[str]]] = [_kill, _terminate, _kill_trainer]
    log = []
    scene.proxy.rate = FAULT_RATE
    # A broker and a bucket go down once a round; a boundary that changes with the seed is always among them.
    plan = [dice.choice(kinds) for _ in range(times)]
    for special in (_restart_kafka, _restart_s3):
        plan.insert(dice.randrange(len(plan) + 1), special)
    for n in range(3):
        boundary = boundaries[(seed * 3 + n) % len(boundaries)]
        plan.insert(dice.randrange(len(plan) + 1), _at(boundary))
    for act in plan:
        await asyncio.sleep(dice.uniform(0.2, 1.5))  # when a thing breaks is part of the story
        log.append(await act(scene, dice))
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
        await wait_until(lambda: kill_a_trainer(scene.work_dir, dice), _TRAINER_SECONDS, "a trainer")
    except AssertionError:
        return "no trainer to kill"
    return "trainer killed"


def _at(boundary: str) -> Callable[[Scene, random.Random], Awaitable[str]]:
    async def act(scene: Scene, dice: random.Random) -> str:
        number, passage = dice.randrange(len(scene.workers)), dice.randint(1, 3)
        scene.workers[number].die_next_at(boundary, passage)
        return f"worker {number} killed, and again {boundary}, passage {passage}"

    return act


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
