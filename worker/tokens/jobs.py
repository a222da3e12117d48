"""What processes that count and sample tokens are told."""

from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from handlers.ports.catalog import ModelEntry


class DatasetJob(Struct, frozen=True, kw_only=True):
    """The files of one dataset, what is wrong with them, and the model that they are read for."""

    files: tuple[CheckedFile, ...]
    format: Format
    prefix: str
    context_length: int
    findings_key: str | None

    @classmethod
    def of(
        cls,
        files: Sequence[CheckedFile],
        format: Format,
        model: ModelEntry,
        findings_key: str | None,
        **more: int,
    ) -> Self:
        """Return what a process is told of a dataset; ``more`` is what a kind of job has beside."""
        return cls(
            files=tuple(files),
            format=format,
            prefix=model.prefix,
            context_length=model.context_length,
            findings_key=findings_key,
            **more,
        )

    def counts(self) -> list["CountJob"]:
        """Return the jobs that count the files, one each."""
        return [
            CountJob(
                files=self.files,
                index=index,
                format=self.format,
                prefix=self.prefix,
                context_length=self.context_length,
                findings_key=self.findings_key,
            )
            for index in range(len(self.files))
        ]


class CountJob(DatasetJob, frozen=True, kw_only=True):
    """Count file ``index`` of a dataset."""

    index: int


class SampleJob(DatasetJob, frozen=True, kw_only=True):
    """Sample a dataset of so many samples."""

    samples: int
