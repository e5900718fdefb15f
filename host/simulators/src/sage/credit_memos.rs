//! `/CreditMemo`, and its void.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::money;
use crate::sage::checks::Body;
use crate::sage::receivables::PAYMENT;
use crate::sage::{Problem, SagePro, Written};
use crate::stand_in::{Call, Draft, Moment};

const CREDIT_MEMO: &[&str] = &[
    "ExternalRef",
    "CustNo",
    "InvoiceDate",
    "PONum",
    "Currency",
    "AppliesTo",
    "Lines",
    "Tax",
    "Reason",
    "Notes",
    "Refund",
];
const VOID: &[&str] = &["ExternalRef", "Date", "Reason"];

impl SagePro {
    pub(crate) fn credit_memo_create(
        &mut self,
        call: &Call,
        moment: Moment,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, CREDIT_MEMO)?;
        let reference = self.new_reference("CreditMemo", &fields, moment)?;
        let customer = self.customer_of(&fields, moment, false)?;
        let date = self.open_date(&fields, "InvoiceDate")?;
        let currency = self.currency_of(&fields)?;
        fields.text("PONum", 20)?;
        fields.text("Reason", 35)?;
        fields.text("Notes", 254)?;
        let applies_to = fields.text("AppliesTo", 10)?;
        if let Some(invoice) = applies_to
            && self.documents.balance(invoice, moment.now_ms).is_none()
        {
            return Err(Problem::missing("AppliesTo", format!("There is no invoice {invoice}.")));
        }
        let (lines, total) = self.lines(&fields, currency)?;
        if total <= Decimal::ZERO {
            return Err(Problem::invalid("Lines", "A credit memo is given in positive amounts."));
        }
        let refunded = self.refunded(&fields, currency, total)?;
        self.next_invoice += 1;
        let number = (self.next_invoice - 1).to_string();
        // ARMAST keeps credit memos with negative amounts.
        let negative =
            |amount: Decimal| money::text(if amount.is_zero() { amount } else { -amount }, currency);
        let balance = negative(total - refunded);
        let tax = negative(fields.money("Tax", currency)?.unwrap_or_default());
        let record = json!({
            "InvNo": number, "ExternalRef": reference, "CustNo": customer, "InvoiceDate": date, "Currency": currency,
            "Total": negative(total), "Tax": tax, "Balance": balance, "AppliesTo": applies_to, "Lines": body.get("Lines"),
            "Reason": body.get("Reason"), "Refund": body.get("Refund"), "VoidDate": null,
        });
        let draft = Draft::new("credit-memo", number.clone(), reference, call)
            .amount(currency, -total)
            .lines(lines)
            .document(record);
        let answer = json!({"InvNo": number, "Balance": balance, "ExternalRef": reference});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }

    /// What of the memo is paid out at once.
    fn refunded(&self, fields: &Body<'_>, currency: &str, total: Decimal) -> Result<Decimal, Problem> {
        let Some(refund) = fields.object("Refund", PAYMENT)? else { return Ok(Decimal::ZERO) };
        refund.required("Method", 10)?;
        refund.text("Reference", 64)?;
        self.open_date(&refund, "Date")?;
        let amount = refund.money_required("Amount", currency)?;
        if amount <= Decimal::ZERO || amount > total {
            return Err(Problem::invalid(
                "Refund.Amount",
                format!("Not positive, or more than the memo's {total}."),
            ));
        }
        Ok(amount)
    }

    /// Makes a memo void: its amounts count no more, the number stays taken.
    pub(crate) fn credit_memo_void(
        &mut self,
        call: &Call,
        moment: Moment,
        number: &str,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, VOID)?;
        let reference = fields.required("ExternalRef", 64)?;
        let date = self.open_date(&fields, "Date")?;
        fields.text("Reason", 35)?;
        let memo = self.documents.by_number("CreditMemo", number, moment.now_ms);
        let mut memo =
            memo.ok_or_else(|| Problem::missing("InvNo", format!("There is no credit memo {number}.")))?;
        self.check_unlocked(number)?;
        let text =
            |memo: &Value, name: &str| memo.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let answer = |memo: &Value, existing: bool| {
            let existing = existing.then_some(true);
            let text = |name: &str| text(memo, name);
            let mut answer = json!({"InvNo": number, "ExternalRef": text("ExternalRef"), "Balance": text("Balance"),
                "VoidDate": text("VoidDate"), "Existing": existing});
            if let Some(fields) = answer.as_object_mut().filter(|_| existing.is_none()) {
                fields.remove("Existing");
            }
            answer
        };
        if !text(&memo, "VoidDate").is_empty() {
            return Ok(Written { status: 200, answer: answer(&memo, true), draft: None });
        }
        let currency = text(&memo, "Currency");
        let total = money::parse(&text(&memo, "Total")).unwrap_or_default();
        if let Some(record) = memo.as_object_mut() {
            record.insert("VoidDate".to_owned(), json!(date));
            record.insert("VoidReason".to_owned(), body.get("Reason").cloned().unwrap_or_default());
            record.insert("Balance".to_owned(), json!(money::text(Decimal::ZERO, &currency)));
        }
        let answer = answer(&memo, false);
        let draft =
            Draft::new("credit-memo-void", number, reference, call).amount(&currency, -total).document(memo);
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }
}
