"""What a benchmark might call in a fresh process. Imports little: each process imports it anew."""

import os

from tests.bench.fresh import Cannot
from tests.bench.harness import cores


def where() -> list[int]:
    return [os.getpid(), *cores()]


def busy(rounds: int) -> int:
    return sum(number % 7 for number in range(rounds))


def beyond() -> None:
    raise Cannot("not for me")


def broken() -> None:
    raise RuntimeError("what went wrong")


def held(megabytes: int) -> int:
    return sum(bytearray(b"1" * megabytes * 1_000_000)[:10])
