"""The curve of a training run, kept small: which of a trainer's steps a page can draw."""

from typing import NamedTuple

from contracts.training import TrainingProgress

#: Above so many every other point goes: a curve of a million steps is as small as one of a thousand.
MOST_POINTS = 800


class Point(NamedTuple):
    """One step as its trainer said it."""

    step: int
    loss: float | None
    validation_loss: float | None
    learning_rate: float | None
    tokens_per_second: float | None


class Run:
    """What one task's trainers said of their steps. The newest attempt counts from where it went on."""

    def __init__(self) -> None:
        self._attempt = 0
        self._seq = -1
        self.points: list[Point] = []

    def take(self, said: TrainingProgress) -> bool:
        """Add what a trainer said; return whether there is something new to draw. Idempotent."""
        if (said.attempt, said.seq) <= (self._attempt, self._seq):
            return False
        self._attempt, self._seq = said.attempt, said.seq
        progress = said.progress
        if progress is None or (progress.loss is None and progress.validation_loss is None):
            return False
        # An attempt that went on from a checkpoint does again what the one before did after it.
        while self.points and self.points[-1].step >= progress.step:
            self.points.pop()
        self.points.append(
            Point(
                progress.step, progress.loss, progress.validation_loss, progress.learning_rate,
                progress.tokens_per_second,
            )
        )  # fmt: skip
        if len(self.points) > MOST_POINTS:
            # The first and the last stay, and so does every measurement on the validation set.
            last = len(self.points) - 1
            self.points = [
                point
                for index, point in enumerate(self.points)
                if index % 2 == 0 or index == last or point.validation_loss is not None
            ]
        return True
