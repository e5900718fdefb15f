"""Plans: what shall be done. Dataclasses with the contract's fields; what is left out says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Optional, Union

from .money import parse_decimal, written


@dataclass
class Binding:
    """Copies a value of an earlier response (a JSON Pointer) into this body (another)."""

    delivery: str
    source: str
    target: str


@dataclass
class Check:
    """A read that tells whether the document is there already. ``hit`` points to its id in the answer."""

    when: str
    operation: str
    parameters: Any
    hit: str
    bindings: list[Binding] = field(default_factory=list)

    @staticmethod
    def always(operation: str, parameters: Any, hit: str) -> "Check":
        """Asked before the first send too: somebody else may have made the document."""
        return Check("always", operation, parameters, hit)

    @staticmethod
    def in_doubt(operation: str, parameters: Any, hit: str) -> "Check":
        """Asked only when an earlier send may have been carried out, after a redrive, and after a restore."""
        return Check("in-doubt", operation, parameters, hit)


@dataclass
class Capture:
    """Remembers the id at ``pointer`` of the response as what ``system`` calls the object."""

    kind: str
    id: str
    system: str
    pointer: str


@dataclass
class LedgerLine:
    """One accounting line; the amount is never negative."""

    account: str
    side: str
    amount: str
    currency: str


def debit(account: str, amount: Union[Decimal, str], currency: str) -> LedgerLine:
    """An accounting line on the debit side; a negative amount stands on the other."""
    return _line("debit", account, amount, currency)


def credit(account: str, amount: Union[Decimal, str], currency: str) -> LedgerLine:
    """An accounting line on the credit side; a negative amount stands on the other."""
    return _line("credit", account, amount, currency)


def _line(side: str, account: str, amount: Union[Decimal, str], currency: str) -> LedgerLine:
    value = parse_decimal(amount)
    if value.is_signed():
        side, value = ("credit" if side == "debit" else "debit"), value.copy_abs()
    return LedgerLine(account, side, written(value), currency)


@dataclass
class Delivery:
    """The duty to make one outbound call, once.

    ``key`` is unique in the plan and stable: idempotency keys are derived from it. Amounts in ``body`` are ``Decimal`` or
    ``str``, never ``float``. ``once`` names the economic fact that it records; ``unless`` is how to find out whether the
    document is there already; the ``ledger`` lines of a plan must balance.
    """

    key: str
    connection: str
    operation: str
    body: Any
    after: list[str] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    once: Optional[str] = None
    unless: Optional[Check] = None
    captures: list[Capture] = field(default_factory=list)
    ledger: list[LedgerLine] = field(default_factory=list)


@dataclass
class Reference:
    """A pair of ids that is known already."""

    kind: str
    id: str
    system: str
    counterpart: str


@dataclass
class Alert:
    """What people should hear of: ``severity`` is info, warning or critical."""

    severity: str
    code: str
    title: str
    detail: Any = None


@dataclass
class Plan:
    """Everything that follows from an event."""

    deliveries: list[Delivery] = field(default_factory=list)
    ordering_key: Optional[str] = None
    references: list[Reference] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


def plain(value: Any) -> Any:
    """JSON of what a mapping wrote: decimals become texts, floats are refused."""
    if isinstance(value, Decimal):
        return written(value)
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a fraction in floating point: amounts are Decimal or str")
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def _binding(binding: Binding) -> dict[str, Any]:
    return {"delivery": binding.delivery, "source": binding.source, "target": binding.target}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    check = delivery.unless
    return {
        "key": delivery.key,
        "connection": delivery.connection,
        "operation": delivery.operation,
        "body": plain(delivery.body),
        "after": list(delivery.after),
        "bindings": [_binding(binding) for binding in delivery.bindings],
        "once": delivery.once,
        "unless": check and {
            "when": check.when,
            "operation": check.operation,
            "parameters": plain(check.parameters),
            "bindings": [_binding(binding) for binding in check.bindings],
            "hit": check.hit,
        },
        "captures": [
            {"key": {"kind": one.kind, "id": one.id}, "system": one.system, "pointer": one.pointer}
            for one in delivery.captures
        ],
        "ledger": [
            {"account": line.account, "side": line.side, "amount": line.amount, "currency": line.currency}
            for line in delivery.ledger
        ],
    }


def whole_plan(plan: Plan) -> dict[str, Any]:
    """A plan in the contract's JSON form. What is no plan is a mistake: nothing would be posted, and the event would count
    as delivered."""
    if not isinstance(plan, Plan):
        raise TypeError(f"a mapping returned {plan!r}, which is no Plan: return one (Plan() does nothing), or end with skip(…)")
    return {
        "ordering-key": plan.ordering_key,
        "deliveries": [_delivery(delivery) for delivery in plan.deliveries],
        "references": [
            {"key": {"kind": one.kind, "id": one.id}, "system": one.system, "id": one.counterpart}
            for one in plan.references
        ],
        "alerts": [
            {"severity": one.severity, "code": one.code, "title": one.title, "detail": plain(one.detail or {})}
            for one in plan.alerts
        ],
    }
