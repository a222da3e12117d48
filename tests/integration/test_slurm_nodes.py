"""Jobs of several nodes on a real Slurm: two node daemons of this machine, each with GPUs of its own."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.slurm import LocalSlurm
from handlers.ports.jobs import JobSpec, JobStatus, Resources
from tests import slurm_servers
from tests.conformance.slurm_harness import SlurmHarness
from tests.wait import wait_until
from worker.executors import job_supervisor
from worker.executors.slurm import SlurmExecutor

pytestmark = pytest.mark.skipif(not slurm_servers.possible(), reason="needs a real Slurm: make slurm")

BOTH = Resources(gpus=1, nodes=2)
#: Says where it is, and then waits for ever on the second node; the first one ends once the second has said so.
TELLS = """
echo "$GROUP_RANK of $GROUP_WORLD_SIZE on $SLURMD_NODENAME, $CUDA_VISIBLE_DEVICES" > "$CONTROL/told.$GROUP_RANK"
echo "$MASTER_PORT" > "$CONTROL/port.$GROUP_RANK"
echo $$ > "$CONTROL/pid.$GROUP_RANK"
[ "$GROUP_RANK" = 0 ] || { echo "$MASTER_ADDR" > "$CONTROL/address"; exec sleep 1000; }
until [ -e "$CONTROL/address" ]; do sleep 0.05; done
exit 5
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SlurmHarness]:
    harness = SlurmHarness(tmp_path, LocalSlurm(gpus=1, nodes=2, node_patience_seconds=3))
    await harness.open()
    yield harness
    await harness.close()


async def ended(executor: SlurmExecutor, spec: JobSpec) -> JobStatus:
    async def there() -> bool:
        return (await executor.status(spec.job_id, spec.attempt)).state == "ended"

    await wait_until(there, 60, f"{spec.job_id} to end")
    return await executor.status(spec.job_id, spec.attempt)


def gone(pid: int) -> bool:
    return job_supervisor.identify(pid)["start_ticks"] is None


async def test_the_command_runs_on_every_node_and_the_first_decides_how_the_job_ends(engine: SlurmHarness) -> None:
    executor, spec = engine.executor(("sh", "-c", TELLS)), engine.spec("a", resources=BOTH)
    await executor.submit(spec)
    assert (await ended(executor, spec)).exit_code == 5, await executor.logs("a", 1)

    def said(name: str) -> str:
        return (engine.control / name).read_text().strip()

    assert said("told.0") == "0 of 2 on node1, 0"
    assert said("told.1") == "1 of 2 on node2, 0"
    assert said("port.0") == said("port.1") != ""
    assert said("address") == "127.0.0.1"
    await wait_until(lambda: gone(int(said("pid.1"))), 60, "the second node's to be ended")
    # And the nodes are free for another one.
    again = engine.spec("b", resources=BOTH)
    await executor.submit(again)
    assert (await ended(executor, again)).exit_code == 5


async def test_a_cancelled_job_may_save_within_its_grace(engine: SlurmHarness) -> None:
    executor, spec = engine.executor(), engine.spec("a", resources=BOTH)
    await executor.submit(spec)
    await wait_until(lambda: engine.starts(spec) == 2, 60, "both nodes' to start")
    await executor.cancel("a", 1, 60)
    assert await ended(executor, spec) == JobStatus(state="ended", exit_code=0)
    assert (await executor.logs("a", 1))[0].count("saved") == 1


async def test_a_trainer_of_the_first_node_that_is_killed_ends_the_job_with_the_signal(engine: SlurmHarness) -> None:
    executor, spec = (
        engine.executor(("sh", "-c", TELLS.replace("exit 5", "exec sleep 1000"))),
        engine.spec("a", resources=BOTH),
    )
    await executor.submit(spec)
    await wait_until((engine.control / "address").exists, 60, "both nodes' to start")
    os.kill(int((engine.control / "pid.0").read_text()), signal.SIGKILL)
    assert (await ended(executor, spec)).exit_code == -signal.SIGKILL


async def test_a_node_that_is_lost_ends_the_job(engine: SlurmHarness) -> None:
    executor, spec = engine.executor(), engine.spec("a", resources=BOTH)
    await executor.submit(spec)
    await wait_until(lambda: engine.starts(spec) == 2, 60, "both nodes' to start")
    await engine.slurm.kill_node("node2")
    assert (await ended(executor, spec)).state == "ended"
