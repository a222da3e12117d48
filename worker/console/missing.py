"""What a fee lacks, by the names that people gave their files."""

import re
from typing import NamedTuple

from contracts.quote import CostEstimated
from worker.console.view import DatasetView, View

_OF_A_DATASET = re.compile(r"dataset ([A-Za-z0-9._-]+): (.*)", re.DOTALL)


class Missing(NamedTuple):
    """One thing that is missing in a quote, and the dataset that it is about, where it is about one that is known."""

    dataset: DatasetView | None
    what: str


def missing_in(fee: CostEstimated | None, view: View) -> list[Missing]:
    """Return what is missing in a fee. Only datasets of the fee's own project are known here. Pure."""
    return [_named(each, fee.project, view) for each in fee.quote.missing] if fee else []


def _named(said: str, project: str, view: View) -> Missing:
    match = _OF_A_DATASET.fullmatch(said)
    dataset = view.dataset(project, match[1]) if match else None
    if match is None or dataset is None or not dataset.uris:
        return Missing(None, said)
    return Missing(dataset, match[2])
