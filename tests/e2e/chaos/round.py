"""One round: a story, troubles, the verdict; then a full replay, and the verdict again."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from deploy.local.kafka import ApacheKafka
from deploy.local.s3 import S3Server
from handlers.errors import Unavailable
from handlers.ports import ObjectStore
from handlers.table import STAGES
from tests.e2e.chaos import verdict
from tests.e2e.chaos.processes import ChaosWorker, trainers
from tests.e2e.chaos.s3_faults import FaultyS3
from tests.e2e.chaos.story import Story, tell
from tests.e2e.chaos.troubles import Scene, trouble
from tests.platform import Platform, platform
from tests.wait import wait_until
from worker.broker import Brokers, connected
from worker.settings import Settings
from worker.storage import open_store
from worker.topics import ensure_topics

WORKERS_SKEWS = (0.0, 45.0, -30.0)
SETTLING_SECONDS = 180.0


class Outcome(NamedTuple):
    """What a round was, and everything that was wrong after it. ``logs`` is where the workers' logs are."""

    seed: int
    seconds: float
    troubles: list[str]
    deaths: int
    runs: int
    s3_faults: int
    faults: list[str]
    logs: Path


async def play(seed: int, tasks: int = 10, times: int = 8) -> Outcome:
    """Play a round from its seed; ``times`` things are broken beside those that every round has."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(S3Server())
        await s3.make_bucket("chaos")
        kafka = ApacheKafka()
        servers = await stack.enter_async_context(kafka)
        proxy = await stack.enter_async_context(FaultyS3(s3.url, seed))
        await ensure_topics(Brokers(servers))
        settings = _settings(servers, folder, proxy.url)
        credentials = s3.environment()
        stack.enter_context(_variables(credentials))
        store = await stack.enter_async_context(open_store(replace(settings, s3_endpoint_url=s3.url)))
        seen = await stack.enter_async_context(platform(servers))
        told = tell(seed, tasks, lambda name: store.uri(f"uploads/{name}.jsonl"))
        for name, body in told.datasets.items():
            await store.put(f"uploads/{name}.jsonl", body)
        environment = {name: value for name, value in credentials.items() if not name.endswith("_S3")}
        environment.pop("WORKER_S3_ENDPOINT_URL")
        async with _workers(settings, environment, folder) as workers:
            scene = Scene(kafka, s3, proxy, workers, settings.work_dir)
            publishing = asyncio.create_task(_publish(seen, told))
            broken = await trouble(scene, seed, times)
            await publishing
            wrong = await _settled(settings, store, seen, told)
            poison = await _planted(Brokers(servers), told)
            wrong += await verdict.faults(store, seen, told, poison)
            wrong += [f"trainer {pid} still runs" for pid in trainers(settings.work_dir)]
        before = await verdict.books_of(store, seen, told)
        wrong += await _replayed(
            replace(settings, group_prefix="replay"), environment, folder, store, seen, told, before
        )
        return Outcome(
            seed=seed,
            seconds=time.monotonic() - began,
            troubles=broken,
            deaths=sum(len(worker.deaths) for worker in workers),
            runs=len(before.runs),
            s3_faults=sum(proxy.seen.values()),
            faults=wrong,
            logs=folder,
        )


def _settings(servers: str, folder: Path, s3_url: str) -> Settings:
    return Settings(
        kafka_bootstrap_servers=servers,
        storage_url="s3://chaos",
        s3_endpoint_url=s3_url,
        work_dir=folder / "work",
        session_timeout_seconds=3.0,
        estimate_delay_seconds=1.0,
        reconcile_seconds=0.5,
        lost_job_seconds=2.0,
        lease_seconds=3.0,
        drain_seconds=5.0,
        heartbeat_seconds=0.5,
        cpu_workers=1,
        local_slots=4,
        # Trainers are killed on purpose; what is asked is whether one run counts, not how often they may die.
        retry_limit=50,
    )


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
    settings: Settings, environment: dict[str, str], folder: Path, skews: tuple[float, ...] = WORKERS_SKEWS
) -> AsyncIterator[list[ChaosWorker]]:
    async with AsyncExitStack() as stack:
        workers = [
            ChaosWorker(settings, environment, folder / f"{settings.group_prefix}-{n}.log", skew)
            for n, skew in enumerate(skews)
        ]
        for worker in workers:
            await stack.enter_async_context(worker)
        yield workers


async def _publish(seen: Platform, told: Story) -> None:
    for record in told.records:
        while True:
            try:
                await seen.send(record.topic, record.key, record.body, record.headers)
                break
            except (Unavailable, KafkaError):
                await asyncio.sleep(0.2)  # the broker is down just now; what arrived all the same is a duplicate more
        await asyncio.sleep(0.05)  # spread over the round


async def _settled(settings: Settings, store: ObjectStore, seen: Platform, told: Story) -> list[str]:
    """Wait until nothing moves any more; return what does not come to rest."""

    async def rested() -> bool:
        states = await verdict.states_of(store, told)
        return (
            len(states) == len(told.tasks)
            and all(state.phase.terminal for state in states.values())
            and not await verdict.keys(store, "active/")
            and not trainers(settings.work_dir)
            and await _lag(settings) == 0
            and await seen.caught_up()
        )

    try:
        await wait_until(rested, SETTLING_SECONDS, "everything to come to rest")
    except AssertionError:
        states = await verdict.states_of(store, told)
        moving = {task_id: f"{state.phase.value}/{state.attempt}" for task_id, state in states.items()}
        return [f"not at rest after {SETTLING_SECONDS} s: lag {await _lag(settings)}, {moving}"]
    return []


async def _replayed(
    settings: Settings,
    environment: dict[str, str],
    folder: Path,
    store: ObjectStore,
    seen: Platform,
    told: Story,
    before: verdict.Books,
) -> list[str]:
    """Read every topic again from the beginning, in groups of their own; return what that changed."""
    async with _workers(settings, environment, folder, skews=(0.0,)):
        wrong = await _settled(settings, store, seen, told)
    after = await verdict.books_of(store, seen, told)
    changed = [f"the replay changed {name}" for name in before._fields if getattr(before, name) != getattr(after, name)]
    if not wrong and sum(map(len, before.ids.values())) == 0:
        changed.append("nothing was said at all")
    return wrong + changed


async def _lag(settings: Settings) -> int:
    """Return the records that the stages' groups have not committed yet; every group must have committed something."""
    brokers = Brokers.of(settings)
    total = 0
    async with connected(AIOKafkaAdminClient, brokers) as admin, connected(AIOKafkaConsumer, brokers) as consumer:
        for stage in STAGES:
            committed = await admin.list_consumer_group_offsets(f"{settings.group_prefix}.{stage.name}")
            places = await _partitions(admin, stage.topics)
            ends = await consumer.end_offsets(places)
            total += sum(end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items())
    return total


async def _partitions(admin: AIOKafkaAdminClient, topics: tuple[str, ...]) -> list[TopicPartition]:
    described = await admin.describe_topics(list(topics))
    return [TopicPartition(topic["topic"], place["partition"]) for topic in described for place in topic["partitions"]]


async def _planted(brokers: Brokers, told: Story) -> set[tuple[str, int, int]]:
    """Return where the poison lies: the topics are read once more, for what was planted."""
    planted = {(record.topic, record.key) for record in told.records if record.poison}
    topics = tuple({topic for topic, _ in planted})
    found = set()
    async with (
        connected(AIOKafkaAdminClient, brokers) as admin,
        connected(AIOKafkaConsumer, brokers, auto_offset_reset="earliest") as consumer,
    ):
        places = await _partitions(admin, topics)
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found |= {
                    (record.topic, record.partition, record.offset)
                    for record in batch
                    if (record.topic, record.key) in planted
                }
    return found
