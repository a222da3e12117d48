"""What is drawn from, by which rules, and what comes out: the words of the draw, without its arithmetic on samples."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from msgspec import Struct

from contracts.envelope import Id
from contracts.task import PresetMix
from handlers.planning.steps import Limit

#: What a dataset's samples are, unless they are left out: trained on, mixed in, or measured and never trained on.
Kind = Literal["user", "preset", "validation"]

#: Why a sample is neither trained on nor measured. ``leak``: the validation set has one that says the same.
Reason = Literal["invalid", "too-long", "leak", "not-drawn"]


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dataset of a selection.

    ``tables`` are the keys of its files' sample rows, in the files' order. Of a user's dataset, ``multiplier`` repeats
    what is left of it (2.5: twice, and a seeded half once more), or ``sample_count`` draws that many, seeded.
    """

    dataset_id: Id
    kind: Kind
    tables: tuple[str, ...]
    multiplier: float = 1.0
    sample_count: int | None = None


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that decides what becomes of each sample. The same selection gives the same fates on any machine.

    ``sources`` are in the order validation, user, preset. ``validation_percent`` of the users' samples are split off by
    their content and ``split_seed`` alone. ``extremes``: of a preference only the best and the worst are looked at.
    ``limit``: training ends after so many steps; else it ends with an epoch.
    """

    sources: tuple[Source, ...]
    seed: int
    split_seed: int = 0
    validation_percent: int | None = None
    preset_mix: PresetMix | None = None
    extremes: bool = False
    limit: Limit | None = None


class Drawn(Struct, frozen=True, kw_only=True):
    """What an epoch sees of a dataset, in one role: samples and tokens with their repetitions."""

    dataset_id: Id
    kind: Kind
    samples: int
    tokens: int


class Excluded(Struct, frozen=True, kw_only=True):
    """How many lines of a dataset are left out, for one reason."""

    dataset_id: Id
    kind: Kind
    reason: Reason
    samples: int


class Mix(Struct, frozen=True, kw_only=True):
    """What came of a preset mix: samples wanted, available, and mixed in, and their share of the mixed total."""

    percent: int
    wanted: int
    available: int
    drawn: int
    achieved_percent: float

    @property
    def short(self) -> bool:
        """Return whether there are too few preset samples, and none may be repeated."""
        return self.drawn < self.wanted


class Stop(Struct, frozen=True, kw_only=True):
    """Where a limit on steps ends training: after whole ``epochs`` and the first ``rows`` of another one.

    ``drawn``, where that is within an epoch: what training sees of each dataset from its first to its last step.
    """

    steps: int
    epochs: int
    rows: int = 0
    drawn: tuple[Drawn, ...] = ()


class Draws(Struct, frozen=True, kw_only=True):
    """What came of a selection. ``fates_digest`` (SHA-256, hex) is of every line's fate; empty: see ``listed``.

    ``drawn`` is what one epoch sees; ``stop`` is where a limit on steps ends training.
    """

    drawn: tuple[Drawn, ...]
    excluded: tuple[Excluded, ...]
    fates_digest: str
    mix: Mix | None = None
    stop: Stop | None = None

    @property
    def listed(self) -> bool:
        """Return whether every line's fate was looked at; else these are sums that need no draw."""
        return bool(self.fates_digest)

    def over(self, epochs: int) -> tuple[int, tuple[Drawn, ...]]:
        """Return how often training sees what: epochs and what each sees; or 1, and what all of it sees.

        ``epochs`` is what is asked for where no limit on steps is set.
        """
        if self.stop is None:
            return epochs, self.drawn
        return (1, self.stop.drawn) if self.stop.rows else (self.stop.epochs, self.drawn)

    def of(self, kind: Kind) -> int:
        """Return how many samples of a kind an epoch sees."""
        return sum(each.samples for each in self.drawn if each.kind == kind)


def wanted_of(source: Source, available: int) -> int:
    """Return how many samples, with repetitions, are drawn of those that are left. Rounded half up, at least 1."""
    if not available:
        return 0
    if source.sample_count is not None:
        return source.sample_count
    # In decimal: 1.15 times 10 is 11.5, and no float below it.
    exact = Decimal(str(source.multiplier)) * available
    return max(1, int(exact.to_integral_value(ROUND_HALF_UP)))


def presets_wanted(trained: int, percent: int) -> int:
    """Return how many preset samples make ``percent`` of the mixed total: a*X / (100-X), half up, at least 1."""
    if not trained:
        return 0
    return max(1, (2 * trained * percent + 100 - percent) // (2 * (100 - percent)))


def mix_of(mix: PresetMix, trained: int, available: int) -> Mix:
    """Return what comes of a preset mix. Where samples are short and may not be repeated, none is mixed in."""
    wanted = presets_wanted(trained, mix.percent)
    enough = available >= wanted or (mix.when_short == "repeat" and available > 0)
    drawn = wanted if enough else 0
    share = round(100 * drawn / (trained + drawn), 4) if drawn else 0.0
    return Mix(percent=mix.percent, wanted=wanted, available=available, drawn=drawn, achieved_percent=share)
