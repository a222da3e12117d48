"""What a trainer says, kept."""

from contracts.envelope import Event
from contracts.training import TrainingProgress


class KeptEvents:
    """A ProgressSink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Event[TrainingProgress]] = []
        self.essential: list[bool] = []

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        self.events.append(event)
        self.essential.append(essential)

    def drop(self) -> None:
        self.events.clear()

    def close(self, timeout_seconds: float) -> bool:
        return True
