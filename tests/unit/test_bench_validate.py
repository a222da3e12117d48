"""The benchmark of validation: the checks of peers are ours, and a target that is missed is said."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.bench.harness import Run
from tests.bench.validate import msgspec_lines, orjson_lines, ours, pydantic_lines, samples, stdlib_lines
from tests.bench.validate.faults import FAULTS, WARNINGS
from tests.bench.validate.files import KINDS, prepared
from tests.bench.validate.result import Result
from tests.bench.validate.speed import Disagreement, agreed
from tests.bench.validate.targets import PEAK_RSS, TWO_PROCESSES, against, verdicts

_PEERS = (orjson_lines.check, msgspec_lines.check, pydantic_lines.check, stdlib_lines.check)

#: A file is told to be of another format by its first ten objects.
_FINE = [json.dumps(sample).encode() for sample in islice(samples.sft(1), 10)]
_SAMPLES = list(islice(samples.sft(2), 30))


@pytest.mark.parametrize("index", range(len(FAULTS)))
def test_every_kind_of_bad_line_is_at_fault_to_all(index: int, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join([*_FINE, *(FAULTS[index](sample) for sample in _SAMPLES)]))
    expected = ours.check(str(path), "sft")
    assert (expected.samples, expected.valid_samples) == (40, 10)
    assert [check(str(path), "sft") for check in _PEERS] == [expected] * len(_PEERS)


@pytest.mark.parametrize("index", range(len(WARNINGS)))
def test_every_kind_of_odd_line_is_warned_about_by_all(index: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\n".join([*_FINE, *(WARNINGS[index](sample) for sample in _SAMPLES)]))
    expected = ours.check(str(path), "sft")
    assert expected.samples == 40
    assert 10 < expected.warned_samples + 10 == expected.valid_samples
    assert [check(str(path), "sft") for check in _PEERS] == [expected] * len(_PEERS)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_the_same_each_time_and_all_agree_on_it(name: str, tmp_path: Path) -> None:
    first, second = prepared(name, 1, tmp_path / "a"), prepared(name, 1, tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert 1_000_000 <= first.stat().st_size < 1_010_000
    expected = ours.check(str(first), KINDS[name].format)
    assert [check(str(first), KINDS[name].format) for check in _PEERS] == [expected] * len(_PEERS)


def _repeating(sample: dict[str, Any]) -> Iterator[bytes]:
    line = json.dumps(sample).encode()
    for field in (b'"role": "user", ', b'"content": "", ', b'"name": "a\\"b", "name": "c", ', b'"x": [], "x": 1, '):
        yield line.replace(b'"role"', field + b'"role"', 1)
    yield line.replace(b'"messages"', b'"messages": [], "messages"')
    yield line.replace(b'"role"', b'"content": 1, "role"').replace(b'"content": "', b'"content": "\\u0022\\u0022')


def test_a_repeated_name_is_at_fault_to_all_but_one(tmp_path: Path) -> None:
    path = tmp_path / "repeating.jsonl"
    path.write_bytes(b"\n".join([*_FINE, *(line for sample in _SAMPLES for line in _repeating(sample))]))
    expected = ours.check(str(path), "sft")
    assert (expected.samples, expected.valid_samples) == (190, 10)
    assert [check(str(path), "sft") for check in _PEERS] == [expected] * len(_PEERS)
    assert orjson_lines.check_but_names(str(path), "sft").valid_samples > 10


def test_an_escaped_file_has_the_content_of_the_plain_one(tmp_path: Path) -> None:
    plain, escaped = (prepared(name, 1, tmp_path).read_bytes().splitlines() for name in ("sft-plain", "sft-escaped"))
    assert b"\\u" not in plain[0] + plain[1] + plain[2]
    assert all(json.loads(one) == json.loads(other) for one, other in zip(plain, escaped, strict=False))
    assert b"".join(escaped).isascii()


def test_halves_of_a_file_give_what_the_whole_gives(tmp_path: Path) -> None:
    path = prepared("sft-bad", 1, tmp_path)
    middle = path.read_bytes().index(b"\n", 500_000) + 1
    size = path.stat().st_size
    whole = ours.check(str(path), "sft")
    halves = [ours.check_range(str(path), "sft", start, end) for start, end in ((0, middle), (middle, size))]
    assert sum(each.samples for each in halves) == whole.samples
    assert sum(each.valid_samples for each in halves) == whole.valid_samples


def test_contenders_that_disagree_are_told() -> None:
    def run(valid: int) -> Run:
        return Run(1.0, 1.0, 1, Result(2, valid, 0, {}), "")

    assert agreed("x", {"ours": [run(1)], "peer": [run(1)]}) == Result(2, 1, 0, {})
    with pytest.raises(Disagreement, match="peer"):
        agreed("x", {"ours": [run(1)], "peer": [run(2)]})


def test_a_target_is_met_missed_or_not_measured() -> None:
    judged = verdicts({against("sft-plain", "orjson"): 1.3, TWO_PROCESSES: 1.59, PEAK_RSS: 64.1})
    met = {verdict.target.measure: verdict.met for verdict in judged}
    assert met.pop(against("sft-plain", "orjson")) is True
    assert [met.pop(TWO_PROCESSES), met.pop(PEAK_RSS)] == [False, False]
    assert set(met.values()) == {None}
