"""The accounting document in SAP: the clearing account is debited, the customer credited. SAP's reference field holds 16
characters, so a short reference stands for the charge's id, and the id itself is in the texts. SAP takes a second
document with the same reference, so it is asked for one before the first send, too (``Check.always``)."""

from portolan_sdk import Capture, Check, Delivery, Field, alpha, credit, dats, debit, numc, short_reference

# Everything that the module does in SAP.
OPERATIONS = ["accounting-document.find", "accounting-document.post"]

COMP_CODE = Field("COMP_CODE", 4)
CUSTOMER = Field("CUSTOMER", 10)
GL_ACCOUNT = Field("GL_ACCOUNT", 10)
HEADER_TXT = Field("HEADER_TXT", 25)
ITEMNO_ACC = Field("ITEMNO_ACC", 10)
ITEM_TEXT = Field("ITEM_TEXT", 50)
USERNAME = Field("USERNAME", 12)
DOC_TYPE = "DZ"


def delivery(cx, settings, sale):
    company = COMP_CODE.required(settings["company_code"])
    account = alpha(GL_ACCOUNT, settings["clearing_account"])
    customer = alpha(CUSTOMER, sale.customer)
    reference = short_reference(sale.charge)
    text = ITEM_TEXT.required(sale.charge)
    amount, currency = sale.amount.decimal(), sale.amount.currency
    debited, credited = numc(ITEMNO_ACC, 1), numc(ITEMNO_ACC, 2)

    def line(item, value):
        return {"ITEMNO_ACC": item, "CURR_TYPE": "00", "CURRENCY": currency, "AMT_DOCCUR": value}

    document = {
        "DOCUMENTHEADER": {
            "BUS_ACT": "RFBU",
            "COMP_CODE": company,
            "DOC_TYPE": DOC_TYPE,
            "DOC_DATE": dats(sale.day),
            "PSTNG_DATE": dats(sale.day),
            "USERNAME": USERNAME.required(settings["user_name"]),
            "HEADER_TXT": HEADER_TXT.shortened(sale.text),
            "REF_DOC_NO": reference,
        },
        "ACCOUNTGL": [{"ITEMNO_ACC": debited, "GL_ACCOUNT": account, "ITEM_TEXT": text, "ALLOC_NMBR": reference}],
        "ACCOUNTRECEIVABLE": [{"ITEMNO_ACC": credited, "CUSTOMER": customer, "ITEM_TEXT": text}],
        "CURRENCYAMOUNT": [line(debited, amount), line(credited, -amount)],
    }
    year = fiscal_year(sale.day, settings.get("fiscal_year_begins", 1))
    wanted = {"COMP_CODE": company, "FISC_YEAR": year, "DOC_TYPE": DOC_TYPE, "REF_DOC_NO": reference}
    return Delivery(
        "payment", "erp", "accounting-document.post", document,
        once=f"payment/{sale.charge}",
        unless=Check.always("accounting-document.find", wanted, "/OBJ_KEY"),
        captures=[Capture("stripe.charge", sale.charge, "sap-ecc.fi", "/OBJ_KEY")],
        # What the document stands for; the host checks that debits are credits.
        ledger=[debit(account, amount, currency), credit(customer, amount, currency)],
    )


def fiscal_year(day, begins):
    """A year that does not begin in January is named after the calendar year in which it ends."""
    year, month = int(day[:4]), int(day[5:7])
    return str(year + 1 if begins > 1 and month >= begins else year)
