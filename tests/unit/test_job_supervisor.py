"""The process that looks after a job, where the job's folder is on a file system that comes and goes."""

import json
import subprocess
import sys
from pathlib import Path

#: A supervisor that can see no wish, and whose first words about the end are lost.
_SUPERVISOR = """
import os, pathlib, sys
from worker.executors import job_supervisor as tried

read, write, lost = tried.read, tried.write, [5]

def stale(path):
    if path.name == tried.CANCEL:
        raise OSError(116, "Stale file handle")
    return read(path)

def broken(path, content, *, once=True):
    if path.name in (tried.EXIT, tried.TRAINER) and lost:
        raise OSError(lost.pop(), "Input/output error")
    return write(path, content, once=once)

tried.read, tried.write, tried.LOOK_SECONDS, tried._END_TRIES = stale, broken, 0.01, int(sys.argv[2])
tried.supervise(pathlib.Path(sys.argv[1]), [sys.executable, "-c", sys.argv[3]], os.open(os.devnull, os.O_WRONLY))
"""


def _supervised(job: Path, tries: int, trainer: str) -> subprocess.CompletedProcess[str]:
    job.mkdir()
    command = [sys.executable, "-c", _SUPERVISOR, str(job), str(tries), trainer]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_a_folder_that_is_away_for_a_while_ends_no_job(tmp_path: Path) -> None:
    run = _supervised(tmp_path / "job", 10, "import time; time.sleep(0.05); raise SystemExit(4)")
    assert json.loads((tmp_path / "job" / "exit.json").read_text()) == {"exit_code": 4}
    assert "cannot see whether the job should end" in run.stderr


def test_a_folder_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    _supervised(tmp_path / "job", 10**9, f"import shutil; shutil.rmtree({str(tmp_path / 'job')!r})")
    assert not (tmp_path / "job").exists()
