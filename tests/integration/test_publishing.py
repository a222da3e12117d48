"""docs/PUBLISHING.md: its program for aiokafka and its lines for kcat, run as they stand there."""

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.codec import decode
from contracts.envelope import inbound_id
from tests.integration.conftest import BROKERS
from worker.kafka.broker import Brokers, connected
from worker.publish import publish_event
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "PUBLISHING.md"
EXAMPLES = ROOT / "contracts" / "examples" / "events"


def _program(heading: str, language: str = "python") -> str:
    """Return the program below a heading of the page."""
    block = rf"^## {heading}$.*?^```{language}\n(.*?)^```$"
    found = re.search(block, PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
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


async def _typed(program: str, servers: str) -> bytes:
    """Run lines of a shell, which must complain of nothing; return what they print."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", program, env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": servers},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, faults = await process.communicate()
    assert (process.returncode, faults) == (0, b"")
    return said


@pytest.mark.skipif("apache-kafka" not in BROKERS, reason="Java and Maven run Apache Kafka")
@pytest.mark.skipif(shutil.which("kcat") is None, reason="needs kcat: apt-get install kcat")
@pytest.mark.parametrize("servers", ["apache-kafka"], indirect=True)
async def test_the_lines_for_kcat_are_another_order_each_time_and_read_the_answers(servers: str) -> None:
    settings = Settings(kafka_bootstrap_servers=servers)
    await publish_event(settings, "task.status", (EXAMPLES / "task.status" / "minimal.json").read_bytes())
    for _ in range(2):
        key, _, body = (await _typed(_program("kcat", "bash"), servers)).partition(b" ")
        assert json.loads(body)["task_id"].encode() == key
    own = await publish_event(settings, "task.command", b'{"task_id": "task-1", "command_id": "x", "command": "stop"}')
    assert own.offset == 2, "all three are on the partition of worker publish"
    async with connected(AIOKafkaConsumer, Brokers(servers)) as consumer:
        there = TopicPartition("task.command", own.partition)
        consumer.assign([there])
        consumer.seek(there, 0)
        records = [await consumer.getone() for _ in range(2)]
    orders = [decode(each.topic, each.key, each.value, each.headers, each.timestamp) for each in records]
    assert [(order.key, order.data.command) for order in orders] == [("task-1", "pause")] * 2
    assert len({order.data.command_id for order in orders}) == 2
