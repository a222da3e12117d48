"""Scanning a file of a dataset: bytes in, findings out, in bounded memory and one pass.

Blocks of lines are cut (lines.py). The first few objects say which format the file has (opening.py). From then on the
plain lines of a block are recognised together (plain.py); every other line is read (line_reading.py) and judged by the
rules of the format (rules.py).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from contracts.dataset import DeclaredFormat, Format
from contracts.datasets.findings import CODES, Finding
from contracts.strict_json import StrictParser
from handlers.validation.line_digests import LineDigests
from handlers.validation.line_reading import Reading, read_line
from handlers.validation.lines import BLOCK_BYTES, MAX_LINE_BYTES, Block, BlockCutter, Line, LongLine, line_of, lines_of
from handlers.validation.one_value import ARRAY_TO_LINES
from handlers.validation.opening import Decision, Opening
from handlers.validation.plain import Shape, plain_lines
from handlers.validation.problems import Problem
from handlers.validation.rules import RULES, Rules
from handlers.validation.statistics import Tally
from handlers.validation.telling import Telling

#: Findings of one line: a line of 16 MiB could have millions.
MAX_FINDINGS_A_LINE = 1000

#: After a block in which some line was not plain: in smaller ones fewer lines stand beside such a line.
_SMALL_BLOCK_BYTES = 16 << 10

#: Shapes are added up before there are too many of them to keep.
_MOST_SHAPES = 10_000

_BLANK = b" \t\r\n"


class FileResult(Struct, frozen=True, kw_only=True):
    """What a scan counted. ``format`` is None where it was to be found out and nothing could be recognised.

    ``samples`` are the lines that are not blank; ``valid_samples`` those without an error. ``totals`` counts the
    findings a code, exactly. In valid samples, ``roles`` counts messages, ``labels`` documents, ``candidates`` samples
    by how many they have, ``spellings`` samples by which of several spellings they are in.
    """

    format: Format | None
    size_bytes: int
    lines: int
    samples: int
    valid_samples: int
    roles: dict[str, int]
    totals: dict[str, int]
    labels: dict[str, int] = {}
    candidates: dict[str, int] = {}
    spellings: dict[str, int] = {}


def scan_stream(
    chunks: Iterable[bytes], format: DeclaredFormat, report: Callable[[Finding], None], *, file: int = 0
) -> FileResult:
    """Scan a file given in chunks of any size. ``report`` gets each finding once, in the order of lines.

    Blocks. Deterministic, whatever the chunks. Raises only what ``chunks`` or ``report`` raise.
    """
    scan = Scan(format, report, file=file)
    for chunk in chunks:
        scan.feed(chunk)
    return scan.finish()


class Scan:
    """One scan that is fed as bytes arrive. Not for two threads at once.

    ``digests`` gets one entry a line, for finding copies later: of valid samples alone. ``decision`` is what the
    beginning of the file said, where this is a later part of it. Not ``fast``: the rules judge every line; findings and
    counts are the same.
    """

    def __init__(
        self,
        format: DeclaredFormat,
        report: Callable[[Finding], None],
        *,
        file: int = 0,
        digests: LineDigests | None = None,
        decision: Decision | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
        fast: bool = True,
    ) -> None:
        self._tell, self._digests, self._fast = Telling(report, file), digests, fast
        self._max_line_bytes = max_line_bytes
        self._cutter = BlockCutter(max_line_bytes, at_start=decision is None)
        self._parser, self._tally = StrictParser(), Tally()
        self._size = self._samples = self._valid = 0
        self._line = 1
        self._shapes: Counter[Shape] = Counter()
        self._whole = decision is None
        self._opening = Opening(format)
        self._rules: Rules | None = None
        self.decision = decision
        if decision is not None:
            self._settle(decision)

    def feed(self, chunk: bytes | bytearray) -> None:
        """Scan the next bytes. The buffer may be reused afterwards."""
        self._size += len(chunk)
        for block in self._cutter.feed(chunk):
            self._take_block(block)

    def finish(self) -> FileResult:
        """Scan what is left and return the counts. Call it once, after the last feed."""
        for block in self._cutter.finish():
            self._take_block(block)
        if self.decision is None and self._opening.held:
            self._decide()
        self._note_byte_order_mark()
        if self._whole and not self._samples:
            self._tell.problem(1, Problem((), "empty-file", "the file has no samples", "upload it again, with data"))
        self._add_shapes()
        return FileResult(
            format=self.decision.format if self.decision else self._opening.declared,
            size_bytes=self._size,
            lines=self._line - 1,
            samples=self._samples,
            valid_samples=self._valid,
            roles=self._tally.of("roles"),
            totals=dict(sorted(self._tell.totals.items())),
            labels=self._tally.of("labels"),
            candidates=self._tally.of("candidates"),
            spellings=self._tally.of("spellings"),
        )

    def _take_block(self, block: Block | LongLine) -> None:
        if isinstance(block, Block) and self._may_be_plain(block):
            self._take_plain(block)
            return
        for line in lines_of(block, self._line, self._max_line_bytes):
            self._line += 1
            self._next(line)

    def _may_be_plain(self, block: Block) -> bool:
        return (
            self._fast
            and self._rules is not None
            and len(block.body) <= self._max_line_bytes
            # The first CR of a file is for the note on line endings.
            and (self._tell.totals["crlf-line-endings"] > 0 or b"\r" not in block.body)
        )

    def _take_plain(self, block: Block) -> None:
        """Take the plain lines of a block together, and every other by itself."""
        assert self._rules is not None
        self._note_byte_order_mark()
        plain = plain_lines(block, self._rules.plain, self._shapes)
        several = sum(plain)
        self._samples += several
        self._valid += several
        first = 0
        for index in [index for index, is_plain in enumerate(plain) if not is_plain]:
            self._keep(block, first, index)
            ended = block.ended or index < len(block.lines) - 1
            self._take(line_of(block.lines[index], self._line + index, self._max_line_bytes, ended=ended))
            first = index + 1
        self._keep(block, first, len(plain))
        self._line += len(plain)
        if several == len(plain):
            self._cutter.block_bytes = min(self._cutter.block_bytes + _SMALL_BLOCK_BYTES, BLOCK_BYTES)
        else:
            self._cutter.block_bytes = _SMALL_BLOCK_BYTES
        if len(self._shapes) > _MOST_SHAPES:
            self._add_shapes()

    def _keep(self, block: Block, first: int, end: int) -> None:
        """Remember valid lines of a block, for finding copies."""
        if self._digests and first < end:
            self._digests.add([line.strip(_BLANK) for line in block.lines[first:end]])

    def _next(self, line: Line) -> None:
        """Take a line, or hold it back until the format is decided."""
        if self.decision is not None:
            self._take(line)
            return
        reading = self._read(line)
        if not reading.objects and not self._opening.held and not self._opening.may_begin_value(line):
            # Nothing to decide by. What is wrong with such a line is wrong in every format.
            self._take(line)
        elif self._opening.hold(line, reading.objects):
            self._decide()

    def _decide(self) -> None:
        decision = self._opening.decide()
        if decision:
            if decision.wrong:
                self._tell.problem(1, decision.wrong)
            self._settle(decision)
        for line in self._opening.release():
            self._take(line)

    def _settle(self, decision: Decision) -> None:
        self.decision = decision
        self._rules = RULES[decision.format] if decision.format and not decision.wrong else None

    def _take(self, line: Line) -> None:
        self._note_byte_order_mark()
        if line.crlf:
            self._tell.note_once("crlf-line-endings", "lines end with CR LF", "it is read as LF")
        valid = False
        if line.body is not None and not line.body.strip(_BLANK):
            blank = Problem((), "blank-line", "the line is blank", "nothing to do: it is skipped")
            self._tell.problem(line.number, blank)
        else:
            self._samples += 1
            valid = (self.decision is None or self._rules is not None) and self._is_valid(line)
            self._valid += valid
        if self._digests:
            if valid and line.body is not None:
                self._digests.add([line.body.strip(_BLANK)])
            else:
                self._digests.skip(1)

    def _is_valid(self, line: Line) -> bool:
        """Report every problem of a line and return whether none of them is an error."""
        reading = self._read(line)
        wrong = False
        for count, problem in enumerate(self._problems(reading)):
            # Past the bound only the first error still counts: without one the line would pass as valid.
            if count < MAX_FINDINGS_A_LINE or (not wrong and CODES[problem.code].severity == "error"):
                wrong = self._tell.problem(line.number, problem) or wrong
            elif wrong:
                break
        if not wrong and self._rules:
            self._tally.add(self._rules.tally(reading.objects[0]))
        return not wrong

    def _read(self, line: Line) -> Reading:
        if line.body is not None:
            return read_line(line.body, self._parser) if line.body.strip(_BLANK) else Reading((), ())
        message = f"the line is {line.size} bytes long; at most {self._max_line_bytes} are read"
        hint = f"split the sample; a list of samples is split by {ARRAY_TO_LINES}"
        return Reading((), (Problem((), "line-too-long", message, hint),))

    def _problems(self, reading: Reading) -> Iterator[Problem]:
        yield from reading.problems
        for number, each in enumerate(reading.objects, start=1):
            prefix = f"object {number} of the line: " if len(reading.objects) > 1 else ""
            for problem in self._rules.check(each) if self._rules else ():
                yield problem._replace(message=prefix + problem.message)

    def _add_shapes(self) -> None:
        """Add what the plain samples have to the statistics."""
        for shape, times in self._shapes.items():
            assert self._rules is not None
            self._tally.add_times(self._rules.plain.counted(shape), times)
        self._shapes.clear()

    def _note_byte_order_mark(self) -> None:
        if self._cutter.byte_order_mark:
            self._tell.note_once("byte-order-mark", "the file begins with a byte-order mark", "it is skipped")
