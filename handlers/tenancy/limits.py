"""How much may be used at a time and a day, by a project or by all of them together."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Quota = Literal["running_tasks", "gpu_hours_a_day", "spend_a_day"]

SECONDS_AN_HOUR = 3600


class Limits(Struct, frozen=True, kw_only=True):
    """None is no limit. A day is one of UTC; money is in the price table's currency."""

    running_tasks: int | None = None
    gpu_hours_a_day: float | None = None
    spend_a_day: Decimal | None = None

    @property
    def are_set(self) -> bool:
        """Return whether there is any."""
        return self != Limits()

    def over(self, other: "Limits") -> "Limits":
        """Return these, and where they say nothing the other ones."""
        return Limits(
            running_tasks=other.running_tasks if self.running_tasks is None else self.running_tasks,
            gpu_hours_a_day=other.gpu_hours_a_day if self.gpu_hours_a_day is None else self.gpu_hours_a_day,
            spend_a_day=other.spend_a_day if self.spend_a_day is None else self.spend_a_day,
        )
