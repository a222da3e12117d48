"""What training sees where a limit on steps ends it within an epoch: the rows of the trainer, in its order, added up.

Exact, not a share of an epoch: which rows come first follows from the seed, and what is in them from the sample rows.
Neither the samples nor the rows are ever in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from handlers.planning.epoch_order import Among, EpochOrder
from handlers.planning.packing import packed, pieces
from handlers.planning.selection import Drawn, Stop
from handlers.planning.steps import Limit, reach_of

#: Yields the numbers of sources, and the tokens of their samples that are trained on: an epoch before it is shuffled.
Epoch = Callable[[], Iterator[tuple[int, NDArray[np.uint32]]]]

#: What is in a row of one source, by the row's number. Texts that are cut are counted where they begin.
_PART = np.dtype([("row", "<i8"), ("source", "<i8"), ("samples", "<i8"), ("tokens", "<i8")])

Parts = NDArray[Any]

#: Parts looked at together.
_BLOCK = 1 << 15


def stop_of(limit: Limit, seed: int, epoch: Epoch, drawn: Sequence[tuple[int, Drawn]], directory: Path) -> Stop:
    """Return where a limit ends training. ``drawn`` is what an epoch sees, each with the number of its source.

    Blocks: for some hundred nanoseconds a sample, or a few microseconds a text that is packed. ``directory`` gets a
    file where rows are packed. Raises OSError where the disk is full.
    """
    rows, parts = _packed(epoch, limit.packed_to, directory / "rows") if limit.packed_to else _unpacked(epoch, drawn)
    reach = reach_of(limit, rows)
    stop = Stop(steps=limit.steps, epochs=reach.epochs, rows=reach.rows)
    if not reach.rows:
        return stop
    order = EpochOrder(rows, seed, reach.epochs, in_order=limit.in_order)
    samples, tokens = _added(parts, order.first(reach.rows), 1 + max(number for number, _ in drawn))
    return replace(
        stop,
        drawn=tuple(
            # What is only measured is measured as a whole.
            each
            if each.kind == "validation"
            else replace(
                each,
                samples=reach.epochs * each.samples + int(samples[number]),
                tokens=reach.epochs * each.tokens + int(tokens[number]),
            )
            for number, each in drawn
        ),
    )


def _unpacked(epoch: Epoch, drawn: Sequence[tuple[int, Drawn]]) -> tuple[int, Iterable[Parts]]:
    """Return the number of rows, each a sample, and their parts."""

    def parts() -> Iterator[Parts]:
        first = 0
        for source, tokens in epoch():
            found = np.ones(len(tokens), _PART)
            found["row"] = np.arange(first, first + len(tokens))
            found["source"], found["tokens"] = source, tokens
            first += len(tokens)
            yield found

    return sum(each.samples for _, each in drawn if each.kind != "validation"), parts()


def _packed(epoch: Epoch, capacity: int, path: Path) -> tuple[int, Iterable[Parts]]:
    """Return the number of rows, packed as the trainer packs them, and their parts: by then in a file."""
    open_pieces: dict[int, tuple[int, int, int]] = {}

    def lengths() -> Iterator[int]:
        index = 0
        for source, tokens in epoch():
            for length in tokens.tolist():
                for start, end in pieces(length, capacity):
                    open_pieces[index] = (source, int(start == 0), end - start)
                    index += 1
                    yield end - start

    row, held = -1, list[tuple[int, int, int, int]]()
    with path.open("wb") as file:
        for row, members in enumerate(packed(lengths(), capacity)):
            held += [(row, *open_pieces.pop(index)) for index in members]
            if len(held) >= _BLOCK:
                file.write(np.array(held, _PART).tobytes())
                held.clear()
        file.write(np.array(held, _PART).tobytes())
    return row + 1, _read(path)


def _read(path: Path) -> Iterator[Parts]:
    with path.open("rb") as file:
        while chunk := file.read(_BLOCK * _PART.itemsize):
            yield np.frombuffer(chunk, _PART)


def _added(parts: Iterable[Parts], among: Among, sources: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the samples and the tokens of each source in the rows that are asked for. The rows of the parts rise."""
    samples, tokens = np.zeros(sources, np.int64), np.zeros(sources, np.int64)
    for some in parts:
        if not len(some):
            continue
        first, last = int(some["row"][0]), int(some["row"][-1])
        seen = some[among(first, last + 1 - first)[some["row"] - first]]
        np.add.at(samples, seen["source"], seen["samples"])
        np.add.at(tokens, seen["source"], seen["tokens"])
    return samples, tokens
