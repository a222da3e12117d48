"""Counts of files as the bucket keeps them: by the bytes that were counted and by what counted them."""

from typing import NamedTuple, Self

import msgspec
from msgspec.structs import replace

from contracts.dataset import CheckedFile, Format
from handlers import layout
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import LeftOutSamples, TokenCounts
from worker.tokens.samples import LeftOut


class CountKeys(NamedTuple):
    """Keys of a file's counts, of its samples that are too long, and of the rows of its samples."""

    counts: str
    too_long: str
    rows: str

    @classmethod
    def of(
        cls, file: CheckedFile, format: Format, invalid: LeftOut, tokenizer_digest: str, context_length: int
    ) -> Self:
        """Return the keys of a file without its invalid lines. The same bytes have the same ones wherever they lie."""
        content = layout.digest(file.sha256, format, invalid.key())
        reader = layout.digest(tokenizer_digest, context_length)
        return cls(
            layout.tokens(content, reader), layout.too_long(content, reader), layout.sample_rows(content, reader)
        )


async def kept_counts(store: ObjectStore, file: CheckedFile, keys: CountKeys) -> TokenCounts | None:
    """Return the counts of a file that was counted before, or None. Raises Unavailable."""
    kept = await store.get(keys.counts)
    return of_file(store, file, keys, msgspec.json.decode(kept.body, type=TokenCounts)) if kept else None


async def keep_counts(store: ObjectStore, keys: CountKeys, counts: TokenCounts) -> None:
    """Store counts; what belongs to them must be there. Raises Unavailable."""
    await store.put(keys.counts, msgspec.json.encode(counts))


def of_file(store: ObjectStore, file: CheckedFile, keys: CountKeys, counts: TokenCounts) -> TokenCounts:
    """Return counts with what is not kept with them: the same bytes may lie elsewhere, too."""
    listed = LeftOutSamples(file=file.uri, samples=counts.too_long, findings_uri=store.uri(keys.too_long))
    return replace(counts, tables=(keys.rows,), left_out=(listed,) if counts.too_long else ())
