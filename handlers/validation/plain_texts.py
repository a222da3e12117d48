"""The plain samples of ``ranking`` and ``pretrain``."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.datasets.ranking import MOST_NEGATIVES
from handlers.validation.plain import Plain, Seen, Shape
from handlers.validation.plain_special_tokens import add_plain_text, are_plain_texts, holds_special_token
from handlers.validation.statistics import Counted


def _pretrain_shape(sample: Any, texts: list[str]) -> Shape | None:
    text = sample["text"]
    if len(sample) > 1 or not text or type(text) is not str or holds_special_token(text):
        return None
    texts.append(text)
    return (2,)


def _pretrain_together(samples: Sequence[Any]) -> Seen | None:
    texts = [sample["text"] for sample in samples]
    if not all(texts) or not are_plain_texts(texts):
        return None
    return Seen(2 * len(texts), {(2,): len(texts)}, texts)


def _pretrain_counted(_: Shape) -> Mapping[Counted, int]:
    return {}


def _ranking_shape(sample: Any, texts: list[str]) -> Shape | None:
    query, docs = sample["query"], sample["docs"]
    labels = [doc["label"] for doc in docs]
    said = [query, *[doc["text"] for doc in docs]]
    negatives = labels.count(0)
    if (
        len(sample) > 2
        or not all(said)
        or labels.count(1) != 1
        or 1 + negatives != len(labels)
        or negatives > MOST_NEGATIVES
    ):
        return None
    types = set(map(type, labels))
    shape = (3 + 3 * len(docs), negatives, bool in types, types != {bool})
    return shape if add_plain_text(texts, said) else None


def _ranking_counted(shape: Shape) -> Mapping[Counted, int]:
    _, negatives, with_booleans, with_numbers = shape
    counted: dict[Counted, int] = {("labels", "positive"): 1}
    if negatives:
        counted["labels", "negative"] = negatives
    if with_booleans:
        counted["spellings", "true/false"] = 1
    if with_numbers:
        counted["spellings", "0/1"] = 1
    return counted


RANKING = Plain(_ranking_shape, _ranking_counted)
PRETRAIN = Plain(_pretrain_shape, _pretrain_counted, _pretrain_together)
