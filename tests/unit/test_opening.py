"""How much of a file is read before it is said which format it has."""

import json
from typing import Any

import pytest

from handlers.validation.lines import Line
from handlers.validation.opening import Decision, Opening

_SFT: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
_TEXT: dict[str, Any] = {"text": "a"}


def line(number: int, body: bytes = b"{}") -> Line:
    return Line(number, body, len(body))


def hold(opening: Opening, *objects: dict[str, Any]) -> list[bool]:
    return [opening.hold(line(number, json.dumps(each).encode()), (each,)) for number, each in enumerate(objects, 1)]


def test_ten_objects_decide() -> None:
    assert hold(Opening("auto"), *[_SFT] * 10) == [False] * 9 + [True]


def test_lines_without_an_object_do_not_count_but_a_thousand_are_enough() -> None:
    opening = Opening("auto")
    assert hold(opening, _SFT) == [False]
    assert [opening.hold(line(number), ()) for number in range(2, 1001)] == [False] * 998 + [True]
    assert opening.decide() == Decision("sft")


def test_a_mebibyte_is_enough() -> None:
    opening = Opening("auto")
    assert not opening.hold(line(1, b" " * (1 << 19)), (_SFT,))
    assert not opening.hold(line(2, b" " * ((1 << 19) - 1)), (_SFT,))
    assert opening.hold(line(3, b" "), (_SFT,))


def test_of_several_objects_on_a_line_the_first_is_looked_at() -> None:
    opening = Opening("auto")
    opening.hold(line(1), (_TEXT, _SFT))
    assert opening.decide() == Decision("pretrain")


def test_what_nobody_knows_is_named_by_the_fields_of_the_first_object() -> None:
    opening = Opening("auto")
    opening.hold(line(1), ({"speech": "a"}, {"song": "b"}))
    opening.hold(line(2), ({"picture": "a"},))
    decision = opening.decide()
    assert decision is not None
    assert decision.format is None
    assert decision.wrong is not None
    assert "speech" in decision.wrong.message
    assert not {"song", "picture"} & set(decision.wrong.message.split())


@pytest.mark.parametrize("declared", ["sft", "auto"])
def test_nothing_is_decided_by_lines_without_an_object(declared: str) -> None:
    opening = Opening("sft" if declared == "sft" else "auto")
    assert opening.declared == ("sft" if declared == "sft" else None)
    for number in range(1, 6):
        opening.hold(line(number, b"?"), ())
    assert opening.decide() is None
    assert [each.number for each in opening.release()] == [1, 2, 3, 4, 5]
    assert opening.held == []
