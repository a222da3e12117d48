"""``python -m tests.mutants [--only FILE] [--json]``: exit code 0 where no mutant survives unexplained."""

import argparse
import contextlib
import json
import sys

import pytest

from tests.mutants.result import Result, judge
from tests.mutants.sites import load
from tests.mutants.targets import TESTS, files
from tests.mutants.trials import Trials

_OPTIONS = ["-q", "-s", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=0",
            "-m", "not hypothesis"]  # fmt: skip


def main() -> int:
    """Try every mutant and say which survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", metavar="FILE", help="files whose path ends with this")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args()
    chosen = [file for file in files() if file.endswith(given.only or "")]
    if not chosen:
        parser.error(f"no such file: {given.only}")
    trials = Trials([load(file) for file in chosen])
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main([*_OPTIONS, *TESTS], plugins=[trials])
    if trials.failing:
        sys.stderr.write(f"the tests fail without a mutant: {trials.failing}\n")
        return 2
    result = judge(trials.outcomes, chosen)
    sys.stdout.write(json.dumps(result._asdict(), indent=1) + "\n" if given.json else _text(result))
    return 1 if result.survivors or result.stale else 0


def _text(result: Result) -> str:
    lines = [f"{each['file']}:{each['line']} in {each['scope']}\n  - {each['was']}\n  + {each['becomes']}"
             for each in result.survivors]  # fmt: skip
    lines += [f"explained, but it does not survive: {each}" for each in result.stale]
    lines.append(f"{result.mutants} mutants: {result.noticed} noticed, {result.explained} explained, "
                 f"{len(result.survivors)} survive")  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
