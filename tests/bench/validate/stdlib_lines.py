"""The standard library's json, a line at a time, and the checks by hand."""

import json
from pathlib import Path
from typing import Any

from tests.bench.validate.checks import FAULT, READ_BYTES, Score, judge
from tests.bench.validate.names import repeats
from tests.bench.validate.result import Format, Result


def check(path: str, format: Format) -> Result:
    score, judge_sample, repeats_a_name = Score(), judge(format), repeats(format)
    decode = json.JSONDecoder(parse_constant=_refuse).decode
    with Path(path).open("rb", buffering=READ_BYTES) as file:
        for line in file:
            try:
                sample = decode(line.decode())
                if b"\\ud" in line or b"\\uD" in line:
                    _refuse_lone_surrogates(sample)
                verdict = judge_sample(sample, score.patterns)
                if verdict != FAULT and repeats_a_name(line, sample):
                    verdict = score.fault_after_all(each["role"] for each in sample.get("messages", ()))
            except ValueError:
                if not line.strip():
                    continue
                verdict = FAULT
            score.samples += 1
            if verdict:
                score.add(verdict)
    return score.result()


def _refuse(literal: str) -> None:
    raise ValueError(literal)


def _refuse_lone_surrogates(sample: Any) -> None:
    """Raise UnicodeEncodeError, a ValueError, where an escape was half a character: this library lets it pass."""
    json.dumps(sample, ensure_ascii=False).encode()
