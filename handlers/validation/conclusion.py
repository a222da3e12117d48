"""From the scans of its files to the report on a dataset."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from contracts.dataset import CheckedFile, DeclaredFormat, Format
from contracts.datasets.findings import CODES, Finding
from handlers.validation.report import CAP, Capped, Report
from handlers.validation.scan import FileResult
from handlers.validation.statistics import total

#: Fewer samples are hardly enough to learn from.
FEW_SAMPLES = 10


class ScannedFile(Struct, frozen=True, kw_only=True):
    """One file: what it was pinned to, what its scan counted, and the first findings of each code."""

    checked: CheckedFile
    result: FileResult
    findings: tuple[Finding, ...]


class Copies(Struct, frozen=True, kw_only=True):
    """How many lines are the same as an earlier one of the dataset, and the findings on the first of them."""

    total: int
    findings: tuple[Finding, ...]


NO_COPIES = Copies(total=0, findings=())


class Conclusion(Struct, frozen=True, kw_only=True):
    """The report, and what became of the files' own findings in the full list.

    The findings of the files in ``replaced`` do not count: such a file is another format than the dataset. ``added``
    are the findings that no file shows alone.
    """

    report: Report
    replaced: frozenset[int]
    added: tuple[Finding, ...]


def not_compared(declared: DeclaredFormat, scanned: Sequence[ScannedFile]) -> frozenset[int]:
    """Return the files whose lines are not looked for copies: those of another format, and whole copies of others."""
    copies = frozenset(finding.file for finding in _copies(scanned))
    return copies | _strangers(scanned, _format(declared, scanned))


def copy_finding(line: int, file: int, first_line: int, first_file: int) -> Finding:
    """Return the finding on a line that is the same as an earlier one. Files count from 0."""
    where = f"line {first_line}" if file == first_file else f"line {first_line} of file {first_file + 1}"
    return _finding("duplicate-sample", f"the same as {where}", file, "remove one, unless it shall weigh more", line)


def conclude(
    digest: str,
    declared: DeclaredFormat,
    scanned: Sequence[ScannedFile],
    copies: Copies = NO_COPIES,
    *,
    cap: int = CAP,
) -> Conclusion:
    """Return the report on a dataset's files, in their order; of each code it names ``cap`` findings.

    Pure: the same scans give the same report.
    """
    settled = _format(declared, scanned)
    strangers = _strangers(scanned, settled)
    files = [_stranger(file, index, settled) if index in strangers else file for index, file in enumerate(scanned)]
    samples = sum(file.result.samples for file in files)
    added = [finding for index in sorted(strangers) for finding in files[index].findings]
    across = [*_copies(files), *_few(samples)]
    totals: Counter[str] = Counter(finding.code for finding in across)
    totals["duplicate-sample"] += copies.total
    capped = Capped(cap)
    for file in files:
        totals.update(file.result.totals)
        for finding in file.findings:
            capped.add(finding)
    for finding in (*across, *copies.findings):
        capped.add(finding)
    report = Report(
        digest=digest,
        format=settled,
        files=tuple(file.checked for file in files),
        samples=samples,
        valid_samples=sum(file.result.valid_samples for file in files),
        totals={code: count for code, count in sorted(totals.items()) if count},
        findings=capped.findings(),
        roles=total(file.result.roles for file in files),
        labels=total(file.result.labels for file in files),
        candidates=total(file.result.candidates for file in files),
        spellings=total(file.result.spellings for file in files),
    )
    return Conclusion(report=report, replaced=strangers, added=(*added, *across))


def _strangers(scanned: Sequence[ScannedFile], format: Format | None) -> frozenset[int]:
    return frozenset(index for index, file in enumerate(scanned) if file.result.format not in {None, format})


def _format(declared: DeclaredFormat, scanned: Sequence[ScannedFile]) -> Format | None:
    if declared != "auto":
        return declared
    return next((file.result.format for file in scanned if file.result.format is not None), None)


def _stranger(file: ScannedFile, index: int, format: Format | None) -> ScannedFile:
    """Return a file of another format than the dataset's, as the one finding it is."""
    message = f"the file is {file.result.format}, but the files before it are {format}"
    finding = _finding("wrong-format", message, index, "import files of one format together")
    result = replace(
        file.result,
        valid_samples=0,
        roles={},
        labels={},
        candidates={},
        spellings={},
        totals={"wrong-format": 1},
    )
    return ScannedFile(checked=file.checked, result=result, findings=(finding,))


def _copies(files: Sequence[ScannedFile]) -> list[Finding]:
    first: dict[str, int] = {}
    found = []
    for index, file in enumerate(files):
        earlier = first.setdefault(file.checked.sha256, index)
        if earlier != index and file.result.samples:
            message = f"the whole file is the same as file {earlier + 1}"
            found.append(_finding("duplicate-sample", message, index, "remove one, unless it shall weigh more"))
    return found


def _few(samples: int) -> list[Finding]:
    if not 0 < samples < FEW_SAMPLES:
        return []
    message = f"{samples} sample{'s' * (samples != 1)} in the whole dataset"
    return [_finding("too-few-samples", message, 0, f"train on at least {FEW_SAMPLES}, better hundreds")]


def _finding(code: str, message: str, file: int, hint: str, line: int = 1) -> Finding:
    severity = CODES[code].severity
    return Finding(line=line, pointer="", code=code, severity=severity, message=message, hint=hint, file=file)
