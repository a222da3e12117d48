"""A progress bar on a terminal, for what takes longer than a moment."""

from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

# A quarter of a second of imports that a short check, or one without a terminal, does not need.
if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

from worker.validate.inputs import Input

#: Seconds before a bar appears: what is done by then needs none.
PATIENCE_SECONDS = 0.5


class Bar:
    """Shows how far reading is, with MB/s and what remains. Silent where the console is no terminal.

    ``doing`` is what is done with a file, before its name.
    """

    def __init__(self, console: Console, total_bytes: int, doing: str = "") -> None:
        self._console, self._total, self._doing = console, total_bytes, doing
        self._began = monotonic()
        self._done = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, file: Input, size: int) -> None:
        """Say that the next bytes of a file were read."""
        self._done += size
        if self._bar is None and self._console.is_terminal and monotonic() - self._began > PATIENCE_SECONDS:
            self._start()
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=f"{self._doing} {file.path.name}".lstrip())

    def _start(self) -> None:
        from rich.progress import (  # noqa: PLC0415 - the reason is above
            BarColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        # A pipe says no size: then the bar only moves.
        self._task = self._bar.add_task("", total=self._total or None, completed=self._done)
        self._bar.start()
