"""One job from its spec to its last event."""

import enum
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from contracts import event_file
from contracts.envelope import Event
from contracts.training import Checkpoint, Failure, TrainingProgress
from handlers import layout
from handlers.errors import Unavailable
from handlers.planning.plan import Plan
from handlers.ports.jobs import JobSpec
from worker.settings import Settings
from worker.trainer.bucket import Bucket, open_bucket
from worker.trainer.converter import Converter
from worker.trainer.failures import failure_of, platforms_fault
from worker.trainer.fence import Fence, Interrupted, Standing, Superseded
from worker.trainer.progress import ProgressSink, Reporter
from worker.trainer.ranks import Rank

log = structlog.get_logger()

#: Seconds the last events have to get out, to Kafka or else to the outbox.
FLUSH_SECONDS = 20.0

ALONE = Rank()


class Ending(enum.IntEnum):
    """How a job ended; the process' exit code."""

    #: Succeeded, or stopped as it was told to.
    DONE = 0
    #: Failed, and said so.
    FAILED = 1
    #: Another attempt counts; nothing was said.
    SUPERSEDED = 3


def run_job(spec: JobSpec, settings: Settings, sink: ProgressSink, stop: threading.Event, rank: Rank = ALONE) -> Ending:
    """Train what the spec says and return how it ended. Never raises for what goes wrong in training.

    Setting ``stop`` (SIGTERM does) means: save a checkpoint and end. Everything is written under the attempt's prefix,
    how it ended too: DONE is returned only once that is there, whether or not an event of it has arrived anywhere. Of
    several processes that train the job each calls this; the first alone watches the task's state and has its say.
    """
    with open_bucket(settings) as bucket:
        fence = Fence(bucket.store, spec, settings.heartbeat_seconds, stop)
        reporter = Reporter(spec, sink, lambda: datetime.now(UTC), fence.check)
        try:
            converter = Converter(
                settings.gguf_converter, settings.gguf_seconds, lambda: fence.standing is Standing.RUN
            )
            ending = _told(spec, bucket, fence, reporter, rank, converter)
        except Superseded:
            log.info("job.superseded", task_id=spec.task_id, attempt=spec.attempt)
            sink.drop()
            ending = Ending.SUPERSEDED
        if rank.first and reporter.last_word is not None and not _kept(reporter.last_word, spec, bucket):
            ending = Ending.FAILED
        sink.close(FLUSH_SECONDS)
        return ending


def _kept(last_word: Event[TrainingProgress], spec: JobSpec, bucket: Bucket) -> bool:
    """Put an attempt's last word beside what it left; return whether it is there: nothing else need arrive then."""
    try:
        bucket.put(layout.last_word(spec.task_id, spec.attempt), event_file.written([last_word]))
    except Unavailable as error:
        log.error("last-word.unkept", error=str(error))
        return False
    return True


def _told(spec: JobSpec, bucket: Bucket, fence: Fence, reporter: Reporter, rank: Rank, converter: Converter) -> Ending:
    try:
        with _watched(bucket, fence) if rank.first else nullcontext():
            reporter.deploying()
            _trained(spec, bucket, fence, reporter, converter)
    except Superseded:
        raise
    except Interrupted as interruption:
        return _interrupted(fence, reporter, interruption.checkpoint)
    except Exception as error:  # noqa: BLE001 - whatever ends a job has to be said
        # As text: the frames' variables are models and samples.
        log.error("job.failed", traceback=traceback.format_exc())
        if rank.first and not fence.claimed:
            return Ending.FAILED  # perhaps a copy of who has the attempt: the exit code has to say it all
        reporter.failed(failure_of(error))
        return Ending.FAILED
    return Ending.DONE


@contextmanager
def _watched(bucket: Bucket, fence: Fence) -> Iterator[None]:
    """Claim the attempt, and watch the task's state from now on. Raises Superseded or Interrupted."""
    bucket.patiently(fence.look)
    fence.check()
    # Before any word: a copy that an engine starts would otherwise put its own over the one of who has the attempt.
    bucket.patiently(fence.claim)
    fence.check()
    if fence.standing is Standing.STOP:
        raise Interrupted(None)
    heartbeat = bucket.loop.start(fence.keep_looking())
    try:
        yield
    finally:
        heartbeat.cancel()


def _trained(spec: JobSpec, bucket: Bucket, fence: Fence, reporter: Reporter, converter: Converter) -> None:
    plan = _plan(spec, bucket)
    # Torch takes ten seconds to import: the job has said by now that it has begun, and an order to end is heard.
    from worker.trainer.run import train  # noqa: PLC0415 - the reason is above

    with tempfile.TemporaryDirectory(prefix="trainer-") as scratch:
        train(spec, plan, bucket, fence, reporter, Path(scratch), converter)


def _plan(spec: JobSpec, bucket: Bucket) -> Plan:
    body = bucket.get(spec.plan_key)
    if body is None:
        raise platforms_fault("plan-missing", f"there is no plan at {spec.plan_key}")
    try:
        plan = msgspec.json.decode(body, type=Plan)
    except msgspec.MsgspecError as error:
        raise platforms_fault("plan-unusable", f"{spec.plan_key}: {error}", retryable=False) from error
    return plan


def _interrupted(fence: Fence, reporter: Reporter, checkpoint: Checkpoint | None) -> Ending:
    if fence.standing is Standing.BLIND:
        reporter.failed(Failure("bucket-unavailable", "platform", "the task's state could not be read any more"))
        return Ending.FAILED
    reporter.stopped(checkpoint)
    return Ending.DONE
