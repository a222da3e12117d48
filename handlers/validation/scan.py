"""Scanning one file of a dataset: bytes in, findings out, in bounded memory and one pass.

Lines are cut (lines.py), read (line_reading.py) and judged by the rules of the format (rules.py). The first few objects
say which format the file has; until then their lines are held back.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from contracts.dataset import Format
from contracts.datasets.findings import CODES, Finding
from contracts.strict_json import Path, StrictParser, pointer
from handlers.validation import detect
from handlers.validation.copies import EarlierLines
from handlers.validation.line_reading import Reading, read_line
from handlers.validation.lines import MAX_LINE_BYTES, Line, LineSplitter
from handlers.validation.problems import Problem
from handlers.validation.rules import RULES, Rules
from handlers.validation.statistics import Tally

#: Findings of one line: a line of 16 MiB could have millions.
MAX_FINDINGS_A_LINE = 1000

#: Characters of a pointer.
MAX_POINTER_LENGTH = 1000

#: The format is decided by this many objects, or by what comes before so many bytes or lines.
_OBJECTS_TO_DECIDE = 10
_BYTES_TO_DECIDE = 1 << 20
_LINES_TO_DECIDE = 1000

_BLANK = b" \t\r\n"


class FileResult(Struct, frozen=True, kw_only=True):
    """What a scan counted. ``format`` is None where it was to be found out and nothing could be recognised.

    ``samples`` are the lines that are not blank; ``valid_samples`` those without an error. ``totals`` counts the
    findings a code, exactly. In valid samples, ``roles`` counts messages, ``labels`` documents, ``candidates`` samples
    by how many they have, ``spellings`` samples by which of several spellings they are in.
    """

    format: Format | None
    size_bytes: int
    sha256: str
    samples: int
    valid_samples: int
    roles: dict[str, int]
    totals: dict[str, int]
    labels: dict[str, int] = {}
    candidates: dict[str, int] = {}
    spellings: dict[str, int] = {}


def scan_stream(
    chunks: Iterable[bytes], format: Format | Literal["auto"], report: Callable[[Finding], None], *, file: int = 0
) -> FileResult:
    """Scan a file given in chunks of any size. ``report`` gets each finding once, in the order of lines.

    Blocks. Deterministic, whatever the chunks. Raises only what ``chunks`` or ``report`` raise.
    """
    scan = Scan(format, report, file=file)
    for chunk in chunks:
        scan.feed(chunk)
    return scan.finish()


class Scan:
    """One scan that is fed as bytes arrive. Not for two threads at once."""

    def __init__(
        self,
        format: Format | Literal["auto"],
        report: Callable[[Finding], None],
        *,
        file: int = 0,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self._declared, self._report, self._file = format, report, file
        self._format: Format | None = None if format == "auto" else format
        self._max_line_bytes = max_line_bytes
        self._lines, self._parser, self._earlier = LineSplitter(max_line_bytes), StrictParser(), EarlierLines()
        self._hash, self._size, self._samples, self._valid = sha256(), 0, 0, 0
        self._tally = Tally()
        self._totals: Counter[str] = Counter()
        self._decided = False
        self._rules: Rules | None = None  # Decided and None: the lines are counted, not judged.
        self._held: list[Line] = []
        self._held_bytes = 0
        self._seen: list[str | None] = []
        self._first_fields = ""

    def feed(self, chunk: bytes) -> None:
        """Scan the next bytes."""
        self._hash.update(chunk)
        self._size += len(chunk)
        for line in self._lines.feed(chunk):
            self._next(line)

    def finish(self) -> FileResult:
        """Scan what is left and return the counts. Call it once, after the last feed."""
        for line in self._lines.finish():
            self._next(line)
        if self._held:
            self._decide()
        self._say_once("byte-order-mark", "the file begins with a byte-order mark", self._lines.byte_order_mark)
        if not self._samples:
            self._say(1, Problem((), "empty-file", "the file has no samples", "upload it again, with data"))
        return FileResult(
            format=self._format,
            size_bytes=self._size,
            sha256=self._hash.hexdigest(),
            samples=self._samples,
            valid_samples=self._valid,
            roles=self._tally.of("roles"),
            totals=dict(sorted(self._totals.items())),
            labels=self._tally.of("labels"),
            candidates=self._tally.of("candidates"),
            spellings=self._tally.of("spellings"),
        )

    def _next(self, line: Line) -> None:
        """Take a line, or hold it back until the format is decided."""
        if self._decided:
            self._take(line)
            return
        reading = self._read(line)
        if not reading.objects and not self._held:
            # Nothing to decide by. What is wrong with such a line is wrong in every format.
            self._take(line)
            return
        self._held.append(line)
        self._held_bytes += line.size
        if reading.objects:
            self._first_fields = self._first_fields or detect.fields_of(reading.objects[0])
            self._seen.append(detect.looks_like(reading.objects[0]))
        if (
            len(self._seen) >= _OBJECTS_TO_DECIDE
            or self._held_bytes >= _BYTES_TO_DECIDE
            or len(self._held) >= _LINES_TO_DECIDE
        ):
            self._decide()

    def _decide(self) -> None:
        self._decided = True
        if self._declared == "auto":
            self._format = detect.detected(self._seen)
        problem = self._wrong_format()
        if problem:
            self._say(1, problem)
        elif self._format is not None:
            self._rules = RULES[self._format]
        held, self._held = self._held, []
        for line in held:
            self._take(line)

    def _wrong_format(self) -> Problem | None:
        if self._format is None:
            message = f"no known format: the first object has the fields {self._first_fields}"
            hint = "; or ".join(f"{name}: {shape}" for name, shape in detect.SHAPES.items())
            return Problem((), "wrong-format", message, hint)
        looks = detect.disagreement(self._format, self._seen)
        if looks:
            message = f"the file is read as {self._format}, but looks like {looks}"
            return Problem((), "wrong-format", message, f"{self._format} is {detect.SHAPES[self._format]}")
        return None

    def _take(self, line: Line) -> None:
        self._say_once("byte-order-mark", "the file begins with a byte-order mark", self._lines.byte_order_mark)
        self._say_once("crlf-line-endings", "lines end with CR LF", line.crlf)
        if line.body is not None and not line.body.strip(_BLANK):
            self._say(line.number, Problem((), "blank-line", "the line is blank", "nothing to do: it is skipped"))
            return
        self._samples += 1
        if self._decided and self._rules is None:
            return
        if not self._judge(line):
            self._valid += 1

    def _judge(self, line: Line) -> bool:
        """Report every problem of a line and return whether one of them is an error."""
        reading = self._read(line)
        wrong = False
        for count, problem in enumerate(self._problems(reading)):
            # Past the bound only the first error still counts: without one the line would pass as valid.
            if count < MAX_FINDINGS_A_LINE or (not wrong and CODES[problem.code].severity == "error"):
                wrong = self._say(line.number, problem) or wrong
            elif wrong:
                break
        if not wrong and self._rules and line.body is not None:
            self._tally.add(self._rules.tally(reading.objects[0]))
            earlier = self._earlier.see(line.body.strip(_BLANK), line.number)
            if earlier is not None:
                message = f"the same as line {earlier}"
                self._say(
                    line.number, Problem((), "duplicate-sample", message, "remove one, unless it shall weigh more")
                )
        return wrong

    def _read(self, line: Line) -> Reading:
        if line.body is not None:
            return read_line(line.body, self._parser) if line.body.strip(_BLANK) else Reading((), ())
        message = f"the line is {line.size} bytes long; at most {self._max_line_bytes} are read"
        return Reading((), (Problem((), "line-too-long", message, "split the sample"),))

    def _problems(self, reading: Reading) -> Iterator[Problem]:
        yield from reading.problems
        for number, each in enumerate(reading.objects, start=1):
            prefix = f"object {number} of the line: " if len(reading.objects) > 1 else ""
            for problem in self._rules.check(each) if self._rules else ():
                yield problem._replace(message=prefix + problem.message)

    def _say_once(self, code: str, message: str, applies: bool) -> None:
        if applies and not self._totals[code]:
            self._say(1, Problem((), code, message, "nothing to do: it is skipped"))

    def _say(self, line: int, problem: Problem) -> bool:
        """Report a finding and return whether it is an error."""
        severity = CODES[problem.code].severity
        self._totals[problem.code] += 1
        self._report(
            Finding(
                line=line,
                pointer=_pointer(problem.path),
                code=problem.code,
                severity=severity,
                message=problem.message,
                hint=problem.hint,
                file=self._file,
            )
        )
        return severity == "error"


def _pointer(path: Path) -> str:
    """Return a path as a pointer; where that is very long, the pointer of what it is in. Names can be megabytes."""
    steps = [pointer((step,)) for step in path]
    while sum(map(len, steps)) > MAX_POINTER_LENGTH:
        steps.pop()
    return "".join(steps)
