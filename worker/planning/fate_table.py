"""The fate of every line as Parquet: one row a line, in the order of the plan's datasets, their files and their lines.

=========  ================================================================================================
column     meaning
=========  ================================================================================================
kind       what the dataset is to the task: user, preset or validation
dataset    its id
file       the number of the file in the dataset, from 0
line       from 1
fate       trained, validation, preset or excluded
times      how often an epoch sees the sample; 0 where it is excluded
tokens     the sample's, once; 0 where the line is invalid
reason     of what is excluded: invalid, too-long, leak (the validation set says the same) or not-drawn; else null
=========  ================================================================================================

A row group holds lines of one file only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from handlers.planning.fates import REASONS, Fates
from handlers.planning.marking import Mark
from handlers.planning.selection import Source

_FATES = {Mark.TRAINED: "trained", Mark.VALIDATION: "validation", Mark.PRESET: "preset"}
_EXCLUDED = "excluded"

_TEXT = pa.dictionary(pa.int8(), pa.string())
_SCHEMA = pa.schema(
    [
        pa.field("kind", _TEXT, nullable=False),
        pa.field("dataset", _TEXT, nullable=False),
        pa.field("file", pa.uint16(), nullable=False),
        pa.field("line", pa.uint32(), nullable=False),
        pa.field("fate", _TEXT, nullable=False),
        pa.field("times", pa.int64(), nullable=False),
        pa.field("tokens", pa.uint32(), nullable=False),
        pa.field("reason", _TEXT),
    ]
)

_WORDS = [*_FATES.values(), _EXCLUDED]
_WORD_OF_MARK = np.array([_WORDS.index(_FATES.get(mark, _EXCLUDED)) for mark in Mark], np.int8)
_CAUSES = list(REASONS.values())
_CAUSE_OF_MARK = np.array([_CAUSES.index(REASONS[mark]) if mark in REASONS else -1 for mark in Mark], np.int8)


def write_fates(path: Path, sources: Sequence[Source], fates: Iterable[Fates]) -> None:
    """Write a table. Blocks; holds a few row groups at a time. Raises OSError where the disk is full."""
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for some in fates:
            writer.write_table(_table(sources[some.source], some))


def read_fates(path: Path, sources: Sequence[Source]) -> Iterator[Fates]:
    """Yield what was written, in its order. Blocks; holds a row group at a time.

    Raises ValueError where the file is no such table, or is about other datasets than these.
    """
    numbers: dict[tuple[str, str], int] = {
        (source.kind, source.dataset_id): number for number, source in enumerate(sources)
    }
    marks: dict[str, Mark] = {word: mark for mark, word in [*_FATES.items(), *REASONS.items()]}
    try:
        with pq.ParquetFile(path) as table:
            for group in range(table.num_row_groups):
                yield _fates(table.read_row_group(group), numbers, marks)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(f"not a table of fates of these datasets: {error!r}") from error


def _fates(rows: pa.Table, numbers: Mapping[tuple[str, str], int], marks: Mapping[str, Mark]) -> Fates:
    kind, dataset_id, file = (rows[name][0].as_py() for name in ("kind", "dataset", "file"))
    words = rows["reason"].combine_chunks().cast(pa.string()).fill_null(rows["fate"].combine_chunks().cast(pa.string()))
    codes = words.dictionary_encode()
    table = np.array([marks[word] for word in codes.dictionary.to_pylist()], np.uint8)
    return Fates(
        source=numbers[kind, dataset_id],
        file=file,
        lines=rows["line"].to_numpy(),
        marks=table[codes.indices.to_numpy()],
        times=rows["times"].to_numpy(),
        tokens=rows["tokens"].to_numpy(),
    )


def _table(source: Source, fates: Fates) -> pa.Table:
    size = len(fates.lines)
    causes = _CAUSE_OF_MARK[fates.marks]
    columns = [
        _texts(np.zeros(size, np.int8), [source.kind]),
        _texts(np.zeros(size, np.int8), [source.dataset_id]),
        pa.array(np.full(size, fates.file, np.uint16)),
        pa.array(np.ascontiguousarray(fates.lines)),
        _texts(_WORD_OF_MARK[fates.marks], _WORDS),
        pa.array(fates.times),
        pa.array(np.ascontiguousarray(fates.tokens)),
        _texts(causes, _CAUSES, missing=causes < 0),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _texts(places: NDArray[np.int8], texts: Sequence[str], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    indices = pa.array(places, mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()))
