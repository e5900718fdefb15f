"""For the authors of mapping modules.

A mapping is a pure function from an event, settings and facts to a plan. It does no I/O: what it does not know it asks
for, with ``cx.lookup``, ``cx.reference`` and ``cx.query``. A question whose answer is not known yet raises ``Need``; the
host fetches the answer and calls the mapping again, from the beginning. Never catch a ``Stop``.

>>> from portolan_sdk import Description, Delivery, Mapping, Plan, captured, object_of, reject
>>> class ChargeToOrder(Mapping):
...     description = Description(
...         name="charge-to-order", version="1.0.0", summary="A charge becomes an order.",
...         serves=[("stripe", "charge.succeeded")],
...         connections=[("erp", "http", ["request.post"])],
...         tables={"customers": "Stripe customer to ours"})
...
...     def map(self, cx):
...         charge = object_of(cx)
...         amount = captured(charge)                      # a skip, when no money moved
...         ours = cx.lookup("customers", charge["customer"])
...         if ours is None:
...             reject("/data/object/customer", "unknown-customer", charge["customer"])
...         body = {"path": "/orders", "body": {"customer": ours, "amount": amount.decimal()}}
...         return Plan([Delivery("order", "erp", "request.post", body)])
"""

from .cx import Cx, Event, lookup, query, reference
from .date import dats, days_after, in_zone, start_of_day, to_iso
from .mapping import Connection, Description, Mapping
from .money import Money, split, unit_prices
from .plan import Alert, Binding, Capture, Check, Delivery, LedgerLine, Plan, Reference, credit, debit
from .short import short_prefix, short_reference
from .stop import Defer, Hold, Need, Reject, Skip, Stop, defer, hold, reject, skip
from .stripe import captured, object_of
from .text import Field, alpha, numc

__all__ = [
    "Alert", "Binding", "Capture", "Check", "Connection", "Cx", "Defer", "Delivery", "Description", "Event", "Field",
    "Hold", "LedgerLine", "Mapping", "Money", "Need", "Plan", "Reference", "Reject", "Skip", "Stop", "alpha", "captured",
    "credit", "dats", "days_after", "debit", "defer", "hold", "in_zone", "lookup", "numc", "object_of", "query",
    "reference", "reject", "short_prefix", "short_reference", "skip", "split", "start_of_day", "to_iso", "unit_prices",
]
