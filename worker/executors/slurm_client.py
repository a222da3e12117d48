"""Slurm by its commands: sbatch, squeue, scancel and scontrol, each with a time limit."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from handlers.errors import Unavailable
from handlers.ports.jobs import EndCause

#: Seconds a command may take. Slurm's own patience with a controller that is down is nine.
COMMAND_SECONDS = 30.0

#: When a parked job may begin: never by itself. (A job that is held is taken even if no node could ever run it.)
_PARKED_UNTIL = "2099-01-01T00:00:00"

_FIELDS = ("JobID", "State", "exit_code", "EligibleTime", "Partition", "WorkDir")
_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_OVER = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "DEADLINE",
        "BOOT_FAIL",
        "REVOKED",
    }
)


_CAUSES: dict[str, EndCause] = {
    "TIMEOUT": "time-limit",
    "DEADLINE": "time-limit",
    "OUT_OF_MEMORY": "out-of-memory",
    "NODE_FAIL": "node-failed",
    "BOOT_FAIL": "node-failed",
    "PREEMPTED": "preempted",
}


class SlurmJob(NamedTuple):
    """A job as Slurm knows it: ``state`` is Slurm's word, ``wait_status`` as of wait(2)."""

    id: int
    state: str
    wait_status: int
    eligible: str
    partition: str
    directory: Path

    @property
    def over(self) -> bool:
        """Whether it can never run again. A state that is new to us is not over: it may hold a GPU."""
        return self.state in _OVER

    @property
    def ends(self) -> bool:
        """Whether it is over, or about to be: nothing is left to tell it."""
        return self.over or self.state == "COMPLETING"

    @property
    def waiting(self) -> bool:
        """Whether it is in the queue."""
        return self.state in _WAITING

    @property
    def parked(self) -> bool:
        """Whether it was submitted and never let go."""
        return self.waiting and self.eligible == _PARKED_UNTIL

    @property
    def cause(self) -> EndCause | None:
        """Why Slurm ended it, where it was Slurm."""
        return _CAUSES.get(self.state)

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal where one ended it; None where Slurm names no more than the state."""
        try:
            code = os.waitstatus_to_exitcode(self.wait_status)
        except (ValueError, OverflowError):  # Slurm's own number for none
            return None
        return code if code or self.state == "COMPLETED" else None


class SlurmClient:
    """The commands. Every method may raise Unavailable; none takes longer than COMMAND_SECONDS.

    A listing serves for ``listing_seconds``, so that a sweep over a thousand jobs asks the controller once.
    """

    def __init__(self, conf: Path | None, listing_seconds: float) -> None:
        self._environment = _environment(conf)
        self._listing_seconds = listing_seconds
        self._listings: dict[tuple[str, ...], tuple[float, list[str]]] = {}
        self._changed_at = -1.0
        self._one_at_a_time = asyncio.Lock()

    async def park(self, script: str, options: Sequence[str]) -> str:
        """Submit a job that waits to be let go; return what Slurm said where it did not take it, else nothing."""
        # The script says what the job sees. NIL: of this process's environment, secrets included, it sees nothing.
        ours = ("--parsable", f"--begin={_PARKED_UNTIL}", "--no-requeue", "--export=NIL")
        return await self._change("sbatch", *options, *ours, stdin=script)

    async def let_go(self, job: SlurmJob) -> str:
        """Let a parked job run; return what Slurm said against it."""
        return await self._change("scontrol", "update", f"JobId={job.id}", "StartTime=now")

    async def end(self, job: SlurmJob) -> str:
        """Take a waiting job out of the queue, send SIGTERM to a running one; return what Slurm said against it."""
        # The state is asked for again: a job that has begun since may save first.
        how = ("--state=PENDING",) if job.waiting else ("--signal=TERM", "--batch")
        return await self._change("scancel", *how, str(job.id))

    async def jobs(self, *, fresh: bool = False) -> list[SlurmJob]:
        """Return this user's jobs in the order of their ids, those included that ended a while ago (MinJobAge).

        Without those that were refused or cancelled while they were parked: they never were a job.
        """
        fields = ",".join(f"{field}:|" for field in _FIELDS)
        lines = await self._listing("--me", "--states=all", f"--Format={fields}", fresh=fresh)
        return sorted(job for job in map(_job, lines) if not (job.over and job.eligible == _PARKED_UNTIL))

    async def position(self, job: SlurmJob) -> int | None:
        """Return a job's place among everybody's that wait for its partition, from 1; None where it waits no longer."""
        options = ("--states=PENDING", f"--partition={job.partition}", "--Format=PriorityLong:|,JobID:|")
        rows = [_numbers(line) for line in await self._listing(*options)]
        mine = next((priority for priority, number in rows if number == job.id), None)
        if mine is None:
            return None
        # Jobs on hold have priority 0 and stand in nobody's way.
        ahead = [row for row in rows if row[0] and (-row[0], row[1]) < (-mine, job.id)]
        return len(ahead) + 1

    async def _listing(self, *options: str, fresh: bool = False) -> list[str]:
        asked = time.monotonic()
        oldest = asked if fresh else max(asked - self._listing_seconds, self._changed_at)
        async with self._one_at_a_time:
            at, lines = self._listings.get(options, (-1.0, []))
            if at < oldest:
                at = time.monotonic()
                code, out, said = await self._run("squeue", "--noheader", "--all", *options)
                if code:
                    raise Unavailable(f"squeue: {said}")
                lines = out.splitlines()
                self._listings[options] = at, lines
            return lines

    async def _change(self, *command: str, stdin: str = "") -> str:
        try:
            code, _, said = await self._run(*command, stdin=stdin)
        finally:
            # What was listed before does not show it, and what is being listed now may not.
            self._changed_at = time.monotonic()
        return (said or f"{command[0]} ended with {code}") if code else ""

    async def _run(self, *command: str, stdin: str = "") -> tuple[int, str, str]:
        """Run a command to its end; return exit code, stdout and stderr."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
            )
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                out, said = await process.communicate(stdin.encode())
        except TimeoutError as error:
            raise Unavailable(f"{command[0]} did not answer within {COMMAND_SECONDS:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode(errors="replace"), said.decode(errors="replace").strip()


def _environment(conf: Path | None) -> dict[str, str]:
    """Return the environment commands run in: without variables that would change what they do or print."""
    own = ("SBATCH_", "SQUEUE_", "SCANCEL_", "SLURM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own) or name == "SLURM_CONF"}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | ({"SLURM_CONF": str(conf)} if conf else {})


def _job(line: str) -> SlurmJob:
    # The directory comes last: only it may have a bar in it.
    fields = line.split("|", len(_FIELDS) - 1)
    try:
        number, state, wait_status, eligible, partition, directory = fields
        return SlurmJob(int(number), state, int(wait_status), eligible, partition, Path(directory.removesuffix("|")))
    except ValueError as error:
        raise Unavailable(f"squeue printed what cannot be read: {line!r}") from error


def _numbers(line: str) -> tuple[int, int]:
    priority, number = line.rstrip("|").split("|")
    return int(priority), int(number)
