"""What people read about tokens: the sums, and how long samples are."""

from rich.console import Console
from rich.text import Text

from worker.validate.excerpt import safe
from worker.validate.tokens import CountedTokens

_WIDEST_BAR = 40


def show_tokens(tokens: CountedTokens | None, console: Console) -> None:
    """Print the token counts of the samples that are kept; None: they could not be counted."""
    if tokens is None:
        _print(console, "  tokens: not counted, since the format is not known")
        return
    counts, model = tokens.counts, tokens.model
    context = f" of {model.context_length:,}" if model.context_length else ""
    speed = counts.total / max(tokens.seconds, 1e-6) / 1e6
    _print(
        console,
        f"tokens for {safe(model.name)}: {counts.total:,} in {_samples(counts.samples)}, {counts.trained:,} trained, "
        f"{counts.masked:,} masked, longest {counts.longest:,}{context}, at {speed:.2g} Mtok/s",
    )
    most = max(counts.histogram.values(), default=0)
    for bound, samples in counts.histogram.items():
        bar = "█" * max(1, round(_WIDEST_BAR * samples / most))
        _print(console, f"  up to {bound:>9,} {bar} {samples:,}")
    if counts.too_long:
        _print(console, f"  left out: {_samples(counts.too_long)} longer than the model's context", "red")


def _samples(count: int) -> str:
    return f"{count:,} sample{'s' * (count != 1)}"


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True, highlight=False)
