"""Samples encoded side by side, in batches that bound what is in memory."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from contracts.dataset import Format
from worker.tokens.encoder import EncodedSample, SampleEncoder
from worker.tokens.samples import Sample
from worker.tokens.template import ChatTemplateError

#: A batch has at most so many samples, and so many bytes unless one sample alone has more.
BATCH_SAMPLES = 64
BATCH_BYTES = 1 << 20


class Batcher:
    """Gathers samples into batches, in order."""

    def __init__(self) -> None:
        self._held: list[Sample] = []
        self._bytes = 0

    def add(self, sample: Sample) -> list[Sample]:
        """Take a sample; return a batch where it is full by now, else an empty list."""
        self._held.append(sample)
        self._bytes += sample.size
        return self.rest() if len(self._held) == BATCH_SAMPLES or self._bytes >= BATCH_BYTES else []

    def rest(self) -> list[Sample]:
        """Return what is left."""
        batch, self._held, self._bytes = self._held, [], 0
        return batch


async def batches(samples: AsyncIterator[Sample]) -> AsyncIterator[list[Sample]]:
    """Yield samples in batches, in order. Raises what ``samples`` raises."""
    batcher = Batcher()
    async for sample in samples:
        if batch := batcher.add(sample):
            yield batch
    if batch := batcher.rest():
        yield batch


def batched(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Yield samples in batches, in order: the same for what is at hand."""
    batcher = Batcher()
    for sample in samples:
        if batch := batcher.add(sample):
            yield batch
    if batch := batcher.rest():
        yield batch


def encode_batch(
    encoder: SampleEncoder,
    format: Format,
    batch: Sequence[Sample],
    name: str | None = None,
    *,
    context_length: int | None = None,
) -> list[EncodedSample]:
    """Return the tokens of samples: of those that are longer than the context without what is trained on.

    Raises ChatTemplateError naming the first line that cannot be encoded, and its file: by ``name``, or its index.
    """
    try:
        return encoder.encode(format, [sample.data for sample in batch], context_length)
    except ChatTemplateError:
        for sample in batch:
            try:
                encoder.encode(format, [sample.data], context_length)
            except ChatTemplateError as error:
                raise ChatTemplateError(f"{name or f'file {sample.file}'}, line {sample.line}: {error}") from error
        raise
