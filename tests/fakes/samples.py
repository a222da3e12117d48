"""Sample rows without a dataset: what a count leaves, as a test says it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from handlers.planning.fates import Drawing
from handlers.planning.marking import Tables
from handlers.planning.sample_rows import ROW, State
from handlers.planning.selection import Selection, Source


class Line(NamedTuple):
    """One line: lines with the same ``content`` say the same."""

    content: int
    tokens: int = 10
    extremes: int = 6
    state: State = State.KEPT


def digest(content: int) -> bytes:
    return sha256(str(content).encode()).digest()[:16]


def table(lines: Sequence[Line]) -> bytes:
    """Return the rows of a file that holds these lines."""
    return b"".join(
        ROW.pack(digest(each.content), number, each.tokens, each.extremes, each.state)
        for number, each in enumerate(lines, start=1)
    )


def drawing(folder: Path, selection: Selection, files: Sequence[Sequence[Sequence[Line]]]) -> Drawing:
    """Return a selection, drawn from lines: for each source its files."""
    paths = []
    for number, source in enumerate(files):
        paths.append([folder / f"{number}.{index}.rows" for index in range(len(source))])
        for path, lines in zip(paths[-1], source, strict=True):
            path.write_bytes(table(lines))
    return Drawing(selection, Tables(selection.sources, paths), folder)


def source(dataset_id: str, kind: str = "user", **fields: object) -> Source:
    return Source(dataset_id=dataset_id, kind=kind, tables=(), **fields)  # type: ignore[arg-type]
