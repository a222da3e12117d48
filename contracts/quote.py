"""The fee: an itemised, versioned quote in decimal arithmetic."""

from typing import Literal

from msgspec import Struct

from contracts.envelope import Id, Time


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
    validation set measured; neither invalid nor ``too_long``. A dataset that is split has an item of each kind. Where
    ``max_steps`` of the quote is set, ``epochs`` is 1, and they are what all of training sees.
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


class Interval(Struct, frozen=True, kw_only=True):
    """Between which amounts a fee is while tokens are still being counted, in 99 of 100 cases, as ``confidence`` says.

    The ends are the fee at ``low_tokens`` and at ``high_tokens``, all epochs together. ``sampled`` lines were drawn at
    random and tokenised; how the ends follow from them is ``method``.
    """

    low: str
    high: str
    low_tokens: int
    high_tokens: int
    sampled: int
    confidence: str = "0.99"
    method: Literal["stratified-blocks-ratio-to-bytes"] = "stratified-blocks-ratio-to-bytes"


class Quote(Struct, frozen=True, kw_only=True):
    """A fee and everything it rests on. Where ``complete`` is false, ``missing`` says what is not known yet.

    ``counting``: tokens are still being counted, and the exact quote follows as a later revision; where nothing else is
    open, and the fee does not depend on single samples, ``interval`` says between which amounts it will be. A task may
    cite a complete quote by its id. Until ``valid_until`` it is billed at the quote's price, whatever the price table
    says by then. The same subject, bytes, form and prices have the same id everywhere.
    ``max_steps`` is set where that hyperparameter ends training within an epoch.
    ``model`` is ``name@version`` of a foundation model, or the id of a model exported earlier.
    """

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
    price_per_1k_tokens: str | None = None
    interval: Interval | None = None
    valid_until: Time | None = None
    max_steps: int | None = None
    counting: bool = False


class CostEstimated(Struct, frozen=True, kw_only=True):
    """The training fee as known now (``cost.estimated``). Of two under one key the higher ``revision`` holds."""

    task_id: Id | None
    dataset_ids: tuple[Id, ...]
    project: Id
    quote: Quote
    revision: int = 1
