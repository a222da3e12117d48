"""Scanning a file on this machine, in several processes where it is large."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from hashlib import sha256
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from handlers.validation.opening import Decision
from handlers.validation.scan import Scan
from worker.scan.parts import PART_BYTES, Part, PartScan, ScannedPart, split

#: Bytes read at a time: few enough that they are still in the processor's cache when they are scanned.
CHUNK_BYTES = 512 << 10

#: Seconds between two looks at how far the other processes are.
_LOOK_SECONDS = 0.1

Advance = Callable[[int], None]


def scan_local(path: Path, part: Part, processes: int, advance: Advance) -> tuple[tuple[ScannedPart, ...], str]:
    """Return what the parts of a file hold, in order, and its SHA-256 (hex). Blocks; ``advance`` gets bytes read.

    A SHA-256 cannot be put together from parts: while other processes scan them this one hashes the whole file, which
    is several times faster than scanning.

    Raises OSError where the file cannot be read.
    """
    size = path.stat().st_size if path.is_file() else 0
    if processes < 2 or size < 2 * PART_BYTES:
        digest = sha256()
        with ThreadPoolExecutor(1) as thread:
            scanned = _scan(path, part, advance, lambda chunk: thread.submit(digest.update, chunk))
        return (scanned,), digest.hexdigest()
    parts = split(part, size, _decision(path, part), processes)
    counter = multiprocessing.get_context("spawn").Value("q", 0)
    with ProcessPoolExecutor(
        len(parts), multiprocessing.get_context("spawn"), initializer=_count_into, initargs=(counter,)
    ) as pool:
        scanning = [pool.submit(_scan_part, path, each) for each in parts]
        digest_of_all = _hash(path)
        _watch(scanning, counter, advance)
        return tuple(each.result() for each in scanning), digest_of_all


def _scan(path: Path, part: Part, advance: Advance, hashed: Callable[[bytearray], Future[None]] | None) -> ScannedPart:
    buffer = bytearray(CHUNK_BYTES)
    with path.open("rb", buffering=0) as file, PartScan(part) as scan:
        if scan.reads_from:
            file.seek(scan.reads_from)
        while not scan.done and (size := file.readinto(buffer)):
            chunk = buffer if size == len(buffer) else buffer[:size]
            hashing = hashed(chunk) if hashed else None
            scan.feed(chunk)
            if hashing:
                hashing.result()
            advance(size)
        return scan.finish()


def _decision(path: Path, part: Part) -> Decision:
    """Return what the beginning of a file says."""
    scan = Scan(part.format, lambda _: None)
    with path.open("rb") as file:
        while scan.decision is None and (chunk := file.read(CHUNK_BYTES)):
            scan.feed(chunk)
    scan.finish()
    return scan.decision or Decision(None)


def _hash(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        digest, buffer = sha256(), bytearray(1 << 20)
        while size := file.readinto(buffer):
            digest.update(memoryview(buffer)[:size])
    return digest.hexdigest()


def _watch(scanning: list[Future[ScannedPart]], counter: "Synchronized[int]", advance: Advance) -> None:
    """Tell how far the processes are, until all are done."""
    told, waiting = 0, True
    while waiting:
        waiting = bool(wait(scanning, _LOOK_SECONDS).not_done)
        read = counter.value
        advance(read - told)
        told = read


#: In a process of the pool: the bytes that all of them have read.
_counter: "Synchronized[int] | None" = None


def _count_into(counter: "Synchronized[int]") -> None:
    global _counter  # noqa: PLW0603 - shared memory reaches a process of a pool through its initializer alone
    _counter = counter


def _scan_part(path: Path, part: Part) -> ScannedPart:
    def advance(size: int) -> None:
        if _counter is not None:
            with _counter.get_lock():
                _counter.value += size

    return _scan(path, part, advance, None)
