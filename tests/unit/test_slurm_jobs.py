"""What Slurm's words mean, what it is told, and that it never keeps a worker waiting. Its commands are scripts here."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.errors import Unavailable
from handlers.ports.jobs import JobSpec, JobStatus, Resources
from tests.wait import wait_until
from worker.executors import slurm, slurm_client
from worker.executors.slurm import SlurmExecutor, slurm_executor
from worker.executors.slurm_batch import batch_options, batch_script
from worker.executors.slurm_client import SlurmClient, SlurmJob
from worker.executors.slurm_folder import JobFolder, Trace
from worker.executors.slurm_nodes import srun
from worker.executors.slurm_step import NOT_RUN
from worker.settings import Settings, SettingsError

SPEC = JobSpec(job_id="t-1", task_id="t-1", attempt=2, plan_key="p", attempt_prefix="a/")
JOB = SlurmJob(7, "RUNNING", 0, "2026-01-01T00:00:00", "main", Path("/jobs/t-1.2"))

Commands = Callable[[str, str], Path]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Return a function that makes a command of a shell script; all others are gone. It returns the script's folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def command(name: str, script: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\ncd {folder}\n{script}\n")
        (folder / name).chmod(0o755)
        return folder

    return command


@pytest.mark.parametrize(
    ("state", "wait_status", "exit_code"),
    [
        ("COMPLETED", 0, 0),
        ("FAILED", 3 << 8, 3),
        ("FAILED", 9, -9),
        ("FAILED", 9 | 0x80, -9),
        ("CANCELLED", 0, None),
        ("CANCELLED", 15, -15),
        ("TIMEOUT", 0, None),
        ("NODE_FAIL", 0, None),
        ("NODE_FAIL", 0xFFFFFFFE, None),
        ("FAILED", 0x7F, None),
    ],
)
def test_only_what_completed_ended_well(state: str, wait_status: int, exit_code: int | None) -> None:
    assert JOB._replace(state=state, wait_status=wait_status).exit_code == exit_code


@pytest.mark.parametrize(
    ("state", "waiting", "over"),
    [
        ("PENDING", True, False),
        ("REQUEUED", True, False),
        ("CONFIGURING", False, False),
        ("RUNNING", False, False),
        ("COMPLETING", False, False),
        ("SUSPENDED", False, False),
        ("NEW_IN_SLURM_99", False, False),
        ("COMPLETED", False, True),
        ("OUT_OF_MEMORY", False, True),
        ("PREEMPTED", False, True),
    ],
)
def test_what_may_hold_a_gpu_is_not_over(state: str, *, waiting: bool, over: bool) -> None:
    job = JOB._replace(state=state)
    assert (job.waiting, job.over) == (waiting, over)


async def test_jobs_are_read_field_by_field_in_the_order_of_their_ids(commands: Commands) -> None:
    commands(
        "squeue",
        "echo '12|RUNNING|0|2026-01-01T00:00:00|gpu,long|/jobs/odd|name.1|'\n"
        "echo '9|FAILED|768|2026-01-01T00:00:00|gpu|/jobs/b.1|'\n"
        "echo '10|FAILED|1|2099-01-01T00:00:00|gpu|/jobs/refused.1|'\n"
        "echo '11|PENDING|0|2099-01-01T00:00:00|gpu|/jobs/parked.1|'",
    )
    jobs = await SlurmClient(None, 0).jobs()
    assert [(job.id, job.directory.name, job.exit_code) for job in jobs] == [
        (9, "b.1", 3),
        (11, "parked.1", None),
        (12, "odd|name.1", None),
    ]
    assert [job.parked for job in jobs] == [False, True, False]
    assert jobs[2].partition == "gpu,long"


async def test_a_place_in_the_queue_is_by_priority_and_jobs_on_hold_have_none(commands: Commands) -> None:
    commands("squeue", "printf '%s\\n' '50|9|' '0|1|' '60|8|' '50|6|' '40|2|' '50|7|'")
    client = SlurmClient(None, 0)
    assert await client.position(JOB) == 3
    assert await client.position(JOB._replace(id=8)) == 1
    assert await client.position(JOB._replace(id=99)) is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("echo 'slurm has a new way to say this'", "cannot be read"),
        ("echo 'x|RUNNING|0|a|b|/c|'", "cannot be read"),
    ],
)
async def test_an_answer_that_is_none_is_unavailable(commands: Commands, script: str, words: str) -> None:
    commands("squeue", script)
    with pytest.raises(Unavailable, match=words):
        await SlurmClient(None, 0).jobs()


async def test_a_command_that_is_not_there_is_unavailable(commands: Commands, tmp_path: Path) -> None:
    commands("other", "")
    executor = SlurmExecutor(tmp_path / "jobs", lambda _: {})
    for call in (executor.submit(SPEC), executor.status("a", 1), executor.cancel("a", 1, 0), executor.jobs()):
        with pytest.raises(Unavailable, match="squeue cannot be run"):
            await call
    await executor.close()


async def test_a_command_that_hangs_is_unavailable_and_killed(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_client, "COMMAND_SECONDS", 0.3)
    folder = commands("squeue", "echo $$ > pid; exec sleep 100")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="squeue did not answer within"):
        await SlurmClient(None, 0).jobs()
    assert time.monotonic() - began < 20
    pid = int((folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_command_is_killed_with_the_call_that_waits_for_it(commands: Commands) -> None:
    folder = commands("squeue", "echo $$ > new; mv new pid; exec sleep 100")
    call = asyncio.create_task(SlurmClient(None, 0).jobs())
    await wait_until((folder / "pid").exists, 60, "the command to run")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


async def test_a_folder_that_hangs_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "COMMAND_SECONDS", 0.2)
    (tmp_path / "a.1").mkdir()
    os.mkfifo(tmp_path / "a.1" / "log")  # opening it waits for somebody to write into it
    executor = SlurmExecutor(tmp_path, lambda _: {})
    for _ in range(2):
        with pytest.raises(Unavailable, match="does not answer"):
            await executor.logs("a", 1)
    (tmp_path / "a.1" / "log").open("w").close()
    await executor.close()


async def test_a_sweep_over_many_jobs_asks_slurm_once(commands: Commands, tmp_path: Path) -> None:
    folder = commands("squeue", "echo asked >> asked")
    executor = SlurmExecutor(tmp_path / "jobs", lambda _: {}, listing_seconds=60)
    for number in range(50):
        assert await executor.status("a", number) == JobStatus(state="unknown")
    await executor.jobs()
    assert len((folder / "asked").read_text().split()) == 1
    await executor.close()


async def test_what_was_changed_is_seen_at_once_and_who_asks_together_is_answered_together(commands: Commands) -> None:
    folder = commands("squeue", "echo asked >> asked")
    commands("scancel", "")
    client = SlurmClient(None, 60)
    await client.jobs()
    await client.end(JOB)
    await client.jobs()
    assert len((folder / "asked").read_text().split()) == 2
    await asyncio.gather(*(client.jobs(fresh=True) for _ in range(10)))
    # One that runs may have begun before the others asked; the next answers all of them.
    assert len((folder / "asked").read_text().split()) <= 4


async def test_variables_of_the_worker_do_not_change_what_commands_do(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SBATCH_HOLD", "SQUEUE_STATES", "SLURM_TIME_FORMAT", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "planted")
    folder = commands("squeue", "env > env")
    await SlurmClient(Path("/etc/s.conf"), 0).jobs()
    seen = (folder / "env").read_text().splitlines()
    assert not [line for line in seen if "planted" in line]
    assert "SLURM_CONF=/etc/s.conf" in seen


def test_a_script_says_all_that_a_job_is_told_whatever_is_in_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "o'clock $HOME")
    told = {"A": 'it\'s `$(date)`\n"two" lines', "PYTHONUNBUFFERED": "0"}
    script = batch_script(folder, told, "/bin/echo", ["train", "a b"])
    shown = subprocess.run(
        ["/bin/bash", "-c", f'{script.replace("exec ", "")}printf %s "$A$PYTHONUNBUFFERED${{SLURM_EXPORT_ENV-gone}}"'],
        env={"SLURM_EXPORT_ENV": "NIL"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == f"-m worker.executors.slurm_step {folder.path} train a b\n{told['A']}0gone"


def test_a_script_for_several_nodes_runs_the_command_on_each_under_one_supervisor() -> None:
    script = batch_script(JobFolder(Path("/jobs/a.1")), {}, "python", ["train"], nodes=3)
    nodes = "python -m worker.executors.slurm_nodes 3 train"
    assert script.endswith(f"exec python -m worker.executors.slurm_step /jobs/a.1 {nodes}\n")
    started = shlex.join(srun(3, ["train"]))
    assert started.startswith("srun --relative=1 --nodes=2 --ntasks=2 --ntasks-per-node=1 ")
    assert started.endswith("sh train")


def test_options_say_what_a_job_needs() -> None:
    folder = JobFolder(Path("/jobs/50%/t-1.2"))
    assert batch_options(SPEC, folder, "poems-1a") == [
        "--job-name=finetune-t-1.2@poems-1a",
        "--chdir=/jobs/50%/t-1.2",
        "--output=/jobs/50%%/t-1.2/log",
        "--open-mode=append",
        "--nodes=1",
        "--ntasks-per-node=1",
    ]
    needs = Resources(gpus=8, nodes=2, time_limit_seconds=3601)
    more = batch_options(
        JobSpec(job_id="a", task_id="a", attempt=1, plan_key="p", attempt_prefix="a/", resources=needs), folder, ""
    )
    assert more[-4:] == ["--nodes=2", "--ntasks-per-node=1", "--gres=gpu:8", "--time=61"]


async def test_settings_describe_an_executor(commands: Commands, tmp_path: Path) -> None:
    folder = commands("sbatch", 'cat > script; printf "%s\\n" "$@" > options; echo 1')
    commands("squeue", f"[ ! -e script ] || echo '1|PENDING|0|now|gpu|{tmp_path}/jobs/poems/t-1.2|'")
    settings = Settings(
        slurm_jobs_dir=tmp_path / "jobs",
        job_namespace="poems",
        slurm_partition="gpu",
        slurm_account="lab",
        slurm_python="/opt/python",
        slurm_options="--qos=high --comment='two words' --hold --export=ALL",
        kafka_password="planted",
    )
    executor = slurm_executor(settings)
    await executor.submit(SPEC)
    options = (folder / "options").read_text().splitlines()
    assert {"--partition=gpu", "--account=lab", "--qos=high", "--comment=two words"} <= set(options)
    # The last of one option is the one that holds.
    assert options.index("--export=ALL") < options.index("--export=NIL")
    script = (folder / "script").read_text()
    assert script.endswith(f"{shlex.join(['/opt/python', '-m', 'worker.trainer'])}\n")
    assert "planted" not in script
    await executor.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(), "WORKER_SLURM_JOBS_DIR is not set"),
        (Settings(slurm_jobs_dir=Path("/jobs"), slurm_options="--a='"), "WORKER_SLURM_OPTIONS"),
    ],
)
def test_settings_that_describe_none_are_named(settings: Settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        slurm_executor(settings)


@pytest.mark.parametrize(
    ("state", "wait_status", "begun", "exit_code"),
    [
        ("FAILED", 1 << 8, True, 1),
        ("FAILED", 1 << 8, False, None),  # Slurm could not start it
        ("COMPLETED", 0, False, 0),  # the folder is seen late
        ("CANCELLED", 15, True, -15),
    ],
)
async def test_without_a_word_in_the_folder_slurms_counts_where_the_job_had_begun(
    state: str, wait_status: int, *, begun: bool, exit_code: int | None, commands: Commands, tmp_path: Path
) -> None:
    commands("squeue", f"echo '1|{state}|{wait_status}|now|gpu|{tmp_path}/a.1|'")
    executor, folder = SlurmExecutor(tmp_path, lambda _: {}), JobFolder(tmp_path / "a.1")
    # Without a folder it is forgotten, though not by Slurm.
    assert await executor.status("a", 1) == JobStatus(state="unknown")
    assert await executor.jobs() == []
    folder.create("digest")
    if begun:
        (folder.path / "supervisor.json").write_text("{}")
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=exit_code)
    (folder.path / "exit.json").write_text('{"exit_code": 5}')
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=5)
    await executor.close()


async def test_a_job_that_runs_is_not_unknown_because_its_folder_cannot_be_seen(
    commands: Commands, tmp_path: Path
) -> None:
    commands("squeue", f"echo '1|RUNNING|0|now|gpu|{tmp_path}/a.1|'")
    executor = SlurmExecutor(tmp_path, lambda _: {})
    assert (await executor.status("a", 1)).state == "running"
    await executor.close()


@pytest.mark.parametrize("job_id", ["", "../a", "a/b", "a\nb", "a b"])
async def test_an_id_never_leads_out_of_the_folder(job_id: str, tmp_path: Path) -> None:
    executor = SlurmExecutor(tmp_path, lambda _: {})
    with pytest.raises(ValueError, match="not a job id"):
        await executor.status(job_id, 1)
    await executor.close()


def step(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    run = [sys.executable, "-m", "worker.executors.slurm_step", str(folder), *command]
    return subprocess.run(run, check=False, capture_output=True, text=True)


def test_what_a_trainer_writes_for_a_while_is_on_the_nodes_own_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, disk = tmp_path / "a.1", tmp_path / "disk"
    folder.mkdir()
    disk.mkdir()
    monkeypatch.setenv("TMPDIR", str(disk))
    assert step(folder, "sh", "-c", f"echo $TMPDIR > {tmp_path}/seen; touch $TMPDIR/left").returncode == 0
    assert Path((tmp_path / "seen").read_text().strip()).parent == disk
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("script", ["exit 3", "kill -KILL $$", "kill -TERM $$", "kill -PIPE $$"])
def test_a_step_ends_as_its_command_ends(script: str, tmp_path: Path) -> None:
    expected = subprocess.run(["sh", "-c", script], check=False).returncode
    assert step(tmp_path, "sh", "-c", script).returncode == expected
    assert JobFolder(tmp_path).trace() == Trace(begun=True, ended=True, exit_code=expected)


def test_a_step_that_has_begun_elsewhere_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text("{}")
    done = step(tmp_path, "touch", str(tmp_path / "ran"))
    assert done.returncode == NOT_RUN
    assert "begun before" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not JobFolder(tmp_path).trace().ended


def test_a_step_that_was_cancelled_first_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "spec.json").touch()
    JobFolder(tmp_path).ask_to_end(30)
    assert step(tmp_path, "touch", str(tmp_path / "ran")).returncode == NOT_RUN
    assert not (tmp_path / "ran").exists()
    assert JobFolder(tmp_path).trace() == Trace(known=True, begun=True, asked_to_end=True, ended=True)


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("TIMEOUT", "time-limit"),
        ("DEADLINE", "time-limit"),
        ("OUT_OF_MEMORY", "out-of-memory"),
        ("NODE_FAIL", "node-failed"),
        ("PREEMPTED", "preempted"),
        ("FAILED", None),
        ("CANCELLED", None),
        ("COMPLETED", None),
    ],
)
def test_why_slurm_ended_a_job_is_said_where_it_was_slurm(state: str, cause: str | None) -> None:
    assert JOB._replace(state=state).cause == cause
