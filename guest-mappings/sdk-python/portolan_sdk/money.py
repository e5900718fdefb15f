"""Exact money. Stripe counts in minor units, ERPs write decimals; the way between is a table and integers, never a
division by 100. What would lose a digit is refused.

>>> str(Money(4998, "usd").decimal()), str(Money(5000, "jpy").decimal()), str(Money(12340, "kwd").decimal())
('49.98', '5000', '12.340')
>>> split(1000, [1, 1, 1])
[334, 333, 333]
>>> unit_prices(1000, 3)
[(2, 333), (1, 334)]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Optional, Union

from .stop import refusal

# As in the other SDKs: no space, no sign but a minus, no exponent, the digits of ASCII.
_WRITTEN = re.compile(r"-?[0-9]{1,28}(\.[0-9]{1,28})?")

_ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
_THREE_DECIMAL = frozenset("BHD JOD KWD OMR TND".split())
# Without decimals, but Stripe counts them in hundredths all the same: 5 ISK is 500.
_ZERO_DECIMAL_IN_HUNDREDTHS = frozenset(["ISK", "UGX"])


def _minor_decimals(currency: str) -> int:
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


def _decimals(currency: str) -> int:
    return 0 if currency in _ZERO_DECIMAL_IN_HUNDREDTHS else _minor_decimals(currency)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal("not-an-amount", f"{value!r} is no whole number of minor units")
    return value


def _scaled(digits: int, scale: int) -> Decimal:
    return Decimal((1 if digits < 0 else 0, tuple(int(digit) for digit in str(abs(digits))), -scale))


def parse_decimal(value: Union[Decimal, str, int]) -> Decimal:
    """A decimal, never by way of floating point."""
    if isinstance(value, float):
        raise refusal("not-an-amount", f"{value!r} is a fraction in floating point, and so no amount")
    if isinstance(value, Decimal) and value.is_finite():
        return value
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole or (isinstance(value, str) and _WRITTEN.fullmatch(value)):
        return Decimal(value)
    raise refusal("not-an-amount", f"{value!r} is no decimal number")


def written(value: Union[Decimal, str, int]) -> str:
    """As the contract writes it: digits, without exponent."""
    return format(parse_decimal(value), "f")


@dataclass(frozen=True)
class Money:
    """An amount as Stripe counts it: whole minor units of a currency with 0, 2 or 3 decimals."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        _whole(self.minor)
        code = self.currency
        if not isinstance(code, str) or len(code) != 3 or not (code.isascii() and code.isalpha()):
            raise refusal("not-a-currency", f"{code!r} is not a currency code of three letters")
        object.__setattr__(self, "currency", code.upper())

    @staticmethod
    def from_decimal(amount: Union[Decimal, str], currency: str) -> "Money":
        """A decimal in Stripe's minor unit; refuses what would lose a digit."""
        unit = Money(0, currency)
        digits = _units(parse_decimal(amount), _decimals(unit.currency), unit.currency)
        return Money(digits * 10 ** (_minor_decimals(unit.currency) - _decimals(unit.currency)), unit.currency)

    def decimal(self, decimals: Optional[int] = None) -> Decimal:
        """As a decimal, with the currency's own decimals or as many as the receiver keeps."""
        scale = _decimals(self.currency) if decimals is None else decimals
        exact = _scaled(self.minor, _minor_decimals(self.currency))
        return _scaled(_units(exact, scale, self.currency), scale)

    def split(self, weights: list[int]) -> list["Money"]:
        """Splits by weights into parts that the currency can be paid in; the parts add up to the whole."""
        decimals = _decimals(self.currency)
        step = 10 ** (_minor_decimals(self.currency) - decimals)
        units = _units(self.decimal(), decimals, self.currency)
        return [Money(part * step, self.currency) for part in split(units, weights)]

    def unit_prices(self, quantity: int, decimals: Optional[int] = None) -> list[tuple[int, Decimal]]:
        """Unit prices under which ``quantity`` pieces cost exactly this: one, or two that differ by one unit."""
        scale = _decimals(self.currency) if decimals is None else decimals
        units = _units(self.decimal(scale), scale, self.currency)
        return [(pieces, _scaled(price, scale)) for pieces, price in unit_prices(units, quantity)]

    def __str__(self) -> str:
        return f"{_scaled(self.minor, _minor_decimals(self.currency))} {self.currency}"


def _units(value: Decimal, scale: int, currency: str) -> int:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)) or "0")
    shift = int(exponent) + scale
    if shift >= 0:
        number *= 10**shift
    else:
        number, lost = divmod(number, 10**-shift)
        if lost:
            raise refusal("lost-digits", f"{written(value)} {currency} has more than {scale} decimals")
    return -number if sign else number


def split(total: int, weights: list[int]) -> list[int]:
    """Splits a whole number by weights; what is left over goes to the largest remainders, the first of equals first."""
    whole = _whole(total)
    shares = [_whole(weight) for weight in weights]
    if any(weight < 0 for weight in shares):
        raise refusal("not-a-weight", "a weight is never negative")
    total_weight = sum(shares)
    if total_weight == 0:
        return split(whole, [1] * len(shares)) if shares else []
    magnitude = abs(whole)
    parts = [magnitude * weight // total_weight for weight in shares]
    order = sorted(range(len(shares)), key=lambda place: -(magnitude * shares[place] % total_weight))
    for place in order[: magnitude - sum(parts)]:
        parts[place] += 1
    return [-part if whole < 0 else part for part in parts]


def unit_prices(total: int, quantity: int) -> list[tuple[int, int]]:
    """One price, or two that differ by one unit, in whole units, each with the pieces it is for."""
    if _whole(quantity) < 0:
        raise refusal("not-a-quantity", f"{quantity} is no quantity")
    if quantity == 0:
        return []
    low, dearer = divmod(_whole(total), quantity)
    return [(pieces, price) for pieces, price in [(quantity - dearer, low), (dearer, low + 1)] if pieces > 0]
