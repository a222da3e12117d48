"""Whether our memory stays flat: the most that is resident on a small file and on a large one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench.harness import Job, cores, take_turns
from tests.bench.validate.contenders import CONTENDERS
from tests.bench.validate.files import KINDS, prepared

_FILE = "sft-plain"
_SMALL_MEGABYTES, _LARGE_MEGABYTES = 50, 1000


class Memory(NamedTuple):
    """Peak RSS by the size of the file, all in MB (a million bytes)."""

    peak_rss: dict[int, float]

    @property
    def highest(self) -> float:
        return max(self.peak_rss.values())

    @property
    def growth(self) -> float:
        return self.peak_rss[_LARGE_MEGABYTES] - self.peak_rss[_SMALL_MEGABYTES]


def measure(repeats: int, folder: Path, told: Callable[[str], None]) -> Memory:
    """Scan both files. Blocks: the large one is written first where it is not there. Raises Failed."""
    jobs = {}
    for size in (_SMALL_MEGABYTES, _LARGE_MEGABYTES):
        told(f"memory: a file of {size} MB")
        path = prepared(_FILE, size, folder)
        jobs[str(size)] = [Job(CONTENDERS["ours"].function, (str(path), KINDS[_FILE].format), cores()[:1])]
    rounds = take_turns(jobs, repeats, lambda name: told(f"memory: scanned {name} MB"))
    return Memory({int(name): max(run.peak_rss_bytes for (run,) in each) / 1e6 for name, each in rounds.items()})
