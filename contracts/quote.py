"""The fee: an itemised, versioned quote in decimal arithmetic."""

from typing import Literal

from msgspec import Struct

from contracts.envelope import Id


class TooLong(Struct, frozen=True, kw_only=True):
    """Valid samples of one file that are longer than the model's context: they are neither trained on nor billed.

    Each is a finding ``sample-too-long``, with its line, in the NDJSON file at ``findings_uri``.
    """

    file: str
    samples: int
    findings_uri: str


class QuoteItem(Struct, frozen=True, kw_only=True):
    """One line of a quote. amount = tokens x factor x epochs x price_per_1k_tokens / 1000, a decimal string.

    ``samples`` and ``tokens`` are what an epoch sees, with repetitions: of the samples that are trained on, or of a
    validation set measured; neither invalid nor ``too_long``. A dataset that is split has an item of each kind.
    """

    kind: Literal["user", "preset", "validation"]
    dataset_id: Id
    samples: int
    tokens: int
    epochs: int
    factor: str
    price_per_1k_tokens: str
    amount: str
    too_long: tuple[TooLong, ...] = ()


class Quote(Struct, frozen=True, kw_only=True):
    """A fee and everything it rests on. Where ``complete`` is false, ``missing`` says what is not known yet."""

    quote_id: str
    amount: str | None
    currency: str
    complete: bool
    missing: tuple[str, ...]
    items: tuple[QuoteItem, ...]
    billed_tokens: int
    model: str | None
    method: Literal["full", "LoRA"] | None
    price_version: str


class CostEstimated(Struct, frozen=True, kw_only=True):
    """The training fee as known now (``cost.estimated``). A later one of the same task supersedes it."""

    task_id: Id | None
    dataset_ids: tuple[Id, ...]
    project: Id
    quote: Quote
