"""Who speaks when, and which calls are answered: roles and calls alone, each rule at its bounds."""

import pytest

from contracts.strict_json import pointer
from handlers.validation.rules_turns import check_turns

ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "?": None}


def told(turns: str, calls: str = "") -> list[tuple[str, str]]:
    """Judge messages given as one letter each, and how many tools each calls as one digit each."""
    counts = [int(count) for count in calls.ljust(len(turns), "0")]
    problems = check_turns([ROLES[letter] for letter in turns], counts)
    return [(problem.code, pointer(problem.path).removeprefix("/messages")) for problem in problems]


def said(turns: str, calls: str = "") -> str:
    counts = [int(count) for count in calls.ljust(len(turns), "0")]
    (problem,) = check_turns([ROLES[letter] for letter in turns], counts)
    return problem.message


@pytest.mark.parametrize(
    ("turns", "calls"),
    [
        ("ua", ""), ("sua", ""), ("uaua", ""), ("uatataua", "0101"), ("uatta", "02"), ("ua", "01"), ("ua", "03"),
        ("uata", "01"), ("suata", "001"),
    ],
)  # fmt: skip
def test_good_conversations(turns: str, calls: str) -> None:
    assert told(turns, calls) == []


def test_only_the_first_message_may_be_the_systems() -> None:
    assert told("usa") == [("system-not-first", "/1")]
    assert told("ssua") == [("system-not-first", "/1")]
    assert told("?sa") == [("system-not-first", "/1")]


def test_a_system_message_in_between_changes_no_turn() -> None:
    assert told("uasa") == [("system-not-first", "/2"), ("consecutive-assistant-messages", "/3")]
    assert told("usua") == [("system-not-first", "/1"), ("roles-not-alternating", "/2")]


@pytest.mark.parametrize("turns", ["u", "s", "su"])
def test_a_conversation_without_an_answer_is_said_once(turns: str) -> None:
    assert told(turns) == [("no-assistant-message", "")]


def test_a_message_that_cannot_be_read_may_be_the_answer() -> None:
    assert told("u?") == told("?") == told("?u") == told("ua?") == []


def test_the_last_message_is_the_assistants() -> None:
    assert told("uau") == [("last-message-not-assistant", "/2")]
    assert said("uau") == "the last message is from the user"
    assert told("uas") == [("system-not-first", "/2"), ("last-message-not-assistant", "/2")]
    assert said("uat", "01") == "the last message is from the tool"


@pytest.mark.parametrize(
    ("turns", "calls", "place", "message"),
    [
        ("uata", "02", "/1/tool_calls", "2 calls, answered by 1 tool message"),
        ("uatta", "01", "/1/tool_calls", "1 call, answered by 2 tool messages"),
        ("uatta", "00", "/2", "0 calls, answered by 2 tool messages"),
        ("uta", "", "/1", "0 calls, answered by 1 tool message"),
        ("stua", "", "/1", "0 calls, answered by 1 tool message"),
    ],
)
def test_calls_and_answers_balance(turns: str, calls: str, place: str, message: str) -> None:
    assert [found for found in told(turns, calls) if found[0] == "tool-call-count-mismatch"] == [
        ("tool-call-count-mismatch", place)
    ]
    problems = check_turns([ROLES[letter] for letter in turns], [int(each) for each in calls.ljust(len(turns), "0")])
    assert message in [problem.message for problem in problems]


def test_calls_that_nothing_answers() -> None:
    assert told("uaua", "01") == [("tool-call-count-mismatch", "/1/tool_calls")]
    assert told("uaa", "010") == [("tool-call-count-mismatch", "/1/tool_calls")]


def test_answers_at_the_start_answer_nothing() -> None:
    unsaid = "roles-not-alternating"  # What came of it, as anywhere.
    assert told("tua") == [("tool-call-count-mismatch", "/0"), (unsaid, "/1")]
    assert told("ttua") == [("tool-call-count-mismatch", "/0"), (unsaid, "/2")]


def test_too_few_answers_at_the_end_of_a_sample() -> None:
    """Only a sample that ends with the calling message needs no answers."""
    assert told("uat", "02") == [("last-message-not-assistant", "/2"), ("tool-call-count-mismatch", "/1/tool_calls")]


def test_answers_to_a_message_that_cannot_be_read_may_be_right() -> None:
    assert told("u?ta") == told("u?tta") == []
    assert told("?ta") == []


def test_a_message_that_cannot_be_read_may_be_the_answer_that_is_missing_and_no_other_fault() -> None:
    assert told("uat?a", "02") == []
    assert told("ua?a", "01") == []
    assert told("ua?", "01") == []
    assert told("uat?a", "01") == []
    assert told("uatt?a", "01") == [("tool-call-count-mismatch", "/1/tool_calls")]
    assert told("uatu?a", "02") == [("tool-call-count-mismatch", "/1/tool_calls"), ("roles-not-alternating", "/3")]
    assert told("?atua", "02") == [("tool-call-count-mismatch", "/1/tool_calls"), ("roles-not-alternating", "/3")]
    assert told("uaua?a", "01") == [("tool-call-count-mismatch", "/1/tool_calls")]


def test_user_and_assistant_take_turns() -> None:
    assert told("uaa") == [("consecutive-assistant-messages", "/2")]
    assert told("saa") == [("roles-not-alternating", "/1"), ("consecutive-assistant-messages", "/2")]
    assert told("a") == [("roles-not-alternating", "/0")]
    assert said("a") == "the assistant speaks first"
    assert told("uua") == [("roles-not-alternating", "/1")]
    assert said("uua") == "two user messages in a row"
    assert told("uatua", "01") == [("roles-not-alternating", "/3")]
    assert said("uatua", "01") == "the assistant does not say what came of it"


def test_after_a_call_the_assistant_speaks_on() -> None:
    assert told("uata", "01") == []
    assert told("uaa", "01") == [("tool-call-count-mismatch", "/1/tool_calls")]


def test_what_cannot_be_read_says_nothing_about_the_turn_after_it() -> None:
    assert told("u?ua") == told("ua?a") == told("?a") == []


def test_calls_of_a_user_make_no_turn() -> None:
    """Calls count only where the assistant makes them: a user who has some still has to be answered."""
    problems = list(check_turns(["user", "user", "assistant"], [1, 0, 0]))
    assert [problem.code for problem in problems] == ["tool-call-count-mismatch", "roles-not-alternating"]
