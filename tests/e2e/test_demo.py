"""The demo is the end-to-end test: a real broker, worker, trainer and model, each in processes of their own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contracts.task import Phase
from tests.e2e.exports import verifies
from tests.wait import wait_until
from worker.demo.processes import child_environment
from worker.demo.story import MODELS, Demo
from worker.demo.view import View
from worker.settings import Settings

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(400)]


def _demo(folder: Path) -> Demo:
    return Demo(folder, MODELS["tiny"], View(Console(stderr=True), datetime.now(UTC)))


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of living processes that know this folder, by argument or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in known and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def _trainers_of(folder: Path) -> list[int]:
    """Return the pids of the trainers that work in this folder, without their supervisors."""
    found = subprocess.run(
        ["pgrep", "-f", f"worker.trainer {folder}"], capture_output=True, text=True, check=False
    ).stdout
    return [int(pid) for pid in found.split() if b"supervisor" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _check(facts: dict[str, Any]) -> None:
    assert facts["dataset"]["valid"] is True
    assert facts["estimate"]["complete"] is True
    assert float(facts["estimate"]["amount"]) > 0
    assert facts["estimate"]["seconds_after_import"] >= 5
    assert facts["training"]["last_loss"] < facts["training"]["first_loss"]
    assert len(facts["models"]) == 1
    assert (Path(facts["models"][0]["path"]) / "manifest.json").is_file()


async def _verify(facts: dict[str, Any], folder: Path) -> None:
    # The demo's bucket has what its adapter is on.
    await verifies(Path(facts["models"][0]["path"]), Settings(storage_url=(folder / "bucket").as_uri()))


def test_the_demo_ends_by_itself_and_works_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "demo", "--model", "tiny", "--folder", str(tmp_path), "--json"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=False, timeout=300) for _ in range(2)]
    for run in runs:
        assert run.returncode == 0, run.stderr
        facts = json.loads(run.stdout)
        assert list(facts) == ["dataset", "estimate", "training", "models", "events"]
        _check(facts)
        topics = [event["topic"] for event in facts["events"]]
        assert topics.index("dataset.validated") < topics.index("cost.estimated") < topics.index("model.exported")
        assert len({event["id"] for event in facts["events"]}) == len(facts["events"])
        assert "It says the same answer twice, and trains once." in run.stderr
    asyncio.run(_verify(facts, tmp_path))
    assert _processes_of(tmp_path) == []


@pytest.mark.long
async def test_a_worker_killed_in_the_middle_and_every_event_twice_is_one_training_run(tmp_path: Path) -> None:
    demo = _demo(tmp_path)
    demo.published_times = 2
    running = asyncio.create_task(demo.run())
    for phase in (Phase.RUNNING, Phase.COMPLETING):
        await wait_until(lambda phase=phase: running.done() or _at(demo, phase), 200, phase.value)  # type: ignore[misc]
        if demo.worker and demo.worker.pid:
            os.kill(demo.worker.pid, signal.SIGKILL)
    await running
    facts = demo.facts.as_json(demo.tokens(), demo.paths())
    _check(facts)
    assert facts["training"]["attempt"] == 1
    jobs = list((tmp_path / "jobs").glob("*/demo-*"))
    assert len(jobs) == 1
    await _verify(facts, tmp_path)
    assert sum(event["topic"] == "training.dispatched" for event in facts["events"]) == 1
    assert _processes_of(tmp_path) == []


@pytest.mark.long
async def test_a_killed_trainer_goes_on_from_its_checkpoint_under_a_new_attempt(tmp_path: Path) -> None:
    demo = _demo(tmp_path)
    running = asyncio.create_task(demo.run())
    await wait_until(lambda: running.done() or demo.facts.checkpoints >= 1, 200, "a checkpoint")
    trainers = _trainers_of(tmp_path)
    assert trainers
    for pid in trainers:
        os.kill(pid, signal.SIGKILL)
    await running
    facts = demo.facts.as_json(demo.tokens(), demo.paths())
    _check(facts)
    assert facts["training"]["attempt"] == 2
    await _verify(facts, tmp_path)
    assert demo.facts.status is not None
    assert demo.facts.status.retry_count == 1


async def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "demo", "--model", "tiny", "--folder", str(tmp_path)]
    environment = child_environment(Settings())
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    assert process.stdout is not None
    # People's view is on stdout, as they pipe it.
    async for line in process.stdout:
        if b"training.dispatched" in line:
            break
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    await wait_until(lambda: _processes_of(tmp_path) == [], 60, "the end of every process")


def _at(demo: Demo, phase: Phase) -> bool:
    return demo.facts.status is not None and demo.facts.status.phase is phase
