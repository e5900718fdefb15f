//! General ledger journals: a group, a header in it, its lines, a check, the posting. Each is a transaction of its
//! own, so posting begins by looking for the journal by its reference and goes on with whatever is there.
//!
//! A posted journal is not taken back by its number: its reversal is a journal with the sides swapped, which is
//! posted only where the one that it takes back was.

use portolan_domain::{
    money::Amount,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Map, Value, json};

use super::{
    Door, Kinetic,
    groups::{GroupKind, await_posted},
    is_true,
    numbers::with_numbers,
    problem,
    rest::{Question, dataset, literal, new_row, pick},
    whole,
};
use crate::{
    call::{Call, Doing, in_doubt},
    parameters::{invalid, object_of, text},
};

const JOURNAL: &str = "Erp.BO.GLJournalEntrySvc";
const GROUP: GroupKind =
    GroupKind { service: "Erp.BO.GLJrnGrpSvc", set: "GLJrnGrps", table: "GLJrnGrp", new: "GetNewGLJrnGrp" };
const FIELDS: &[&str] = &[
    "JournalNum",
    "JournalCode",
    "BookID",
    "FiscalYear",
    "FiscalPeriod",
    "GroupID",
    "CurrencyCode",
    "Posted",
];
const BODY_FIELDS: &[&str] = &[
    "GroupID",
    "Reference",
    "JEDate",
    "Description",
    "CurrencyCode",
    "BookID",
    "JournalCode",
    "FiscalYear",
    "FiscalPeriod",
    "GLJrnDtlMnls",
];
/// Lines of one journal.
const LINES_MAX: usize = 999;

/// A journal as it should be.
struct WantedJournal {
    header: Map<String, Value>,
    lines: Vec<Map<String, Value>>,
    reference: String,
    group: String,
}

/// A journal as it is.
struct StoredJournal {
    /// As `gl-journal.find` answers.
    answer: Value,
    /// The key of its rows.
    key: Map<String, Value>,
    lines: Vec<Value>,
}

impl Kinetic {
    /// A journal that is posted. One that is not is gone on with.
    pub(super) async fn find_journal(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let reference = text(object_of(parameters, &["Reference"])?, "Reference")?;
        let journal = self.journal(reference, call).await?.map(|journal| journal.answer);
        Ok(journal.filter(|journal| is_true(journal, "Posted")))
    }

    async fn journal(&self, reference: &str, call: &Call<'_>) -> Result<Option<StoredJournal>, CallFailure> {
        let filter = format!("{} eq {}", self.choices.journal_reference, literal(reference));
        let select = FIELDS.join(",");
        let (service, set, expand) = (JOURNAL, "GLJournalEntries", Some("GLJrnDtlMnls"));
        let question = Question { service, set, filter: &filter, select: &select, expand };
        let Some(row) = self.rest.row(&question, call).await? else { return Ok(None) };
        let key = ["BookID", "FiscalYear", "JournalNum", "JournalCode", "GroupID", "FiscalPeriod"];
        let key = key.into_iter().filter_map(|name| Some((name.to_owned(), row.get(name)?.clone())));
        let mut lines = row.get("GLJrnDtlMnls").and_then(Value::as_array).cloned().unwrap_or_default();
        lines.sort_by_key(|line| whole(line, "JournalLine"));
        let mut answer = pick(&row, FIELDS);
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("Reference".to_owned(), json!(reference));
        }
        Ok(Some(StoredJournal { answer, key: key.collect(), lines }))
    }

    pub(super) async fn reverse_journal(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let names: Vec<&str> = BODY_FIELDS.iter().copied().chain(["Reverses"]).collect();
        let reverses = text(object_of(body, &names)?, "Reverses")?;
        let mut body = body.clone();
        let original = self.journal(reverses, call).await?;
        if !original.is_some_and(|journal| is_true(&journal.answer, "Posted")) {
            return Err(problem("journal-missing", format!("there is no posted journal {reverses}")));
        }
        if let Some(fields) = body.as_object_mut() {
            fields.remove("Reverses");
        }
        self.post_journal(&body, call).await
    }

    pub(super) async fn post_journal(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let wanted = self.wanted_journal(body)?;
        let stored = match self.journal(&wanted.reference, call).await? {
            Some(stored) => stored,
            None => {
                let group = ["GroupID", "BookID"].into_iter();
                let group =
                    group.filter_map(|name| Some((name.to_owned(), wanted.header.get(name)?.clone())));
                self.ensure_group(GROUP, &group.collect(), call).await?;
                self.enter_journal(&wanted, call).await?;
                self.journal(&wanted.reference, call).await.map_err(in_doubt)?.ok_or_else(|| {
                    CallFailure::ambiguous("not-found-after-write", "the new journal was not found again")
                })?
            }
        };
        if is_true(&stored.answer, "Posted") {
            return Ok(stored.answer);
        }
        check_same_journal(&wanted, &stored)?;
        for line in wanted.lines.iter().skip(stored.lines.len()) {
            self.enter_journal_line(&stored, line, call).await?;
        }
        self.post_journals(&wanted, call).await
    }

    fn wanted_journal(&self, body: &Value) -> Result<WantedJournal, CallFailure> {
        object_of(body, BODY_FIELDS)?;
        let Value::Object(mut header) = with_numbers(body)? else {
            return Err(invalid("", "must be a JSON object"));
        };
        let (group, reference) =
            (text(&header, "GroupID")?.to_owned(), text(&header, "Reference")?.to_owned());
        let rows = match header.remove("GLJrnDtlMnls") {
            Some(Value::Array(rows)) if (2..=LINES_MAX).contains(&rows.len()) => rows,
            _ => return Err(invalid("/GLJrnDtlMnls", "must be an array of 2 to 999 rows")),
        };
        let mut lines = Vec::with_capacity(rows.len());
        let (mut debits, mut credits) = (Amount::ZERO.decimal(), Amount::ZERO.decimal());
        for (index, row) in rows.into_iter().enumerate() {
            let wrong = || {
                let text = "must be a row with GLAccount and one of DebitAmount and CreditAmount";
                invalid(&format!("/GLJrnDtlMnls/{index}"), text)
            };
            let Value::Object(line) = row else { return Err(wrong()) };
            text(&line, "GLAccount").map_err(|_| wrong())?;
            let amount =
                |name: &str| line.get(name).and_then(|value| value.to_string().parse::<Amount>().ok());
            match (amount("DebitAmount"), amount("CreditAmount")) {
                (Some(debit), None) => debits += debit.decimal(),
                (None, Some(credit)) => credits += credit.decimal(),
                _ => return Err(wrong()),
            }
            lines.push(line);
        }
        if debits != credits {
            let text = format!("debits are {debits}, credits {credits}");
            return Err(invalid("/GLJrnDtlMnls", &text));
        }
        header.remove("Reference");
        header.insert("Company".to_owned(), json!(self.rest.address.company));
        header.insert(self.choices.journal_reference.clone(), json!(reference));
        Ok(WantedJournal { header, lines, reference, group })
    }

    async fn enter_journal(&self, wanted: &WantedJournal, call: &Call<'_>) -> Result<(), CallFailure> {
        if self.door("gl-journal.post") == Door::EntitySet {
            let mut row = wanted.header.clone();
            row.insert("JournalNum".to_owned(), json!(0));
            return self
                .rest
                .create(JOURNAL, "GLJournalEntries", &Value::Object(row), call)
                .await
                .map(|_| ());
        }
        let parameters = json!({"ds": {}, "GroupID": wanted.group});
        let mut current = self.fill_journal("GetNewGlJrnHedTran", &parameters, call).await?;
        new_row(&mut current, "GLJrnHed")?.extend(wanted.header.clone());
        self.store_journal(&current, call).await
    }

    async fn enter_journal_line(
        &self,
        journal: &StoredJournal,
        line: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<(), CallFailure> {
        let mut row = line.clone();
        row.insert("Company".to_owned(), json!(self.rest.address.company));
        row.extend(journal.key.clone());
        if self.door("gl-journal.post") == Door::EntitySet {
            row.entry("JournalLine").or_insert_with(|| json!(0));
            return self.rest.create(JOURNAL, "GLJrnDtlMnls", &Value::Object(row), call).await.map(|_| ());
        }
        let mut parameters = Map::from_iter([("ds".to_owned(), json!({}))]);
        let lower =
            |name: &str| name.chars().next().map(|c| c.to_lowercase().chain(name.chars().skip(1)).collect());
        parameters.extend(journal.key.iter().filter_map(|(name, value)| Some((lower(name)?, value.clone()))));
        let mut current = self.fill_journal("GetNewGLJrnDtlMnl", &Value::Object(parameters), call).await?;
        new_row(&mut current, "GLJrnDtlMnl")?.extend(row);
        self.store_journal(&current, call).await
    }

    async fn fill_journal(
        &self,
        method: &str,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let answer = self.rest.method((Doing::Asking, call), JOURNAL, method, parameters).await?;
        dataset(Doing::Asking, &answer)
    }

    async fn store_journal(&self, current: &Value, call: &Call<'_>) -> Result<(), CallFailure> {
        let changing = (Doing::Changing, call);
        self.rest.method(changing, JOURNAL, "Update", &json!({"ds": current})).await.map(|_| ())
    }

    /// Checks the group, posts it, and looks whether the journal is posted.
    async fn post_journals(&self, wanted: &WantedJournal, call: &Call<'_>) -> Result<Value, CallFailure> {
        // Named as the sister services name it (LeaveCashGrp, PrePostGroup).
        let parameters = json!({"groupID": wanted.group});
        let asking = (Doing::Asking, call);
        self.rest.method(asking, GROUP.service, "CheckBeforePost", &parameters).await?;
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, GROUP.service, "PostGroupJournals", &parameters).await?;
        let look = async || {
            let journal = self.journal(&wanted.reference, call).await?.map(|journal| journal.answer);
            Ok(journal.filter(|journal| is_true(journal, "Posted")))
        };
        await_posted(call, &answer, look).await
    }
}

/// A journal with this reference that is not the one that was meant is for a person to look at.
fn check_same_journal(wanted: &WantedJournal, stored: &StoredJournal) -> Result<(), CallFailure> {
    let amount = |value: Option<&Value>| {
        let amount = value.and_then(|value| value.to_string().parse::<Amount>().ok());
        amount.unwrap_or(Amount::ZERO).decimal()
    };
    let same = |(stored, line): (&Value, &Map<String, Value>)| {
        let same_amount = |name: &str| amount(stored.get(name)) == amount(line.get(name));
        stored.get("GLAccount") == line.get("GLAccount")
            && same_amount("DebitAmount")
            && same_amount("CreditAmount")
    };
    let number = whole(&stored.answer, "JournalNum");
    let text = if stored.answer.get("GroupID").and_then(Value::as_str) != Some(&wanted.group) {
        format!("journal {number} is not in group {}", wanted.group)
    } else if stored.lines.len() > wanted.lines.len() {
        format!("journal {number} has more lines than were sent")
    } else if !stored.lines.iter().zip(&wanted.lines).all(same) {
        format!("journal {number} has other lines than were sent")
    } else {
        return Ok(());
    };
    let problem = CallProblem::new("journal-differs", text).with_detail(stored.answer.clone());
    Err(CallFailure::Permanent { problem })
}
