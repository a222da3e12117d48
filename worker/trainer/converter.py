"""llama.cpp's own script that makes a GGUF file of a model's folder, where the operator has given one.

What knows architectures and tokenizers is that script, which changes with llama.cpp. So it is run as it is, in a
process of its own, which is told no secret, and of which nothing is believed but a file that can be read.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from contracts.gguf import GgufType
from worker import tied_process
from worker.models.gguf_header import BrokenGguf, check_header
from worker.trainer import environment

#: Seconds between two looks whether it has ended, or should.
_LOOK_SECONDS = 0.1
#: Of the environment, what a Python process needs to run here. Nothing else is passed on: the rest may be secrets.
_PASSED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
#: What of its last words is read, in bytes, and what of them is said, in characters.
_READ, _SAID = 4096, 300
#: Bytes it may say: what it writes lies where the job still needs room.
_MOST_SAID = 100_000_000


class NotMade(Exception):
    """There is no GGUF. ``reason`` is for programs (see :class:`contracts.gguf.Gguf`), the text for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Converter(NamedTuple):
    """The script, the seconds it may take, and whether what it makes is still wanted, which is asked while it runs."""

    script: Path | None
    seconds: float
    wanted: Callable[[], bool]

    def convert(self, folder: Path, target: Path, type: GgufType) -> None:
        """Write the model in a folder as the file ``target``, which is whole then. Blocks, its seconds at most.

        The folder of ``target`` is made, and is the script's own. Raises NotMade, whatever the script does; it has
        ended then, with all it started.
        """
        if self.script is None:
            raise NotMade("no-converter", "the trainer's machine has no converter: WORKER_GGUF_CONVERTER is not set")
        command = [sys.executable, str(self.script), "--outfile", str(target), "--outtype", type, str(folder)]
        words = target.with_suffix(".log")
        try:
            if not self.script.is_file():
                raise NotMade("no-converter", "the file that WORKER_GGUF_CONVERTER names is not there")
            target.parent.mkdir()
            code = self._run(command, words)
            if code != 0:
                raise NotMade("converter-failed", f"the converter ended with {code}: {_last_words(words, folder)}")
            # A pipe would be waited for without end, and a link may lead to what is no model.
            if target.is_symlink() or not target.is_file():
                raise NotMade("unusable", "the converter says that it is done, and wrote no file")
            check_header(target)
        except BrokenGguf as error:
            raise NotMade("unusable", f"what the converter wrote is no GGUF file: {error}") from error
        except OSError as error:
            raise NotMade("converter-failed", f"the converter could not be run: {error.strerror}") from error

    def _run(self, command: list[str], words: Path) -> int:
        with words.open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - the operator's script, on files that hold no code
                [*tied_process.tie(), *command],
                env=_environment(words.parent),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            _give_way(process.pid)
            return self._waited(process, words)
        finally:
            _end(process)

    def _waited(self, process: "subprocess.Popen[bytes]", words: Path) -> int:
        deadline = time.monotonic() + self.seconds
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_SECONDS)
            if not self.wanted():
                raise NotMade("stopped", "the job was told to end before the converter was done")
            if words.stat().st_size > _MOST_SAID:
                raise NotMade("converter-failed", f"the converter said more than {_MOST_SAID // 1_000_000} MB")
            if time.monotonic() > deadline:
                raise NotMade("timed-out", f"the converter took longer than {self.seconds:g} s")


def _environment(scratch: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    # Offline, so that no model's configuration can have anything fetched; and beside a trainer no GPU is free.
    offline = dict.fromkeys(environment.OFFLINE, "1") | {"CUDA_VISIBLE_DEVICES": ""}
    return passed | offline | {"HOME": str(scratch), "TMPDIR": str(scratch)}


def _give_way(pid: int) -> None:
    """Have a process, and what it starts, killed first where memory runs out: before the trainer."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a session, and wait for its first process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(path: Path, model: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _READ))
        lines = file.read().decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    # The longer path first, as one may begin with the other; before the cut, which would leave a part of one.
    for folder in sorted(map(str, (model, path.parent)), key=len, reverse=True):
        last = last.replace(folder, ".")
    return "".join(filter(str.isprintable, last.strip()))[:_SAID]
