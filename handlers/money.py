"""Amounts: exact decimals, never floating-point numbers."""

from decimal import Decimal, localcontext

#: Digits: more than any count of tokens times any price of the table has.
_DIGITS = 60


def fee(tokens: int, price_per_1k_tokens: str) -> str:
    """Return what so many tokens cost, exactly, as a plain decimal."""
    with localcontext(prec=_DIGITS):
        return plain(Decimal(tokens) * Decimal(price_per_1k_tokens) / 1000)


def plain(amount: Decimal) -> str:
    """Return an amount without exponent or trailing zeros, never fewer than two decimals."""
    text = format(amount.normalize(), "f")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"
