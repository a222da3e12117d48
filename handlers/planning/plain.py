"""Where every sample is trained on equally often, what comes of a selection is arithmetic on the counts alone."""

from collections.abc import Mapping

from handlers.planning.selection import Drawn, Draws, Selection, Source, Stop, wanted_of
from handlers.planning.steps import Limit, reach_of
from handlers.ports.tokens import TokenCounts


def plain_sums(selection: Selection, counts: Mapping[str, TokenCounts]) -> Draws | None:
    """Return what comes of a selection; None: that depends on single samples. Pure."""
    if not _is_plain(selection):
        return None
    drawn = tuple(_drawn(source, counts[source.dataset_id], selection.extremes) for source in selection.sources)
    stop = _stop(selection.limit, sum(each.samples for each in drawn)) if selection.limit else None
    if selection.limit and stop is None:
        return None
    return Draws(drawn=drawn, excluded=(), fates_digest="", stop=stop)


def _is_plain(selection: Selection) -> bool:
    drawn = any(
        source.kind != "user" or source.sample_count is not None or source.multiplier != int(source.multiplier)
        for source in selection.sources
    )
    return not drawn and selection.validation_percent is None and selection.preset_mix is None


def _drawn(source: Source, counts: TokenCounts, extremes: bool) -> Drawn:
    tokens = counts.total_of_extremes if extremes else counts.total
    return Drawn(
        dataset_id=source.dataset_id,
        kind="user",
        samples=wanted_of(source, counts.samples),
        tokens=tokens * int(source.multiplier),
    )


def _stop(limit: Limit, samples: int) -> Stop | None:
    """Return where a limit ends training; None: within an epoch, or how many rows one has is not known."""
    reach = reach_of(limit, samples)
    if limit.packed_to is not None or reach.rows:
        return None
    return Stop(steps=limit.steps, epochs=reach.epochs)
