"""The sales order in Epicor. Epicor takes a second order with the same PONum without a word, so it is asked for one
before the first send, too (``Check.always``)."""

from portolan_sdk import Capture, Check, Delivery, Field, reject

# Everything that the module does in Epicor.
OPERATIONS = ["customer.find", "sales-order.find", "sales-order.create"]

CUST_ID = Field("CustID", 10)
PO_NUM = Field("PONum", 50)
PART_NUM = Field("PartNum", 50)
LINE_DESC = Field("LineDesc", 1000)


def delivery(cx, settings, sale):
    id = CUST_ID.required(sale.customer)
    # The table knows the CustID; Epicor knows its number.
    customer = cx.query("erp", "customer.find", {"CustID": id})
    if customer is None:
        reject("/data/object/customer", "unknown-customer", f"Epicor has no customer {id}")
    po_num = PO_NUM.required(sale.charge)
    day = f"{sale.day}T00:00:00"
    line = {
        "PartNum": PART_NUM.required(settings["part"]),
        "LineDesc": LINE_DESC.shortened(sale.text),
        "SellingQuantity": 1,
        "DocUnitPrice": sale.amount.decimal(),
        # The price is per piece, and Epicor's own price lists must not replace it.
        "PricePerCode": "E",
        "LockPrice": True,
        "OverridePriceList": True,
    }
    order = {
        "CustNum": customer["CustNum"],
        "PONum": po_num,
        "OrderDate": day,
        "NeedByDate": day,
        "RequestDate": day,
        "CurrencyCode": sale.amount.currency,
        "OrderDtls": [line],
    }
    return Delivery(
        "order", "erp", "sales-order.create", order,
        once=f"order/{sale.charge}",
        unless=Check.always("sales-order.find", {"PONum": po_num, "Lines": 1}, "/OrderNum"),
        captures=[Capture("stripe.charge", sale.charge, "epicor.order", "/OrderNum")],
    )
