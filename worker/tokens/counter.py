"""Counts the tokens of a dataset exactly, in other processes, each file once a tokenizer."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache

import msgspec
from msgspec import Struct

from contracts.dataset import CheckedFile
from handlers import layout
from handlers.errors import Transient
from handlers.ports import ModelEntry, ObjectStore, TokenCounts
from worker.settings import Settings
from worker.storage import open_store
from worker.tokens.chat import ChatEncoder, EncodedSample, TokenizerFiles
from worker.tokens.model_files import tokenizer_files
from worker.tokens.samples import Sample, invalid_lines, read_samples
from worker.tokens.template import ChatTemplateError

#: Samples tokenised side by side.
_BATCH = 64

#: Encoders kept by a process: building one from a large tokenizer takes a second.
_encoder = lru_cache(maxsize=4)(ChatEncoder)


class CountJob(Struct, frozen=True, kw_only=True):
    """What one process is told: count file ``index`` of ``files``."""

    files: tuple[CheckedFile, ...]
    index: int
    prefix: str
    context_length: int
    findings_key: str | None


class TemplateTokenCounter:
    """The TokenCounter: the model's own tokenizer and chat template, the same code as the trainer's.

    Files are counted side by side in the processes of ``pool``, and kept in the bucket by their content: a second call,
    from any worker, costs a look-up.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings, self._pool = settings, pool

    async def count(
        self,
        files: Sequence[CheckedFile],
        format: str,
        model: ModelEntry,
        findings_key: str | None = None,
    ) -> TokenCounts:
        """Return the tokens of the valid samples that fit into the model's context: what the trainer will see.

        Raises:
            LookupError: the model's tokenizer is not in the bucket.
            ChatTemplateError: the model's template cannot be trained on with these samples; names the line.
            PreconditionFailed: a file has changed since it was validated.
            FileNotFoundError: a file, or the findings, are gone.
            ValueError: tokens of this format cannot be counted.
            Transient: the counting process was killed.
            Unavailable: the bucket does not answer.
        """
        if format != "sft":
            raise ValueError(f"tokens of the format {format!r} cannot be counted")
        loop = asyncio.get_running_loop()
        jobs = [
            CountJob(
                files=tuple(files),
                index=index,
                prefix=model.prefix,
                context_length=model.context_length,
                findings_key=findings_key,
            )
            for index in range(len(files))
        ]
        counting = [loop.run_in_executor(self._pool, count_in_process, self._settings, job) for job in jobs]
        try:
            return merged(await asyncio.gather(*counting))
        except BrokenProcessPool as error:
            raise Transient("a process that counted tokens was killed") from error
        finally:
            for job in counting:
                job.cancel()


def count_in_process(settings: Settings, job: CountJob) -> TokenCounts:
    """Count one file. Runs in a process of the pool."""
    return asyncio.run(_open_and_count(settings, job))


async def _open_and_count(settings: Settings, job: CountJob) -> TokenCounts:
    async with open_store(settings) as store:
        return await count_file(store, job)


async def count_file(store: ObjectStore, job: CountJob) -> TokenCounts:
    """Return the counts of one file, from the bucket where they were counted before. Idempotent."""
    tokenizer = await tokenizer_files(store, job.prefix)
    invalid = (await invalid_lines(store, job.findings_key)).get(job.index, set())
    content = layout.digest(job.files[job.index].sha256, "sft", sorted(invalid))
    key = layout.tokens(content, layout.digest(tokenizer.digest, job.context_length))
    if kept := await store.get(key):
        return msgspec.json.decode(kept.body, type=TokenCounts)
    counts = await _counted(store, job, {job.index: invalid}, tokenizer)
    await store.put(key, msgspec.json.encode(counts))
    return counts


async def _counted(
    store: ObjectStore, job: CountJob, invalid: dict[int, set[int]], tokenizer: TokenizerFiles
) -> TokenCounts:
    encoder, tally = _encoder(tokenizer), Tally(job.context_length)
    batch: list[Sample] = []
    async for sample in read_samples(store, job.files, invalid, only=job.index):
        batch.append(sample)
        if len(batch) == _BATCH:
            tally.add(encode_batch(encoder, batch))
            batch.clear()
    tally.add(encode_batch(encoder, batch))
    return tally.counts()


def encode_batch(encoder: ChatEncoder, batch: Sequence[Sample]) -> list[EncodedSample]:
    """Return the tokens of samples. Raises ChatTemplateError naming the first line that cannot be encoded."""
    try:
        return encoder.encode_sft_batch([sample.data for sample in batch])
    except ChatTemplateError:
        for sample in batch:
            try:
                encoder.encode_sft(sample.data)
            except ChatTemplateError as error:
                raise ChatTemplateError(f"file {sample.file}, line {sample.line}: {error}") from error
        raise


class Tally:
    """Adds up samples. One that is longer than the context is not counted: the trainer leaves it out, too."""

    def __init__(self, context_length: int) -> None:
        self._context_length = context_length
        self._samples = self._total = self._trained = self._longest = self._too_long = 0
        self._histogram: dict[int, int] = {}

    def add(self, samples: Sequence[EncodedSample]) -> None:
        """Count samples."""
        for sample in samples:
            length = len(sample.ids)
            if length > self._context_length:
                self._too_long += 1
                continue
            self._samples += 1
            self._total += length
            self._trained += sample.trained
            self._longest = max(self._longest, length)
            bound = 1 << (length - 1).bit_length()
            self._histogram[bound] = self._histogram.get(bound, 0) + 1

    def counts(self) -> TokenCounts:
        """Return the sums."""
        return TokenCounts(
            samples=self._samples,
            total=self._total,
            trained=self._trained,
            masked=self._total - self._trained,
            longest=self._longest,
            histogram=dict(sorted(self._histogram.items())),
            too_long=self._too_long,
        )


def merged(parts: Sequence[TokenCounts]) -> TokenCounts:
    """Return the counts of several files together."""
    histogram: dict[int, int] = {}
    for part in parts:
        for bound, samples in part.histogram.items():
            histogram[bound] = histogram.get(bound, 0) + samples
    return TokenCounts(
        samples=sum(part.samples for part in parts),
        total=sum(part.total for part in parts),
        trained=sum(part.trained for part in parts),
        masked=sum(part.masked for part in parts),
        longest=max((part.longest for part in parts), default=0),
        histogram=dict(sorted(histogram.items())),
        too_long=sum(part.too_long for part in parts),
    )
