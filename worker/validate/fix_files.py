"""Writing corrected copies of files, line by line; what is read is never written."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from contracts.strict_json import StrictParser, printable
from handlers.validation.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES
from worker.validate.fixing import fix_line
from worker.validate.inputs import STDIN, CouldNotCheck, Input, Inputs
from worker.validate.outputs import STDOUT, is_stdout, is_stream, written

Say = Callable[[str], None]


@contextmanager
def fixed_files(inputs: Inputs, targets: Sequence[Path], say: Say) -> Iterator[Inputs]:
    """Write a corrected copy of each file and give the copies; ``say`` is told what was done, line by line. Blocks.

    A file appears whole or not at all. What goes to a stream is kept beside it until the
    end, since it can be read only once.

    Raises:
        CouldNotCheck: reading or writing fails.
    """
    with TemporaryDirectory(prefix="fixed-") as scratch:
        fixed = []
        for index, (file, target) in enumerate(zip(inputs.files, targets, strict=True)):
            try:
                fixed.append(_fix_file(file, target, Path(scratch, str(index)), say))
            except OSError as error:
                raise CouldNotCheck(f"{file.name} cannot be corrected into {target}: {error.strerror}") from error
        yield Inputs(tuple(fixed), inputs.several)


def targets_of(inputs: Inputs, out: Path) -> list[Path]:
    """Return where the corrected copies go: to one place, or for several files into a directory, under their names.

    Raises:
        CouldNotCheck: two would have one name, or several would go into one stream.
    """
    if not inputs.several:
        return [out] * len(inputs.files)
    if is_stream(out):
        raise CouldNotCheck(f"several files are corrected into a directory, and {out} is none")
    targets = [out / file.path.name for file in inputs.files]
    if len(set(targets)) < len(targets):
        raise CouldNotCheck("two of the files have one name, and would be corrected into one: correct them one by one")
    return targets


def refuse_overwriting(copies: Sequence[Path], report: Path | None, inputs: Inputs, *, force: bool) -> None:
    """Raise CouldNotCheck where one result would be written over a file that is read, or over another result.

    Nor is a corrected copy written over a file that is there, without ``force``. Standard output that is a file
    is none of these: it is written on from where it stands.
    """
    for target in [*copies, *([report] if report else [])]:
        if target.is_file() and any(target.samefile(file.path) for file in inputs.files):
            raise CouldNotCheck(f"{target} is one of the files to read; it is never overwritten: write elsewhere")
    if report and os.path.realpath(report) in map(os.path.realpath, copies):
        raise CouldNotCheck(f"the report and the corrected copy would both go to {report}: write one of them elsewhere")
    if not force and (there := next((copy for copy in copies if copy.is_file() and not is_stdout(copy)), None)):
        raise CouldNotCheck(f"{there} is there already: write elsewhere, or replace it with --force")


def _fix_file(file: Input, target: Path, scratch: Path, say: Say) -> Input:
    readable = scratch if is_stream(target) else target
    with file.path.open("rb") as source, written(readable) as copy:
        _fix(source, copy, _Runs(file.name, say))
    if readable is not target:
        with readable.open("rb") as copied, written(target) as stream:
            shutil.copyfileobj(copied, stream)
    return Input(STDIN if target == STDOUT else printable(str(target)), readable, readable.stat().st_size)


class _Runs:
    """Says what was done in the order of lines, once for a run of lines alike: a file may have a million of a kind."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say = name, say
        self._done: tuple[str, ...] = ()
        self._first = self._last = 0

    def did(self, done: tuple[str, ...], number: int) -> None:
        if done != self._done or number > self._last + 1:
            self.finish()
            self._done, self._first = done, number
        self._last = number

    def finish(self) -> None:
        lines = f"{self._first}-{self._last}" if self._last > self._first else str(self._first)
        for what in self._done:
            self._say(f"{self._name}:{lines}: {what}")


def _fix(source: BinaryIO, copy: BinaryIO, runs: _Runs) -> None:
    parser = StrictParser()
    number, continued = 1, False
    for whole in _pieces(source):
        piece, done = whole, []
        if number == 1 and not continued and whole.startswith(BYTE_ORDER_MARK):
            piece = whole.removeprefix(BYTE_ORDER_MARK)
            done.append("removed the byte-order mark")
        ended = piece.endswith(b"\n")
        if continued or (not ended and len(piece) > MAX_LINE_BYTES):
            # A piece of a line that is too long to be read: it is copied, and reported by the check.
            copy.write(piece)
        else:
            done += _fix_one(piece, copy, parser)
        runs.did(tuple(done), number)
        continued = not ended
        number += ended
    runs.finish()


def _fix_one(piece: bytes, copy: BinaryIO, parser: StrictParser) -> list[str]:
    """Write what is to be there instead of a line; return what was done."""
    ending = b"\n" if piece.endswith(b"\n") else b""
    body, done = piece.removesuffix(b"\n"), []
    if ending and body.endswith(b"\r"):
        body = body.removesuffix(b"\r")
        done.append("ended the line with LF instead of CR LF")
    fixed = fix_line(body, parser)
    if fixed.lines:
        copy.write(b"\n".join(fixed.lines) + ending)
    return [*done, *fixed.done]


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their endings; one that is too long in pieces."""
    # Two bytes more than a line may have: its ending.
    while piece := source.readline(MAX_LINE_BYTES + 2):
        yield piece
