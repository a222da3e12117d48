"""Every table with a row a format has one of every format: one forgotten would be a KeyError at a user's data."""

from collections.abc import Collection
from typing import get_args

import pytest

from contracts.dataset import Format
from contracts.datasets.findings import CODES
from handlers.planning.build import FORMATS
from handlers.planning.sample_rows import CONTENT_FIELDS
from handlers.validation.detect import SHAPES
from handlers.validation.rules import RULES

_TABLES: dict[str, Collection[str]] = {
    "rules": RULES,
    "what it looks like": SHAPES,
    "what of a sample is its content": CONTENT_FIELDS,
    "training types": set(FORMATS.values()),
}


@pytest.mark.parametrize("table", _TABLES)
def test_a_table_has_every_format(table: str) -> None:
    assert set(_TABLES[table]) == set(get_args(Format))


def test_findings_name_formats_that_there_are() -> None:
    assert {name for code in CODES.values() for name in code.formats} <= set(get_args(Format))
