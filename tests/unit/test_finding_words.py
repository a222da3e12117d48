"""What people read about a fault: which words go with which case, and how much of a dataset's own text is shown."""

from typing import Any

import pytest

from contracts.dataset import Format
from contracts.strict_json import pointer
from handlers.validation.problems import counted, missing, wrong_type
from handlers.validation.rules import RULES
from handlers.validation.statistics import Tally

HUGE = 10**30
TWENTY = "1" + "0" * 19 + "..."


def words(format: Format, sample: dict[str, Any], place: str) -> tuple[str, str]:
    found = [
        (problem.message, problem.hint) for problem in RULES[format].check(sample) if pointer(problem.path) == place
    ]
    assert len(found) == 1
    return found[0]


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def user(content: Any = "q", **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def assistant(content: Any = "a", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def candidates(*given: Any) -> dict[str, Any]:
    return chat(user(), assistant(list(given)))


def docs(*given: Any) -> dict[str, Any]:
    return {"query": "q", "docs": list(given)}


def labelled(label: Any) -> dict[str, Any]:
    return {"text": "t", "label": label}


MASK = "lm_loss_mask must be 0 or 1, but is"
CALLING = {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("sample", "place", "message", "hint"),
    [
        (chat({"role": "usr", "content": "q"}, assistant()), "/messages/0/role", "'usr' is not a role",
         "did you mean 'user'?"),
        (chat({"role": "bot", "content": "q"}, assistant()), "/messages/0/role", "'bot' is not a role",
         "one of system, user, assistant, tool"),
        (chat({"content": "q"}, assistant()), "/messages/0/role", "role is missing",
         "one of system, user, assistant, tool"),
        (chat({"role": 1, "content": "q"}, assistant()), "/messages/0/role", "role must be a string, but is a number",
         "write it in double quotes"),
        (chat(user(), {"role": "assistant"}), "/messages/1/content", "content is missing", "add content"),
        (chat(user(), {"role": "assistant", **CALLING}, tools=TOOLS), "/messages/1/content", "content is missing",
         'beside tool_calls add "content": "", as worker validate --fix does'),
        (chat(user(), assistant(None)), "/messages/1/content", "content must be a string, but is null",
         "write it in double quotes"),
        (chat(user(), assistant(None, **CALLING), tools=TOOLS), "/messages/1/content",
         "content must be a string, but is null",
         'beside tool_calls write "" instead of null, as worker validate --fix does'),
        (chat(user(), assistant(1, **CALLING), tools=TOOLS), "/messages/1/content",
         "content must be a string, but is a number", 'beside tool_calls it may be ""'),
        (chat(user(), assistant([])), "/messages/1/content", "content must be a string, but is a list",
         "write one text: content in parts is not read"),
        (chat(user(), assistant(loss_weight=HUGE)), "/messages/1/loss_weight", f"loss_weight is {TWENTY}",
         "0.0 to 1.0"),
        (chat("hi", assistant()), "/messages/0", "entry 0 must be an object, but is a string", "write it in { }"),
        (chat(user(), assistant(), thinking=1), "/thinking",
         "thinking must be a string, a boolean or an object, but is a number",
         "write a string, a boolean or an object"),
        (chat(user(), assistant(), parallel_tool_calls=0), "/parallel_tool_calls",
         "parallel_tool_calls must be a boolean, but is a number", "write true or false, without quotes"),
        (chat(user(), assistant(tool_calls={})), "/messages/1/tool_calls",
         "tool_calls must be a list, but is an object",
         "write it in [ ]"),
        (chat(user(), assistant(), extra=1), "/extra", "'extra' is not a field here",
         "known here: messages, tools, parallel_tool_calls, thinking"),
        (chat(user(), assistant(), tool=1), "/tool", "'tool' is not a field here", "did you mean 'tools'?"),
        ({}, "/messages", "messages is missing", 'a sample is {"messages": [...]}'),
    ],
)  # fmt: skip
def test_what_is_said_about_conversations(sample: dict[str, Any], place: str, message: str, hint: str) -> None:
    assert words("sft", sample, place) == (message, hint)


@pytest.mark.parametrize(
    ("scores", "message"),
    [((HUGE, HUGE), f"all 2 candidates have the score {TWENTY}"), ((1, 1.0, 1), "all 3 candidates have the score 1"),
     ((1.0, 1, 1), "all 3 candidates have the score 1.0")],
)  # fmt: skip
def test_scores_that_make_no_pair(scores: tuple[Any, ...], message: str) -> None:
    sample = candidates(*[{"text": "t", "score": score} for score in scores])
    hint = "give the better candidate a higher score"
    assert words("preference", sample, "/messages/1/content") == (message, hint)


@pytest.mark.parametrize(
    ("candidate", "place", "message"),
    [
        ({"text": "t", "score": HUGE}, "/score", f"score is {TWENTY}"),
        (
            {"text": "t", "score": 1, "lm_loss_mask": HUGE},
            "/lm_loss_mask",
            f"lm_loss_mask must be 0 or 1, but is {TWENTY}",
        ),
        ({"text": "t", "score": 1, "lm_loss_mask": 0.5}, "/lm_loss_mask", f"{MASK} 0.5"),
        (
            {"text": "t", "score": 1, "lm_loss_mask": "1"},
            "/lm_loss_mask",
            "lm_loss_mask must be 0 or 1, but is a string",
        ),
        ({"text": 1, "score": 1}, "/text", "text must be a string, but is a number"),
        ({"score": 1}, "/text", "text is missing"),
    ],
)
def test_what_is_said_about_a_candidate(candidate: dict[str, Any], place: str, message: str) -> None:
    sample = candidates({"text": "t", "score": 0}, candidate)
    assert words("preference", sample, "/messages/1/content/1" + place)[0] == message


@pytest.mark.parametrize(("count", "message"), [(0, "0 candidates"), (1, "1 candidate"), (6, "6 candidates")])
def test_how_many_candidates_there_are(count: int, message: str) -> None:
    sample = candidates(*[{"text": "t", "score": number / 10} for number in range(count)])
    hint = "write 2 to 5: what is better, and what is worse"
    assert words("preference", sample, "/messages/1/content") == (message, hint)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("x" * 40, f"label is '{'x' * 40}'"), ("x" * 41, f"label is '{'x' * 40}...'"), (HUGE, f"label is {TWENTY}"),
        (0.5, "label is 0.5"), (None, "label must be 0, 1, true or false, but is null"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_read(label: Any, message: str) -> None:
    hint = "1 or true for the document that answers the query, 0 or false for any other"
    assert words("ranking", docs(labelled(1), labelled(label)), "/docs/1/label") == (message, hint)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0], "no positive document"), ([1, 1], "2 positive documents"), ([1] * 3, "3 positive documents"),
     ([0, 0], "no positive document")],
)  # fmt: skip
def test_how_many_positive_documents_there_are(labels: list[int], message: str) -> None:
    hint = "give exactly one document the label 1"
    assert words("ranking", docs(*map(labelled, labels)), "/docs") == (message, hint)


def test_the_remedy_for_a_type_is_how_that_type_is_written() -> None:
    remedies = {
        expected: wrong_type(("a", "b"), None, expected).hint
        for expected in ("a string", "a number", "a boolean", "a list", "an object", "0 or 1")
    }
    assert remedies == {
        "a string": "write it in double quotes",
        "a number": "write it without quotes, as in 1.0",
        "a boolean": "write true or false, without quotes",
        "a list": "write it in [ ]",
        "an object": "write it in { }",
        "0 or 1": "write 0 or 1",
    }
    assert wrong_type(("a", "b"), None, "a string", "write a name").hint == "write a name"


@pytest.mark.parametrize(
    ("value", "name"),
    [("", "a string"), (1, "a number"), (1.5, "a number"), (True, "a boolean"), ([], "a list"), ({}, "an object"),
     (None, "null")],
)  # fmt: skip
def test_every_type_has_a_name(value: Any, name: str) -> None:
    assert wrong_type(("a",), value, "x").message == f"a must be x, but is {name}"


def test_what_is_at_fault_is_named_by_its_last_step() -> None:
    assert wrong_type(("docs", 3), 1, "x").message == "entry 3 must be x, but is a number"
    assert wrong_type((3, "text"), 1, "x").message == "text must be x, but is a number"
    assert missing(("docs", "text"))[2:] == ("text is missing", "add text")
    assert missing(("docs", "text"), "write it")[2:] == ("text is missing", "write it")


def test_a_noun_with_its_number() -> None:
    assert [counted(count, "call") for count in range(3)] == ["0 calls", "1 call", "2 calls"]


def test_statistics_come_by_name_and_each_kind_by_itself() -> None:
    tally = Tally()
    tally.add([("roles", "user"), ("roles", "assistant"), ("labels", "positive")])
    tally.add([("roles", "user")])
    assert list(tally.of("roles").items()) == [("assistant", 1), ("user", 2)]
    assert tally.of("labels") == {"positive": 1}
    assert tally.of("candidates") == tally.of("spellings") == {}
