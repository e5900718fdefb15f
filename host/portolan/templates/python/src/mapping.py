"""A captured charge of Stripe becomes one document in __ERP__: __DOCUMENT__.

What is decided here is the same for every ERP: whether money moved, whose it is, on which day, how much. How the document
is written down is document.py's to know.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from portolan_sdk import Connection, Cx, Description, Mapping, Money, Plan, captured, hold, in_zone, object_of, reject, skip

import document

# The tenant's own table: Stripe's customer to the customer number in __ERP__.
CUSTOMERS = "customers"


@dataclass
class Sale:
    """A sale, as the document needs to know it."""

    charge: str  # ch_…
    customer: str  # the customer's number in __ERP__
    amount: Money  # what was captured
    day: str  # the day it happened, where the tenant is: YYYY-MM-DD
    text: str  # for people


class ChargeToDocument(Mapping):
    description = Description(
        name="__NAME__",
        version="0.1.0",
        summary="A Stripe charge becomes __DOCUMENT__ in __ERP__.",
        serves=[("stripe", "charge.succeeded")],
        connections=[Connection("erp", "__CONNECTOR__", document.OPERATIONS)],
        tables={CUSTOMERS: "Stripe customer (cus_…) to customer number in __ERP__"},
        # Read when the component is built: there are no files in the sandbox.
        settings=json.loads(Path(__file__).with_name("settings.schema.json").read_text(encoding="utf-8")),
    )

    def map(self, cx: Cx) -> Plan:
        charge = object_of(cx)
        # A skip, when the charge is only authorized.
        amount = captured(charge)
        buyer = charge.get("customer") or skip(f"{charge['id']} is a guest's")
        # A need, until the host has looked; map is called again then, from the beginning.
        customer = cx.lookup(CUSTOMERS, buyer)
        if customer is None:
            reject("/data/object/customer", "unknown-customer", f"{buyer} is not in the lookup table {CUSTOMERS}")
        sale = Sale(
            charge=charge["id"],
            customer=customer,
            amount=amount,
            day=in_zone(charge["created"], cx.settings["time_zone"]),
            text=charge.get("description") or charge["id"],
        )
        plan = Plan([document.delivery(cx, cx.settings["document"], sale)])
        limit = cx.settings.get("hold_above", {}).get(amount.currency)
        if limit is not None and amount.decimal() > Decimal(limit):
            hold(f"{amount} is more than {limit}", plan)
        return plan
