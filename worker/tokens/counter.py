"""Counts the tokens of a dataset exactly, in other processes, each file once a tokenizer."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.errors import Transient
from handlers.ports import LeftOutSamples, ModelEntry, ObjectStore, TokenCounts
from worker.cpu import LongWork
from worker.over_bucket import over_bucket
from worker.settings import Settings
from worker.tokens.batching import batches, encode_batch
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.model_files import tokenizer_files
from worker.tokens.sample_table import SampleTable
from worker.tokens.samples import LeftOut, invalid_lines, read_samples
from worker.tokens.tally import Tally, merged
from worker.tokens.trust import Distrusted

#: Datasets of so many bytes take a minute of a core, or hours: others must not wait behind them.
LONG_BYTES = 32 << 20
#: Encoders kept by a process: building one from a large tokenizer takes a second.
encoder_for = lru_cache(maxsize=4)(SampleEncoder)


class CountJob(Struct, frozen=True, kw_only=True):
    """What one process is told: count file ``index`` of ``files``."""

    files: tuple[CheckedFile, ...]
    index: int
    format: Format
    prefix: str
    context_length: int
    findings_key: str | None


class TemplateTokenCounter:
    """The TokenCounter: the model's own tokenizer and chat template, the same code as the trainer's.

    Files are counted side by side in the processes of ``pool``, those of large datasets in at most ``processes`` of
    them, and kept in the bucket by their content: a second call, from any worker, costs a look-up.
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
        jobs = [
            CountJob(
                files=tuple(files),
                index=index,
                format=format,
                prefix=model.prefix,
                context_length=model.context_length,
                findings_key=findings_key,
            )
            for index in range(len(files))
        ]
        is_long = sum(file.size_bytes for file in files) >= LONG_BYTES
        counting = [self._started(job, is_long=is_long) for job in jobs]
        try:
            return merged(await asyncio.gather(*counting))
        except BrokenProcessPool as error:
            raise Transient("a process that counted tokens was killed") from error
        finally:
            for job in counting:
                job.cancel()

    def _started(self, job: CountJob, *, is_long: bool) -> asyncio.Future[TokenCounts]:
        work = (over_bucket, self._settings, count_file, job)
        if is_long:
            return asyncio.ensure_future(self._long_work.run(*work))
        return asyncio.get_running_loop().run_in_executor(self._pool, *work)


async def count_file(store: ObjectStore, job: CountJob) -> TokenCounts:
    """Return the counts of one file, from the bucket where they were counted before. Idempotent."""
    tokenizer = await tokenizer_files(store, job.prefix)
    invalid = (await invalid_lines(store, job.findings_key)).get(job.index, LeftOut())
    file = job.files[job.index]
    content, reader = _digests(job, tokenizer, invalid)
    list_key, rows_key = layout.too_long(content, reader), layout.sample_rows(content, reader)
    if kept := await store.get(layout.tokens(content, reader)):
        counts = msgspec.json.decode(kept.body, type=TokenCounts)
    else:
        counts = await _count(store, job, invalid, encoder_for(tokenizer), list_key, rows_key)
        await store.put(layout.tokens(content, reader), msgspec.json.encode(counts))
    # Neither is kept with the counts: the same bytes may lie elsewhere, too.
    listed = LeftOutSamples(file=file.uri, samples=counts.too_long, findings_uri=store.uri(list_key))
    return replace(counts, tables=(rows_key,), left_out=(listed,) if counts.too_long else ())


class CountFiles(NamedTuple):
    """Where a count writes what is too many for memory: findings on samples that are too long, and all rows."""

    findings: Path
    rows: Path


async def is_counted(store: ObjectStore, job: CountJob) -> bool:
    """Return whether a file was counted before. Raises LookupError where the model's tokenizer is missing."""
    tokenizer = await tokenizer_files(store, job.prefix)
    invalid = (await invalid_lines(store, job.findings_key)).get(job.index, LeftOut())
    return await store.head(layout.tokens(*_digests(job, tokenizer, invalid))) is not None


def _digests(job: CountJob, tokenizer: TokenizerFiles, invalid: LeftOut) -> tuple[str, str]:
    """Return what is counted, and what counts it."""
    content = layout.digest(job.files[job.index].sha256, job.format, invalid.key())
    return content, layout.digest(tokenizer.digest, job.context_length)


async def _count(
    store: ObjectStore, job: CountJob, invalid: LeftOut, encoder: SampleEncoder, list_key: str, rows_key: str
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
            await store.upload(list_key, files.findings)
        await store.upload(rows_key, files.rows)
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
