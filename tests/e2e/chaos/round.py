"""One round: a story, troubles, the verdict; then a full replay, and the verdict again."""

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError
from msgspec.structs import replace

from contracts.task import Phase
from deploy.local.kafka import ApacheKafka
from deploy.local.s3 import S3Server
from handlers import task_state
from handlers.errors import Unavailable
from handlers.table import STAGES
from tests.e2e.chaos import boundaries, verdict
from tests.e2e.chaos.evidence import Books, Evidence, books_of
from tests.e2e.chaos.processes import ChaosWorker
from tests.e2e.chaos.rest import orphans, planted, settled
from tests.e2e.chaos.s3_faults import FaultyS3
from tests.e2e.chaos.story import Story, tell
from tests.e2e.chaos.trainers import KINDS, TrainerKind, TrainerName
from tests.e2e.chaos.training_verdict import resumed, training_faults
from tests.e2e.chaos.troubles import Scene, trouble
from tests.platform import platform
from tests.wait import wait_until
from worker.delivery.later import names as delay_topic_names
from worker.kafka.broker import Brokers
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store
from worker.trainer.base_models import provide

WORKERS_SKEWS = (0.0, 45.0, -30.0)


class Outcome(NamedTuple):
    """What a round was, and everything that was wrong after it. ``logs`` is where the workers' logs are."""

    seed: int
    trainer: TrainerName
    tasks: int
    seconds: float
    troubles: list[str]
    deaths: int
    #: The boundaries at which a worker died, and those at which one should have and did not.
    died_at: list[str]
    survived: list[str]
    jobs: int
    trainers_killed: int
    resumed: list[str]
    s3_faults: int
    faults: list[str]
    logs: Path


async def play(
    seed: int, trainer: TrainerName = "stand-in", tasks: int | None = None, times: int | None = None
) -> Outcome:
    """Play a round from its seed; ``times`` things are broken beside those that every round has."""
    began = time.monotonic()
    kind = KINDS[trainer]
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(S3Server())
        await s3.make_bucket("chaos")
        kafka = ApacheKafka()
        servers = await stack.enter_async_context(kafka)
        proxy = await stack.enter_async_context(FaultyS3(s3.url, seed))
        await ensure_topics(Brokers(servers), delays=delay_topic_names(STAGES))
        settings = _settings(seed, servers, folder, proxy.url, kind)
        credentials = s3.environment()
        stack.enter_context(_variables(credentials))
        quiet = replace(settings, s3_endpoint_url=s3.url)
        store = await stack.enter_async_context(open_store(quiet))
        seen = await stack.enter_async_context(platform(servers))
        told = tell(seed, tasks or kind.tasks, kind, lambda name: store.uri(f"uploads/{name}.jsonl"))
        evidence = Evidence(store, seen, told, kind, settings)
        for name, body in told.datasets.items():
            await store.put(f"uploads/{name}.jsonl", body)
        if trainer == "real":
            await asyncio.to_thread(provide, "tiny", quiet)
        _arm(folder / "traps", seed, told)
        environment = _environment(credentials, folder)
        async with _workers(settings, environment, folder, kind) as workers:
            scene = Scene(kafka, s3, proxy, workers, settings, store, kind, told.tasks, told.completed)
            publishing = asyncio.create_task(_publish(evidence))
            broken = await trouble(scene, seed, times or kind.times)
            await publishing
            wrong = await settled(evidence, settings)
            wrong += await verdict.faults(evidence, await planted(Brokers(servers), told))
            wrong += await training_faults(evidence, scene.killed)
        wrong += await orphans(settings)
        before = await books_of(evidence)
        wrong += await _replayed(replace(settings, group_prefix="replay"), environment, folder, evidence, before)
        died_at = boundaries.sprung(folder / "traps")
        return Outcome(
            seed=seed,
            trainer=trainer,
            tasks=len(told.tasks),
            seconds=time.monotonic() - began,
            troubles=broken,
            deaths=sum(len(worker.deaths) for worker in workers),
            died_at=died_at,
            survived=sorted(set(boundaries.of_round(seed)) - set(died_at)),
            jobs=len(before.jobs),
            trainers_killed=len(scene.killed),
            resumed=resumed(evidence),
            s3_faults=sum(proxy.seen.values()),
            faults=wrong,
            logs=folder,
        )


def _settings(seed: int, servers: str, folder: Path, s3_url: str, kind: TrainerKind) -> Settings:
    return replace(
        Settings(
            kafka_bootstrap_servers=servers,
            storage_url="s3://chaos",
            s3_endpoint_url=s3_url,
            work_dir=folder / "work",
            session_timeout_seconds=3.0,
            estimate_delay_seconds=1.0,
            reconcile_seconds=0.5,
            lease_seconds=3.0,
            drain_seconds=5.0,
            cpu_workers=1,
            # In every second round trainers speak over the bucket, in the others over Kafka for as long as it answers.
            trainer_events="kafka" if seed % 2 else "bucket",
            # Trainers are killed on purpose; what is asked is whether one run counts, not how often they may die.
            retry_limit=50,
        ),
        **kind.settings,
    )


def _arm(traps: Path, seed: int, told: Story) -> None:
    """Set the round's traps. Each boundary is passed at least once a task that completes."""
    dice = random.Random(seed + 2)  # noqa: S311 - a story that can be told again
    for boundary in boundaries.of_round(seed):
        boundaries.arm(traps, boundary, dice.randint(1, len(told.completed)))


def _environment(credentials: dict[str, str], folder: Path) -> dict[str, str]:
    """Return what the workers' environment has beside their settings."""
    scratch = folder / "scratch"  # what killed processes leave in it goes with the round
    scratch.mkdir()
    own = {name: value for name, value in credentials.items() if not name.endswith("_S3")}
    own.pop("WORKER_S3_ENDPOINT_URL")
    return own | {"TMPDIR": str(scratch)}


@contextlib.contextmanager
def _variables(given: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.asynccontextmanager
async def _workers(
    settings: Settings, environment: dict[str, str], folder: Path, kind: TrainerKind, *, replays: bool = False
) -> AsyncIterator[list[ChaosWorker]]:
    """Run three workers with traps and clocks that differ, or one that replays in peace."""
    traps = () if replays else ("--traps", str(folder / "traps"))
    async with AsyncExitStack() as stack:
        workers = [
            ChaosWorker(
                settings,
                environment,
                folder / f"{settings.group_prefix}-{n}.log",
                ("--trainer", kind.name, "--skew", str(skew), *traps),
            )
            for n, skew in enumerate((0.0,) if replays else WORKERS_SKEWS)
        ]
        for worker in workers:
            await stack.enter_async_context(worker)
        yield workers


async def _publish(evidence: Evidence) -> None:
    for record in evidence.story.records:
        if record.once_trains:
            await _training(evidence, record.once_trains)
        await asyncio.sleep(record.after)
        while True:
            try:
                await evidence.platform.send(record.topic, record.key, record.body, record.headers)
                break
            except (Unavailable, KafkaError):
                await asyncio.sleep(0.2)  # the broker is down just now; what arrived all the same is a duplicate more
        await asyncio.sleep(evidence.kind.publish_pause)  # spread over the round


async def _training(evidence: Evidence, task_id: str) -> None:
    async def trains() -> bool:
        try:
            state = await task_state.read(evidence.store, task_id)
        except Unavailable:
            return False  # the bucket is down just now
        return state is not None and (state.phase is Phase.RUNNING or state.phase.terminal)

    await wait_until(trains, evidence.kind.settling_seconds, f"{task_id} to train")


async def _replayed(
    settings: Settings, environment: dict[str, str], folder: Path, evidence: Evidence, before: Books
) -> list[str]:
    """Read every topic again from the beginning, in groups of their own; return what that changed."""
    async with _workers(settings, environment, folder, evidence.kind, replays=True):
        wrong = await settled(evidence, settings)
    wrong += await orphans(settings)
    after = await books_of(evidence)
    changed = [f"the replay changed {name}" for name in before._fields if getattr(before, name) != getattr(after, name)]
    if not wrong and sum(map(len, before.ids.values())) == 0:
        changed.append("nothing was said at all")
    return wrong + changed
