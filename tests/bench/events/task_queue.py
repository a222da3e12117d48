"""The same records as tasks of taskiq's, whose broker for Kafka is built on the client that ours is built on.

It commits by the clock, whether a task is done or not, and promises less than ours: what is lost in a crash is in no
figure. dramatiq and arq have no broker for Kafka.
"""

import asyncio
import logging
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from taskiq import TaskiqMessage
from taskiq.receiver import Receiver
from taskiq_aio_kafka import AioKafkaBroker

from tests.bench.events.records import KEYS, Stopwatch, command
from tests.bench.events.side_by_side import AT_ONCE

_TASK = "bench"


def taskiq(servers: str, count: int) -> float:
    """taskiq's receiver with as many tasks side by side as a stage runs; the task does nothing. Returns records/s."""
    logging.getLogger("taskiq").setLevel(logging.WARNING)

    async def run() -> float:
        watch = Stopwatch(count)
        broker = AioKafkaBroker(servers, kafka_topic=f"bench-{uuid4().hex}")
        broker.configure_consumer(
            group_id=f"bench-{uuid4().hex}",
            auto_offset_reset="earliest",
            # Its own default comes from kafka-python, whose newest version aiokafka cannot use.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        broker.is_worker_process = True

        @broker.task(task_name=_TASK)  # type: ignore[untyped-decorator, unused-ignore]  # only where it is not installed
        async def handle(_: dict[str, Any]) -> None:
            watch.saw()

        await broker.startup()
        await _fill(servers, broker, count)
        finish = asyncio.Event()
        receiver = Receiver(broker, run_startup=False, max_async_tasks=AT_ONCE, max_prefetch=1000)
        listening = asyncio.create_task(receiver.listen(finish))
        await watch.done.wait()
        seconds = watch.stop()
        finish.set()
        await listening
        await broker.shutdown()
        return seconds

    return count / asyncio.run(run())


async def _fill(servers: str, broker: AioKafkaBroker, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
    await producer.start()
    sent = []
    for number in range(count):
        body = msgspec.json.decode(command(number, f"t{number % KEYS}"))
        task = TaskiqMessage(task_id=uuid4().hex, task_name=_TASK, labels={}, args=[body], kwargs={})
        message = broker.formatter.dumps(task).message
        sent.append(await producer.send(broker._kafka_topic.name, message))
    await asyncio.gather(*sent)
    await producer.stop()
