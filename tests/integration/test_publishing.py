"""docs/PUBLISHING.md: its program for aiokafka, run as it stands there."""

import asyncio
import os
import re
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.codec import decode
from contracts.envelope import inbound_id
from worker.kafka.broker import Brokers, connected
from worker.publish import publish_event
from worker.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "PUBLISHING.md"


def _program(heading: str) -> str:
    """Return the Python below a heading of the page."""
    found = re.search(rf"^## {heading}$.*?^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


async def test_what_the_page_publishes_is_an_event_where_worker_publish_would_put_it(
    servers: str, tmp_path: Path
) -> None:
    program = tmp_path / "publish.py"
    program.write_text(_program("Python, aiokafka"), "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, "file:///bucket/uploads/poems.jsonl",
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": servers}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0

    place = re.fullmatch(r"dataset\.imported\[(\d+)\]@(\d+)\n", said.decode())
    assert place
    partition, offset = int(place[1]), int(place[2])
    async with connected(AIOKafkaConsumer, Brokers(servers)) as consumer:
        there = TopicPartition("dataset.imported", partition)
        consumer.assign([there])
        consumer.seek(there, offset)
        record = await consumer.getone()
    event = decode(record.topic, record.key, record.value, record.headers, record.timestamp)
    assert (event.key, event.data.format, event.data.files[0].uri) == (
        "poems", "sft", "file:///bucket/uploads/poems.jsonl",
    )  # fmt: skip
    assert event.id == inbound_id("dataset.imported", b"poems", record.value)

    again = await publish_event(Settings(kafka_bootstrap_servers=servers), "dataset.imported", record.value)
    assert (again.partition, again.offset, again.id) == (partition, offset + 1, event.id)
