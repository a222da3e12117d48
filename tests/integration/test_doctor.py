"""``worker doctor``: every planted fault is named, with its remedy, and nothing else is."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec.structs import replace
from typer.testing import CliRunner

from handlers.table import STAGES
from tests.fakes.bendable_s3 import BUCKET, BendableS3
from worker.catalog import load_catalog
from worker.catalog.loader import MODELS_FILE
from worker.cli import app
from worker.delivery import later
from worker.doctor import engines
from worker.doctor.examine import EVERYTHING, examine, exit_code
from worker.doctor.finding import Finding
from worker.doctor.stages import check_stages
from worker.kafka.broker import Brokers, connected
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings

MODEL_FILES = [
    model.prefix + name for model in load_catalog().models() for name in ("tokenizer.json", "model.safetensors")
]


class Sound:
    """Everything a service stands on, as it must be, before something is planted."""

    def __init__(self, folder: Path, servers: str, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.stack = stack
        self.monkeypatch = monkeypatch
        self.settings = Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(folder / "bucket").as_uri(),
            work_dir=folder / "work",
        )
        (folder / "work").mkdir()
        for key in MODEL_FILES:
            path = folder / "bucket" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def change(self, **fields: Any) -> None:
        self.settings = replace(self.settings, **fields)

    async def on_s3(self) -> BendableS3:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.monkeypatch.setenv(name, "planted")
        self.monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = BendableS3(MODEL_FILES)
        url = await self.stack.enter_async_context(server.serving())
        self.change(storage_url=f"s3://{BUCKET}", s3_endpoint_url=url)
        return server


@pytest.fixture
async def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sound]:
    for variable in Settings.unknown():
        monkeypatch.delenv(variable.variable)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(EmbeddedBroker())
        yield Sound(tmp_path, servers, stack, monkeypatch)


async def _topics(sound: Sound) -> None:
    await ensure_topics(Brokers.of(sound.settings), delays=later.names(STAGES))


def _of(findings: list[Finding], *marks: str) -> set[str]:
    return {finding.about for finding in findings if finding.mark in marks}


@pytest.mark.parametrize("bucket", ["directory", "s3"])
async def test_nothing_is_wrong_where_nothing_is(sound: Sound, bucket: str, tmp_path: Path) -> None:
    server = await sound.on_s3() if bucket == "s3" else None
    await _topics(sound)
    findings = await examine(sound.settings)
    # Nothing is said of projects where there is no file of them, nor of spans where nobody wants any.
    unsaid = {"executors", "broker's clock", "projects", "spans", "stages"}
    expected = {about for about, _ in EVERYTHING} - unsaid | {"executor local"}
    assert _of(findings, "ok") == expected
    # The embedded broker tells nobody its time, and no worker has run yet.
    assert _of(findings, "note") == {"broker's clock", "stages"}
    assert exit_code(findings) == 0
    if server:
        assert sorted(server.objects) == sorted(MODEL_FILES)
    assert list((tmp_path / "work").iterdir()) == []
    assert not (tmp_path / "bucket" / "checks").exists()


async def test_a_shipped_model_that_nobody_put_into_the_bucket_is_a_note(sound: Sound) -> None:
    await _topics(sound)
    shutil.rmtree(sound.folder / "bucket/base-models/tiny")
    (said,) = [finding for finding in await examine(sound.settings) if finding.about == "base models"]
    assert (said.mark, said.text) == ("note", "of the shipped ones not in the bucket: tiny@1")
    shutil.rmtree(sound.folder / "bucket/base-models")
    said, *more = [finding for finding in await examine(sound.settings) if finding.about == "base models"]
    assert (said.mark, more) == ("wrong", [])
    assert said.remedy == "python -m worker.trainer.base_models NAME"


async def test_every_model_of_a_file_that_was_set_has_to_be_there(sound: Sound) -> None:
    await _topics(sound)
    sound.change(models_file=MODELS_FILE)
    shutil.rmtree(sound.folder / "bucket/base-models/tiny")
    (said,) = [finding for finding in await examine(sound.settings) if finding.about == "base models"]
    assert (said.mark, said.text.startswith("tiny@1: no tokenizer.json")) == ("wrong", True)
    assert "take it out of WORKER_MODELS_FILE" in str(said.remedy)


async def test_a_stage_that_nobody_runs_is_named_with_what_waits_for_it(sound: Sound) -> None:
    """Also by whoever looks while no worker runs; and looking joins no group."""
    await _topics(sound)
    brokers = Brokers.of(sound.settings)
    async with connected(AIOKafkaProducer, brokers) as producer:
        for _ in range(3):
            await producer.send_and_wait("dataset.imported", b"{}", partition=0)
    (said,) = await check_stages(sound.settings)
    assert (said.mark, said.text) == ("wrong", "no worker runs; records wait: dataset-validation 3")
    assert said.remedy == "worker run"
    group = sound.settings.group_of("dataset-validation")
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000}
    async with connected(AIOKafkaConsumer, brokers, "dataset.imported", group_id=group, **options) as member:
        await member.getone()
        await member.commit()
        for _ in range(2):
            others, lags = await check_stages(sound.settings)
            assert (lags.mark, lags.text) == ("note", "dataset-validation: 1 member in its group, 2 records behind")
            assert others.text.startswith("no worker runs cost-estimation, ")
            assert "dataset-validation" not in others.text


class Fault(NamedTuple):
    """What is planted, and what has to be said of it. ``unseen`` is what cannot be looked at then."""

    plant: Callable[[Sound], Any]
    about: str
    text: str
    remedy: str
    unseen: frozenset[str] = frozenset()


async def _few_partitions(sound: Sound) -> None:
    async with connected(AIOKafkaAdminClient, Brokers.of(sound.settings)) as admin:
        await admin.create_topics([NewTopic("task.created", 1, 1)])


async def _ignores(sound: Sound, condition: str) -> None:
    (await sound.on_s3()).ignores.add(condition)


async def _refuses(sound: Sound, status: int, code: str) -> None:
    (await sound.on_s3()).refusal = status, code


async def _wrong_clock(sound: Sound, minutes: int) -> None:
    (await sound.on_s3()).clock_ahead = timedelta(minutes=minutes)


def _ray_without_a_head(sound: Sound) -> None:
    (sound.folder / "executors.toml").write_text('executors = ["local"]\n[[rules]]\nexecutor = "ray"\n')
    sound.change(executors_file=sound.folder / "executors.toml", ray_address="http://127.0.0.1:1")


def _open_ended_prefix(sound: Sound) -> None:
    file = sound.folder / "projects.toml"
    file.write_text(f'[projects.a]\nread = ["{sound.settings.storage_url}/team-a"]\n')
    sound.change(projects_file=file)


def _spans_by_grpc(sound: Sound) -> None:
    sound.monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    sound.monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")


def _full_disk(sound: Sound) -> None:
    usage = shutil.disk_usage(sound.folder)._replace(free=1000)
    sound.monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def _file_for_folder(sound: Sound) -> None:
    (sound.folder / "file").touch()
    sound.change(work_dir=sound.folder / "file")


def _without_weights(sound: Sound) -> None:
    (sound.folder / "bucket/base-models/tiny/1/model.safetensors").unlink()


BROKER = frozenset({"topics", "stages", "broker's clock"})
FAULTS = {
    "no broker": Fault(
        lambda sound: sound.change(kafka_bootstrap_servers="127.0.0.1:1"),
        "broker", "no Kafka broker answers at 127.0.0.1:1", "set KAFKA_BOOTSTRAP_SERVERS", BROKER,
    ),
    "a password that nobody asks for": Fault(
        lambda sound: sound.change(kafka_password="planted"),
        "broker", "WORKER_KAFKA_PASSWORD changes nothing", "unset the variables", BROKER,
    ),
    "a topic with a partition": Fault(
        _few_partitions, "topics", "task.created: partitions is 1", "kafka-topics.sh --alter --topic task.created"
    ),
    "puts over what is there": Fault(
        lambda sound: _ignores(sound, "If-None-Match"), "bucket", "ignores If-None-Match", "use a server that honours"
    ),
    "puts over what has changed": Fault(
        lambda sound: _ignores(sound, "If-Match"), "bucket", "ignores If-Match", "use a server that honours"
    ),
    "no bucket": Fault(
        lambda sound: _refuses(sound, 404, "NoSuchBucket"),
        "bucket", "NoSuchBucket", "worker bucket create", frozenset({"base models"}),
    ),
    "wrong credentials": Fault(
        lambda sound: _refuses(sound, 403, "InvalidAccessKeyId"),
        "bucket", "403 InvalidAccessKeyId", "check the credentials", frozenset({"base models"}),
    ),
    "clocks apart": Fault(lambda sound: _wrong_clock(sound, 10), "bucket's clock", "s ahead of ours", "by NTP"),
    "clocks apart the other way": Fault(
        lambda sound: _wrong_clock(sound, -10), "bucket's clock", "s behind ours", "by NTP"
    ),
    "an engine that is down": Fault(
        _ray_without_a_head, "executor ray", "Ray does not answer", "check WORKER_RAY_ADDRESS"
    ),
    "a model without weights": Fault(
        _without_weights, "base models", "tiny@1: no weights", "python -m worker.trainer.base_models tiny"
    ),
    "a catalogue that is not there": Fault(
        lambda sound: sound.change(models_file=sound.folder / "no.toml"),
        "catalogue", "no.toml", "WORKER_MODELS_FILE", frozenset({"base models"}),
    ),
    "a list that allows another project's folder": Fault(
        _open_ended_prefix, "projects", "would allow", "mend the file of WORKER_PROJECTS_FILE"
    ),
    "a collector that speaks something else": Fault(
        _spans_by_grpc, "spans", "OTLP_PROTOCOL must be http/protobuf", "unset OTEL_EXPORTER_OTLP_ENDPOINT"
    ),
    "a file for a folder": Fault(_file_for_folder, "work folder", "is no folder", "set WORKER_WORK_DIR"),
    "a full disk": Fault(_full_disk, "disk", "0.0 GB free", "make room"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_planted_fault_is_named_with_its_remedy(sound: Sound, fault: Fault) -> None:
    planted = fault.plant(sound)
    if planted is not None:
        await planted
    if fault.about != "broker":
        await _topics(sound)
    findings = await examine(sound.settings)
    named = [finding for finding in findings if finding.mark == "wrong"]
    assert {finding.about for finding in named} == {fault.about}
    assert fault.text in named[0].text
    assert fault.remedy in (named[0].remedy or "")
    assert _of(findings, "unchecked") == fault.unseen
    assert exit_code(findings) == 1


async def test_what_can_be_used_and_was_perhaps_not_meant_is_a_note(sound: Sound) -> None:
    sound.monkeypatch.setenv("WORKER_STORAGE_ULR", "file:///x")
    findings = {finding.about: finding for finding in await examine(sound.settings) if finding.mark == "note"}
    assert findings.keys() == {"settings", "topics", "stages", "broker's clock"}
    assert findings["settings"].remedy == "did you mean WORKER_STORAGE_URL?"
    assert (findings["topics"].remedy or "").startswith("worker topics create")


async def test_a_check_that_breaks_hides_no_other(sound: Sound) -> None:
    def breaks(_: Settings) -> Any:
        raise KeyError("planted")

    sound.monkeypatch.setattr(engines, "open_executors", breaks)
    await _topics(sound)
    findings = await examine(sound.settings)
    (broken,) = [finding for finding in findings if finding.mark == "unchecked"]
    assert (broken.about, broken.text) == ("executors", "KeyError: 'planted'")
    assert exit_code(findings) == 2


def test_settings_that_cannot_be_used_are_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "many")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    said = msgspec.json.decode(result.stdout)
    assert (result.exit_code, said["right"]) == (1, False)
    assert [(each["about"], each["mark"]) for each in said["findings"]] == [
        ("settings", "wrong"),
        ("all else", "unchecked"),
    ]
    assert "WORKER_CONCURRENCY must be a whole number" in said["findings"][0]["text"]
