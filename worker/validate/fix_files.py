"""Writing corrected copies of files, line by line; what is read is never written."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from contracts.strict_json import StrictParser
from handlers.validation.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES
from worker.storage.files import whole_file
from worker.validate.fixing import fix_line
from worker.validate.inputs import CouldNotCheck, Input, Inputs

Say = Callable[[str], None]


def fix_files(inputs: Inputs, out: Path, say: Say) -> Inputs:
    """Write corrected copies and return them; ``say`` is told what was done, line by line. Blocks.

    ``out`` is a file, or for several files a directory that keeps their names. A copy appears whole or not at all;
    earlier copies are replaced.

    Raises:
        CouldNotCheck: a copy would replace a file that is read, two would have one name, or reading or writing fails.
    """
    targets = [out / file.path.name if inputs.several else out for file in inputs.files]
    refuse_inputs(targets, inputs)
    if len(set(targets)) < len(targets):
        raise CouldNotCheck("two of the files have one name, and would be corrected into one: correct them one by one")
    fixed = []
    for file, target in zip(inputs.files, targets, strict=True):
        try:
            with file.path.open("rb") as source, whole_file(target) as copy:
                _fix(source, copy, _Runs(file.name, say))
            fixed.append(Input(str(target), target, target.stat().st_size))
        except OSError as error:
            raise CouldNotCheck(f"{file.name} cannot be corrected into {target}: {error.strerror}") from error
    return Inputs(tuple(fixed), inputs.several)


def refuse_inputs(targets: list[Path], inputs: Inputs) -> None:
    """Raise CouldNotCheck where something would be written over a file that is read, links included."""
    for target in targets:
        if target.exists() and any(target.samefile(file.path) for file in inputs.files):
            raise CouldNotCheck(f"{target} is one of the files to read; it is never overwritten: write elsewhere")


class _Runs:
    """Says what was done once for a run of lines: a file may have a million of one kind."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say = name, say
        self._runs: dict[str, tuple[int, int]] = {}

    def did(self, what: str, number: int) -> None:
        first, last = self._runs.get(what, (number, number))
        if number > last + 1:
            self._tell(what)
            first = number
        self._runs[what] = (first, number)

    def finish(self) -> None:
        for what in sorted(self._runs, key=self._runs.__getitem__):
            self._tell(what)

    def at_once(self, what: str, number: int) -> None:
        self._say(f"{self._name}:{number}: {what}")

    def _tell(self, what: str) -> None:
        first, last = self._runs[what]
        self._say(f"{self._name}:{first}{f'-{last}' if last > first else ''}: {what}")


def _fix(source: BinaryIO, copy: BinaryIO, runs: _Runs) -> None:
    parser = StrictParser()
    number, continued = 1, False
    for whole in _pieces(source):
        piece = whole
        if number == 1 and not continued and whole.startswith(BYTE_ORDER_MARK):
            piece = whole.removeprefix(BYTE_ORDER_MARK)
            runs.at_once("removed the byte-order mark", 1)
        ended = piece.endswith(b"\n")
        if continued or (not ended and len(piece) > MAX_LINE_BYTES):
            # A piece of a line that is too long to be read: it is copied, and reported by the check.
            copy.write(piece)
        else:
            _fix_one(piece, number, copy, runs, parser)
        continued = not ended
        number += ended
    runs.finish()


def _fix_one(piece: bytes, number: int, copy: BinaryIO, runs: _Runs, parser: StrictParser) -> None:
    ending = b"\n" if piece.endswith(b"\n") else b""
    body = piece.removesuffix(b"\n")
    if ending and body.endswith(b"\r"):
        body = body.removesuffix(b"\r")
        runs.did("ended the line with LF instead of CR LF", number)
    fixed = fix_line(body, parser)
    for what in fixed.done:
        if fixed.lines:
            runs.at_once(what, number)
        else:
            runs.did(what, number)
    if fixed.lines:
        copy.write(b"\n".join(fixed.lines) + ending)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their endings; one that is too long in pieces."""
    # Two bytes more than a line may have: its ending.
    while piece := source.readline(MAX_LINE_BYTES + 2):
        yield piece
