"""Small worlds that can be learned: samples to train on, and others of the same world that are held out."""

import random
from itertools import product
from typing import Any, NamedTuple


class Split(NamedTuple):
    """Samples that are trained on, and samples that no training ever sees."""

    training: list[dict[str, Any]]
    held_out: list[dict[str, Any]]


_THINGS = ("river", "router", "fox", "week", "parcel", "sun", "dog", "order")
_PLACES = ("sea", "hills", "days", "France", "Paris")
_MANNERS = ("quick", "lazy", "helpful", "brown")


def conversations() -> Split:
    """Every question has one answer, which its words say; held out are combinations of words that were not asked."""
    return _split(
        {
            "messages": [
                {"role": "user", "content": f"where is the {manner} {thing} of the {place}?"},
                {
                    "role": "assistant",
                    "content": f"The {manner} {thing} runs to the {place}, and is there.",
                },
            ]
        }
        for thing, place, manner in product(_THINGS, _PLACES, _MANNERS)
    )


def texts() -> Split:
    """Sentences of one grammar; held out are those that were not written."""
    return _split(
        {"text": f"The {manner} {thing} jumps over the {place} while the {thing} of the {place} is {manner}."}
        for thing, place, manner in product(_THINGS, _PLACES, _MANNERS)
    )


_LIKED = ("sea", "France", "Paris", "week", "helpful", "river")
_DISLIKED = ("dog", "router", "parcel", "sun", "hills", "lazy")


def preferences() -> Split:
    """Six words are always better than six others; held out are pairs of them that were not compared."""
    return _split(
        {
            "messages": [
                {"role": "user", "content": f"what is {manner}?"},
                {
                    "role": "assistant",
                    "content": [{"text": f"the {worse}", "score": 0.1}, {"text": f"the {better}", "score": 0.9}],
                },
            ]
        }
        for better, worse, manner in product(_LIKED, _DISLIKED, _MANNERS[:2])
    )


#: Words of one language, and what they mean in another: nothing but training says so.
_DICTIONARY = {
    "river": "白日", "sea": "黄河", "week": "千里", "fox": "春眠", "dog": "夜来", "sun": "明月",
    "order": "故乡", "router": "请稍等", "model": "层楼", "answer": "啼鸟",
}  # fmt: skip


def rankings() -> Split:
    """A query's document is its translation, word by word; held out are pairs of words that were not asked for."""
    words = list(_DICTIONARY)
    return _split(
        {
            "query": f"{first} {second}",
            "docs": [
                {"text": _DICTIONARY[first] + _DICTIONARY[second], "label": 1},
                {"text": _DICTIONARY[first] + _DICTIONARY[words[words.index(second) - 1]], "label": 0},
            ],
        }
        for first, second in product(words, words)
        if first != second
    )


def _split(samples: Any) -> Split:
    every = list(samples)
    random.Random(7).shuffle(every)  # noqa: S311 - no secret
    quarter = len(every) // 4
    return Split(every[quarter:], every[:quarter])
