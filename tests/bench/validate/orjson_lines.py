"""orjson, a line at a time, and the checks by hand."""

from pathlib import Path

import orjson

from tests.bench.validate.checks import FAULT, READ_BYTES, Score, judge
from tests.bench.validate.result import Format, Result


def check(path: str, format: Format) -> Result:
    score, judge_sample = Score(), judge(format)
    with Path(path).open("rb", buffering=READ_BYTES) as file:
        for line in file:
            try:
                verdict = judge_sample(orjson.loads(line), score.patterns)
            except orjson.JSONDecodeError:
                if not line.strip():
                    continue
                verdict = FAULT
            score.samples += 1
            if verdict:
                score.add(verdict)
    return score.result()
