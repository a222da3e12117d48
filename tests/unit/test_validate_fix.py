"""``worker validate --fix``: what is corrected, what is left alone, and what is said about it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts.strict_json import StrictParser
from worker.cli import app
from worker.validate.fixing import fix_line

SAMPLES = [
    json.dumps({"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]})
    for n in range(12)
]
GOOD = "\n".join(SAMPLES) + "\n"


def fix(source: Path, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["validate", str(source), "--fix", str(out), *arguments])


def fixed(line: str) -> list[str]:
    return [each.decode() for each in fix_line(line.encode(), StrictParser()).lines]


def test_everything_that_can_be_is_corrected_and_said_and_the_copy_is_what_is_judged(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given = (
        b"\xef\xbb\xbf" + (SAMPLES[0] + "\r\n" + SAMPLES[1] + "\r\n \n\n").encode()
        + (SAMPLES[2] + SAMPLES[3] + ", " + SAMPLES[4] + "\n" + "\n".join(SAMPLES[5:])).encode()
    )  # fmt: skip
    source.write_bytes(given)
    result = fix(source, out, "--json")
    assert result.exit_code == 0
    assert out.read_text() == GOOD.removesuffix("\n")
    assert source.read_bytes() == given
    assert json.loads(result.stdout)["files"] == [str(out)]
    assert json.loads(result.stdout)["totals"] == {}
    assert result.stderr.splitlines() == [
        f"{source}:1: removed the byte-order mark",
        f"{source}:1: ended the line with LF instead of CR LF",
        f"{source}:2: ended the line with LF instead of CR LF",
        f"{source}:3-4: removed a blank line",
        f"{source}:5: wrote 3 objects on a line each",
    ]


def test_what_was_done_is_said_in_the_order_of_lines_and_once_for_lines_alike(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    two = SAMPLES[1] + SAMPLES[2] + "\r\n"
    source.write_bytes(f"{SAMPLES[0]}\r\n{SAMPLES[3]}\r\n{two}{SAMPLES[4]}\n\n\n{SAMPLES[5]}\r\n".encode())
    said = [
        line.removeprefix(f"{source}:") for line in fix(source, tmp_path / "out.jsonl", "--json").stderr.splitlines()
    ]
    crlf = "ended the line with LF instead of CR LF"
    assert said == [
        f"1-2: {crlf}", f"3: {crlf}", "3: wrote 2 objects on a line each", "5-6: removed a blank line", f"7: {crlf}",
    ]  # fmt: skip


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n" + GOOD)
    out.write_text("mine")
    refused = fix(source, out)
    assert (refused.exit_code, out.read_text()) == (2, "mine")
    assert "is there already: write elsewhere, or replace it with --force" in refused.stderr
    assert fix(source, out, "--force").exit_code == 0
    assert out.read_text() == GOOD


def test_what_cannot_be_corrected_stays_and_is_exit_code_1(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'{"messages": [\n\xff\n' + SAMPLES[0].encode() + b"\n")
    assert fix(source, out).exit_code == 1
    assert out.read_bytes() == source.read_bytes()


def test_arguments_given_as_an_object_become_a_string_with_the_same_text() -> None:
    arguments = '{"city": "杭州", "days": 1.50}'
    call = '{"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": %s}}]}]}'
    (line,) = fixed(call % arguments)
    assert json.loads(line)["messages"][0]["tool_calls"][0]["function"]["arguments"] == arguments
    assert line == call % json.dumps(arguments, ensure_ascii=False)
    assert fixed(line) == [line]


_CALL = '"tool_calls": [{"function": {"name": "f", "arguments": %s}}]'


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ('"role": "assistant", "content": null, ' + _CALL, '"role": "assistant", "content": "", ' + _CALL),
        (_CALL + ', "content": null, "role": "assistant"', _CALL + ', "content": "", "role": "assistant"'),
        ('"role": "assistant", ' + _CALL, '"content": "", "role": "assistant", ' + _CALL),
    ],
)
def test_no_content_beside_calls_becomes_an_empty_text(tmp_path: Path, given: str, meant: str) -> None:
    line = (
        '{"messages": [{"role": "user", "content": "?"}, {%s}], '
        '"tools": [{"type": "function", "function": {"name": "f"}}]}'
    )
    (tmp_path / "in.jsonl").write_text(line % (given % "{}") + "\n")
    result = fix(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--json")
    assert (tmp_path / "out.jsonl").read_text() == line % (meant % '"{}"') + "\n"
    assert json.loads(result.stdout)["totals"] == {"too-few-samples": 1}
    assert "in.jsonl:1: " in result.stderr
    assert '/messages/1/content as ""' in result.stderr
    assert "wrote the object /messages/1/tool_calls/0/function/arguments as a string" in result.stderr


def test_what_is_corrected_can_be_split_at_its_reasoning_at_once() -> None:
    line = (
        '{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "reasoning_content": "r", '
        '"content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, '
        '{"role": "tool", "content": "1"}, {"role": "assistant", "content": "!"}], '
        '"tools": [{"type": "function", "function": {"name": "f"}}]}'
    )
    once = fixed(line)
    assert len(once) == 2
    assert [each for part in once for each in fixed(part)] == once


@pytest.mark.parametrize(("given", "meant"), [('"1"', "1"), ('" 0"', "0"), ('"True"', "true"), ('"false"', "false")])
def test_a_label_in_quotes_loses_them(given: str, meant: str) -> None:
    line = '{"query": "q", "docs": [{"text": "a", "label": %s}, {"text": "b", "label": 0}]}'
    assert fixed(line % given) == [line % meant]


def test_every_answer_with_reasoning_ends_a_sample_and_is_trained_once() -> None:
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2", "reasoning_content": "one more"},
        {"role": "user", "content": "sure?"},
        {"role": "assistant", "content": "yes", "loss_weight": 0.5},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4", "reasoning_content": "twice", "loss_weight": 1.50},
        {"role": "user", "content": "bye"},
        {"role": "assistant", "content": "bye"},
    ]
    line = json.dumps({"thinking": True, "messages": said})
    pieces = [json.loads(each) for each in fixed(line)]
    assert all(piece["thinking"] is True for piece in pieces)
    assert [len(piece["messages"]) for piece in pieces] == [3, 7, 9]
    assert pieces[0]["messages"] == said[:3]
    without = [{name: value for name, value in each.items() if name != "reasoning_content"} for each in said]
    assert pieces[1]["messages"] == [*without[:2], {**without[2], "loss_weight": 0.0}, *said[3:7]]
    assert (
        pieces[2]["messages"]
        == [{**each, "loss_weight": 0.0} if each["role"] == "assistant" else each for each in without[:7]] + said[7:]
    )
    assert fix_line(line.encode(), StrictParser()).done == ("wrote 3 samples, one for each answer with reasoning",)
    assert [each for piece in fixed(line) for each in fixed(piece)] == fixed(line)


def test_a_call_with_reasoning_ends_a_sample_and_an_answer_that_is_not_trained_makes_none() -> None:
    call = {
        "role": "assistant",
        "content": "",
        "reasoning_content": "look",
        "tool_calls": [{"function": {"name": "f"}}],
    }
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "?"},
        call,
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "1"},
    ]
    first, second = [json.loads(each)["messages"] for each in fixed(json.dumps({"messages": said}))]
    assert first == said[:2]
    assert second[1] == {**{name: call[name] for name in ("role", "content", "tool_calls")}, "loss_weight": 0.0}
    said[3]["loss_weight"] = 0
    assert len(fixed(json.dumps({"messages": said}))) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"docs": [{"label": "yes"}]}',
        '{"docs": [{"label": 2}]}',
        '{"docs": {"label": "1"}, "messages": {"0": {"tool_calls": 1}}}',
        '{"messages": [1, {"tool_calls": [{"function": []}, {"function": {"arguments": [1]}}]}]}',
        '{"messages": [{"tool_calls": [{"function": {"arguments": {"a": 1, "a": 2}}}]}]}',
        '{"messages": [{"role": "assistant", "content": null}]}',
        '{"messages": [{"role": "assistant", "content": null, "tool_calls": []}]}',
        '{"messages": [{"role": "user", "content": null, "tool_calls": [1]}, {"content": null, "tool_calls": [1]}]}',
        '{"messages": [{"role": "assistant", "tool_calls": [1], "chosen": "a", "rejected": "b"}]}',
        '{"messages": [{"role": "assistant", "tool_calls": [1], "content": 1}]}',
        '{"a": 1},',
        '{"a": 1} [2]',
        '{"a": 1} {"b": ',
        '{"a" : 1 }  ',
        '{"messages": [{"role": "assistant", "content": "a", "reasoning_content": "only here"}]}',
        '{"messages": [{"role": "user", "reasoning_content": "b", "content": ""}, {"role": "assistant"}]}',
        '{"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, {"role": "assistant"}]}',
    ],
)
def test_what_would_have_to_be_guessed_stays_as_it_is(line: str) -> None:
    assert fixed(line) == [line]


def test_a_line_that_is_too_long_is_copied(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    long = b'{"messages": "' + b"x" * (17 << 20) + b'"}\n'
    source.write_bytes(long + b"\n" + GOOD.encode())
    assert fix(source, out).exit_code == 1
    assert out.read_bytes() == long + GOOD.encode()


def test_a_file_that_is_read_is_never_written(tmp_path: Path) -> None:
    source, link = tmp_path / "in.jsonl", tmp_path / "link.jsonl"
    source.write_text("\n" + GOOD)
    link.symlink_to(source)
    for target in (source, link):
        result = fix(source, target)
        assert result.exit_code == 2
        assert "never overwritten" in result.stderr
    report = CliRunner().invoke(app, ["validate", str(source), "--report", str(source)])
    assert report.exit_code == 2
    assert source.read_text() == "\n" + GOOD


def test_the_report_never_takes_the_place_of_the_corrected_copy(tmp_path: Path) -> None:
    source, out, link = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    source.write_text("\n" + GOOD)
    link.symlink_to(out)
    for report in (out, link, tmp_path / "." / "out.jsonl"):
        result = fix(source, out, "--report", str(report))
        assert result.exit_code == 2
        assert "would both go to" in result.stderr
        assert not out.exists()


def test_several_files_are_corrected_into_a_directory(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n" + GOOD)
    (folder / "b.jsonl").write_text(GOOD.replace("?", "??"))
    assert fix(folder, out).exit_code == 0
    assert (out / "a.jsonl").read_text() == GOOD
    assert fix(folder, folder).exit_code == 2
    assert fix(folder, out, "--report", str(out / "b.jsonl")).exit_code == 2
    assert (out / "b.jsonl").read_text() == GOOD.replace("?", "??")
    assert f"{out / 'a.jsonl'} is there already" in fix(folder, out).stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jsonl").write_text(GOOD)
    twice = ["validate", str(folder), str(other), "--fix", str(out)]
    assert "have one name" in CliRunner().invoke(app, twice).stderr


def test_a_ranking_file_with_labels_in_quotes_is_valid_once_corrected(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    docs = '[{"text": "a", "label": "1"}, {"text": "b", "label": "false"}]'
    source.write_text("".join(f'{{"query": "{n}", "docs": {docs}}}\n' for n in range(12)))
    before = CliRunner().invoke(app, ["validate", str(source), "--json"])
    assert json.loads(before.stdout)["totals"] == {"invalid-label": 24}
    after = fix(source, out, "--json")
    assert (after.exit_code, json.loads(after.stdout)["format"]) == (0, "ranking")
