"""The rules of ranking and pretrain where they meet each other; each by itself is pinned by the examples."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.datasets import pretrain, ranking
from contracts.datasets.findings import CODES, codes_of
from contracts.strict_json import pointer
from handlers.validation.rules import RULES
from handlers.validation.rules_pretrain import check_pretrain
from handlers.validation.rules_ranking import check_ranking, count_ranking
from tests.mutations import mutated, mutations, values


def doc(label: Any = 0, text: Any = "a document", **fields: Any) -> dict[str, Any]:
    return {"text": text, "label": label, **fields}


def sample(*docs: Any, **fields: Any) -> dict[str, Any]:
    return {"query": "what?", "docs": list(docs), **fields}


def found(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.code, pointer(problem.path)) for problem in check_ranking(value)]


def found_in_text(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.code, pointer(problem.path)) for problem in check_pretrain(value)]


def test_every_fault_of_a_sample_is_found_at_its_place() -> None:
    documents = [doc(True, ""), doc(1, 5, score=1), 7, doc("yes"), doc(None), {}, *[doc()] * 6]
    assert sorted(found({"qeury": "x", "query": "</s>", "docs": documents})) == [
        ("empty-text", "/docs/0/text"),
        ("invalid-label", "/docs/3/label"),
        ("missing-field", "/docs/5/label"),
        ("missing-field", "/docs/5/text"),
        ("positive-count", "/docs"),
        ("special-token-in-text", "/query"),
        ("too-many-negatives", "/docs"),
        ("unknown-field", "/docs/1/score"),
        ("unknown-field", "/qeury"),
        ("wrong-type", "/docs/1/text"),
        ("wrong-type", "/docs/2"),
        ("wrong-type", "/docs/4/label"),
    ]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        (0, None), (False, None), (0.0, None), (-0.0, None), (2, "invalid-label"), (-1, "invalid-label"),
        (0.5, "invalid-label"), (10**400, "invalid-label"), ("0", "invalid-label"), ("false", "invalid-label"),
        ("", "invalid-label"), (None, "wrong-type"), ([], "wrong-type"), ({}, "wrong-type"),
    ],
)  # fmt: skip
def test_what_a_label_may_be(label: Any, code: str | None) -> None:
    assert found(sample(doc(1), doc(label))) == ([(code, "/docs/1/label")] if code else [])


@pytest.mark.parametrize("label", [1, True, 1.0])
def test_what_a_positive_label_may_be(label: Any) -> None:
    assert found(sample(doc(label))) == []
    assert found(sample(doc(label), doc(1))) == [("positive-count", "/docs")]


@pytest.mark.parametrize(
    ("positives", "negatives", "codes"),
    [
        (1, 0, []), (1, 5, []), (0, 1, ["positive-count"]), (2, 0, ["positive-count"]), (6, 5, ["positive-count"]),
        (1, 6, ["too-many-negatives"]), (0, 6, ["positive-count", "too-many-negatives"]), (0, 0, ["empty-docs"]),
    ],
)  # fmt: skip
def test_how_many_documents_of_each_kind_there_may_be(positives: int, negatives: int, codes: list[str]) -> None:
    assert found(sample(*[doc(1)] * positives, *[doc(0)] * negatives)) == [(code, "/docs") for code in codes]


def test_a_label_that_cannot_be_read_may_be_the_positive_one() -> None:
    assert found(sample(doc(0), doc("1"))) == [("invalid-label", "/docs/1/label")]
    assert found(sample(doc(0), "text")) == [("wrong-type", "/docs/1")]
    assert found(sample(doc(1), doc(1), doc("1"))) == [("invalid-label", "/docs/2/label"), ("positive-count", "/docs")]


@pytest.mark.parametrize("docs", [None, {}, "text", 1, True])
def test_documents_that_are_no_list_are_one_fault(docs: Any) -> None:
    assert found({"query": "x", "docs": docs}) == [("wrong-type", "/docs")]


@pytest.mark.parametrize(
    ("text", "code"), [("", "empty-text"), (None, "wrong-type"), (1, "wrong-type"), (True, "wrong-type"), (" ", None)]
)
def test_the_texts(text: Any, code: str | None) -> None:
    assert found({"query": text, "docs": [doc(1)]}) == ([(code, "/query")] if code else [])
    assert found(sample(doc(1, text))) == ([(code, "/docs/0/text")] if code else [])
    assert found_in_text({"text": text}) == ([(code, "/text")] if code else [])


def test_the_fields_of_a_text() -> None:
    assert found_in_text({}) == [("missing-field", "/text")]
    assert found_in_text({"Text": "x"}) == [("unknown-field", "/Text"), ("missing-field", "/text")]
    assert found_in_text({"text": "[INST]"}) == [("special-token-in-text", "/text")]
    (problem, _) = check_pretrain({"Text": "x"})
    assert problem.hint == "did you mean 'text'?"


def test_what_is_counted_of_a_sample() -> None:
    counted = list(count_ranking(sample(doc(True), doc(0), doc(0.0))))
    assert sorted(counted) == [
        ("labels", "negative"),
        ("labels", "negative"),
        ("labels", "positive"),
        ("spellings", "0/1"),
        ("spellings", "true/false"),
    ]
    assert list(RULES["pretrain"].tally({"text": "x"})) == []


# --- whatever arrives -------------------------------------------------------------------------------------------

WORDS = ["query", "docs", "text", "label", "score", "1", ""]
GOOD: dict[str, Any] = sample(doc(1), doc(False), doc(0.0, "</s>"), note="x")


@settings(max_examples=300)
@given(mutations(WORDS))
def test_a_mutated_sample_is_judged_and_what_passes_is_what_the_contract_decodes(steps: list[Any]) -> None:
    value = mutated(GOOD, steps)
    problems = list(check_ranking(value))
    assert {problem.code for problem in problems} <= codes_of("ranking")
    assert all(problem.message and problem.hint for problem in problems)
    msgspec.json.encode([[pointer(problem.path), *problem[1:]] for problem in problems])
    if not any(CODES[problem.code].severity == "error" for problem in problems):
        msgspec.convert(value, ranking.Sample)
        assert list(count_ranking(value)).count(("labels", "positive")) == 1


@given(st.dictionaries(st.sampled_from(WORDS), values(WORDS)))
def test_any_object_is_judged(value: dict[str, Any]) -> None:
    assert {problem.code for problem in check_ranking(value)} <= codes_of("ranking")
    problems = list(check_pretrain(value))
    assert {problem.code for problem in problems} <= codes_of("pretrain")
    if not any(CODES[problem.code].severity == "error" for problem in problems):
        msgspec.convert(value, pretrain.Sample)


def test_the_sample_that_is_mutated_is_good() -> None:
    assert {code for code, _ in found(GOOD)} == {"special-token-in-text", "unknown-field"}
