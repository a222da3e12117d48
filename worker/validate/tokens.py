"""Counting the tokens of the valid samples of files that were just checked: again one pass, in memory that stays."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from contracts.dataset import Format
from contracts.datasets.findings import Finding
from handlers.ports.tokens import TokenCounts
from handlers.validation.lines import LineSplitter
from handlers.validation.report import Capped, Report
from worker.telemetry import configure_logging
from worker.tokens.batching import batched, encode_batch
from worker.tokens.encoder import SampleEncoder
from worker.tokens.samples import LeftOut, Sample, UnreadableSample, sample_of
from worker.tokens.tally import TOO_LONG, Tally
from worker.tokens.template import ChatTemplateError
from worker.tokens.trust import Distrusted
from worker.validate.checking import Advance, Checked
from worker.validate.inputs import CouldNotCheck, Input, Inputs
from worker.validate.model import Model
from worker.validate.outputs import written

#: Bytes read at a time.
_CHUNK_BYTES = 1 << 20


class CountedTokens(NamedTuple):
    """The tokens of the samples that are kept, for a model, and how long counting took, in seconds."""

    counts: TokenCounts
    model: Model
    seconds: float


class _Written(Struct):
    """What is read back of a finding."""

    line: int
    code: str
    severity: str
    file: str | UnsetType = UNSET


def encoder_of(model: Model) -> SampleEncoder:
    """Return the model's encoder. Raises CouldNotCheck where its files cannot be used."""
    # What a tokenizer has to say must not come between a program and the JSON on stdout.
    configure_logging("console", "warning")
    try:
        return SampleEncoder(model.files)
    except ValueError as error:
        raise CouldNotCheck(f"--model {model.name}: {error}") from error


def refuse_pipes(inputs: Inputs) -> None:
    """Raise CouldNotCheck where a file can be read only once: tokens are counted in a second pass."""
    for file in inputs.files:
        if not file.path.is_file():
            raise CouldNotCheck(f"{file.name}: can be read only once, and --model reads twice: save it as a file first")


class Counting:
    """One count over checked files. ``findings`` is the full list of findings on them, as ``check`` wrote it."""

    def __init__(self, checked: Checked, findings: Path, model: Model, advance: Advance) -> None:
        self._checked, self._findings, self._model, self._advance = checked, findings, model, advance
        self._left_out = _left_out(checked.inputs, findings)

    def run(
        self, encoder: SampleEncoder, *, max_per_code: int, report_path: Path | None
    ) -> tuple[Checked, CountedTokens | None]:
        """Return what was checked, with a finding on each sample that is too long, and the tokens. Blocks.

        None where the format is not known. ``report_path`` gets every finding, those of the check first.

        Raises:
            CouldNotCheck: a file cannot be read any more, the model cannot be used on a sample, or the report not be
                written.
        """
        started = perf_counter()
        with TemporaryFile() as spool:
            report, counts = self._checked.report, None
            if report.format is not None:
                capped, counts = self._count(encoder, report.format, spool, max_per_code)
                report = _with(report, capped, counts.too_long)
            if report_path:
                _write(report_path, [self._findings.open("rb"), spool])
        tokens = CountedTokens(counts, self._model, perf_counter() - started) if counts else None
        return self._checked._replace(report=report), tokens

    def _count(
        self, encoder: SampleEncoder, format: Format, spool: BinaryIO, cap: int
    ) -> tuple[Sequence[Finding], TokenCounts]:
        try:
            return self._counted(encoder.accelerated(), format, spool, cap)
        except Distrusted:
            spool.seek(0)
            spool.truncate()
            return self._counted(encoder, format, spool, cap)

    def _counted(
        self, encoder: SampleEncoder, format: Format, spool: BinaryIO, cap: int
    ) -> tuple[Sequence[Finding], TokenCounts]:
        encode, capped = msgspec.json.Encoder().encode, Capped(cap)

        def report(finding: Finding) -> None:
            spool.write(encode(self._checked.shown(finding)) + b"\n")
            capped.add(finding)

        context_length = self._model.context_length
        tally = Tally(context_length, report)
        for index, file in enumerate(self._checked.inputs.files):
            try:
                for batch in batched(self._samples(file, index)):
                    encoded_batch = encode_batch(encoder, format, batch, file.name, context_length=context_length)
                    for sample, encoded in zip(batch, encoded_batch, strict=True):
                        tally.add(encoded, sample.line, index)
            except OSError as error:
                raise CouldNotCheck(f"{file.name}: {error.strerror}") from error
            except UnreadableSample as error:
                raise CouldNotCheck(f"{error}: the file changed while it was checked") from error
            except ChatTemplateError as error:
                raise CouldNotCheck(f"--model {self._model.name}: {error}") from error
        return capped.findings(), tally.counts()

    def _samples(self, file: Input, index: int) -> Iterator[Sample]:
        left_out, splitter = self._left_out.get(index, LeftOut()), LineSplitter()
        with file.path.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                for line in splitter.feed(chunk):
                    if line.number not in left_out and (sample := sample_of(line, index, file.name)):
                        yield sample
                self._advance(file, len(chunk))
        for line in splitter.finish():
            if line.number not in left_out and (sample := sample_of(line, index, file.name)):
                yield sample


def _left_out(inputs: Inputs, findings: Path) -> dict[int, LeftOut]:
    indices: dict[Any, int] = {file.name: index for index, file in enumerate(inputs.files)}
    decoder, left_out = msgspec.json.Decoder(_Written), dict[int, LeftOut]()
    with findings.open("rb") as lines:
        for line in lines:
            finding = decoder.decode(line)
            index = indices[finding.file] if finding.file is not UNSET else 0
            left_out.setdefault(index, LeftOut()).add(finding.line, finding.code, finding.severity)
    return left_out


def _with(report: Report, found: Sequence[Finding], too_long: int) -> Report:
    if not too_long:
        return report
    return replace(
        report,
        valid_samples=report.valid_samples - too_long,
        totals=dict(sorted({**report.totals, TOO_LONG: too_long}.items())),
        findings=tuple(sorted((*report.findings, *found), key=lambda finding: (finding.file, finding.line))),
    )


def _write(path: Path, parts: Sequence[BinaryIO]) -> None:
    try:
        with written(path) as whole:
            for part in parts:
                with part:
                    part.seek(0)
                    shutil.copyfileobj(part, whole, _CHUNK_BYTES)
    except OSError as error:
        raise CouldNotCheck(f"the report cannot be written to {path}: {error.strerror}") from error
