"""orjson, a line at a time, and the checks by hand; also without the one check that no library helps with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.bench.validate.checks import FAULT, READ_BYTES, Score, judge
from tests.bench.validate.names import repeats
from tests.bench.validate.result import Format, Result


def check(path: str, format: Format) -> Result:
    return _check(path, format, repeats(format))


def check_but_names(path: str, format: Format) -> Result:
    return _check(path, format, lambda _, __: False)


def _check(path: str, format: Format, repeats_a_name: Callable[[bytes, Any], bool]) -> Result:
    score, judge_sample = Score(), judge(format)
    with Path(path).open("rb", buffering=READ_BYTES) as file:
        for line in file:
            try:
                sample = orjson.loads(line)
                verdict = judge_sample(sample, score.patterns)
                if verdict != FAULT and repeats_a_name(line, sample):
                    verdict = score.fault_after_all(each["role"] for each in sample.get("messages", ()))
            except orjson.JSONDecodeError:
                if not line.strip():
                    continue
                verdict = FAULT
            score.samples += 1
            if verdict:
                score.add(verdict)
    return score.result()
