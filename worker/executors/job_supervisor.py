"""Looks after one job on its machine: starts it, waits for it, writes down how it ended. Standard library only.

``python job_supervisor.py JOB_DIRECTORY COMMAND...`` returns as soon as a process of its own session has
the job. That process belongs to no worker, so a killed worker leaves job, log and exit code as they are, and
any worker finds them again in the job's directory:

    supervisor.json  looks after the job; only the first one can make it: a job starts at most once
    trainer.json     the process that trains, the head of a process group of its own
    cancel.json      ``grace_seconds``: somebody wants it to end; workers write it and then send SIGTERM
    scratch/         the trainer's temporary files, gone with it however it ended: a base model's copy, say
    exit.json        ``exit_code``, minus the signal where one killed it, null where it never ran; comes last.
                     ``time_limit`` is true where the job was asked to end because its time was over
"""

import contextlib
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPEC, SUPERVISOR, TRAINER, CANCEL, EXIT = "spec.json", "supervisor.json", "trainer.json", "cancel.json", "exit.json"
SCRATCH = "scratch"
#: Exit code of a command that could not be started, as a shell says it.
NOT_STARTED = 127
#: Seconds after which a wish to end is found even where its signal got lost.
LOOK_SECONDS = 1.0
#: Looks at a folder that cannot be written before the end of a job is written nowhere: an hour.
_END_TRIES = 3600
#: Grace where nobody wrote a wish: SIGTERM from a machine that shuts down, or the job's time is over.
DEFAULT_GRACE_SECONDS = 30.0


def identify(pid: int) -> dict[str, Any]:
    """Return what tells this process from any other that gets its number later, also after a reboot."""
    return {"pid": pid, "start_ticks": _start_ticks(pid), "boot_id": _boot_id()}


def alive(identity: dict[str, Any] | None) -> bool:
    """Return whether that very process runs. A zombie does not."""
    if identity is None or identity["boot_id"] != _boot_id():
        return False
    ticks = _start_ticks(identity["pid"])
    return ticks is not None and ticks == identity["start_ticks"]


def read(path: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file, or None where there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content


def write(path: Path, content: dict[str, Any], *, once: bool = True) -> bool:
    """Write a JSON object into a file, whole or not at all; return whether it is there now.

    With ``once`` a file that exists stays as it is, and False is returned: of many writers one wins.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    if not once:
        temporary.replace(path)
        return True
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def ask_to_end(job: Path, grace_seconds: float) -> None:
    """Write down that somebody wants the job to end. The shortest grace of all wishes holds. Then send SIGTERM."""
    wish = read(job / CANCEL)
    if wish is None or wish["grace_seconds"] > grace_seconds:
        write(job / CANCEL, {"grace_seconds": grace_seconds}, once=False)


def supervise(job: Path, command: Sequence[str], recorded: int, scratch: Path | None = None) -> bool:
    """Run a job to its end and write that down, unless it has a supervisor already; return whether it had none.

    A byte on ``recorded`` says: now it has one. ``scratch`` is where the trainer may put files, removed at its end; in
    the job's folder where not given. A folder that cannot be read or written for a while, as on a file system that
    machines share, does not end what runs.
    """
    woken = _wake_on_sigterm()
    mine = write(job / SUPERVISOR, identify(os.getpid()))
    with contextlib.suppress(BrokenPipeError):  # the worker may be dead by now; the job goes on
        os.write(recorded, b"1")
    os.close(recorded)
    if not mine:
        return False
    # Who cancels writes the wish first and looks for a supervisor then; this is the other half of that pair.
    if (job / CANCEL).exists():
        write(job / EXIT, {"exit_code": None})
        return True
    scratch = scratch or job / SCRATCH
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(scratch)}
    try:
        trainer = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603 - the operator's command, never a user's
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        _write_end(job, {"exit_code": NOT_STARTED})
        return True
    try:
        write(job / TRAINER, identify(trainer.pid))
    except OSError as error:
        sys.stderr.write(f"nobody but its supervisor knows the trainer: {error}\n")
    end = _wait(trainer, job, woken)
    shutil.rmtree(scratch, ignore_errors=True)
    _write_end(job, end)
    return True


def _write_end(job: Path, end: dict[str, Any]) -> None:
    for _ in range(_END_TRIES):
        try:
            write(job / EXIT, end)
        except FileNotFoundError:
            return  # its folder is gone: nobody wants to know any more
        except OSError as error:
            sys.stderr.write(f"cannot write down how the job ended: {error}\n")
            time.sleep(LOOK_SECONDS)
        else:
            return


def _wait(trainer: "subprocess.Popen[bytes]", job: Path, woken: int) -> dict[str, Any]:
    """Wait for the trainer, ask it to end where it should and kill it after its grace; return what exit.json holds."""
    ended = os.pidfd_open(trainer.pid)
    limit = time.monotonic() + _time_limit(job)
    kill_at, asked, killed, overdue = math.inf, False, False, False
    ready: list[int] = []
    while ended not in ready:
        now = time.monotonic()
        overdue = overdue or (now >= limit and not asked)
        signalled = woken in ready and bool(os.read(woken, 512))
        grace = _grace(job, signalled=signalled or overdue)
        if grace is not None:
            kill_at = min(kill_at, now + grace)
            if not asked:
                trainer.send_signal(signal.SIGTERM)
                asked = True
        if now >= kill_at and not killed:
            os.killpg(trainer.pid, signal.SIGKILL)
            killed = True
        until = kill_at if asked else limit
        patience = LOOK_SECONDS if killed else min(LOOK_SECONDS, max(0.0, until - time.monotonic()))
        ready = select.select([ended, woken], [], [], patience)[0]
    # What the trainer left behind would use up the slot. The group is still its own: it is not reaped yet.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(trainer.pid, signal.SIGKILL)
    return {"exit_code": trainer.wait()} | ({"time_limit": True} if overdue else {})


def _time_limit(job: Path) -> float:
    limit = ((read(job / SPEC) or {}).get("resources") or {}).get("time_limit_seconds")
    return math.inf if limit is None else float(limit)


def _grace(job: Path, *, signalled: bool) -> float | None:
    try:
        wish = read(job / CANCEL)
    except OSError as error:
        sys.stderr.write(f"cannot see whether the job should end: {error}\n")
        wish = None
    if wish is not None:
        return float(wish["grace_seconds"])
    return DEFAULT_GRACE_SECONDS if signalled else None


def _wake_on_sigterm() -> int:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return woken


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in field 2 may contain spaces and brackets; field 3 is the state, field 22 the start.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def main(arguments: Sequence[str]) -> int:
    """Hand the job to a process of its own; return 0 when it is recorded as having one."""
    told, recorded = os.pipe()
    if os.fork():
        os.close(recorded)
        return 0 if os.read(told, 1) else 1
    os.close(told)
    os.setsid()
    supervise(Path(arguments[0]), arguments[1:], recorded)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
