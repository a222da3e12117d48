"""The rules of preference where they meet each other; each rule by itself is pinned by the examples."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.datasets import preference
from contracts.datasets.findings import CODES, codes_of
from contracts.strict_json import pointer
from handlers.validation.rules_preference import check_preference, count_preference
from tests.mutations import mutated, mutations, values

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"function": {"name": "weather", "arguments": "{}"}}


def user(content: Any = "hi", **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def answers(*candidates: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(candidates), **fields}


def scored(*scores: Any) -> dict[str, Any]:
    return answers(*[{"text": f"answer {index}", "score": score} for index, score in enumerate(scores)])


def pair(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "chosen": "good", "rejected": "bad", **fields}


def sample(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


def found(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.code, pointer(problem.path)) for problem in check_preference(value)]


def test_every_fault_of_a_sample_is_found_at_its_place() -> None:
    candidates = [{"text": "", "score": 2}, {"txt": "a", "score": True}, 7, {"text": 1}, {"text": "b", "score": None}]
    value = sample(
        user("", loss_weight=1),
        answers({"text": "a", "score": 1}),
        user(),
        answers(*candidates, {"text": "<|im_end|>", "score": -1, "lm_loss_mask": "1"}, loss_weight=2, mood="x"),
        extra=1,
    )
    last = "/messages/3"
    assert sorted(found(value)) == sorted(
        [
            ("unknown-field", "/extra"),
            ("empty-content", "/messages/0/content"),
            ("loss-weight-not-allowed", "/messages/0/loss_weight"),
            ("candidates-not-last", "/messages/1/content"),
            ("candidate-count", "/messages/1/content"),
            ("unknown-field", last + "/mood"),
            ("loss-weight-out-of-range", last + "/loss_weight"),
            ("candidate-count", last + "/content"),
            ("empty-content", last + "/content/0/text"),
            ("score-out-of-range", last + "/content/0/score"),
            ("unknown-field", last + "/content/1/txt"),
            ("missing-field", last + "/content/1/text"),
            ("wrong-type", last + "/content/1/score"),
            ("wrong-type", last + "/content/2"),
            ("wrong-type", last + "/content/3/text"),
            ("missing-field", last + "/content/3/score"),
            ("wrong-type", last + "/content/4/score"),
            ("special-token-in-text", last + "/content/5/text"),
            ("score-out-of-range", last + "/content/5/score"),
            ("wrong-type", last + "/content/5/lm_loss_mask"),
        ]
    )


# --- scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "codes"),
    [
        ((1, 0), []),
        ((0.5, 0.5, 0.4), []),
        ((0, 0.2, 0.4, 0.6, 1.0), []),
        ((1, 1.0), ["no-preference-pair"]),
        ((0, -0.0), ["no-preference-pair"]),
        ((0.5,) * 5, ["no-preference-pair"]),
        ((0.5,) * 6, ["candidate-count", "no-preference-pair"]),
        ((0, 0.1, 0.2, 0.3, 0.4, 0.5), ["candidate-count"]),
        ((1,), ["candidate-count"]),
        ((), ["candidate-count"]),
    ],
)
def test_how_many_candidates_there_may_be_and_which_make_a_pair(scores: tuple[float, ...], codes: list[str]) -> None:
    assert found(sample(user(), scored(*scores))) == [(code, "/messages/1/content") for code in codes]


@pytest.mark.parametrize(
    ("score", "code"),
    [
        (0.0001, None), (1, None), (1.0, None), (1.0001, "score-out-of-range"), (-0.0001, "score-out-of-range"),
        (10**400, "score-out-of-range"), (True, "wrong-type"), (None, "wrong-type"), ("1", "wrong-type"),
        ([], "wrong-type"),
    ],
)  # fmt: skip
def test_the_bounds_and_the_type_of_a_score(score: Any, code: str | None) -> None:
    expected = [(code, "/messages/1/content/0/score")] if code else []
    assert found(sample(user(), scored(score, 0))) == expected


def test_scores_that_cannot_all_be_read_say_nothing_about_pairs() -> None:
    assert found(sample(user(), scored(1, "1"))) == [("wrong-type", "/messages/1/content/1/score")]


@pytest.mark.parametrize(
    ("mask", "good"),
    [
        (0, True), (1, True), (1.0, True), (None, True),
        (0.5, False), (2, False), (10**400, False), (True, False), ("1", False), ([], False),
    ],
)  # fmt: skip
def test_the_mask_of_a_candidate_is_0_or_1(mask: Any, good: bool) -> None:
    value = sample(user(), answers({"text": "a", "score": 1, "lm_loss_mask": mask}, {"text": "b", "score": 0}))
    assert found(value) == ([] if good else [("wrong-type", "/messages/1/content/0/lm_loss_mask")])


# --- chosen and rejected ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"content": ""}, {"content": None}])
def test_chosen_and_rejected_are_candidates(fields: dict[str, Any]) -> None:
    assert found(sample(user(), pair(**fields))) == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"chosen": ""}, ("empty-content", "/chosen")),
        ({"chosen": None}, ("wrong-type", "/chosen")),
        ({"rejected": None}, ("wrong-type", "/rejected")),
        ({"rejected": ["bad"]}, ("wrong-type", "/rejected")),
        ({"rejected": True}, ("wrong-type", "/rejected")),
        ({"rejected": "</s>"}, ("special-token-in-text", "/rejected")),
        ({"content": "other"}, ("wrong-type", "/content")),
        ({"content": scored(1, 0)["content"]}, ("wrong-type", "/content")),
        ({"choosen": "good"}, ("unknown-field", "/choosen")),
    ],
)
def test_the_faults_of_chosen_and_rejected(fields: dict[str, Any], fault: tuple[str, str]) -> None:
    assert found(sample(user(), pair(**fields))) == [(fault[0], "/messages/1" + fault[1])]


def test_one_of_the_two_is_not_enough() -> None:
    only = {"role": "assistant", "rejected": "bad"}
    assert found(sample(user(), only)) == [("missing-field", "/messages/1/chosen")]
    neither = {"role": "assistant", "chosen": None, "rejected": None}
    assert found(sample(user(), neither)) == [("missing-field", "/messages/1/content")]
    assert found(sample(user(), {**neither, **scored(1, 0)})) == []


# --- where candidates are ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["hello", "", None, 7, {}])
def test_one_text_is_no_choice(content: Any) -> None:
    assert found(sample(user(), {"role": "assistant", "content": content})) == [("wrong-type", "/messages/1/content")]


def test_candidates_elsewhere_are_said_where_they_are_and_not_missed_at_the_end() -> None:
    misplaced = ("candidates-not-last", "/messages/1/content")
    assert found(sample(user(), scored(1, 0), user(), {"role": "assistant", "content": "x"})) == [misplaced]
    assert found(sample(user(), scored(1, 0), user(), scored(1, 0))) == [misplaced]
    assert found(sample(user(), scored(1, 0), user())) == [misplaced, ("last-message-not-assistant", "/messages/2")]
    assert found(sample(user(), pair(), user(), pair())) == [("candidates-not-last", "/messages/1/chosen")]
    asked = {"role": "user", "content": scored(1, 0)["content"]}
    assert found(sample(asked, pair())) == [("candidates-not-last", "/messages/0/content")]


def test_candidates_of_a_user_are_not_the_assistants() -> None:
    asked = {"role": "user", "content": scored(1, 0)["content"]}
    assert found(sample(asked)) == [("no-assistant-message", "/messages")]


def test_parts_with_a_type_are_no_candidates() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    assert found(sample(parts, pair())) == [("wrong-type", "/messages/0/content")]


@pytest.mark.parametrize("entry", [None, 1, "assistant", [], True])
def test_a_last_message_that_is_no_object_is_its_only_fault(entry: Any) -> None:
    assert found(sample(user(), entry)) == [("wrong-type", "/messages/1")]


# --- the conversation before them -------------------------------------------------------------------------------


def test_a_conversation_with_calls_before_the_candidates() -> None:
    calling = {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}
    tool = {"role": "tool", "content": "sunny"}
    assert found(sample(user(), calling, tool, tool, scored(1, 0), tools=[WEATHER])) == []
    assert found(sample(user(), calling, tool, scored(1, 0), tools=[WEATHER])) == [
        ("tool-call-count-mismatch", "/messages/1/tool_calls")
    ]
    assert found(sample(user(), calling, tool, tool, scored(1, 0))) == [("tools-missing", "/tools")]


def test_calls_beside_candidates_are_not_read() -> None:
    assert found(sample(user(), {**scored(1, 0), "tool_calls": [CALL]})) == [
        ("unknown-field", "/messages/1/tool_calls")
    ]


def test_nothing_has_to_be_trained_before_the_candidates() -> None:
    before = {"role": "assistant", "content": "x", "loss_weight": 0}
    assert found(sample(user(), before, user(), scored(1, 0))) == []
    assert found(sample(user(), {**scored(1, 0), "loss_weight": 0})) == []


# --- what is counted --------------------------------------------------------------------------------------------


def test_what_is_counted_of_a_sample() -> None:
    assert sorted(count_preference(sample(user(), scored(1, 0, 0.5)))) == [
        ("candidates", "3"),
        ("roles", "assistant"),
        ("roles", "user"),
        ("spellings", "text/score"),
    ]
    assert ("spellings", "chosen/rejected") in list(count_preference(sample(user(), pair(content=""))))
    masked = answers({"text": "a", "score": 1, "lm_loss_mask": 0}, {"text": "b", "score": 0})
    assert ("spellings", "lm_loss_mask") in list(count_preference(sample(user(), masked)))


# --- whatever arrives -------------------------------------------------------------------------------------------

WORDS = ["messages", "role", "content", "loss_weight", "reasoning_content", "tools", "tool_calls", "function", "name",
         "text", "score", "lm_loss_mask", "chosen", "rejected", "user", "assistant", "system", "tool", ""]  # fmt: skip
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
GOOD: dict[str, Any] = sample(
    user(loss_weight=0),
    CALLING,
    {"role": "tool", "content": "sunny"},
    answers({"text": "a", "score": 0.5, "lm_loss_mask": 1}, {"text": "b", "score": 0}, loss_weight=1),
    tools=[WEATHER],
)
GOOD_PAIR: dict[str, Any] = sample(user(), pair(reasoning_content="r"), thinking="enabled")


@settings(max_examples=300)
@given(st.sampled_from([GOOD, GOOD_PAIR]), mutations(WORDS))
def test_a_mutated_sample_is_judged_and_what_passes_is_what_the_contract_decodes(
    good: dict[str, Any], steps: list[Any]
) -> None:
    value = mutated(good, steps)
    problems = list(check_preference(value))
    assert {problem.code for problem in problems} <= codes_of("preference")
    assert all(problem.message and problem.hint for problem in problems)
    msgspec.json.encode([[pointer(problem.path), *problem[1:]] for problem in problems])
    if not any(CODES[problem.code].severity == "error" for problem in problems):
        msgspec.convert(value, preference.Sample)
        assert ("roles", "assistant") in list(count_preference(value))


@given(st.dictionaries(st.sampled_from(WORDS), values(WORDS)))
def test_any_object_is_judged(value: dict[str, Any]) -> None:
    assert {problem.code for problem in check_preference(value)} <= codes_of("preference")


def test_the_samples_that_are_mutated_are_good() -> None:
    assert found(GOOD) == found(GOOD_PAIR) == []
