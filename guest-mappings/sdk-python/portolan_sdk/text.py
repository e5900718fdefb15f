"""Fields with a length. What does not fit is refused with the field's name: a truncated id finds the wrong document.
Texts that identify nothing may be shortened, by name.

>>> Field("CITY", 20).shortened("Llanfairpwllgwyngyllgogerychwyrndrobwll")
'Llanfairpwllgwyngyl…'
>>> alpha(Field("CUSTOMER", 10), "4711"), numc(Field("ITM_NUMBER", 6), 10)
('0000004711', '000010')
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Optional

from .stop import Reject, refusal


@dataclass(frozen=True)
class Field:
    """A field of an ERP by its name there, and how many characters it holds."""

    name: str
    chars_max: int

    def text(self, value: str) -> str:
        """The value, when it fits and has no control characters."""
        if len(value) > self.chars_max:
            raise self._refuse(value, f"has {len(value)} characters, the field holds {self.chars_max}")
        if any(_is_control(character) for character in value):
            raise self._refuse(value, "has control characters")
        return value

    def required(self, value: Optional[str]) -> str:
        """The value of a field that may not be empty."""
        if not isinstance(value, str) or not value:
            raise self._refuse(value or "", "must not be empty")
        return self.text(value)

    def shortened(self, value: str) -> str:
        """The value, cut to fit: for descriptions, which identify nothing."""
        clean = "".join(" " if _is_control(character) else character for character in value)
        if len(clean) <= self.chars_max:
            return clean
        return clean[: self.chars_max - 1] + "…" if self.chars_max else ""

    def _refuse(self, value: str, why: str) -> Reject:
        shown = json.dumps(str(value)[:60], ensure_ascii=False)
        return refusal("does-not-fit", f"{self.name}: {shown} {why}")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def alpha(of: Field, value: str) -> str:
    """SAP's ALPHA conversion: all digits are padded with zeros, anything else is upper-case."""
    text = of.required(value.strip())
    return text.zfill(of.chars_max) if text.isascii() and text.isdigit() else of.text(text.upper())


def numc(of: Field, value: int) -> str:
    """SAP's NUMC: digits, padded with zeros."""
    return of.text(str(value).zfill(of.chars_max))
