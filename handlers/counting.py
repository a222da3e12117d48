"""Token counts for one decision: which samples of its datasets are trained on, and how many tokens they have."""

from contracts.datasets.findings import FILE_ERRORS
from handlers.datasets import KnownDataset
from handlers.errors import PreconditionFailed
from handlers.ports import ModelEntry, TokenCounter, TokenCounts


class Counts:
    """The counts of datasets for one model, each asked for once."""

    def __init__(self, model: ModelEntry, tokens: TokenCounter) -> None:
        self._model, self._tokens = model, tokens
        self._found: dict[tuple[str, str], TokenCounts | str] = {}

    async def of(self, known: KnownDataset) -> TokenCounts | str:
        """Return a dataset's counts, or why it has none. Raises Unavailable where the bucket does not answer."""
        key = (known.dataset_id, known.digest)
        if key not in self._found:
            self._found[key] = await self._count(known)
        return self._found[key]

    async def _count(self, known: KnownDataset) -> TokenCounts | str:
        if known.format is None or known.unreadable is not None:
            return "cannot be read"
        if broken := sorted(FILE_ERRORS.intersection(known.totals)):
            return f"cannot be trained on ({', '.join(broken)}); see its report"
        try:
            return await self._tokens.count(known.files, known.format, self._model, known.findings_key)
        except (LookupError, ValueError, FileNotFoundError, PreconditionFailed) as error:
            return f"its tokens cannot be counted: {error}"
