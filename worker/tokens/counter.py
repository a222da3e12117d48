"""Counts the tokens of a dataset exactly, in other processes, each file once a tokenizer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import Finding
from handlers.errors import Transient
from handlers.ports.catalog import ModelEntry
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounts
from worker.cpu import LongWork
from worker.over_bucket import over_bucket
from worker.settings import Settings
from worker.tokens.batching import batches, encode_batch
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.jobs import CountJob, DatasetJob
from worker.tokens.kept_counts import CountKeys, keep_counts, kept_counts, of_file
from worker.tokens.model_files import tokenizer_files
from worker.tokens.sample_table import SampleTable
from worker.tokens.samples import LeftOut, invalid_lines, read_samples
from worker.tokens.tally import Tally, merged
from worker.tokens.trust import Distrusted

#: Datasets of so many bytes take a minute of a core, or hours: others must not wait behind them.
LONG_BYTES = 32 << 20
#: What a process does over the bucket.
Work = Callable[..., Awaitable[Any]]
#: Encoders kept by a process: building one from a large tokenizer takes a second.
encoder_for = lru_cache(maxsize=4)(SampleEncoder)


class TemplateTokenCounter:
    """The TokenCounter: the model's own tokenizer and chat template, the same code as the trainer's.

    Files are counted side by side in the processes of ``pool``, those of large datasets in at most ``processes`` of
    them, and kept in the bucket by their content: a second call, from any worker, is a GET a file in one process,
    beside what is read once for all files: what the tokenizer is, and the findings.
    """

    def __init__(self, settings: Settings, pool: Pool, *, processes: int = 1) -> None:
        self._settings, self._pool = settings, pool
        self._long_work = LongWork(pool, processes)

    async def count(
        self,
        files: Sequence[CheckedFile],
        format: Format,
        model: ModelEntry,
        findings_key: str | None = None,
    ) -> TokenCounts:
        """Return the tokens of the valid samples that fit into the model's context: what the trainer will see.

        Those that do not fit are listed in the bucket, a file of findings for each file of the dataset that has some.

        Raises:
            LookupError: the model's tokenizer is not in the bucket.
            ChatTemplateError: the model's template cannot be trained on with these samples; names the line.
            PreconditionFailed: a file has changed since it was validated.
            FileNotFoundError: a file, or the findings, are gone.
            ValueError: the model's tokenizer cannot be read.
            Transient: the counting process was killed.
            Unavailable: the bucket does not answer.
        """
        jobs = DatasetJob.of(files, format, model, findings_key).counts()
        is_long = sum(file.size_bytes for file in files) >= LONG_BYTES
        in_process = self._as_long_work if is_long else self._in_process
        known: Sequence[TokenCounts | LeftOut | None] = [None] * len(jobs)
        counting: list[asyncio.Future[TokenCounts]] = []
        try:
            if is_long or len(jobs) > 1:
                known = await self._in_process(look_up, jobs)
            counting = [
                asyncio.ensure_future(_count_unless_known(job, each, in_process))
                for job, each in zip(jobs, known, strict=True)
            ]
            return merged(await asyncio.gather(*counting))
        except BrokenProcessPool as error:
            raise Transient("a process that counted tokens was killed") from error
        finally:
            for job in counting:
                job.cancel()

    def _in_process(self, work: Work, *arguments: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._pool, over_bucket, self._settings, work, *arguments)

    def _as_long_work(self, work: Work, *arguments: Any) -> Awaitable[Any]:
        return self._long_work.run(over_bucket, self._settings, work, *arguments)


async def _count_unless_known(
    job: CountJob, known: TokenCounts | LeftOut | None, in_process: Callable[..., Awaitable[Any]]
) -> TokenCounts:
    return known if isinstance(known, TokenCounts) else await in_process(count_file, job, known)


async def look_up(store: ObjectStore, jobs: Sequence[CountJob]) -> list[TokenCounts | LeftOut]:
    """Return the counts of those files of one dataset that were counted before; of the others, what they leave out.

    Raises LookupError where the model's tokenizer is missing, FileNotFoundError where the findings are.
    """
    digest = (await tokenizer_files(store, jobs[0].prefix)).digest
    invalid = await invalid_lines(store, jobs[0].findings_key)
    left_out = [invalid.get(job.index, LeftOut()) for job in jobs]
    kept = await asyncio.gather(
        *(
            kept_counts(store, job.files[job.index], _keys(job, digest, each))
            for job, each in zip(jobs, left_out, strict=True)
        )
    )
    return [counts or each for counts, each in zip(kept, left_out, strict=True)]


async def are_counted(store: ObjectStore, jobs: Sequence[CountJob], tokenizer: TokenizerFiles) -> bool:
    """Return whether the files of a dataset without invalid lines were all counted before: a HEAD a file."""
    digest = tokenizer.digest
    found = await asyncio.gather(*(store.head(_keys(job, digest, LeftOut()).counts) for job in jobs))
    return None not in found


class StoreTokenCounter:
    """The TokenCounter in this very process, over a bucket that is open."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def count(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        """Return the tokens of the valid samples that fit. Blocks in between. Raises as TemplateTokenCounter does."""
        jobs = DatasetJob.of(files, format, model, findings_key).counts()
        return merged([await count_file(self._store, job) for job in jobs])


async def count_file(store: ObjectStore, job: CountJob, invalid: LeftOut | None = None) -> TokenCounts:
    """Return the counts of one file, from the bucket where they were counted before. Idempotent.

    ``invalid``: the lines of this file that have an error, where they were read already.
    """
    tokenizer = await tokenizer_files(store, job.prefix)
    if invalid is None:
        invalid = (await invalid_lines(store, job.findings_key, only=job.index)).get(job.index, LeftOut())
    keys = _keys(job, tokenizer.digest, invalid)
    file = job.files[job.index]
    if kept := await kept_counts(store, file, keys):
        return kept
    counts = await _count(store, job, invalid, encoder_for(tokenizer), keys)
    await keep_counts(store, keys, counts)
    return of_file(store, file, keys, counts)


def _keys(job: CountJob, tokenizer_digest: str, invalid: LeftOut) -> CountKeys:
    return CountKeys.of(job.files[job.index], job.format, invalid, tokenizer_digest, job.context_length)


class CountFiles(NamedTuple):
    """Where a count writes what is too many for memory: findings on samples that are too long, and all rows."""

    findings: Path
    rows: Path


async def _count(
    store: ObjectStore, job: CountJob, invalid: LeftOut, encoder: SampleEncoder, keys: CountKeys
) -> TokenCounts:
    """Count a file and store what belongs to the counts: before them, so that whoever has these can read it."""
    with TemporaryDirectory(prefix="counts-") as folder:
        files = CountFiles(Path(folder, "findings.ndjson"), Path(folder, "rows"))
        try:
            counts = await tallied(store, job, invalid, encoder.accelerated(), files)
        except Distrusted:
            encoder.give_up_on_fast()
            counts = await tallied(store, job, invalid, encoder, files)
        if counts.too_long:
            await store.upload(keys.too_long, files.findings)
        await store.upload(keys.rows, files.rows)
    return counts


async def tallied(
    store: ObjectStore,
    job: CountJob,
    invalid: LeftOut,
    encoder: SampleEncoder,
    files: CountFiles,
    check: Callable[[], None] = lambda: None,
) -> TokenCounts:
    """Count one file, into local files. ``check`` is called again and again, and may raise. Blocks in between.

    Raises Distrusted where the encoder's fast tokenizer is not to be trusted, and what ``count`` raises.
    """
    encode = msgspec.json.Encoder().encode
    with files.findings.open("wb") as findings, files.rows.open("wb") as rows:

        def report(finding: Finding) -> None:
            findings.write(encode(finding) + b"\n")

        tally, table = Tally(job.context_length, report), SampleTable(rows, job.format, invalid.lines())
        async for batch in batches(read_samples(store, job.files, {job.index: invalid}, only=job.index)):
            check()
            encoded_batch = encode_batch(encoder, job.format, batch, context_length=job.context_length)
            for sample, encoded in zip(batch, encoded_batch, strict=True):
                table.add(sample, encoded, kept=tally.add(encoded, sample.line))
        table.finish()
    return tally.counts()
