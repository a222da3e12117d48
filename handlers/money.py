"""Amounts: exact decimals, never floating-point numbers."""

from collections.abc import Iterable
from decimal import Decimal, localcontext

#: Digits: more than any count of tokens times any price of the table has.
_DIGITS = 60


def fee(tokens: int, price_per_1k_tokens: str, factor: Decimal = Decimal(1)) -> str:
    """Return what so many tokens cost, exactly, as a plain decimal. ``factor`` is what one costs beside a full one."""
    with localcontext(prec=_DIGITS):
        return plain(Decimal(tokens) * factor * Decimal(price_per_1k_tokens) / 1000)


def total(amounts: Iterable[str]) -> str:
    """Return the exact sum of amounts, as a plain decimal."""
    with localcontext(prec=_DIGITS):
        return plain(sum(map(Decimal, amounts), Decimal(0)))


def plain(amount: Decimal) -> str:
    """Return an amount without exponent or trailing zeros, never fewer than two decimals."""
    text = format(amount.normalize(), "f")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"
