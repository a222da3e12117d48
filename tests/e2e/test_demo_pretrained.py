"""The demo with real pretrained weights: minutes, so `make test-long`."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.exports import verifies
from worker.demo.processes import child_environment
from worker.settings import Settings


@pytest.mark.long
@pytest.mark.trainer
@pytest.mark.timeout(900)
def test_smollm2_learns_the_answers_it_is_taught(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "demo", "--folder", str(tmp_path), "--json"]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=800, env=child_environment(Settings())
    )
    assert run.returncode == 0, run.stderr
    facts = json.loads(run.stdout)
    # From not knowing the poems to knowing them by heart: a tenth of the loss is far above the noise of eight samples.
    assert facts["training"]["last_loss"] < 0.1 * facts["training"]["first_loss"]
    assert facts["models"][0]["size_bytes"] > 1e6
    assert "trains once" in run.stderr
    bucket = Settings(storage_url=(tmp_path / "bucket").as_uri())
    asyncio.run(verifies(Path(facts["models"][0]["path"]), bucket))
