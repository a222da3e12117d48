"""The plain samples of ``ranking`` and ``pretrain``."""

from collections.abc import Mapping
from typing import Any

from contracts.datasets.ranking import MOST_NEGATIVES
from handlers.validation.plain import Plain, Shape
from handlers.validation.statistics import Counted


def _pretrain_shape(sample: Any, texts: list[str]) -> Shape | None:
    text = sample["text"]
    if len(sample) != 1 or type(text) is not str or not text:
        return None
    texts.append(text)
    return (2,)


def _pretrain_counted(_: Shape) -> Mapping[Counted, int]:
    return {}


def _ranking_shape(sample: Any, texts: list[str]) -> Shape | None:
    query, docs = sample["query"], sample["docs"]
    if len(sample) != 2 or type(query) is not str or not query or type(docs) is not list:
        return None
    texts.append(query)
    positives = booleans = 0
    for doc in docs:
        text, label = doc["text"], doc["label"]
        if len(doc) != 2 or type(text) is not str or not text:
            return None
        if type(label) not in {bool, int, float} or label not in {0, 1}:
            return None
        positives += label == 1
        booleans += type(label) is bool
        texts.append(text)
    negatives = len(docs) - positives
    if positives != 1 or negatives > MOST_NEGATIVES:
        return None
    return 3 + 3 * len(docs), negatives, booleans > 0, booleans < len(docs)


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
PRETRAIN = Plain(_pretrain_shape, _pretrain_counted)
