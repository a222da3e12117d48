"""Publishing: all follow-ons of a piece of work pipelined, then every acknowledgement awaited."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from contracts.codec import encode
from contracts.envelope import Event
from handlers.errors import Unavailable
from worker.kafka.broker import Brokers, thrown_away
from worker.metrics.counts import PublishCounts

log = structlog.get_logger()

Message = tuple[str, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


class Publisher:
    """A producer that outlives its own death: aiokafka's is dead for good after an unexpected error in its sender.

    Java's partitioner (murmur2), acks from all in-sync replicas. Not Kafka's idempotent producer: a repeated event has
    the same id, which every reader needs anyway, and the embedded broker knows no producer ids.
    """

    def __init__(self, brokers: Brokers, counts: PublishCounts | None = None) -> None:
        self._brokers = brokers
        self._counts = counts or PublishCounts()
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises aiokafka's KafkaConnectionError where no broker answers."""
        await self._live()

    async def stop(self) -> None:
        """Send what is pending and disconnect. May be called twice."""
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()

    async def publish(self, events: Sequence[Event[Any]]) -> None:
        """Publish events and return when all are acknowledged. See :meth:`send`."""
        await self.send([(event.topic, *encode(event)) for event in events])

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages (topic, key, body, headers), in order, and return when all are acknowledged.

        Raises:
            Unavailable: the broker did not acknowledge; some of the messages may be on it all the same.
            MessageSizeTooLargeError: one can never be sent.
        """
        if not messages:
            return
        producer: AIOKafkaProducer | None = None
        started = time.monotonic()
        try:
            producer = await self._live()
            acknowledgements = [
                await producer.send(topic, key=key, value=body, headers=list(headers))
                for topic, key, body, headers in messages
            ]
            await asyncio.gather(*acknowledgements)
        except MessageSizeTooLargeError:
            raise
        except (KafkaError, TimeoutError) as error:
            self._counts.failures += 1
            if producer is not None:
                await self._replace(producer)
            raise Unavailable(f"Kafka did not acknowledge: {error!r}") from error
        self._counts.seconds.observe(time.monotonic() - started)
        for message in messages:
            self._counts.published[message[0]] += 1

    async def _live(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._brokers.client(
                    AIOKafkaProducer,
                    acks="all",
                    enable_idempotence=False,
                    linger_ms=2,
                    request_timeout_ms=20_000,
                    retry_backoff_ms=200,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        async with self._starting:
            # Many lanes see one producer fail; only the first of them may throw it away.
            replaced_already = self._producer is not broken
            if replaced_already:
                return
            self._producer = None
        log.warning("producer.replaced")
        await thrown_away(broken)
