"""The one definition of what becomes of each sample: the fee adds it up, the plan writes it down, the trainer obeys.

Local files in, a stream out: no network, no clock, no chance but the seeds'.
"""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.planning.chance import Draw
from handlers.planning.marking import BLOCK_ROWS, Block, Mark, Marks, Tables, marked
from handlers.planning.selection import Drawn, Draws, Excluded, Kind, Mix, Reason, Selection, mix_of, wanted_of
from handlers.planning.stopping import stop_of

REASONS: dict[Mark, Reason] = {
    Mark.INVALID: "invalid",
    Mark.TOO_LONG: "too-long",
    Mark.LEAK: "leak",
    Mark.NOT_DRAWN: "not-drawn",
}

_KINDS: dict[Mark, Kind] = {Mark.TRAINED: "user", Mark.PRESET: "preset", Mark.VALIDATION: "validation"}
_OWN: dict[Kind, Mark] = {kind: mark for mark, kind in _KINDS.items()}

#: What is hashed of each line, little-endian and without gaps.
_HASHED = np.dtype(
    [("source", "<u2"), ("file", "<u2"), ("line", "<u4"), ("mark", "u1"), ("times", "<i8"), ("tokens", "<u4")]
)


class Fates(NamedTuple):
    """What becomes of lines of one file of one source; ``times`` is 0 where one is left out, 1 in validation."""

    source: int
    file: int
    lines: NDArray[np.uint32]
    marks: Marks
    times: NDArray[np.int64]
    tokens: NDArray[np.uint32]


class Drawing:
    """A selection, drawn. ``directory`` must outlive it. Blocks, for some hundred nanoseconds a sample.

    Raises OSError where the disk is full, or a table cannot be read.
    """

    def __init__(self, selection: Selection, tables: Tables, directory: Path) -> None:
        self._selection, self._tables, self._directory = selection, tables, directory
        self._marks = marked(selection, tables, directory)
        left = [self._left(number) for number in range(len(selection.sources))]
        self._draws: list[Draw] = []
        #: Of each source the rank of its first sample: those of all preset datasets are drawn together.
        self._first_ranks: list[int] = []
        self.mix = self._draw(left)

    def _left(self, source: int) -> int:
        """Return how many samples of a source can be drawn."""
        start, end = self._tables.starts[source], self._tables.starts[source + 1]
        return sum(
            int(_drawable(self._marks[first : min(first + BLOCK_ROWS, end)]).sum())
            for first in range(start, end, BLOCK_ROWS)
        )

    def _draw(self, left: list[int]) -> Mix | None:
        chosen = self._selection
        wanted = [
            wanted_of(source, available) if source.kind == "user" else 0
            for source, available in zip(chosen.sources, left, strict=True)
        ]
        presets = sum(each for source, each in zip(chosen.sources, left, strict=True) if source.kind == "preset")
        mix = mix_of(chosen.preset_mix, sum(wanted), presets) if chosen.preset_mix else None
        of_presets, rank = Draw.of(presets, mix.drawn if mix else 0, chosen.seed, "preset"), 0
        for source, available, count in zip(chosen.sources, left, wanted, strict=True):
            preset = source.kind == "preset"
            own = of_presets if preset else Draw.of(available, count, chosen.seed, "user", source.dataset_id)
            self._draws.append(own)
            self._first_ranks.append(rank if preset else 0)
            rank += available if preset else 0
        return mix

    def fates(self) -> Iterator[Fates]:
        """Yield every line's fate: by source, file and line. May be called again. Blocks."""
        for number in range(len(self._selection.sources)):
            yield from self._fates_of(number)

    def epoch(self) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """Yield an epoch before it is shuffled: numbers of sources, and the tokens of samples, once for each time.

        By source: whole passes first, then the part that is drawn once more, each in the order of lines. Blocks.
        """
        for number, draw in enumerate(self._draws):
            for done in range(draw.passes + (draw.last is not None)):
                for fates in self._fates_of(number):
                    yield number, fates.tokens[_drawable(fates.marks) & (fates.times > done)]

    def _fates_of(self, number: int) -> Iterator[Fates]:
        rank = self._first_ranks[number]
        for block in self._tables.blocks(number):
            marks = np.array(self._marks[block.start : block.start + len(block.rows)])
            candidates = _drawable(marks)
            count = int(candidates.sum())
            times = (marks == Mark.VALIDATION).astype(np.int64)
            times[candidates] = self._draws[number].times(rank, count)
            rank += count
            marks[candidates & (times == 0)] = Mark.NOT_DRAWN
            yield Fates(number, block.file, block.rows["line"], marks, times, self._tokens(block))

    def _tokens(self, block: Block) -> NDArray[np.uint32]:
        return block.rows["extremes" if self._selection.extremes else "tokens"]

    def draws(self) -> Draws:
        """Return the sums. Blocks."""
        sources = self._selection.sources
        # Also of a dataset of which nothing is left, there is something to say.
        samples = Counter({(number, _OWN[source.kind]): 0 for number, source in enumerate(sources)})
        tokens, whole = Counter[tuple[int, Mark]](), sha256()
        for fates in self.fates():
            whole.update(_hashed(fates))
            for mark in map(Mark, np.unique(fates.marks)):
                these, key = fates.marks == mark, (fates.source, mark)
                samples[key] += int(fates.times[these].sum() if mark in _KINDS else these.sum())
                tokens[key] += _tokens_of(fates.times[these], fates.tokens[these])
        drawn = [
            (number, self._drawn(number, mark, count, tokens[number, mark]))
            for (number, mark), count in sorted(samples.items())
            if mark in _KINDS
        ]
        limit = self._selection.limit
        return Draws(
            drawn=tuple(each for _, each in drawn),
            excluded=tuple(
                Excluded(
                    dataset_id=sources[number].dataset_id,
                    kind=sources[number].kind,
                    reason=REASONS[mark],
                    samples=count,
                )
                for (number, mark), count in sorted(samples.items())
                if mark in REASONS
            ),
            fates_digest=whole.hexdigest(),
            mix=self.mix,
            stop=stop_of(limit, self._selection.seed, self.epoch, drawn, self._directory) if limit else None,
        )

    def _drawn(self, source: int, mark: Mark, samples: int, tokens: int) -> Drawn:
        dataset_id = self._selection.sources[source].dataset_id
        return Drawn(dataset_id=dataset_id, kind=_KINDS[mark], samples=samples, tokens=tokens)


def _drawable(marks: Marks) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (marks == Mark.TRAINED) | (marks == Mark.PRESET)
    return found


def _tokens_of(times: NDArray[np.int64], tokens: NDArray[np.uint32]) -> int:
    """Return the tokens of samples with their repetitions, however many.

    Of one source all samples are drawn equally often, or some once more: only that is left to the 64 bits of numpy.
    """
    least, each = int(times.min()), tokens.astype(np.int64)
    return least * int(each.sum()) + int((times - least) @ each)


def _hashed(fates: Fates) -> bytes:
    rows = np.zeros(len(fates.lines), _HASHED)
    rows["source"], rows["file"], rows["line"] = fates.source, fates.file, fates.lines
    rows["mark"], rows["times"], rows["tokens"] = fates.marks, fates.times, fates.tokens
    return rows.tobytes()
