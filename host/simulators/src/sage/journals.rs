//! `/GLJournal`: balanced postings to the general ledger, and their reversals.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::money;
use crate::sage::checks::Body;
use crate::sage::{Problem, SagePro, Written, duplicate};
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
            "Description": body.get("Description"), "Lines": body.get("Lines"), "Reverses": null,
        });
        let draft = Draft::new("gl-journal", number.clone(), reference, call)
            .amount(currency, debits)
            .lines(lines)
            .document(record);
        let answer = json!({"JournalNo": number, "ExternalRef": reference});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }

    /// The opposite of a journal, once.
    pub(crate) fn journal_reverse(
        &mut self,
        call: &Call,
        moment: Moment,
        reversed: &str,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, &["ExternalRef", "Date", "Description"])?;
        let reference = self.new_reference("GLJournal", &fields, moment)?;
        let date = self.open_date(&fields, "Date")?;
        fields.required("Description", 35)?;
        let journal = self.documents.by_number("GLJournal", reversed, moment.now_ms);
        let journal = journal
            .ok_or_else(|| Problem::missing("JournalNo", format!("There is no journal {reversed}.")))?;
        let known = self.documents.reversal_of(reversed);
        if let Some(known) =
            known.and_then(|known| self.documents.by_number("GLJournal", known, moment.now_ms))
        {
            return Err(Problem { field: "JournalNo".to_owned(), ..duplicate(known) });
        }
        let currency = journal.get("Currency").and_then(Value::as_str).unwrap_or("USD").to_owned();
        let (mut debits, mut swapped, mut lines) = (Decimal::ZERO, Vec::new(), Vec::new());
        for line in journal.get("Lines").and_then(Value::as_array).into_iter().flatten() {
            let amount = |name: &str| line.get(name).and_then(Value::as_str).and_then(money::parse);
            let (debit, credit) = (amount("Credit"), amount("Debit"));
            let posted = debit.unwrap_or_default() - credit.unwrap_or_default();
            debits += debit.unwrap_or_default();
            let text = |amount: Option<Decimal>| amount.map(|amount| money::text(amount, &currency));
            swapped.push(json!({
                "Account": line.get("Account"), "Debit": text(debit), "Credit": text(credit), "Descrip": line.get("Descrip"),
            }));
            lines.push(json!({"account": line.get("Account"), "amount": money::text(posted, &currency)}));
        }
        self.next_journal += 1;
        let number = (self.next_journal - 1).to_string();
        let record = json!({
            "JournalNo": number, "ExternalRef": reference, "Date": date, "Currency": currency,
            "Description": body.get("Description"), "Lines": swapped, "Reverses": reversed,
        });
        let draft = Draft::new("gl-journal-reversal", number.clone(), reference, call)
            .amount(&currency, debits)
            .lines(lines)
            .document(record);
        let answer = json!({"JournalNo": number, "ExternalRef": reference, "Reverses": reversed});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }
}
