"""The fee: an itemised, versioned quote in decimal arithmetic."""

from typing import Literal

from msgspec import Struct

from contracts.envelope import Id


class QuoteItem(Struct, frozen=True, kw_only=True):
    """One line of a quote. amount = tokens x factor x epochs x price_per_1k_tokens / 1000, a decimal string."""

    kind: Literal["user", "preset", "validation"]
    dataset_id: Id
    samples: int
    tokens: int
    epochs: int
    factor: str
    price_per_1k_tokens: str
    amount: str


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
