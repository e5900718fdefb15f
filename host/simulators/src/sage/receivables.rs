//! `/Invoice` and `/CashReceipt`.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::money;
use crate::sage::checks::Body;
use crate::sage::customers::shown;
use crate::sage::{Problem, SagePro, Written, duplicate};
use crate::stand_in::{Call, Draft, Moment};

/// Lines of a document.
pub(crate) const LINES_MAX: usize = 500;
const INVOICE: &[&str] = &[
    "ExternalRef",
    "CustNo",
    "InvoiceDate",
    "PONum",
    "Order",
    "Currency",
    "PaymentStatus",
    "Lines",
    "Tax",
    "Payment",
    "Terms",
    "Notes",
];
const LINE: &[&str] = &["Item", "Descrip", "Qty", "Price"];
pub(crate) const PAYMENT: &[&str] = &["Method", "Amount", "Reference", "Date"];
const RECEIPT: &[&str] = &[
    "ExternalRef",
    "CustNo",
    "Amount",
    "Currency",
    "DatePaid",
    "Reference",
    "Method",
    "Order",
    "Applications",
];
const APPLICATION: &[&str] = &["InvNo", "Amount"];

impl SagePro {
    /// The reference, when it is new.
    pub(crate) fn new_reference<'a>(
        &self,
        kind: &str,
        fields: &Body<'a>,
        moment: Moment,
    ) -> Result<&'a str, Problem> {
        let reference = fields.required("ExternalRef", 64)?;
        match self.documents.by_reference(kind, reference, moment.now_ms) {
            Some(existing) => Err(duplicate(existing)),
            None => Ok(reference),
        }
    }

    /// The customer, when it exists, is not held by another user and, for invoices, has credit.
    pub(crate) fn customer_of<'a>(
        &self,
        fields: &Body<'a>,
        moment: Moment,
        needs_credit: bool,
    ) -> Result<&'a str, Problem> {
        let number = fields.required("CustNo", 6)?;
        let Some(customer) = self.documents.by_number("Customer", number, moment.now_ms) else {
            return Err(Problem::missing("CustNo", format!("There is no customer {number}.")));
        };
        self.check_unlocked(number)?;
        let held = || {
            customer.as_object().is_some_and(|row| shown(row).get("CreditHold") == Some(&Value::Bool(true)))
        };
        if needs_credit && held() {
            return Err(Problem::invalid("CustNo", "The customer is on hold (CREDSTAT = H)."));
        }
        Ok(number)
    }

    /// A date in an open period.
    pub(crate) fn open_date<'a>(&self, fields: &Body<'a>, name: &str) -> Result<&'a str, Problem> {
        let date = fields.date(name)?;
        if date < self.options.open_from.as_str() || date > self.options.open_to.as_str() {
            return Err(Problem::invalid(fields.field(name), format!("The period of {date} is closed.")));
        }
        Ok(date)
    }

    pub(crate) fn currency_of<'a>(&self, fields: &Body<'a>) -> Result<&'a str, Problem> {
        let currency = fields.text("Currency", 3)?.unwrap_or("USD");
        if self.options.currencies.contains(currency) {
            Ok(currency)
        } else {
            Err(Problem::invalid("Currency", format!("{currency} is not known.")))
        }
    }

    /// The lines and their total with tax.
    pub(crate) fn lines(&self, fields: &Body<'_>, currency: &str) -> Result<(Vec<Value>, Decimal), Problem> {
        let mut total = Decimal::ZERO;
        let mut lines = Vec::new();
        for line in fields.rows("Lines", LINE, LINES_MAX)? {
            let item = line.required("Item", 20)?;
            let known = self.options.items.get(item);
            let known = known
                .ok_or_else(|| Problem::missing(line.field("Item"), format!("There is no item {item}.")))?;
            let description = line.text("Descrip", 35)?.unwrap_or(known);
            let quantity = line.quantity("Qty")?;
            // A unit price may have the four decimals of the tables; what is billed has the currency's.
            let price = line.money_required("Price", "")?;
            let extended = (quantity * price).normalize();
            if !money::fits(extended, currency) {
                return Err(Problem::invalid(
                    line.field("Price"),
                    format!("The line is no amount of {currency}."),
                ));
            }
            total += extended;
            lines.push(json!({
                "item": item, "description": description, "quantity": quantity.to_string(),
                "price": price.to_string(), "amount": money::text(extended, currency),
            }));
        }
        total += fields.money("Tax", currency)?.unwrap_or_default();
        Ok((lines, total))
    }

    /// What is paid with the invoice.
    fn payment(&self, fields: &Body<'_>, currency: &str, total: Decimal) -> Result<Decimal, Problem> {
        let status = fields.text("PaymentStatus", 10)?.unwrap_or("Open");
        let paid = match fields.object("Payment", PAYMENT)? {
            None => Decimal::ZERO,
            Some(payment) => {
                payment.required("Method", 10)?;
                payment.text("Reference", 64)?;
                self.open_date(&payment, "Date")?;
                payment.money_required("Amount", currency)?
            }
        };
        let fits = match status {
            "Paid" => paid == total,
            "Partial" => paid > Decimal::ZERO && paid < total,
            "Open" => paid.is_zero(),
            _ => return Err(Problem::invalid("PaymentStatus", "Paid, Partial or Open is expected.")),
        };
        if fits {
            Ok(paid)
        } else {
            let text = format!("{status} does not fit a payment of {paid} for a total of {total}.");
            Err(Problem::invalid("PaymentStatus", text))
        }
    }

    pub(crate) fn invoice_create(
        &mut self,
        call: &Call,
        moment: Moment,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, INVOICE)?;
        let reference = self.new_reference("Invoice", &fields, moment)?;
        let customer = self.customer_of(&fields, moment, true)?;
        let date = self.open_date(&fields, "InvoiceDate")?;
        let currency = self.currency_of(&fields)?;
        let po_number = fields.text("PONum", 20)?;
        let order = fields.text("Order", 10)?;
        fields.text("Notes", 254)?;
        if let Some(terms) = fields.text("Terms", 20)?
            && !self.options.terms.contains(terms)
        {
            return Err(Problem::invalid("Terms", format!("{terms} is not known.")));
        }
        let (lines, total) = self.lines(&fields, currency)?;
        if total.is_sign_negative() {
            return Err(Problem::invalid("Lines", "The total is negative: that is a credit memo."));
        }
        let paid = self.payment(&fields, currency, total)?;
        let balance = money::text(total - paid, currency);
        self.next_invoice += 1;
        let number = (self.next_invoice - 1).to_string();
        // The payment is a receipt of its own.
        let receipt = (!paid.is_zero()).then(|| {
            self.next_receipt += 1;
            (self.next_receipt - 1).to_string()
        });
        let record = json!({
            "InvNo": number, "ExternalRef": reference, "CustNo": customer, "InvoiceDate": date, "PONum": po_number,
            "Order": order, "Tax": money::text(fields.money("Tax", currency)?.unwrap_or_default(), currency), "ReceiptNo": receipt,
            "Currency": currency, "Total": money::text(total, currency), "Balance": balance,
            "PaymentStatus": body.get("PaymentStatus"), "Lines": body.get("Lines"), "Payment": body.get("Payment"),
        });
        let draft = Draft::new("invoice", number.clone(), reference, call)
            .amount(currency, total)
            .lines(lines)
            .document(record);
        let answer =
            json!({"InvNo": number, "Balance": balance, "ExternalRef": reference, "ReceiptNo": receipt});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }

    pub(crate) fn cash_receipt_create(
        &mut self,
        call: &Call,
        moment: Moment,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, RECEIPT)?;
        let reference = self.new_reference("CashReceipt", &fields, moment)?;
        let customer = self.customer_of(&fields, moment, false)?;
        let date = self.open_date(&fields, "DatePaid")?;
        let currency = self.currency_of(&fields)?;
        fields.text("Reference", 64)?;
        fields.text("Method", 10)?;
        let order = fields.text("Order", 10)?;
        let amount = fields.money_required("Amount", currency)?;
        if amount <= Decimal::ZERO {
            return Err(Problem::invalid("Amount", "A receipt is positive."));
        }
        let mut applied = Decimal::ZERO;
        let mut lines = Vec::new();
        let given = body.get("Applications").and_then(Value::as_array).is_some_and(|rows| !rows.is_empty());
        let rows = if given { fields.rows("Applications", APPLICATION, LINES_MAX)? } else { Vec::new() };
        for row in rows {
            let invoice = row.required("InvNo", 10)?;
            let open = self.documents.balance(invoice, moment.now_ms);
            let open = open.ok_or_else(|| {
                Problem::missing(row.field("InvNo"), format!("There is no invoice {invoice}."))
            })?;
            self.check_unlocked(invoice)?;
            let part = row.money_required("Amount", currency)?;
            if part <= Decimal::ZERO || part > open {
                return Err(Problem::invalid(
                    row.field("Amount"),
                    format!("Invoice {invoice} has an open balance of {open}."),
                ));
            }
            applied += part;
            lines.push(json!({"invoice": invoice, "amount": money::text(part, currency)}));
        }
        if applied > amount {
            return Err(Problem::invalid("Applications", "More is applied than received."));
        }
        self.next_receipt += 1;
        let number = (self.next_receipt - 1).to_string();
        let record = json!({
            "ReceiptNo": number, "ExternalRef": reference, "CustNo": customer, "Amount": money::text(amount, currency),
            "Currency": currency, "DatePaid": date, "Unapplied": money::text(amount - applied, currency),
            "Order": order, "Applications": body.get("Applications"),
        });
        let draft = Draft::new("cash-receipt", number.clone(), reference, call)
            .amount(currency, amount)
            .lines(lines)
            .document(record);
        let answer = json!({"ReceiptNo": number, "ExternalRef": reference});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }
}
