"""Which files are mutated, and which tests must notice."""

from tests.mutants.sites import ROOT

_PATTERNS = (
    "contracts/strict_json.py",
    "handlers/validation/rules*.py",
    "handlers/validation/conclusion.py",
    "handlers/validation/copies.py",
    "handlers/validation/detect.py",
    "handlers/validation/line_reading.py",
    "handlers/validation/lines.py",
    "handlers/validation/problems.py",
    "handlers/validation/report.py",
    "handlers/validation/statistics.py",
    "handlers/validation/texts.py",
)

#: Tests that draw their input are left out: what they notice depends on luck.
TESTS = (
    "tests/unit/test_sft_rules.py",
    "tests/unit/test_preference_rules.py",
    "tests/unit/test_ranking_rules.py",
    "tests/unit/test_strict_json.py",
    "tests/unit/test_scan.py",
    "tests/unit/test_dataset_examples.py",
)


def files() -> list[str]:
    """Return the files that are mutated, relative to the repository."""
    found = [path for pattern in _PATTERNS for path in sorted(ROOT.glob(pattern))]
    return [str(path.relative_to(ROOT)) for path in found]
