"""Which files are mutated, and which tests must notice."""

from tests.mutants.sites import ROOT

#: Not plain*.py: what recognises less than it could is right, only slower; that nothing recognises too much is a law
#: of its own (tests/unit/test_plain_lines.py). Nor what cuts, holds and joins (lines, opening, parts): half of what can
#: be changed there is a size or a moment that makes no difference; its tests cut the file anywhere instead.
_PATTERNS = (
    "contracts/strict_json.py",
    "handlers/validation/detect.py",
    "handlers/validation/line_reading.py",
    "handlers/validation/conclusion.py",
    "handlers/validation/rules*.py",
    "handlers/validation/problems.py",
    "handlers/validation/report.py",
    "handlers/validation/statistics.py",
    "handlers/validation/texts.py",
)

#: Tests that draw their input are left out of these: what they notice depends on luck.
TESTS = tuple(
    f"tests/unit/test_{name}.py"
    for name in (
        "conclusion",
        "dataset_examples",
        "detect",
        "finding_words",
        "line_hints",
        "line_reading",
        "lines",
        "message_rules",
        "opening",
        "preference_rules",
        "ranking_rules",
        "scan",
        "scan_parts",
        "sft_rules",
        "strict_json",
        "texts",
        "tool_rules",
        "turn_rules",
    )
)


def files() -> list[str]:
    """Return the files that are mutated, relative to the repository."""
    found = [path for pattern in _PATTERNS for path in sorted(ROOT.glob(pattern))]
    return [str(path.relative_to(ROOT)) for path in found]
