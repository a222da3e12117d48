"""``python -m tests.bench.copies``: what finding copies costs, while a dataset is scanned and afterwards.

Each figure is of a process of its own. Beside it stands what a table of the lines' digests costs, kept in Python while
scanning: how copies used to be found, and only those of the first half a million lines.
"""

import subprocess
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

import handlers.validation.copy_order
import handlers.validation.copy_search  # noqa: F401 - both now, so that what numpy holds is not counted as a search's
from handlers.validation.copies import MEMORY_BYTES, find_copies
from handlers.validation.line_digests import LineDigests

_LINES = 400_000
_SLICE = 500
_LINE_BYTES = (100, 500, 2000)
_SIZES = (1_000_000, 10_000_000, 50_000_000)
_SHARES = (0.0, 0.01, 0.9)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _peak_bytes() -> int:
    """Return the most memory of this process so far. Not ru_maxrss, which counts the parent's before the exec."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


def _add(lines: list[bytes], directory: Path) -> None:
    with (directory / "spool").open("wb") as spool:
        digests = LineDigests(spool)
        for start in range(0, len(lines), _SLICE):
            digests.add(lines[start : start + _SLICE])


def _table(lines: list[bytes], _directory: Path) -> None:
    mask = (1 << 20) - 1
    digests, numbers = (memoryview(bytearray(8 << 20)).cast("Q") for _ in range(2))
    for number, line in enumerate(lines):
        digest = int.from_bytes(blake2b(line, digest_size=8).digest(), "little") or 1
        for probe in range(64):
            slot = (digest + probe) & mask
            if digests[slot] == digest:
                break
            if not digests[slot]:
                digests[slot], numbers[slot] = digest, number
                break


def _timed(way: Callable[[list[bytes], Path], None], size: int, directory: Path) -> float:
    lines = [(b"%d " % number).ljust(size, b"x") for number in range(_LINES)]
    times = []
    for _ in range(3):
        start = perf_counter()
        way(lines, directory)
        times.append(perf_counter() - start)
    return _LINES / min(times)


def _scanning(directory: Path) -> None:
    _say("while scanning      lines/s: digests     table   ratio")
    for size in _LINE_BYTES:
        new, old = (_timed(way, size, directory) for way in (_add, _table))
        _say(f"lines of {size:5} bytes  {new:16,.0f} {old:9,.0f} {new / old:7.1f}")


def _write_spool(path: Path, lines: int, copies: float) -> None:
    """Write digests, of which a share of ``copies`` are those of earlier lines, wherever these are."""
    random, kinds = np.random.default_rng(7), max(1, round(lines * (1 - copies)))
    with path.open("wb") as spool:
        for start in range(0, lines, 1_000_000):
            numbers = np.arange(start, min(start + 1_000_000, lines), dtype=np.uint64)
            old = numbers >= kinds
            numbers[old] = random.integers(0, kinds, int(old.sum()), np.uint64)
            numbers += np.uint64(1)
            # Odd multipliers lose nothing and spread well enough.
            words = (numbers * np.uint64(0x9E3779B97F4A7C15), numbers * np.uint64(0xC2B2AE3D27D4EB4F))
            spool.write(np.column_stack([word ^ (word >> np.uint64(32)) for word in words]).data)


def _search_once(spool: Path) -> None:
    """Say how many copies there are, the seconds until the first and until the last, and the memory it took."""
    before, start, first, count = _peak_bytes(), perf_counter(), 0.0, 0
    for _ in find_copies([spool]):
        first = first or perf_counter() - start
        count += 1
    end = perf_counter() - start
    _say(f"{count} {first or end} {end} {before} {_peak_bytes() - before}")


def _searching(directory: Path) -> None:
    _say(f"\nsearch with {MEMORY_BYTES >> 20} MiB      copies  to first s   to last s  entries/s  peak MB (all)")
    for lines in _SIZES:
        for share in _SHARES:
            spool = directory / "spool"
            _write_spool(spool, lines, share)
            command = [sys.executable, "-m", "tests.bench.copies", str(spool)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            count, first, last, before, grown = (float(each) for each in said)
            figures = f"{count:12,.0f} {first:11.2f} {last:11.2f} {lines / last:10,.0f}"
            _say(f"{lines:11,} x {share:4.0%} {figures}  +{grown / 1e6:.0f} ({(before + grown) / 1e6:.0f})")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _search_once(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as name:
            _scanning(Path(name))
            _searching(Path(name))
