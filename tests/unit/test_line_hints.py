"""What is said about lines that are no JSON, and about files that are no JSONL: what it is, and what to do."""

import json
import re

import pytest

from contracts.dataset import DeclaredFormat, Format
from contracts.datasets.findings import Finding
from handlers.validation.scan import FileResult, scan_stream

SAMPLES = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]} for n in range(12)
]
LINES = [json.dumps(sample) for sample in SAMPLES]
LINE = LINES[0]


def scan(body: str | bytes, format: DeclaredFormat = "auto", size: int = 100) -> tuple[FileResult, list[Finding]]:
    data = body.encode() if isinstance(body, str) else body
    findings: list[Finding] = []
    chunks = (data[start : start + size] for start in range(0, len(data), size))
    return scan_stream(chunks, format, findings.append), findings


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (LINE.replace("0?", "\t"), r"invalid control character at character \d+", r"as an escape: \\t$"),
        (LINE.replace("0?", "\0"), r"invalid control character at character \d+", r"as an escape: \\u0000$"),
        (LINE.replace("0?", "\\x"), r"invalid \\escape at character \d+", r"a backslash in a text as \\\\$"),
        (LINE[:-6], r"unterminated string starting at character \d+", r"ends inside a text: .* as \\n, or add"),
        (LINE[:-3], r"expecting ',' delimiter at", "ends inside a value"),
        (LINE[:-2] + ",", "expecting value at", "ends inside a value"),
        (LINE + ",", "there is more after the value at", "comma at the end of the line"),
        (LINE[:-2] + ", ]}", "a comma before the end of a list or an object at", "^remove the comma$"),
        (LINE[:-1] + ",}", "a comma before the end of a list or an object at", "^remove the comma$"),
        (str(SAMPLES[0]), "enclosed in double quotes at character 2", "json.dumps"),
        (LINE.replace('"0?"', "None"), "expecting value at", "write null instead of None"),
        (LINE.replace('"0?"', "True"), "expecting value at", "write true instead of True"),
        (LINE.replace('"messages"', "“messages”"), "enclosed in double quotes", "straight double quotes"),
        (LINE.replace('"messages"', "messages"), "enclosed in double quotes", "names of fields in double quotes"),
        (LINE.replace("0?", 'a "b" c'), "expecting ',' delimiter at", r'inside a text as \\"$'),
        (LINE[:-1] + "} // why", "there is more after the value at", "comment"),
        ("question,answer", "expecting value at character 1", "one JSON object a line"),
    ],
)
def test_a_broken_line_has_a_hint_of_its_own(line: str, message: str, hint: str) -> None:
    for number, body in ((13, "\n".join([*LINES, line])), (1, "\n".join([line, *LINES]))):
        result, (finding,) = scan(body)
        assert (finding.line, finding.code, result.valid_samples) == (number, "invalid-json", 12)
        assert re.search(message, finding.message)
        assert re.search(hint, finding.hint)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf_16_is_named_with_and_without_a_byte_order_mark(encoding: str) -> None:
    _, findings = scan("\n".join([*LINES, LINE.replace("0?", "多少关心事")]).encode(encoding))
    assert {finding.code for finding in findings} <= {"invalid-utf8", "invalid-json"}
    assert {finding.hint for finding in findings} == {"this looks like UTF-16: save the file as UTF-8"}


def test_no_line_of_a_packed_file_is_told_to_be_saved_as_text() -> None:
    _, findings = scan(b"\x1f\x8b\x08\x00\xff\n\x02\xfe\xff\n\xe8\x1b")
    assert [finding.hint for finding in findings if finding.code == "invalid-utf8"] == [
        "this looks like gzip: unpack the file",
        *["this is no text: unpack what is packed, and write JSONL as UTF-8"] * 2,
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_zero_byte_is_named_by_its_byte_order_mark(encoding: str) -> None:
    _, findings = scan("\ufeff多少关心事".encode(encoding))
    assert [finding.hint for finding in findings][:1] == ["this looks like UTF-16: save the file as UTF-8"]


@pytest.mark.parametrize("format", ["auto", "sft", "ranking"])
@pytest.mark.parametrize(
    ("body", "command"),
    [
        (json.dumps(SAMPLES[0], indent=2), "jq -c . FILE"),
        ("\n".join(json.dumps(sample, indent=2) for sample in SAMPLES), "jq -c . FILE"),
        ("\r\n\r\n" + json.dumps(SAMPLES[0], indent=2).replace("\n", "\r\n"), "jq -c . FILE"),
        ("\n".join(f'{{"messages":\n {json.dumps(sample["messages"])}}}' for sample in SAMPLES), "jq -c . FILE"),
        (f'{{"messages":\n {json.dumps(SAMPLES[0]["messages"])}}}', "jq -c . FILE"),
        (json.dumps(SAMPLES, indent=1), "jq -c '.[]' FILE"),
        (json.dumps(SAMPLES * 20, indent=1)[:-500], "jq -c '.[]' FILE"),
        ("[\n" + ",\n".join(LINES) + "\n]", "jq -c '.[]' FILE"),
        ("[" + ",\n".join(LINES) + "]", "jq -c '.[]' FILE"),
        (json.dumps({"data": SAMPLES}, indent=4), "jq -c '.data[]' FILE"),
    ],
)
def test_a_value_over_several_lines_is_named_once(body: str, command: str, format: DeclaredFormat) -> None:
    result, findings = scan(body, format)
    found = [finding for finding in findings if finding.severity == "error"]
    assert [(finding.line, finding.code) for finding in found] == [(1, "wrong-format")]
    assert "over several lines" in found[0].message
    assert command in found[0].hint
    assert result.valid_samples == 0
    assert result.format == (None if format == "auto" else format)


@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("cut", [1, 13, 41, -6, -1])
def test_a_first_sample_that_is_broken_in_two_or_cut_off_is_no_such_file(cut: int, lines: int) -> None:
    for body in ([LINE[:cut], LINE[cut:]], [LINE[:cut]], [LINE[:cut], "", LINE[cut:]], [f"[{LINE}]"]):
        result, findings = scan("\n".join([*body, *LINES[1 : lines + 1]]))
        assert result.valid_samples == lines
        assert result.format == "sft"
        assert {finding.code for finding in findings} <= {"invalid-json", "not-an-object", "blank-line"}


def test_what_breaks_off_does_not_decide_the_format() -> None:
    result, findings = scan("\n".join(["{"] * 2000 + LINES))
    assert (result.format, result.valid_samples) == ("sft", 12)
    assert {finding.code for finding in findings} == {"invalid-json"}


@pytest.mark.parametrize(
    ("sample", "name", "ours", "word"),
    [
        ({"conversations": [{"from": "human", "value": "a"}]}, "ShareGPT", "sft", "role for from"),
        ({"instruction": "a", "input": "", "output": "b"}, "Alpaca", "sft", "OUTPUT"),
        ({"instruction": "a", "response": "b"}, "instruction/response", "sft", "RESPONSE"),
        ({"prompt": "a", "completion": "b"}, "prompt/completion", "sft", "COMPLETION"),
        ({"question": "a", "answer": "b"}, "question/answer", "sft", "ANSWER"),
        ({"prompt": "a", "completion": "b", "label": True}, "KTO", "preference", "rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "chosen/rejected", "preference", "CHOSEN"),
        (
            {"input": {}, "preferred_output": [], "non_preferred_output": []},
            "OpenAI preference",
            "preference",
            "chosen",
        ),
        ({"query": "a", "pos": ["b"], "neg": []}, "query/positive/negative", "ranking", "docs"),
        ({"anchor": "a", "positive": "b", "negative": "c"}, "anchor/positive/negative", "ranking", "docs"),
    ],
)
def test_formats_of_other_tools_are_named_with_what_to_write_instead(
    sample: dict[str, object], name: str, ours: Format, word: str
) -> None:
    body = "\n".join([json.dumps(sample)] * 12)
    for read_as in ("auto", ours):
        _, (finding,) = scan(body, read_as)
        assert (finding.line, finding.code) == (1, "wrong-format")
        assert f"{name} format" in finding.message
        assert finding.hint.startswith(f"as {ours}: ")
        assert word in finding.hint
    _, (finding,) = scan(body, "pretrain")
    assert f"{name} format" in finding.message
    assert finding.hint == 'pretrain is {"text": "..."}'


def test_a_text_beside_a_question_is_still_a_text() -> None:
    result, _ = scan('{"text": "a", "question": "b", "answer": "c"}')
    assert result.format == "pretrain"
