"""Token counts, exact and about, as handlers need them."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from handlers.ports.catalog import ModelEntry


class LeftOutSamples(Struct, frozen=True, kw_only=True):
    """How many valid samples of a file are longer than the model's context; each is a finding (NDJSON) at the URI."""

    file: str
    samples: int
    findings_uri: str


class TokenCounts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of a dataset for one model, by its own tokenizer and chat template: what the trainer will see.

    ``samples`` are those that are kept. ``trained`` tokens have a loss weight above 0; ``histogram`` maps the upper
    bound of a power-of-two bucket of sample lengths to the number of samples in it. Samples longer than the model's
    context are in ``too_long`` alone, and listed at ``left_out``: they are not trained on. ``total_of_extremes`` is
    what remains of ``total`` where of each preference only the best and the worst candidate are compared. ``tables``
    are the keys of the files' sample rows (see handlers/planning/sample_rows.py), which drawing samples needs.
    """

    samples: int
    total: int
    trained: int
    masked: int
    longest: int
    histogram: dict[int, int]
    too_long: int = 0
    total_of_extremes: int = 0
    left_out: tuple[LeftOutSamples, ...] = ()
    tables: tuple[str, ...] = ()


class TokenCounter(Protocol):
    """Counts tokens exactly, off the event loop, each (content, tokenizer, template) once."""

    async def count(
        self,
        files: Sequence[CheckedFile],
        format: Format,
        model: ModelEntry,
        findings_key: str | None = None,
    ) -> TokenCounts:
        """Return the tokens of the samples that are trained on: without lines that have an error in the findings, and
        without samples that are longer than the model's context.

        Raises LookupError where the model's tokenizer cannot be found, ValueError where it or its template cannot be
        used on these samples, FileNotFoundError and PreconditionFailed where files are gone or have changed,
        Unavailable where the bucket does not answer.
        """
        ...


class TokenRange(Struct, frozen=True, kw_only=True):
    """Between which numbers a dataset's tokens are: (lowest, highest), both included, in 99 of 100 datasets.

    From a random sample of its lines: ``sampled`` of them were tokenised. The others mean what they do in TokenCounts.
    """

    total: tuple[int, int]
    total_of_extremes: tuple[int, int]
    sampled: int


class Unsampled(Struct, frozen=True):
    """That a dataset's tokens take long to count, and that a sample of its lines says nothing about them."""


class TokenSampler(Protocol):
    """Says quickly about how many tokens a large dataset has, off the event loop."""

    async def sample(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str, samples: int
    ) -> TokenRange | Unsampled | None:
        """Return between which numbers the tokens are; the same bytes and model always give the same.

        None: they are few, or were counted before, so that counting them is quick. Unsampled: it is not, but some lines
        are invalid, very long, or none that the template takes. ``samples`` is how many there are. Raises as
        TokenCounter does.
        """
        ...
