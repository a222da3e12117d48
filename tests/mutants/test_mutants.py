"""Every small way to break a rule is noticed by a test; and the machinery that says so can tell."""

import json
import subprocess
import sys

import pytest

from tests.mutants.changes import first_line
from tests.mutants.result import judge
from tests.mutants.sites import ROOT, load
from tests.mutants.targets import files
from tests.mutants.trials import Outcome


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_rule_can_be_broken_without_a_test_that_notices() -> None:
    """Those explained must survive: were all mutants noticed whatever the tests do, these would be too."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode in {0, 1}, run.stderr
    result = json.loads(run.stdout)
    assert (result["survivors"], result["stale"]) == ([], [])
    assert result["mutants"] > 1000


def test_every_file_of_rules_is_mutated() -> None:
    mutated = files()
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "handlers/validation").glob("rules*.py")} < set(mutated)
    assert all(load(file).mutations for file in mutated)


def test_a_change_is_one_change_and_is_taken_back() -> None:
    module = load("handlers/validation/rules_turns.py")
    before = first_line(module.tree)
    described = {(mutation.scope, mutation.was, mutation.becomes) for mutation in module.mutations}
    assert first_line(module.tree) == before
    assert ("_first_and_last", "if role == 'system' and index > 0:", "if role == 'system' and index >= 0:") in described
    assert ("_first_and_last", "if role == 'system' and index > 0:", "if role == 'system' and index > 1:") in described
    assert ("_first_and_last", "if role == 'system' and index > 0:", "if role == 'system' or index > 0:") in described
    assert all(was != becomes for _, was, becomes in described)


def test_survivors_and_explanations_out_of_date_are_named() -> None:
    file = "contracts/strict_json.py"
    mutations = load(file).mutations
    result = judge([Outcome(mutation, "a test") for mutation in mutations], [file])
    assert (result.mutants, result.noticed, result.survivors) == (len(mutations), len(mutations), [])
    assert len(result.stale) == 13
    assert judge([Outcome(mutation, "") for mutation in mutations], [file]).stale == []
    other = judge([Outcome(mutations[0], "")], ["handlers/validation/rules.py"])
    assert (len(other.survivors), other.stale) == (1, [])
