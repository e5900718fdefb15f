"""Short references: a Stripe id does not fit the 16 characters of an accounting reference, so 80 bits of its SHA-256
stand for it. The full id is kept in a longer field beside it.

>>> short_reference("ch_3QabcDEF0123456789abcdef")
'R144WJGG6ZXJ677C'
"""

from __future__ import annotations

from hashlib import sha256

# Crockford's base 32: no I, L, O, U.
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def short_reference(id: str) -> str:
    """16 characters that stand for an id."""
    bits = int.from_bytes(sha256(id.encode()).digest()[:10], "big")
    return "".join(_DIGITS[bits >> 75 - 5 * place & 31] for place in range(16))


def short_prefix(id: str, chars: int) -> str:
    """The first characters of the short reference: fewer bits, for fields that hold no more."""
    return short_reference(id)[:chars]
