//! `Erp.BO.GLJrnGrpSvc` and `Erp.BO.GLJournalEntrySvc`: journals are entered line by line into a group, checked and
//! posted with it; then they are immutable.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::epicor::datasets::{add, answer, changed, committed, dataset, draft, new_row};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, flag, number, shown, text, whole, written};
use crate::epicor::{Epicor, Request, Row, checks, rows};
use crate::money;
use crate::stand_in::{Draft, Outcome};

impl Epicor {
    pub(crate) fn journal_group_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        match request.name.as_str() {
            "GetNewGLJrnGrp" | "Update" => self.plain_group_method(request, "GLJrnGrp"),
            "CheckBeforePost" => {
                self.checked_journals(request)?;
                Ok(answer(Value::Null, json!({"opMessage": ""})))
            }
            "PostGroupJournals" => self.post_journals(request),
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    pub(crate) fn journal_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("GLJrnHed", &request.company);
        row.extend(checks::columns("GLJrnHed", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        self.plain_group(request, "GLJrnGrp", text(&row, "GroupID"))?;
        let date = text(&row, "JEDate").to_owned();
        if date.is_empty() {
            return Err(Error::business("Journal Entry Date is required."));
        }
        if !self.is_open_day(&date) {
            return Err(Error::business("The fiscal period of the journal is closed."));
        }
        if !self.options.currencies.contains(text(&row, "CurrencyCode")) {
            return Err(Error::business("A valid Currency Code is required."));
        }
        let part = |from: usize, to: usize| {
            date.get(from..to).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        for (name, value) in [("FiscalYear", part(0, 4)), ("FiscalPeriod", part(5, 7))] {
            if whole(&row, name) == 0 {
                row.insert(name.to_owned(), json!(value));
            }
        }
        for (name, default) in [("BookID", "MAIN"), ("JournalCode", "GJ")] {
            if text(&row, name).is_empty() {
                row.insert(name.to_owned(), json!(default));
            }
        }
        row.insert("JournalNum".to_owned(), json!(self.next_journal));
        self.next_journal += 1;
        row.insert("Posted".to_owned(), json!(false));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("GLJrnHed", &mut row, request, 0);
        let draft = journal_draft(request, "gl-journal", &row, vec![written("GLJrnHed", &row)]);
        Ok((row, vec![draft]))
    }

    /// The journal that a line belongs to.
    fn journal_of(&self, request: &Request<'_>, line: &Row) -> Result<Row, Error> {
        let place = rows::Tables::place("GLJrnHed", line);
        let head = self.tables.get("GLJrnHed", &place, request.moment.now_ms).ok_or_else(Error::no_record)?;
        if flag(head, "Posted") {
            return Err(Error::business("The journal is posted: it cannot be changed."));
        }
        self.plain_group(request, "GLJrnGrp", text(head, "GroupID"))?;
        Ok(head.clone())
    }

    pub(crate) fn journal_line_create(
        &mut self,
        request: &Request<'_>,
        sent: &Row,
    ) -> Result<(Row, Vec<Draft>), Error> {
        let mut row = rows::blank("GLJrnDtlMnl", &request.company);
        row.extend(checks::columns("GLJrnDtlMnl", sent)?);
        row.insert("Company".to_owned(), json!(request.company));
        let head = self.journal_of(request, &row)?;
        let account = text(&row, "GLAccount");
        if !self.options.accounts.contains(account) {
            return Err(Error::business(&format!("A valid GL Account is required: {account}.")));
        }
        let (debit, credit) = (decimal(&row, "DebitAmount"), decimal(&row, "CreditAmount"));
        let one_side =
            (debit > Decimal::ZERO && credit.is_zero()) || (credit > Decimal::ZERO && debit.is_zero());
        if !one_side {
            return Err(Error::business("A journal line has a debit or a credit amount."));
        }
        let currency = text(&head, "CurrencyCode");
        if !money::fits(debit + credit, currency) {
            return Err(Error::business("The amount has more decimals than its currency."));
        }
        let by = ("JournalNum", &json!(whole(&head, "JournalNum")));
        let lines = self.tables.find("GLJrnDtlMnl", Some(by), request.moment.now_ms);
        let line = lines.map(|line| whole(line, "JournalLine")).max().unwrap_or(0) + 1;
        row.insert("JournalLine".to_owned(), json!(line));
        row.insert("TransAmt".to_owned(), number(debit - credit));
        row.insert("GroupID".to_owned(), json!(text(&head, "GroupID")));
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("GLJrnDtlMnl", &mut row, request, 0);
        let number = format!("{}/{line}", whole(&head, "JournalNum"));
        let key = format!("{}/{line}", reference(&head));
        let draft = draft(request, "gl-journal-line", number, &key, vec![written("GLJrnDtlMnl", &row)])
            .amount(currency, debit - credit);
        Ok((row, vec![draft]))
    }

    pub(crate) fn journal_method(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut ds = dataset(request)?;
        match request.name.as_str() {
            "GetNewGlJrnHedTran" => {
                self.plain_group(request, "GLJrnGrp", &request.text("GroupID"))?;
                let mut row = new_row("GLJrnHed", &request.company);
                row.insert("GroupID".to_owned(), json!(request.text("GroupID")));
                add(&mut ds, "GLJrnHed", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "GetNewGLJrnDtlMnl" => {
                let mut row = new_row("GLJrnDtlMnl", &request.company);
                for (name, parameter) in [("BookID", "bookID"), ("JournalCode", "journalCode")] {
                    row.insert(name.to_owned(), json!(request.text(parameter)));
                }
                for (name, parameter) in [("FiscalYear", "fiscalYear"), ("JournalNum", "journalNum")] {
                    row.insert(name.to_owned(), request.parameter(parameter));
                }
                self.journal_of(request, &row)?;
                add(&mut ds, "GLJrnDtlMnl", row);
                Ok(answer(Value::Null, json!({"ds": ds})))
            }
            "Update" => {
                let (heads, lines) = (changed(&ds, "GLJrnHed")?, changed(&ds, "GLJrnDtlMnl")?);
                let (table, (row, drafts)) = match (heads.as_slice(), lines.as_slice()) {
                    ([('A', sent)], []) => ("GLJrnHed", self.journal_create(request, sent)?),
                    ([], [('A', sent)]) => ("GLJrnDtlMnl", self.journal_line_create(request, sent)?),
                    _ => return Err(Error::business("One new header or one new line is expected.")),
                };
                let ds = json!({table: [shown(&row, request.moment.now_ms)]});
                Ok(committed(Value::Null, json!({"ds": ds}), drafts))
            }
            _ => Err(Error::not_found(&format!("{} was not found.", request.name))),
        }
    }

    /// The journals of a group that wait to be posted, each with its lines, in balance.
    fn checked_journals(&self, request: &Request<'_>) -> Result<Vec<(Row, Vec<Row>)>, Error> {
        let id = request.text("groupID");
        self.plain_group(request, "GLJrnGrp", &id)?;
        let now_ms = request.moment.now_ms;
        let of_group = self.tables.find("GLJrnHed", Some(("GroupID", &json!(id))), now_ms);
        let mut journals = Vec::new();
        for head in of_group.filter(|row| text(row, "Company") == request.company && !flag(row, "Posted")) {
            let lines = self.children("GLJrnDtlMnl", "GLJrnHed", head, now_ms);
            let lines: Vec<Row> =
                lines.as_array().into_iter().flatten().filter_map(Value::as_object).cloned().collect();
            let balance: Decimal = lines.iter().map(|line| decimal(line, "TransAmt")).sum();
            if lines.is_empty() || !balance.is_zero() {
                let journal = whole(head, "JournalNum");
                return Err(Error::business(&format!("Journal {journal} is out of balance by {balance}.")));
            }
            journals.push((head.clone(), lines));
        }
        Ok(journals)
    }

    fn post_journals(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let mut drafts = Vec::new();
        for (nth, (mut head, lines)) in (0..).zip(self.checked_journals(request)?) {
            head.insert("Posted".to_owned(), json!(true));
            self.stamp("GLJrnHed", &mut head, request, nth);
            let debits: Decimal = lines.iter().map(|line| decimal(line, "DebitAmount")).sum();
            let currency = text(&head, "CurrencyCode").to_owned();
            let shown_lines = lines.iter().map(|line| {
                json!({
                    "account": text(line, "GLAccount"), "text": text(line, "Description"),
                    "debit": money::text(decimal(line, "DebitAmount"), &currency),
                    "credit": money::text(decimal(line, "CreditAmount"), &currency),
                })
            });
            let posted =
                journal_draft(request, "gl-journal-posting", &head, vec![written("GLJrnHed", &head)]);
            drafts.push(posted.amount(&currency, debits).lines(shown_lines.collect()));
        }
        Ok(committed(Value::Null, json!({}), drafts))
    }
}

/// What the caller knows the journal by.
fn reference(head: &Row) -> &str {
    let comment = text(head, "CommentText");
    if comment.is_empty() { text(head, "Description") } else { comment }
}

fn journal_draft(request: &Request<'_>, kind: &'static str, row: &Row, writes: Vec<Value>) -> Draft {
    draft(request, kind, whole(row, "JournalNum").to_string(), reference(row), writes)
}
