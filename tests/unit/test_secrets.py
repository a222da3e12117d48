"""Secrets are read from the environment or a file, and come out nowhere: planted ones are looked for everywhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.codec import encode
from handlers.ports.jobs import JobSpec
from tests.fakes.events import event
from tests.fakes.swept import Swept
from tests.fakes.world import World, command_event, form, form_event, received
from worker.executors.remote import trainer_environment
from worker.executors.slurm_batch import batch_script
from worker.executors.slurm_folder import JobFolder
from worker.kafka.broker import Brokers
from worker.settings import Settings, SettingsError
from worker.storage import open_store

#: Whatever has this in it is one of the planted secrets.
PLANTED = "pl4nt3d"
SECRETS = {
    "WORKER_KAFKA_USERNAME": "worker",
    "WORKER_KAFKA_PASSWORD": f"{PLANTED}-sasl",
    "AWS_ACCESS_KEY_ID": f"AKIA{PLANTED}",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}/s3",
    "AWS_SESSION_TOKEN": f"{PLANTED}-session",
    "HF_TOKEN": f"hf_{PLANTED}",
}
SASL = Settings(
    kafka_security_protocol="sasl_plaintext", kafka_username="worker", kafka_password=SECRETS["WORKER_KAFKA_PASSWORD"]
)


@pytest.fixture
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def _everything(world: World, said: list[Any]) -> str:
    """Return all that the service said and wrote, as one text."""
    events = [encode(each) for each in said]
    return repr([*events, *world.store.objects.items(), *world.executor.submits])


@pytest.mark.usefixtures("_planted")
async def test_no_event_receipt_plan_manifest_or_log_line_of_a_whole_flow_has_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    world = World()
    swept = Swept(world)
    signed = f"https://user:{PLANTED}@uploads.example/d.jsonl?X-Amz-Signature={PLANTED}"
    imported = await world.import_dataset("d-1", b"{}\n", draft=form())
    said = await world.run(imported, form_event())
    said += await world.run(event("dataset.imported", {"dataset_id": "d-2", "files": [{"uri": "s3://other/x"}]}))
    world.executor.end("t-1", 1, 1)
    said += await swept.sweep(after=10)
    said += await swept.sweep(after=10)
    outcome = await world.progress("succeeded", 1, attempt=2, outputs=[await world.leave_output(attempt=2)])
    said += [
        *outcome.events,
        *await world.run(*map(received, outcome.events)),
        *await world.run(command_event("pause")),
    ]
    assert {each.topic for each in said} >= {"model.exported", "training.dispatched", "cost.estimated"}
    assert PLANTED not in _everything(world, said)
    assert PLANTED not in "".join(capfd.readouterr())
    # What a user sends is the user's, and kept as it was sent; what is said of it is not.
    rejected = await world.run(event("dataset.imported", {"dataset_id": "d-3", "files": [{"uri": signed}]}))
    assert "https://uploads.example/d.jsonl: not in this platform's bucket" in received(rejected[0]).data.message
    assert PLANTED not in repr([encode(each) for each in rejected])
    receipts = {key: body for key, body in world.store.objects.items() if key.startswith("receipts/")}
    assert PLANTED not in repr(receipts)


def _worker(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "WORKER_LOG_LEVEL": "debug"} | SECRETS | variables,
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "WORKER_KAFKA_PASSWORD changes nothing"),
        ({"WORKER_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext"}, "no Kafka broker answers"),
        ({"WORKER_STORAGE_URL": f"s3://key:{PLANTED}@bucket"}, "WORKER_STORAGE_URL names a user"),
        ({"WORKER_S3_ENDPOINT_URL": f"https://key:{PLANTED}@host/"}, "WORKER_S3_ENDPOINT_URL must be a URL"),
        ({"WORKER_RAY_ADDRESS": f"https://key:{PLANTED}@host"}, "WORKER_RAY_ADDRESS must be a URL"),
        ({"WORKER_KAFKA_PASSWORDS": PLANTED}, "did you mean WORKER_KAFKA_PASSWORD"),
        ({"WORKER_CONCURRENCY": PLANTED}, "WORKER_CONCURRENCY must be a whole number"),
    ],
)
def test_no_check_of_the_settings_repeats_one(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    folder = {"WORKER_WORK_DIR": str(tmp_path), "WORKER_STORAGE_URL": (tmp_path / "bucket").as_uri()}
    run = _worker("run", "--check", **(folder | variables))
    assert run.returncode == 2
    assert words in run.stdout + run.stderr
    assert PLANTED not in run.stdout + run.stderr


def test_neither_settings_nor_brokers_show_the_password() -> None:
    for shown in (repr(SASL), str(SASL), f"{SASL}", repr(Brokers.of(SASL)), str(Brokers.of(SASL))):
        assert PLANTED not in shown


@pytest.mark.usefixtures("_planted")
def test_what_engines_show_of_a_job_has_none(tmp_path: Path) -> None:
    spec = JobSpec(job_id="t", task_id="t", attempt=1, plan_key="p", attempt_prefix="a/")
    told = trainer_environment(SASL, spec)
    assert PLANTED not in repr(told)
    assert PLANTED not in batch_script(JobFolder(tmp_path), told, "python", ["-m", "x"])


# --- where they come from --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["p4ss w0rd", "p4ss w0rd\n", "p4ss w0rd\r\n"])
def test_the_password_may_be_in_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(text.encode())
    brokers = Brokers.of(replace(SASL, kafka_password=None, kafka_password_file=file))
    assert brokers.options["sasl_plain_password"] == "p4ss w0rd"


@pytest.mark.parametrize(
    ("content", "changes", "words"),
    [
        (None, {"kafka_password": None}, "cannot be read: No such file"),
        (b"", {"kafka_password": None}, "is empty"),
        (b"\n", {"kafka_password": None}, "is empty"),
        (b"\xff" + PLANTED.encode(), {"kafka_password": None}, "it is not UTF-8"),
        (b"p", {}, "WORKER_KAFKA_PASSWORD and WORKER_KAFKA_PASSWORD_FILE are both set"),
        (b"p", {"kafka_password": None, "kafka_username": None}, "WORKER_KAFKA_USERNAME must be set"),
        (b"p", {"kafka_security_protocol": "plaintext"}, "WORKER_KAFKA_PASSWORD_FILE changes nothing"),
    ],
)
def test_a_file_of_the_password_that_cannot_be_used_is_said_without_what_is_in_it(
    tmp_path: Path, content: bytes | None, changes: dict[str, Any], words: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        Brokers.of(replace(SASL, **({"kafka_password_file": file} | changes)))
    assert words in str(caught.value)
    assert PLANTED not in repr((caught.value, caught.value.__cause__))


async def test_a_bucket_s_url_with_a_user_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError) as caught:
        async with open_store(Settings(storage_url=f"s3://key:{PLANTED}@bucket/prefix")):
            pass
    assert PLANTED not in str(caught.value)
