"""Progress over Kafka, sent from a thread of its own: training never waits for a broker."""

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Self

import structlog
from aiokafka import AIOKafkaProducer

from contracts.codec import encode
from contracts.envelope import Event
from contracts.training import TrainingProgress
from worker.broker import Brokers
from worker.trainer.loop_thread import LoopThread

log = structlog.get_logger()

#: Events held while the broker cannot be reached. Essential ones are held beyond it: they are few.
_QUEUE = 1000
_SEND_SECONDS = 20.0
_LONGEST_PAUSE_SECONDS = 10.0


class KafkaSink:
    """A ProgressSink that publishes in order, each event until the broker has it: at least once.

    Where the queue is full, the oldest event that is not essential gives way. An unreachable broker is tried again in
    the background, with a new producer each time: one whose sender died never recovers. Use as ``with``.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._queue: deque[tuple[Event[TrainingProgress], bool]] = deque()
        self._lock = threading.Lock()
        self._sent = threading.Condition(self._lock)
        self._wake = asyncio.Event()
        self._thread = LoopThread("progress")

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.start(self._publish_for_ever())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.__exit__(kind, error, at)

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        """Queue an event; never blocks."""
        with self._lock:
            if len(self._queue) >= _QUEUE:
                self._make_room()
            self._queue.append((event, essential))
        self._thread.call_soon(self._wake.set)

    def drop(self) -> None:
        """Forget what has not been sent."""
        with self._lock:
            self._queue.clear()
            self._sent.notify_all()

    def close(self, timeout_seconds: float) -> bool:
        """Wait until all is sent, at most so long; return whether it is."""
        with self._lock:
            done = self._sent.wait_for(lambda: not self._queue, timeout_seconds)
        if not done:
            log.warning("progress.unsent", events=len(self._queue))
        return done

    def waiting(self) -> list[Event[TrainingProgress]]:
        """Return the events that have not been sent, in order."""
        with self._lock:
            return [event for event, _ in self._queue]

    def _make_room(self) -> None:
        # The first in the queue may be on its way just now.
        for index, (_, essential) in enumerate(self._queue):
            if index > 0 and not essential:
                del self._queue[index]
                return

    async def _publish_for_ever(self) -> None:
        pause = 0.5
        while True:
            producer = self._brokers.client(
                AIOKafkaProducer,
                acks="all",
                # Not every broker has idempotent producers; ids make a repeated event the same event.
                enable_idempotence=False,
                request_timeout_ms=int(_SEND_SECONDS * 1000),
            )
            try:
                await producer.start()
                pause = 0.5
                await self._publish(producer)
            except Exception as error:  # noqa: BLE001 - whatever a client raises, training goes on and this is tried again
                log.warning("progress.unpublished", error=repr(error), retry_in=pause)
            finally:
                await _stopped(producer)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _publish(self, producer: AIOKafkaProducer) -> None:
        while True:
            self._wake.clear()
            while (event := self._first()) is not None:
                key, body, headers = encode(event)
                sending = producer.send_and_wait(event.topic, value=body, key=key, headers=headers)
                await asyncio.wait_for(sending, _SEND_SECONDS)
                self._done(event)
            await self._wake.wait()

    def _first(self) -> Event[TrainingProgress] | None:
        with self._lock:
            return self._queue[0][0] if self._queue else None

    def _done(self, event: Event[TrainingProgress]) -> None:
        with self._lock:
            if self._queue and self._queue[0][0] is event:
                self._queue.popleft()
            if not self._queue:
                self._sent.notify_all()


async def _stopped(producer: AIOKafkaProducer) -> None:
    """Stop a producer, whatever state it is in, in bounded time."""
    try:
        await asyncio.wait_for(producer.stop(), _SEND_SECONDS)
    except Exception as error:  # noqa: BLE001 - it is thrown away
        log.debug("producer.stop_failed", error=repr(error))
