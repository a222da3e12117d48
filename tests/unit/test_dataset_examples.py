"""Each example file pins what its name says: ``<code>.jsonl`` or ``<code>--<variant>.jsonl``."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from contracts.dataset import CheckedFile, DeclaredFormat, Format
from contracts.datasets import preference, pretrain, ranking, sft
from contracts.datasets.findings import CODES, Finding, codes_of
from handlers.validation.rules import RULES
from handlers.validation.scan import FileResult
from worker.scan.conclusion import FileScan, concluded
from worker.scan.local import scan_local
from worker.scan.parts import Part

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples" / "datasets"

#: Codes without an example file, each with the reason.
WITHOUT_EXAMPLE = {"line-too-long": "a file of 16 MiB does not belong in a repository"}


SAMPLES = {"sft": sft.Sample, "preference": preference.Sample, "ranking": ranking.Sample, "pretrain": pretrain.Sample}


def files(kind: str) -> list[object]:
    found = sorted(EXAMPLES.glob(f"*/{kind}/*.jsonl"))
    return [pytest.param(path, id=f"{path.parts[-3]}/{path.stem}") for path in found]


def scan(path: Path, declared: DeclaredFormat) -> tuple[FileResult, list[Finding]]:
    """Return what is found in one file, but for that it has few samples."""
    with TemporaryDirectory() as scratch:
        part = Part(file=0, format=declared, findings_path=f"{scratch}/findings", digests_path=f"{scratch}/digests")
        parts, sha256 = scan_local(path, part, 1, lambda _: None)
        checked = CheckedFile(uri=path.name, etag="", size_bytes=path.stat().st_size, sha256=sha256)
        found = concluded("", declared, [FileScan(checked=checked, parts=parts)], Path(scratch))
        findings = [msgspec.json.decode(line, type=Finding) for line in found.findings()]
    return parts[0].result, [finding for finding in findings if CODES[finding.code].scope != "dataset"]


def declared_as(path: Path) -> Format:
    declared: Format = msgspec.convert(path.parts[-3], Format)
    return declared


def code_of(path: Path) -> str:
    return path.stem.split("--")[0]


@pytest.mark.parametrize("path", files("invalid"))
def test_an_invalid_example_has_its_fault_and_no_other(path: Path) -> None:
    _, findings = scan(path, declared_as(path))
    assert {finding.code for finding in findings} == {code_of(path)}
    assert all(finding.message and finding.hint for finding in findings)
    if code_of(path) == "wrong-format":
        assert [finding.line for finding in findings] == [1]


@pytest.mark.parametrize("path", files("valid"))
def test_a_valid_example_has_no_fault(path: Path) -> None:
    result, findings = scan(path, declared_as(path))
    assert findings == []
    assert result.samples == result.valid_samples > 0


@pytest.mark.parametrize("path", files("valid"))
def test_a_valid_example_is_what_the_contract_decodes(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        msgspec.json.decode(line, type=SAMPLES[path.parts[-3]])


@pytest.mark.parametrize("path", files("valid"))
def test_the_format_of_a_valid_example_is_told(path: Path) -> None:
    result, findings = scan(path, "auto")
    assert (result.format, findings) == (path.parts[-3], [])


@pytest.mark.parametrize("format", RULES)
def test_every_code_has_an_example_and_a_valid_twin(format: str) -> None:
    expected = codes_of(format) - set(WITHOUT_EXAMPLE)
    assert {code_of(path) for path in (EXAMPLES / format / "invalid").glob("*.jsonl")} == expected
    assert expected <= {code_of(path) for path in (EXAMPLES / format / "valid").glob("*.jsonl")}


def test_no_example_is_in_a_folder_nobody_reads() -> None:
    every = {path for path in EXAMPLES.rglob("*") if path.is_file() and path.name != ".gitattributes"}
    assert every == {path for name in RULES for path in (EXAMPLES / name).glob("*valid/*.jsonl")}
