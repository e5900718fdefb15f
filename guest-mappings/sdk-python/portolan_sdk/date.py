"""Dates. Stripe tells time in Unix seconds, an ERP posts on a day; which day it is depends on where. Zone data come with
the SDK and are read without a clock or a file: the same event gives the same day on any host.

>>> in_zone(1795217400, "UTC"), in_zone(1795217400, "Europe/Berlin")
('2026-11-20', '2026-11-21')
>>> dats("2026-11-20")
'20261120'
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Callable, NamedTuple, Optional

from .stop import refusal
from .zones import ZONES

_DAY = 86_400
_MAX = 253_402_207_200


class _Rule(NamedTuple):
    standard: int
    summer: Optional[int] = None
    begin: Optional[Callable[[int], int]] = None
    end: Optional[Callable[[int], int]] = None


class _Zone(NamedTuple):
    first: int
    times: list[int]
    offsets: list[int]
    rule: Optional[_Rule]


# Made when the component is built: a module begins every call as it was then, and does not pay for it.
_LINES = {name: line for line in ZONES.split("\n") for name in line.partition("|")[0].split(",")}
_KNOWN: dict[str, _Zone] = {}


def in_zone(seconds: int, zone: str) -> str:
    """The day (YYYY-MM-DD) that it is at ``seconds`` since 1970 in a time zone of the IANA database."""
    _check(seconds)
    return _day_text((seconds + _offset_at(seconds, zone)) // _DAY)


def start_of_day(day: str, zone: str) -> int:
    """When a day begins in a time zone, in seconds since 1970."""
    midnight = _day_number(day) * _DAY
    guess = midnight - _offset_at(midnight - _offset_at(midnight, zone), zone)
    # Where clocks go forward at midnight, the day begins at one.
    for seconds in (guess - 3600, guess, guess + 3600):
        if in_zone(seconds, zone) == day and in_zone(seconds - 1, zone) < day:
            return seconds
    return guess


def dats(day: str) -> str:
    """A day as SAP writes it: YYYYMMDD."""
    _day_number(day)
    return day.replace("-", "")


def days_after(day: str, days: int) -> str:
    """So many days later."""
    return _day_text(_day_number(day) + days)


def to_iso(seconds: int) -> str:
    """A time as ISO 8601 in UTC: 2026-11-20T23:30:00Z."""
    _check(seconds)
    rest = seconds % _DAY
    return f"{_day_text(seconds // _DAY)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _check(seconds: int) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or abs(seconds) > _MAX:
        raise refusal("time-out-of-range", f"{seconds!r} is not a time in seconds since 1970")


# Days since 1970 and the civil calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
def _day_text(number: int) -> str:
    shifted = number + 719_468
    era, of_era = divmod(shifted, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    moved = (5 * of_year + 2) // 153
    day = of_year - (153 * moved + 2) // 5 + 1
    month = moved + 3 if moved < 10 else moved - 9
    return f"{year + era * 400 + (1 if month <= 2 else 0):04}-{month:02}-{day:02}"


def _civil(year: int, month: int, day: int) -> int:
    shifted = year - 1 if month <= 2 else year
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _day_number(text: str) -> int:
    parts = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text, re.ASCII)
    if parts:
        number = _civil(*(int(part) for part in parts.groups()))
        if _day_text(number) == text:
            return number
    raise refusal("unreadable-date", f"{text!r} is not a date in ISO 8601, such as 2026-11-20")


def _zone(name: str) -> _Zone:
    if name in _KNOWN:
        return _KNOWN[name]
    if name not in _LINES:
        raise refusal("settings", f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin")
    _, offsets, steps, indexes, rule = _LINES[name].split("|")
    offset = [int(value) for value in offsets.split(",")]
    times, at = [], 0
    for step in steps.split():
        at += int(step, 36)
        times.append(at)
    zone = _Zone(offset[0], times, [offset[int(index, 36)] for index in indexes], _parse_rule(rule))
    _KNOWN[name] = zone
    return zone


def _offset_at(seconds: int, name: str) -> int:
    if name in ("UTC", "Etc/UTC"):
        return 0
    zone = _zone(name)
    if zone.rule and (not zone.times or seconds >= zone.times[-1]):
        return _by_rule(seconds, zone.rule)
    place = bisect_right(zone.times, seconds)
    return zone.offsets[place - 1] if place else zone.first


_NAME = r"(?:[A-Za-z]+|<[^>]+>)"
_TIME = r"[+-]?\d{1,3}(?::\d{2}(?::\d{2})?)?"
_RULE = re.compile(rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,([^,]+),([^,]+))?")


def _parse_rule(text: str) -> Optional[_Rule]:
    """A POSIX rule: what holds after the last transition that is listed. CET-1CEST,M3.5.0,M10.5.0/3"""
    parts = _RULE.fullmatch(text)
    if not parts:
        return None
    standard = -_seconds(parts[1])
    if parts[3] is None:
        return _Rule(standard)
    summer = standard + 3600 if parts[2] is None else -_seconds(parts[2])
    return _Rule(standard, summer, _change(parts[3]), _change(parts[4]))


def _seconds(text: str) -> int:
    hours, minutes, seconds = ([int(part) for part in text.lstrip("+-").split(":")] + [0, 0])[:3]
    value = hours * 3600 + minutes * 60 + seconds
    return -value if text.startswith("-") else value


def _change(text: str) -> Callable[[int], int]:
    day, _, time = text.partition("/")
    at = _seconds(time) if time else 7200
    if day.startswith("M"):
        month, week, weekday = (int(part) for part in day[1:].split("."))

        def of_month(year: int) -> int:
            first = _civil(year, month, 1)
            # 1970-01-01 was a Thursday.
            number = first + (weekday - (first + 4) % 7) % 7 + (week - 1) * 7
            following = _civil(year + 1, 1, 1) if month == 12 else _civil(year, month + 1, 1)
            while number >= following:
                number -= 7
            return number * _DAY + at

        return of_month
    if day.startswith("J"):
        number = int(day[1:])

        def of_year(year: int) -> int:
            # Day of the year from 1, the 29th of February never counted.
            is_leap = _civil(year, 3, 1) - _civil(year, 2, 28) == 2
            return (_civil(year, 1, 1) + number - 1 + (1 if is_leap and number > 59 else 0)) * _DAY + at

        return of_year
    return lambda year: (_civil(year, 1, 1) + int(day)) * _DAY + at


def _by_rule(seconds: int, rule: _Rule) -> int:
    if rule.summer is None or rule.begin is None or rule.end is None:
        return rule.standard
    year = int(_day_text((seconds + rule.standard) // _DAY)[:4])
    begin = rule.begin(year) - rule.standard
    end = rule.end(year) - rule.summer
    is_summer = begin <= seconds < end if begin < end else seconds >= begin or seconds < end
    return rule.summer if is_summer else rule.standard
