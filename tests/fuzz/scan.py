"""Fuzz the scan of datasets: ``python -m tests.fuzz.scan FORMAT [libFuzzer's options, such as -max_total_time=600]``.

Whatever the bytes: nothing is raised, the scan says the same whether it looks for plain lines or lets the rules judge
every line, and the same in whatever chunks and parts the bytes come. Exit code 0 where nothing is found; else libFuzzer
writes the input to ``crash-*``.
"""

import sys
from pathlib import Path
from random import Random
from typing import get_args

import atheris

with atheris.instrument_imports(include=["handlers.validation", "contracts"]):
    import msgspec

    from contracts.dataset import Format
    from contracts.datasets.findings import Finding
    from handlers.validation.opening import Decision
    from handlers.validation.scan import FileResult, Scan

_EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples" / "datasets"

#: Longer inputs find nothing more.
_MOST_BYTES = 20_000

_TOKENS = (
    *(b'"', b"\\", b"\\u0022", b"\\u0072", b"\\ud800", b"\xff", b"\xc3", b"\n", b"\r", b"\r\n", b" ", b"\xef\xbb\xbf"),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b",0,",
        b"},{",
        b"}{",
        b"null",
        b"true",
        b"NaN",
        b"1e400",
        b"0",
        b"1",
        b"0.5",
    ),
    *(b'"role":', b'"content":', b'"text":', b'"label":', b'"score":', b'"loss_weight":', b'"reasoning_content":'),
    *(
        b'"name":',
        b'"docs":',
        b'"query":',
        b'"messages":',
        b'"chosen":',
        b'"rejected":',
        b'"lm_loss_mask":',
        b'"tools":',
    ),
    *(b'"user"', b'"assistant"', b'"system"', b'"tool"', b'""', b"<|im_end|>", b"[INST]", b"</s>"),
)


def said(data: bytes, format: Format, cuts: list[int], *, fast: bool) -> tuple[FileResult, list[Finding]]:
    """Scan bytes in chunks; the format is decided, so that the first line is judged as every other."""
    findings: list[Finding] = []
    scan = Scan(format, findings.append, decision=Decision(format), fast=fast)
    for first, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        scan.feed(data[first:end])
    return scan.finish(), findings


def check(data: bytes, format: Format) -> None:
    """Raise AssertionError where two scans differ, and whatever a scan raises."""
    random = Random(len(data))  # noqa: S311 - the same input is cut the same way
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(4)))
    slow = said(data, format, [], fast=False)
    assert said(data, format, cuts, fast=True) == slow
    assert said(data, format, [], fast=True) == slow
    findings: list[Finding] = []
    scan = Scan("auto", findings.append)
    scan.feed(data)
    scan.finish()
    msgspec.json.encode(findings)


def _mutated(data: bytes, most: int, seed: int) -> bytes:
    """Put a token somewhere, repeat a line, or leave it to libFuzzer."""
    random = Random(seed)  # noqa: S311 - libFuzzer gives the seed
    at = random.randrange(len(data) + 1)
    kind = random.randrange(4)
    if kind == 0:
        data = data[:at] + random.choice(_TOKENS) + data[at + random.randrange(3) :]
    elif kind == 1:
        lines = data.split(b"\n")
        lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
        data = b"\n".join(lines)
    elif kind == 2:
        data = data[:at] + random.choice(_SEEDS) + data[at:]
    else:
        data = atheris.Mutate(data, most)
    return data[:most]


_SEEDS: list[bytes] = []


def main() -> None:
    """Fuzz until libFuzzer's limit, or without end."""
    if len(sys.argv) < 2 or sys.argv[1] not in get_args(Format):
        sys.stderr.write(f"{__doc__}\nFORMAT is one of {', '.join(get_args(Format))}\n")
        sys.exit(2)
    fuzzed: Format = msgspec.convert(sys.argv.pop(1), Format)
    _SEEDS.extend(
        line for path in sorted((_EXAMPLES / fuzzed).rglob("*.jsonl")) for line in path.read_bytes().splitlines()
    )

    def one(data: bytes) -> None:
        check(data or b"\n".join(_SEEDS[:20]), fuzzed)

    atheris.Setup([*sys.argv, f"-max_len={_MOST_BYTES}"], one, custom_mutator=_mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
