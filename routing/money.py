"""Money is an integer of nano-USD; a unit price is an integer of atto-USD.

1 USD = 10**9 nanos = 10**18 attos. A price of "0.003625" USD per million tokens is 3 625 000 000
attos per token: exact, so a charge is a sum of integers with one rounding, upward, at its end.
"""

import re
from decimal import Decimal
from typing import Final, NewType

Nanos = NewType("Nanos", int)
Attos = NewType("Attos", int)

NANOS_PER_USD: Final = 10**9
ATTOS_PER_NANO: Final = 10**9
ATTOS_PER_USD: Final = 10**18
WALLET_NANOS_MAX: Final = Nanos(10**6 * NANOS_PER_USD)

_DECIMAL: Final = re.compile(r"-?\d{1,12}(\.\d{1,15})?")


def parse_decimal(text: str) -> Decimal:
    """Plain decimal notation only: no exponent, no sign but minus, no spaces. Raises ValueError."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a plain decimal number")
    return Decimal(text)


def parse_usd_nanos(text: str) -> Nanos:
    """USD with up to nine decimals, as nanos. Raises ValueError beyond them: nothing is rounded."""
    nanos = parse_decimal(text) * NANOS_PER_USD
    if nanos != nanos.to_integral_value():
        raise ValueError(f"{text!r} USD has more than nine decimals")
    return Nanos(int(nanos))


def parse_usd_attos(text: str, *, per: int = 1) -> Attos:
    """USD per `per` units, as attos per unit. Raises ValueError where that is not whole."""
    attos = parse_decimal(text) * ATTOS_PER_USD / per
    if attos != attos.to_integral_value():
        raise ValueError(f"{text!r} USD per {per} units is finer than an atto-USD per unit")
    if attos < 0:
        raise ValueError(f"{text!r}: a price is not negative")
    return Attos(int(attos))


def nanos_up(attos: int, per: int = 1) -> Nanos:
    """The one rounding: `attos / per`, upward to a whole nano."""
    return Nanos(-(-attos // (per * ATTOS_PER_NANO)))


def format_usd(nanos: int) -> str:
    """Exact USD, at least two decimals, no trailing zeros beyond them: 1 234 500 000 → "1.2345"."""
    sign = "-" if nanos < 0 else ""
    whole, part = divmod(abs(nanos), NANOS_PER_USD)
    digits = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"
