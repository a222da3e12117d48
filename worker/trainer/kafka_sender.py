"""Progress over Kafka."""

import asyncio

import structlog
from aiokafka import AIOKafkaProducer

from contracts.codec import encode
from worker.kafka.broker import Brokers, thrown_away
from worker.trainer.event_buffer import EventBuffer

log = structlog.get_logger()

#: Events sent before their acknowledgements are awaited.
_BATCH = 100
_SEND_SECONDS = 20.0
_LONGEST_PAUSE_SECONDS = 10.0


class KafkaSender:
    """Publishes in order, each event until the broker has it: at least once.

    An unreachable broker is tried again for ever, with a new producer each time: one whose sender died never recovers.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.wake = asyncio.Event()

    async def run(self, buffer: EventBuffer) -> None:
        """Send what is in the buffer, and what comes, until cancelled. Never raises otherwise."""
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
                await self._publish(producer, buffer)
            except Exception as error:  # noqa: BLE001 - whatever a client raises, training goes on and this is tried again
                log.warning("progress.unpublished", error=repr(error), retry_in=pause)
            finally:
                await thrown_away(producer)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _publish(self, producer: AIOKafkaProducer, buffer: EventBuffer) -> None:
        while True:
            self.wake.clear()
            while events := buffer.oldest(_BATCH):
                async with asyncio.timeout(_SEND_SECONDS):
                    acknowledgements = []
                    for event in events:
                        key, body, headers = encode(event)
                        acknowledgements.append(await producer.send(event.topic, body, key=key, headers=headers))
                    await asyncio.gather(*acknowledgements)
                buffer.done(events)
            await self.wake.wait()
