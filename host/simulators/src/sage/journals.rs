//! `/GLJournal`: balanced postings to the general ledger.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::money;
use crate::sage::checks::Body;
use crate::sage::{Problem, SagePro, Written};
use crate::stand_in::{Call, Draft, Moment};

/// Lines of a journal.
const LINES_MAX: usize = 1_000;

impl SagePro {
    pub(crate) fn journal_create(
        &mut self,
        call: &Call,
        moment: Moment,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, &["ExternalRef", "Date", "Description", "Currency", "Lines"])?;
        let reference = self.new_reference("GLJournal", &fields, moment)?;
        let date = self.open_date(&fields, "Date")?;
        fields.required("Description", 35)?;
        let currency = self.currency_of(&fields)?;
        let (mut debits, mut credits) = (Decimal::ZERO, Decimal::ZERO);
        let mut lines = Vec::new();
        for row in fields.rows("Lines", &["Account", "Debit", "Credit", "Descrip"], LINES_MAX)? {
            let account = row.required("Account", 24)?;
            if !self.options.accounts.contains_key(account) {
                return Err(Problem::missing(
                    row.field("Account"),
                    format!("There is no account {account}."),
                ));
            }
            row.text("Descrip", 35)?;
            let (debit, credit) = (row.money("Debit", currency)?, row.money("Credit", currency)?);
            let amount = match (debit, credit) {
                (Some(debit), None) if debit > Decimal::ZERO => debit,
                (None, Some(credit)) if credit > Decimal::ZERO => -credit,
                _ => {
                    return Err(Problem::invalid(
                        row.field("Debit"),
                        "A line has one positive Debit or Credit.",
                    ));
                }
            };
            debits += amount.max(Decimal::ZERO);
            credits -= amount.min(Decimal::ZERO);
            lines.push(json!({"account": account, "amount": money::text(amount, currency)}));
        }
        if debits != credits {
            let text = format!("Debits of {debits} and credits of {credits} do not balance.");
            return Err(Problem::invalid("Lines", text));
        }
        self.next_journal += 1;
        let number = (self.next_journal - 1).to_string();
        let record = json!({
            "JournalNo": number, "ExternalRef": reference, "Date": date, "Currency": currency,
            "Description": body.get("Description"), "Lines": body.get("Lines"),
        });
        let draft = Draft::new("gl-journal", number.clone(), reference, call)
            .amount(currency, debits)
            .lines(lines)
            .document(record);
        let answer = json!({"JournalNo": number, "ExternalRef": reference});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }
}
