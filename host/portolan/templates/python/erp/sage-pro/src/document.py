"""The invoice in Sage Pro, with its payment: one document for both. The gateway recognises a second one by its
ExternalRef, so it is asked only when an earlier send may have been carried out (``Check.in_doubt``)."""

from portolan_sdk import Capture, Check, Delivery, Field, credit, debit, short_reference

# Everything that the module does in Sage Pro.
OPERATIONS = ["invoice.find", "invoice.create"]

CUST_NO = Field("CustNo", 6)
EXTERNAL_REF = Field("ExternalRef", 64)
ITEM = Field("Item", 15)
DESCRIP = Field("Descrip", 35)
ACCOUNT = Field("Account", 24)


def delivery(cx, settings, sale):
    reference = EXTERNAL_REF.required(sale.charge)
    amount, currency = sale.amount.decimal(), sale.amount.currency
    invoice = {
        "CustNo": CUST_NO.required(sale.customer),
        "ExternalRef": reference,
        "PONum": short_reference(sale.charge),
        "InvoiceDate": sale.day,
        "Currency": currency,
        "Tax": amount - amount,
        "Lines": [
            {"Item": ITEM.required(settings["item"]), "Descrip": DESCRIP.shortened(sale.text), "Qty": 1, "Price": amount}
        ],
        "Payment": {"Amount": amount, "Date": sale.day, "Method": "STRIPE", "Reference": reference},
        "PaymentStatus": "Paid",
    }
    return Delivery(
        "invoice", "erp", "invoice.create", invoice,
        once=f"payment/{sale.charge}",
        unless=Check.in_doubt("invoice.find", {"ExternalRef": reference}, "/InvNo"),
        captures=[Capture("stripe.charge", sale.charge, "sage-pro.invoice", "/InvNo")],
        # What the document stands for; the host checks that debits are credits.
        ledger=[
            debit(ACCOUNT.required(settings["clearing_account"]), amount, currency),
            credit(ACCOUNT.required(settings["sales_account"]), amount, currency),
        ],
    )
