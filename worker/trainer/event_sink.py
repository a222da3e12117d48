"""Events leave from a thread of its own: training never waits for a broker or a bucket."""

import asyncio
from types import TracebackType
from typing import Protocol, Self

import structlog

from contracts.envelope import Event
from contracts.training import TrainingProgress
from handlers.ports.jobs import JobSpec
from worker.kafka.broker import Brokers
from worker.settings import Settings
from worker.trainer.event_buffer import EventBuffer
from worker.trainer.kafka_sender import KafkaSender
from worker.trainer.loop_thread import LoopThread
from worker.trainer.outbox_sender import OutboxSender

log = structlog.get_logger()

#: Heartbeats an event may wait for Kafka before it goes to the bucket: a broker that restarts is back by then.
_KAFKA_HEARTBEATS = 2
#: The share of the time at the end that Kafka has for what is left, before it goes to the bucket.
_KAFKA_SHARE = 0.25


class Sender(Protocol):
    """Takes events out of a buffer to where they are wanted."""

    #: Set whenever there may be something to do.
    wake: asyncio.Event

    async def run(self, buffer: EventBuffer) -> None:
        """Send until cancelled; removes what has arrived."""
        ...


class EventSink:
    """A ProgressSink over senders that share one buffer: what one has sent, the others need not. Use as ``with``."""

    def __init__(self, *senders: Sender, buffer: EventBuffer | None = None) -> None:
        self._senders = senders
        self._buffer = buffer or EventBuffer()
        self._thread = LoopThread("events")

    @classmethod
    def of(cls, settings: Settings, spec: JobSpec) -> Self:
        """Return the sink that the settings ask for. Raises SettingsError."""
        heartbeat = settings.heartbeat_seconds
        if settings.trainer_events == "bucket":
            return cls(OutboxSender(settings, spec, heartbeat, essential_at_once=True))
        return cls(KafkaSender(Brokers.of(settings)), OutboxSender(settings, spec, _KAFKA_HEARTBEATS * heartbeat))

    def __enter__(self) -> Self:
        self._thread.__enter__()
        for sender in self._senders:
            self._thread.start(sender.run(self._buffer))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.__exit__(kind, error, at)

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        """Queue an event; never blocks, whatever became of the senders."""
        self._buffer.put(event, essential=essential)
        self._thread.call_soon(self._wake)

    def drop(self) -> None:
        """Forget what has not been sent."""
        self._buffer.clear()

    def close(self, timeout_seconds: float) -> bool:
        """Wait until all is sent, at most so long; return whether it is."""
        if self._buffer.wait_until_empty(timeout_seconds * _KAFKA_SHARE):
            return True
        self._buffer.hurry()
        self._thread.call_soon(self._wake)
        done = self._buffer.wait_until_empty(timeout_seconds * (1 - _KAFKA_SHARE))
        if not done:
            log.warning("progress.unsent", events=len(self._buffer.oldest()))
        return done

    def _wake(self) -> None:
        for sender in self._senders:
            sender.wake.set()
