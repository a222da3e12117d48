"""What must be reached, and whether it was."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Target(NamedTuple):
    """A bound on one measured value. ``measure`` is the name it is measured under."""

    measure: str
    at: Literal["least", "most"]
    bound: float
    unit: str


class Verdict(NamedTuple):
    """A target with what was measured; ``met`` is None where it was not measured."""

    target: Target
    measured: float | None
    met: bool | None


def against(file: str, peer: str) -> str:
    """Return the name of the measure that says how many times as fast as a peer ours is, on a file."""
    return f"{file}: ours / {peer}"


TWO_PROCESSES = "two processes / one"
PEAK_RSS = "peak RSS"
RSS_GROWTH = "peak RSS, more on the large file"

TARGETS = (
    Target(against("sft-plain", "orjson"), "least", 1.3, "x"),
    Target(against("sft-plain", "stdlib"), "least", 2.2, "x"),
    Target(against("sft-plain", "datasets"), "least", 10, "x"),
    Target(against("sft-escaped", "orjson"), "least", 1.0, "x"),
    Target(against("sft-bad", "msgspec"), "least", 0.9, "x"),
    Target(against("pretrain", "orjson"), "least", 1.15, "x"),
    Target(TWO_PROCESSES, "least", 1.6, "x"),
    Target(PEAK_RSS, "most", 64, " MB"),
    Target(RSS_GROWTH, "most", 2, " MB"),
)


def verdicts(measures: Mapping[str, float]) -> list[Verdict]:
    """Return every target with what was measured, in the order they are written."""
    return [_verdict(target, measures.get(target.measure)) for target in TARGETS]


def _verdict(target: Target, measured: float | None) -> Verdict:
    if measured is None:
        return Verdict(target, None, None)
    met = measured >= target.bound if target.at == "least" else measured <= target.bound
    return Verdict(target, measured, met)
