"""A law: lines that are recognised as plain, many at a time, have no finding and count as the rules would count them.

Everything a scan says is the same whether it looks for plain lines or lets the rules judge every line.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Format
from contracts.datasets.findings import Finding
from handlers.validation.lines import Block
from handlers.validation.opening import Decision
from handlers.validation.plain import Shape, plain_lines
from handlers.validation.rules import RULES
from handlers.validation.scan import FileResult, Scan
from handlers.validation.statistics import Statistic, Tally
from tests.mutations import mutated, mutations

_EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples" / "datasets"
_FORMATS: tuple[Format, ...] = get_args(Format)

#: What can make a line look like another one, or two mistakes cancel out.
_PIECES = (
    *(b'"', b"\\", b"\\\\", b'\\"', b"\\u0022", b"\\u0072", b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"\xc3"),
    *(b"\xed\xa0\x80", b"\n", b"\r", b"\r\n", b" ", b"\t", b"\x0b", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"{", b"}", b"[", b"]", b":", b",", b",0,", b"0", b"0,", b"},{", b"}{", b"}\n{", b"],[", b"[0]", b"{},"),
    *(b"null", b"true", b"NaN", b"1", b"-0", b"1e400", b"0.5", b"2", b"system", b"tool"),
    *(b'"role":"user",', b'"content":"x",', b'"text":"y",', b'"label":1,', b'"score":1,', b'"x":1,', b'"":"",'),
    *(b'"loss_weight":0,', b'"reasoning_content":"r",', b'"name":"n",', b'"docs":[],', b'"messages":[],'),
    *(b"<|im_end|>", b"[INST]", b"</s>", b"<"),
)

#: Names and values that mean something, for changes of a sample.
_WORDS = (
    *("messages", "role", "content", "system", "user", "assistant", "tool", "loss_weight", "reasoning_content", "name"),
    *("chosen", "rejected", "text", "score", "lm_loss_mask", "query", "docs", "label", "tools", "", "a", '"', "<s>"),
)


_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    0.0,
    0.5,
    1.0,
    2,
    -1,
    "",
    " ",
    "x",
    "user",
    "assistant",
    "tool",
    '"',
    [],
    {},
    ["x"],
)


def said(data: bytes, format: Format, *, fast: bool) -> tuple[FileResult, list[Finding]]:
    findings: list[Finding] = []
    scan = Scan(format, findings.append, decision=Decision(format), fast=fast)
    scan.feed(data)
    return scan.finish(), findings


def is_plain(line: bytes, format: Format) -> bool:
    return all(plain_lines(Block(line), RULES[format].plain, Counter()))


def examples(format: Format, kind: str) -> list[bytes]:
    files = sorted((_EXAMPLES / format / kind).glob("*.jsonl"))
    return [line for path in files for line in path.read_bytes().splitlines() if line.strip()]


_GOOD = {name: examples(name, "valid") for name in _FORMATS}
_PLAIN = {name: [line for line in _GOOD[name] if is_plain(line, name)] for name in _FORMATS}
_ANY = {name: [*_GOOD[name], *examples(name, "invalid")] for name in _FORMATS}


def edited(line: bytes, edits: Sequence[tuple[int, bytes, int]]) -> bytes:
    for at, piece, dropped in edits:
        place = at % (len(line) + 1)
        line = line[:place] + piece + line[place + dropped :]
    return line


def changed(line: bytes, steps: list[Any], *, escaped: bool) -> bytes:
    try:
        return json.dumps(mutated(json.loads(line), steps), ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    except ValueError:
        return line


_EDITS = st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(_PIECES), st.integers(0, 3)), min_size=1, max_size=4)


def lines(format: Format) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.sampled_from(_PLAIN[format]),
        st.sampled_from(_ANY[format]),
        st.builds(edited, st.sampled_from(_PLAIN[format]), _EDITS),
        st.builds(changed, st.sampled_from(_GOOD[format]), mutations(_WORDS), escaped=st.booleans()),
    )


@pytest.mark.parametrize("format", _FORMATS)
@given(data=st.data())
def test_a_scan_says_the_same_whether_it_looks_for_plain_lines_or_not(format: Format, data: st.DataObject) -> None:
    # What follows the last LF is a block of its own.
    body = b"\n".join(data.draw(st.lists(lines(format), min_size=1, max_size=12))) + data.draw(
        st.sampled_from([b"", b"\n"])
    )
    assert said(body, format, fast=True) == said(body, format, fast=False)


@pytest.mark.parametrize("format", _FORMATS)
def test_every_place_of_a_line_with_every_piece_in_it(format: Format) -> None:
    shortest = sorted(_PLAIN[format], key=len)[:2]
    for line in shortest:
        for piece in _PIECES:
            for dropped in (0, 1):
                body = b"\n".join(edited(line, [(at, piece, dropped)]) for at in range(len(line) + 1))
                assert said(body, format, fast=True) == said(body, format, fast=False), (piece, dropped)


@pytest.mark.parametrize("format", _FORMATS)
def test_two_lines_whose_mistakes_cancel_out(format: Format) -> None:
    """As many values as lines, as many quotes as strings need: each of a pair hides what the other lacks."""
    line = min(_PLAIN[format], key=len)
    halves = [line[:at] + b"\n" + line[at:] for at in range(1, len(line))]
    for other in (line + line, line + b"," + line, line + b" 0", line + b",0", b"0," + line):
        for half in halves:
            for body in (half + b"\n" + other + b"\n", other + b"\n" + half + b"\n"):
                assert said(body, format, fast=True) == said(body, format, fast=False)


@pytest.mark.parametrize("format", _FORMATS)
def test_a_repeated_name_beside_quotes_that_are_written_as_escapes(format: Format) -> None:
    line = min(_PLAIN[format], key=len)
    name = re.search(rb'"(content|text)": "', line)
    assert name is not None
    for escapes in range(1, 9):
        quoted = line[: name.end()] + b"\\u0022" * escapes + line[name.end() :]
        for twice in (b'"text":1,', b'"text":"",', b'"content":1,', b'"content":"\\"",', b'"messages":"\\"",'):
            repeated = [line[:at] + twice + line[at:] for at in range(1, len(line)) if line[at - 1 : at] == b"{"]
            both = [quoted[:at] + twice + quoted[at:] for at in range(1, len(quoted)) if quoted[at - 1 : at] == b"{"]
            for body in (*(each + b"\n" + quoted + b"\n" for each in repeated), *both):
                assert said(body, format, fast=True) == said(body, format, fast=False)


def everywhere_changed(value: Any) -> Iterator[Any]:
    """Yield a value with every part of it in turn replaced, left out or given one more field."""
    yield from _VALUES
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield [*value[:index], *value[index + 1 :]]
            yield [*value[:index], each, *value[index:]]
            yield from ([*value[:index], new, *value[index + 1 :]] for new in everywhere_changed(each))
    if isinstance(value, dict):
        for name, each in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            yield from ({**value, name: new} for new in everywhere_changed(each))
        yield from ({**value, name: new} for name in _WORDS for new in _VALUES if name not in value)


@pytest.mark.parametrize("format", _FORMATS)
def test_every_part_of_a_sample_replaced_left_out_or_added(format: Format) -> None:
    plain = min(_PLAIN[format], key=len)
    for line in sorted(_PLAIN[format], key=len)[-2:]:
        for new in everywhere_changed(json.loads(line)):
            changed_line = json.dumps(new).encode()
            for body in (changed_line, plain + b"\n" + changed_line + b"\n"):
                assert said(body, format, fast=True) == said(body, format, fast=False), changed_line


def talk(*answers: Any, system: bool = False, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "s"}] if system else []
    for answer in answers:
        said = answer if isinstance(answer, dict) else {"content": answer}
        messages += [{"role": "user", "content": "<q> [1]"}, {"role": "assistant", **said}]
    return {"messages": messages, **fields}


def scored(*scores: float, **fields: Any) -> dict[str, Any]:
    return {"content": [{"text": f"t{index}", "score": score, **fields} for index, score in enumerate(scores)]}


def docs(*labels: Any) -> dict[str, Any]:
    return {"query": "q", "docs": [{"text": "t", "label": label} for label in labels]}


_RECOGNISED: list[tuple[Format, dict[str, Any]]] = [
    ("sft", talk("a")),
    ("sft", talk("a", system=True)),
    ("sft", talk(*["a"] * 32)),
    ("sft", talk("a", {"content": "b", "reasoning_content": 'so "it" is'}, system=True)),
    ("sft", talk({"content": "a", "loss_weight": 0}, {"content": "b", "loss_weight": 0.5})),
    ("sft", talk({"content": "a", "loss_weight": 0.0}, "b")),
    ("sft", talk({"content": "a", "loss_weight": 1.0, "name": "n", "reasoning_content": None})),
    ("sft", talk({"content": "a", "loss_weight": None, "name": None})),
    ("preference", talk({"chosen": "a", "rejected": "b"})),
    ("preference", talk("a", {"chosen": "a", "rejected": "b"}, system=True)),
    ("preference", talk({"content": "a", "loss_weight": 0, "name": "n"}, scored(0, 1))),
    ("preference", talk(scored(0.5, 0.5, 0.0, 1, 1.0))),
    ("preference", talk(scored(0, 1, lm_loss_mask=0), system=True)),
    ("preference", talk(scored(1.0, 0.0, lm_loss_mask=1.0))),
    ("ranking", docs(1)),
    ("ranking", docs(0, 0, 1, 0, 0, 0)),
    ("ranking", docs(True, False)),
    ("ranking", docs(1.0, 0.0)),
    ("ranking", docs(True, 0)),
    ("pretrain", {"text": "t"}),
    ("pretrain", {"text": 'a "word", a <tag>, a [note] and a \\ '}),
]


@pytest.mark.parametrize(("format", "sample"), _RECOGNISED)
@pytest.mark.parametrize("ascii", [True, False])
def test_what_is_recognised_as_plain_and_how_it_counts(format: Format, sample: dict[str, Any], ascii: bool) -> None:
    """Of a line that is not recognised everything is still right, only slowly."""
    sample = json.loads(json.dumps(sample).replace('"s"', '"诗"'))
    line = json.dumps(sample, ensure_ascii=ascii).encode()
    shapes: Counter[Shape] = Counter()
    assert plain_lines(Block(line), RULES[format].plain, shapes) == [True]
    tally = Tally()
    for shape, times in shapes.items():
        tally.add_times(RULES[format].plain.counted(shape), times)
    counted = Tally()
    counted.add(RULES[format].tally(sample))
    statistics: tuple[Statistic, ...] = ("roles", "labels", "candidates", "spellings")
    assert [tally.of(each) for each in statistics] == [counted.of(each) for each in statistics]


_COMMON: dict[Format, list[dict[str, Any]]] = {
    "sft": [
        talk("a"), talk('a "b"', system=True), talk(*["a"] * 32), talk("a", {"content": "b", "loss_weight": 0.5}),
        talk({"content": "a", "loss_weight": None, "name": '"n"'}), talk("a <b>", "[c]", system=True),
    ],
    "pretrain": [{"text": "t"}, {"text": 'a "b"'}, {"text": "<t> [1]"}],
}  # fmt: skip


@pytest.mark.parametrize("format", _COMMON)
def test_what_is_common_is_seen_together(format: Format) -> None:
    plain, texts = RULES[format].plain, list[str]()
    seen = plain.together(_COMMON[format])
    assert seen is not None
    shapes = [plain.shape(sample, texts) for sample in _COMMON[format]]
    assert seen.strings == sum(shape[0] for shape in shapes if shape)
    assert "".join(seen.texts).count('"') == "".join(texts).count('"')
    counted = Counter(frozenset(plain.counted(shape).items()) for shape in shapes if shape)
    together: Counter[Any] = Counter()
    for shape, times in seen.shapes.items():
        together[frozenset(plain.counted(shape).items())] += times
    assert together == counted


@pytest.mark.parametrize("format", _FORMATS)
def test_a_line_beside_others_that_are_not_plain_is(format: Format) -> None:
    line = min(_PLAIN[format], key=len)
    for other in (
        b"{",
        b"[]",
        b"",
        b'{"a": 1}',
        line[:1] + b'"x": 1, ' + line[1:],
        line[:1] + b'"": 1, "": 2, ' + line[1:],
    ):
        for body in (line + b"\n" + other, other + b"\n" + line, line + b"\n" + other + b"\n" + line):
            expected = [each == line for each in body.split(b"\n")]
            assert plain_lines(Block(body), RULES[format].plain, Counter()) == expected


@pytest.mark.parametrize("format", _FORMATS)
def test_most_valid_lines_are_plain(format: Format) -> None:
    """Else nothing would be won, and the law would hold for nothing."""
    calls = [line for line in _GOOD[format] if b"tool" in line or b"thinking" in line]
    assert len(_PLAIN[format]) > 0.8 * (len(_GOOD[format]) - len(calls))
