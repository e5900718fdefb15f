"""Stripe's objects, as much of them as the beginning of a mapping needs."""

from __future__ import annotations

from typing import Any

from .cx import Cx
from .money import Money
from .stop import Reject, Skip


def object_of(cx: Cx) -> dict[str, Any]:
    """The object of a Stripe event."""
    payload = cx.payload()
    data = payload.get("data") if isinstance(payload, dict) else None
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise Reject([{"pointer": "/data/object", "code": "unreadable-payload", "message": "the event has no object"}])
    return found


def captured(charge: dict[str, Any]) -> Money:
    """What was really captured of a charge. A skip, when it is only authorized, or nothing was captured."""
    if charge.get("captured") is not True:
        raise Skip(f"{charge['id']} is authorized, not captured: no money has moved")
    minor = charge.get("amount_captured")
    if minor is None:
        minor = charge["amount"]
    if minor == 0:
        raise Skip(f"nothing of {charge['id']} was captured")
    if minor < 0 or minor > charge["amount"]:
        message = f"captured {minor} of {charge['amount']} is impossible"
        raise Reject([{"pointer": "/data/object/amount_captured", "code": "impossible-amount", "message": message}])
    return Money(minor, charge["currency"])
