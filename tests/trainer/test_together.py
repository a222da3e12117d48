"""Several processes that train one job: they do what one would, and end as one would."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.training import TrainingProgress
from handlers.ports.jobs import Resources
from tests.trainer import together
from tests.trainer.bench import Bench, same
from tests.trainer.formats import plan_for
from tests.trainer.process import trained_in_process
from worker.first_counts import free_port
from worker.trainer.failures import JobError
from worker.trainer.hyperparameters import Hyperparameters, Share
from worker.trainer.ranks import Machine, Rank

pytestmark = [
    pytest.mark.trainer,
    # Processes that import torch, on a machine that others may use as well.
    pytest.mark.timeout(600),
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest.mark.parametrize("machines", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_two_processes_lose_what_one_does_in_every_format(
    both_models: Path, tmp_path: Path, machines: int
) -> None:
    config = both_models / "base-models/tiny-encoder/1/config.json"
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | without))
    alone: dict[str, Any] = {}
    for case in together.CASES:
        shutil.copytree(both_models / "base-models", tmp_path / "cases" / case / "base-models")
        bench = Bench(tmp_path / "cases" / case)
        await asyncio.to_thread(together.prepare, bench, case)
        alone[case] = await asyncio.to_thread(together.run, bench, Rank())

    out = tmp_path / "said.json"
    await asyncio.gather(
        *(torchrun(machine, machines, str(tmp_path / "cases"), str(out)) for machine in range(machines))
    )
    both = json.loads(out.read_text())

    for case, said in alone.items():
        assert said["last"] == both[case]["last"] == ["succeeded", None], case
        assert len(said["losses"]) >= 4, case
        for (step, one), (_, two) in zip(said["losses"], both[case]["losses"], strict=True):
            assert two == pytest.approx(one, rel=2e-4), (case, step)
        assert both[case]["validated"] == pytest.approx(said["validated"], rel=2e-4), case


_PORT = free_port()


async def torchrun(machine: int, machines: int, *arguments: str) -> None:
    """Run two processes of tests.trainer.together on one machine, or one on each of two, as torchrun sees it."""
    place = (f"--nnodes={machines}", f"--node-rank={machine}", f"--nproc-per-node={2 // machines}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "torch.distributed.run", *place, "--master-addr=127.0.0.1", f"--master-port={_PORT}"),
        *("-m", "tests.trainer.together", *arguments),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:]


@pytest.mark.long
async def test_a_job_with_two_gpus_obeys_a_sigterm_and_goes_on_to_the_same_weights(
    both_models: Path, tmp_path: Path
) -> None:
    bench = Bench(both_models)
    two = Resources(gpus=2)

    def plan() -> None:
        # With dropout: the processes' random numbers are in the checkpoint, too.
        plan_for(bench, "FinetuneLoRA", hyperparameters={"epochs": 4})
        bench.state()

    await asyncio.to_thread(plan)
    whole, code = await trained_in_process(bench, bench.spec(resources=two), tmp_path)
    assert code == 0
    assert whole[-1].state == "succeeded"

    await asyncio.to_thread(bench.state, 2)
    stopped, code = await trained_in_process(bench, bench.spec(2, resources=two), tmp_path, sigterm_at=5)
    assert code == 0
    assert stopped[-1].state == "stopped"
    assert stopped[-1].checkpoint is not None
    assert 5 < stopped[-1].checkpoint.step < 12
    await asyncio.to_thread(bench.state, 3)
    resume_from = bench.store.key(stopped[-1].checkpoint.uri)
    resumed, code = await trained_in_process(bench, bench.spec(3, resources=two, resume_from=resume_from), tmp_path)

    assert code == 0
    assert reported(stopped) + reported(resumed) == reported(whole)
    assert same(bench.tensors(resumed[-1].outputs[0].uri), bench.tensors(whole[-1].outputs[0].uri))


def reported(said: Sequence[TrainingProgress]) -> list[tuple[int, float | None]]:
    return [(each.progress.step, each.progress.loss) for each in said if each.progress and not each.checkpoint]


# --- how a step is shared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "processes", "share"),
    [
        (4, 1, 1, Share(4, 1)),
        (4, 2, 2, Share(2, 2)),
        (4, 8, 8, Share(4, 1)),
        (3, 2, 2, Share(3, 1)),
        (6, 2, 4, Share(3, 1)),
        (1, 8, 4, Share(1, 2)),
    ],
)
def test_a_step_is_shared_evenly(batch_size: int, accumulation: int, processes: int, share: Share) -> None:
    chosen = Hyperparameters(batch_size=batch_size, gradient_accumulation=accumulation)

    assert chosen.share(processes, whole_batches=False) == share
    assert share.batch_size * share.accumulation * processes == batch_size * accumulation


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "whole", "said"),
    [(3, 1, False, "batch_size x gradient_accumulation is 3"), (3, 2, True, "batch_size is 3")],
)
def test_what_cannot_be_shared_evenly_is_the_users_matter(
    batch_size: int, accumulation: int, said: str, *, whole: bool
) -> None:
    chosen = Hyperparameters(batch_size=batch_size, gradient_accumulation=accumulation)

    with pytest.raises(JobError, match=f"{said}, which cannot be shared by 2 GPUs; choose a multiple of 2") as refusal:
        chosen.share(2, whole_batches=whole)
    assert (refusal.value.failure.reason, refusal.value.failure.party) == ("batch-not-divisible", "user")


# --- how they start and end --------------------------------------------------------------------------------------

_LAUNCHED = "import sys; from worker.trainer.launch import launch; sys.exit(launch(sys.argv[1:3], 2, 0.5))"


async def launched(script: str, tmp_path: Path) -> asyncio.subprocess.Process:
    path = tmp_path / "rank.py"
    path.write_text(script)
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _LAUNCHED, sys.executable, str(path), stdout=-1)


async def test_the_first_process_decides_how_a_job_ends(tmp_path: Path) -> None:
    script = "import os, sys, time; first = os.environ['RANK'] == '0'; first or time.sleep(600); sys.exit(3)"

    process = await launched(script, tmp_path)

    assert await process.wait() == 3


async def test_where_another_process_dies_the_first_is_not_waited_for_long(tmp_path: Path) -> None:
    script = "import os, sys, time; first = os.environ['RANK'] == '0'; first and time.sleep(600); sys.exit(1)"

    process = await launched(script, tmp_path)

    assert await process.wait() == 128 + signal.SIGKILL


async def test_a_sigterm_is_passed_on_to_the_first_alone(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "rank = os.environ['RANK']\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('told', rank, flush=True), sys.exit(0)))\n"
        "os.write(1, b'ready\\n')\n"  # at once: print writes the line and its end one after the other
        "time.sleep(600)\n"
    )
    process = await launched(script, tmp_path)
    assert process.stdout is not None
    assert [await process.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2

    process.send_signal(signal.SIGTERM)

    assert await process.stdout.read() == b"told 0\n"
    assert await process.wait() == 0


def test_a_rank_is_what_torchrun_says() -> None:
    assert Rank.of_environment({}) == Rank(0, 1)
    said = {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8", "GROUP_RANK": "1"}
    rank = Rank.of_environment(said)
    assert rank == Rank(9, 16, local=1, here=8, machine=1)
    assert (rank.first, rank.first_here) == (False, False)
    assert Rank.of_environment(said | {"RANK": "8", "LOCAL_RANK": "0"}).first_here


async def test_each_machine_starts_the_processes_of_its_own_gpus(tmp_path: Path) -> None:
    said = {"GROUP_RANK": "1", "GROUP_WORLD_SIZE": "3", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    assert Machine.of_environment({}) == Machine(0, 1)
    assert Machine.of_environment(said) == Machine(1, 3, "10.0.0.1", 29500)
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    (tmp_path / "rank.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        # In one write, which that of the other cannot come into.
        f"os.write(1, (' '.join(os.environ[name] for name in {names}) + '\\n').encode())\n"
        "second = Path(__file__).with_name('second')\n"
        "os.environ['LOCAL_RANK'] == '0' or second.touch()\n"
        "while not second.exists():\n"
        "    time.sleep(0.01)\n"
    )
    launched = (
        "import sys; from worker.trainer.launch import launch; from worker.trainer.ranks import Machine\n"
        "sys.exit(launch(sys.argv[1:3], 2, machine=Machine.of_environment()))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", launched, sys.executable, str(tmp_path / "rank.py")), stdout=-1, env=os.environ | said
    )
    printed, _ = await process.communicate()
    assert sorted(printed.decode().splitlines()) == ["2 6 0 2 1 10.0.0.1 29500", "3 6 1 2 1 10.0.0.1 29500"]
