"""Between which numbers the tokens of a large dataset are, by a few megabytes of it: for the fee, until it is counted.

Real lines are tokenised, as the counter does it. The sample is stratified by file; what a drawn block's lines have in
tokens and in bytes gives the ratio of the two, and the bytes of the dataset, which are known, the rest: see ratio.py.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool

from contracts.dataset import CheckedFile, Format
from handlers.errors import Transient
from handlers.ports.catalog import ModelEntry
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounts, TokenRange, Unsampled
from worker.over_bucket import over_bucket
from worker.settings import Settings
from worker.tokens.batching import batched, encode_batch
from worker.tokens.blocks import Block, blocks_of, drawn, read_block
from worker.tokens.counter import are_counted, encoder_for
from worker.tokens.encoder import SampleEncoder
from worker.tokens.jobs import SampleJob
from worker.tokens.model_files import tokenizer_files
from worker.tokens.ratio import Stratum, interval
from worker.tokens.samples import invalid_lines
from worker.tokens.tally import Tally
from worker.tokens.template import ChatTemplateError

#: A block holds so many lines of the mean, and so many bytes at least.
_LINES_A_BLOCK = 2
_BLOCK_BYTES = 8 << 10
#: Bytes of all blocks together, and blocks of each file at least: the formula needs a few dozen.
_SAMPLE_BYTES, _BLOCKS_A_FILE = 4 << 20, 16
#: Lines longer than that in the mean are not sampled: it would take as long as counting.
_LONGEST_MEAN_BYTES = 16 << 10
#: Blocks that are read at a time.
_READS = 16


class BlockSampler:
    """The TokenSampler. ``pool`` should be its own: a sample must not wait behind the counts it stands in for."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings, self._pool = settings, pool

    async def sample(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str, samples: int
    ) -> TokenRange | Unsampled | None:
        """Return between which numbers a dataset's tokens are. See TokenSampler.

        Raises as TemplateTokenCounter.count does.
        """
        if sum(file.size_bytes for file in files) < self._settings.estimate_sample_bytes or not samples:
            return None
        job = SampleJob.of(files, format, model, findings_key, samples=samples)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, over_bucket, self._settings, sample_dataset, job)
        except BrokenProcessPool as error:
            raise Transient("a process that sampled tokens was killed") from error


async def sample_dataset(store: ObjectStore, job: SampleJob) -> TokenRange | Unsampled | None:
    """Return between which numbers the tokens of a dataset are; None where it is counted. The same every time."""
    tokenizer = await tokenizer_files(store, job.prefix)
    if await are_counted(store, job.counts(), tokenizer):
        return None
    size = sum(file.size_bytes for file in job.files)
    mean = size // job.samples
    if mean > _LONGEST_MEAN_BYTES or await _has_invalid_lines(store, job):
        return Unsampled()
    encoder = encoder_for(tokenizer)
    block_bytes = max(_BLOCK_BYTES, _LINES_A_BLOCK * mean)
    whole: list[Stratum] = []
    extremes: list[Stratum] = []
    samples = 0
    for file in job.files:
        count = max(_BLOCKS_A_FILE, _SAMPLE_BYTES * file.size_bytes // size // block_bytes)
        read = await _read(store, file, block_bytes, drawn(file, block_bytes, count))
        try:
            counts = [_tallied(job, encoder, block, file.uri) for block in read]
        except ChatTemplateError:
            # It says which line: of the block, which tells nobody anything. The count will say which of the file.
            return Unsampled()
        samples += sum(each.samples for each in counts)
        sizes = [block.size for block in read]
        blocks = blocks_of(file, block_bytes)
        whole.append(Stratum(blocks, list(zip(sizes, (each.total for each in counts), strict=True))))
        extremes.append(Stratum(blocks, list(zip(sizes, (each.total_of_extremes for each in counts), strict=True))))
    total, of_extremes = interval(whole, size), interval(extremes, size)
    if total is None or of_extremes is None:
        return Unsampled()
    return TokenRange(total=total, total_of_extremes=of_extremes, sampled=samples)


async def _has_invalid_lines(store: ObjectStore, job: SampleJob) -> bool:
    """Return whether some lines are left out: they are known by their numbers, and a block does not know its own."""
    return any(left_out.key() for left_out in (await invalid_lines(store, job.findings_key)).values())


async def _read(store: ObjectStore, file: CheckedFile, block_bytes: int, numbers: Sequence[int]) -> list[Block]:
    read: list[Block] = []
    for first in range(0, len(numbers), _READS):
        some = numbers[first : first + _READS]
        read += await asyncio.gather(*(read_block(store, file, block_bytes, number) for number in some))
    return read


def _tallied(job: SampleJob, encoder: SampleEncoder, block: Block, name: str) -> TokenCounts:
    tally = Tally(job.context_length, lambda _: None)
    for batch in batched(block.samples(name)):
        encoded_batch = encode_batch(encoder, job.format, batch, name, context_length=job.context_length)
        for sample, encoded in zip(batch, encoded_batch, strict=True):
            tally.add(encoded, sample.line)
    return tally.counts()
