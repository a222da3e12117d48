"""The composition root: settings in, a running worker out. Nothing connects before :func:`run_worker` is awaited."""

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.errors import InvalidSessionTimeoutError, KafkaConnectionError
from faststream.kafka import KafkaBroker

from handlers.ports.executors import Executors
from handlers.table import STAGES, Stage
from worker.cancelling import cancel
from worker.catalog import load_catalog
from worker.catalog.projects import load_projects
from worker.clock import SystemClock
from worker.cpu import CpuPool
from worker.delivery import later
from worker.delivery.bug_limit import BugLimit
from worker.delivery.faststream_broker import faststream_broker
from worker.delivery.intake import Intake
from worker.delivery.joining import joining
from worker.delivery.processing import Processor
from worker.delivery.publishing import Publisher
from worker.delivery.receipts import BucketReceipts
from worker.executors.configured import open_executors
from worker.executors.counted import CountedExecutors
from worker.executors.registry import KeepsQueue
from worker.health import Health
from worker.health_server import answering
from worker.kafka.broker import Brokers, BrokerUnavailable
from worker.kafka.topics import ensure_topics
from worker.local_machine import the_only_machine
from worker.metrics.counts import Counts
from worker.metrics.exposition import Exposition
from worker.planning.planner import PoolPlanner
from worker.scan.scanner import Scanner
from worker.settings import Settings, SettingsError
from worker.storage import open_store
from worker.sweeps.outbox import OutboxSweep
from worker.sweeps.reconciler import Reconciler
from worker.sweeps.retention import RetentionSweep
from worker.tokens.counter import TemplateTokenCounter
from worker.tokens.sampler import BlockSampler
from worker.traces.switch import way_out

if TYPE_CHECKING:
    from worker.traces.exporting import Exporting

log = structlog.get_logger()

_LONGEST_RECONNECT_SECONDS = 30.0


async def run_worker(
    settings: Settings,
    stages: Sequence[Stage] = STAGES,
    *,
    stopping: asyncio.Event,
    started: asyncio.Event | None = None,
    ports: Mapping[str, Any] | None = None,
) -> None:
    """Run the stages until ``stopping`` is set, then drain: finish what runs, commit what is done, leave the groups.

    Waits for the broker, with backoff, one clear line a try. ``ports`` replaces ports by name, for tests.

    Raises:
        SettingsError: settings cannot be used, as the files, the bucket or the broker they name see it; or spans are
            wanted and cannot be sent.
        TopicCreationError: topics are missing and the broker refuses to create them.
        Unavailable: the bucket's directory does not answer.
    """
    brokers = Brokers.of(settings)
    health = Health(SystemClock(), settings.stuck_seconds)
    counts = Counts()
    exposition = Exposition(counts, health)
    traces = way_out("finetune-worker")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(answering(health, exposition, settings.health_port))
        await _reach(brokers, stages, stopping)
        if stopping.is_set():
            return
        publisher = Publisher(brokers, counts.publishing)
        await publisher.start()
        stack.push_async_callback(publisher.stop)
        given = await stack.enter_async_context(default_ports(settings, stages, counts))
        if "executors" not in (ports or {}) and _runs_jobs_here(given):
            await stack.enter_async_context(the_only_machine(given["store"], settings))
        given.update(ports or {})
        if "executors" in given:
            given["executors"] = CountedExecutors(given["executors"], counts.submits)
        # One broker object a stage: joining a group takes seconds, and one object joins its groups one after the other.
        subscribers = {stage.name: faststream_broker(brokers) for stage in stages}
        intakes = [
            _intake(stage, subscribers[stage.name], publisher, given, settings, counts, traces) for stage in stages
        ]
        exposition.loads = {intake.stage.name: intake.load for intake in intakes}
        background = _background(settings, stages, given, publisher)
        try:
            for intake in intakes:
                intake.start()
            await _join(subscribers.values(), settings)
            health.phase = "running"
            looks = {intake.stage.name: intake.look for intake in intakes}
            background.append(asyncio.create_task(health.watch(looks), name="health"))
            log.info("worker.started", stages=[stage.name for stage in stages], storage=settings.storage_url)
            if started:
                started.set()
            await _until(stopping, background)
        finally:
            health.phase = "draining"
            log.info("worker.draining")
            drained_by = time.monotonic() + settings.drain_seconds
            await asyncio.gather(*(intake.drain() for intake in intakes))
            await cancel(background)
            await asyncio.gather(*(broker.stop() for broker in subscribers.values()))
            if traces is not None:
                await asyncio.to_thread(traces.close, drained_by - time.monotonic())
    log.info("worker.stopped")


@asynccontextmanager
async def default_ports(
    settings: Settings, stages: Sequence[Stage] = STAGES, counts: Counts | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Open everything the stages' handlers need, by the names their parameters have, and close it at the end.

    Executors only where a stage needs them: a worker that only validates need not be able to reach any.

    Raises SettingsError where the catalogue, the projects or the executors cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        # Scans and counts wait for each other in no pool, and in each what takes long leaves one process to the rest.
        scan_pool, count_pool = CpuPool(settings.cpu_workers + 1), CpuPool(settings.cpu_workers + 1)
        # Of its own, and started when it is first needed: no sample waits behind the counts it stands in for.
        sample_pool = CpuPool(1)
        clock = SystemClock()
        versions = {stage.name: stage.version for stage in STAGES}
        ports: dict[str, Any] = {}
        if any("executors" in _needs(stage) for stage in stages):
            ports["executors"] = await stack.enter_async_context(open_executors(settings))
        try:
            yield ports | {
                "store": store,
                "clock": clock,
                "catalog": load_catalog(settings.models_file, settings.prices_file),
                "scanner": Scanner(settings, scan_pool, processes=settings.cpu_workers),
                "tokens": TemplateTokenCounter(settings, count_pool, processes=settings.cpu_workers),
                "sampler": BlockSampler(settings, sample_pool),
                "planner": PoolPlanner(settings, count_pool),
                "projects": load_projects(settings, store),
                "receipts": BucketReceipts(store, clock, versions, counts=counts),
                "quote_valid_seconds": settings.quote_valid_seconds,
                "retry_limit": settings.retry_limit,
                "cancel_grace_seconds": settings.cancel_grace_seconds,
            }
        finally:
            for pool in (scan_pool, count_pool, sample_pool):
                pool.shutdown(cancel_futures=True)


def _intake(
    stage: Stage,
    broker: KafkaBroker,
    publisher: Publisher,
    ports: Mapping[str, Any],
    settings: Settings,
    counts: Counts,
    traces: "Exporting | None",
) -> Intake:
    clock = ports["clock"]
    limit = BugLimit(
        ports["store"], clock, stage.name, bugs=settings.bug_limit, window_seconds=settings.bug_window_seconds
    )
    spans = None if traces is None else traces.stage(stage.name, settings.group_of(stage.name))
    processor = Processor(stage, bind(stage, ports), publisher, clock, limit, counts.stage(stage.name), spans)
    return Intake(stage, broker, processor, clock, settings, limit)


def bind(stage: Stage, ports: Mapping[str, Any]) -> Any:
    """Return the stage's handler with its ports filled in: each parameter after the event names the port it needs."""
    return functools.partial(stage.handler, **{name: ports[name] for name in _needs(stage)})


def _needs(stage: Stage) -> Sequence[str]:
    return list(inspect.signature(stage.handler).parameters)[1:]


def _runs_jobs_here(ports: Mapping[str, Any]) -> bool:
    return any(executor.name == "local" for executor in ports["executors"].every()) if "executors" in ports else False


def _background(
    settings: Settings, stages: Sequence[Stage], ports: Mapping[str, Any], publisher: Publisher
) -> list[asyncio.Task[None]]:
    """Start what runs beside the stages: the sweeps where training is dispatched, and the executors' own queues."""
    if not any(stage.name == "training-dispatch" for stage in stages):
        return []
    executors: Executors = ports["executors"]
    reconciler = Reconciler(ports["store"], executors, ports["projects"], publisher, ports["clock"], settings)
    outbox = OutboxSweep(
        ports["store"],
        publisher,
        ports["clock"],
        every_seconds=settings.reconcile_seconds,
        lease_seconds=settings.lease_seconds,
    )
    tasks = [
        asyncio.create_task(reconciler.run(), name="reconciler"),
        asyncio.create_task(outbox.run(), name="outbox"),
    ]
    if ports["projects"].expires_models:
        retention = RetentionSweep(
            ports["store"],
            ports["receipts"],
            ports["projects"],
            publisher,
            ports["clock"],
            every_seconds=settings.retention_sweep_seconds,
        )
        tasks.append(asyncio.create_task(retention.run(), name="retention"))
    queues = [executor for executor in executors.every() if isinstance(executor, KeepsQueue)]
    tasks += [asyncio.create_task(queue.run(), name=f"executor-{queue.name}") for queue in queues]
    return tasks


async def _join(brokers: Iterable[KafkaBroker], settings: Settings) -> None:
    """Join every stage's group."""
    try:
        with joining():
            await asyncio.gather(*(broker.start() for broker in brokers))
    except InvalidSessionTimeoutError as error:
        raise SettingsError(
            f"WORKER_SESSION_TIMEOUT_SECONDS is {settings.session_timeout_seconds:g}, which the broker does not allow; "
            "its bounds are its settings group.min.session.timeout.ms and group.max.session.timeout.ms"
        ) from error


async def _until(stopping: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the stop. Where something in the background dies, raise its error: a worker is whole or not at all."""
    stop = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait({stop, *background}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stop}:
            task.result()
    finally:
        stop.cancel()


async def _reach(brokers: Brokers, stages: Sequence[Stage], stopping: asyncio.Event) -> None:
    delay = 0.5
    while not stopping.is_set():
        try:
            created = await ensure_topics(brokers, delays=later.names(stages))
        except (BrokerUnavailable, KafkaConnectionError) as error:
            log.warning("broker.unreachable", error=str(error), retry_in=delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stopping.wait()
            delay = min(_LONGEST_RECONNECT_SECONDS, delay * 2)
        else:
            log.info("broker.reached", servers=brokers.servers, topics_created=len(created))
            return
