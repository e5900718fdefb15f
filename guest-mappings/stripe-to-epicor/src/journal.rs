//! General ledger journals, each in a group of its own, entered and posted in one call. A posted journal cannot be
//! taken back by its number: its reversal is a journal with the sides swapped.

use portolan_sdk::{
    contract::Side,
    epicor,
    flow::{Erp as _, Journal, JournalLine, Reversal},
    prelude::*,
};
use serde_json::{Map, Value};

use crate::{ERP, Settings};

/// Under which system the reversal of a journal is remembered.
const REVERSAL: &str = "epicor.journal-reversal";

/// A journal's delivery.
pub(crate) fn post(settings: &Settings, journal: &Journal) -> Result<Delivery, Stop> {
    let check = Check::always("gl-journal.find", json!({"Reference": journal.fact}), "/JournalNum");
    let body = body(settings, journal, &journal.fact)?;
    let delivery = Delivery::new(&journal.key, ERP, "gl-journal.post", Value::Object(body))
        .once(journal.fact.clone())
        .unless(check)
        .capture(
            journal.object.0,
            &journal.object.1,
            system(Settings::JOURNAL, &journal.fact),
            "/JournalNum",
        );
    journal.ledger(delivery)
}

/// The delivery that takes a journal back.
pub(crate) fn reverse(settings: &Settings, reversal: &Reversal) -> Result<Delivery, Stop> {
    let swapped = |line: &JournalLine| JournalLine {
        side: match line.side {
            Side::Debit => Side::Credit,
            Side::Credit => Side::Debit,
        },
        ..line.clone()
    };
    let original = &reversal.journal;
    let journal = Journal {
        key: reversal.key.clone(),
        fact: reversal.fact.clone(),
        day: reversal.day,
        lines: original.lines.iter().map(swapped).collect(),
        ..original.clone()
    };
    let mut body = body(settings, &journal, &journal.fact)?;
    body.insert("Reverses".to_owned(), json!(original.fact));
    let check = Check::always("gl-journal.find", json!({"Reference": journal.fact}), "/JournalNum");
    let delivery = Delivery::new(&journal.key, ERP, "gl-journal.reverse", Value::Object(body))
        .once(journal.fact.clone())
        .unless(check)
        .capture(journal.object.0, &journal.object.1, system(REVERSAL, &journal.fact), "/JournalNum");
    journal.ledger(delivery)
}

/// The parts of a payout from the second on are remembered beside the first: `epicor.journal.2`.
fn system(system: &str, fact: &str) -> String {
    let mut parts = fact.split('/');
    let of_payout = parts.next().is_some_and(|kind| kind.starts_with("payout"));
    match parts.nth(1).and_then(|part| part.parse::<u32>().ok()) {
        Some(part) if of_payout && part > 1 => format!("{system}.{part}"),
        _ => system.to_owned(),
    }
}

fn body(settings: &Settings, journal: &Journal, reference: &str) -> Result<Map<String, Value>, Stop> {
    let currency = journal.lines.first().map(|line| line.amount.currency.code().to_owned());
    let lines = journal.lines.iter().map(line).collect::<Result<Vec<_>, Stop>>()?;
    let mut body = Map::new();
    let mut insert = |name: &str, value: Value| body.insert(name.to_owned(), value);
    insert("GroupID", json!(epicor::GROUP_ID.text(&epicor::group_id('J', reference))?));
    insert("Reference", json!(epicor::REFERENCE.required(reference)?));
    insert("JEDate", json!(epicor::date(journal.day)));
    insert("Description", json!(epicor::JOURNAL_TEXT.shortened(&journal.title)));
    insert("CurrencyCode", json!(currency));
    for (name, value) in
        [("BookID", &settings.journals.book_id), ("JournalCode", &settings.journals.journal_code)]
    {
        if let Some(value) = value {
            insert(name, json!(value));
        }
    }
    insert("GLJrnDtlMnls", Value::Array(lines));
    Ok(body)
}

fn line(line: &JournalLine) -> Result<Value, Stop> {
    let amount = line.amount.decimal()?.to_string();
    let side = match line.side {
        Side::Debit => "DebitAmount",
        Side::Credit => "CreditAmount",
    };
    // What the line is matched by, where there is room for it.
    let matched = line.assignment.as_ref().map(|assignment| format!("{} {assignment}", line.text));
    let text = matched.and_then(|text| epicor::JOURNAL_TEXT.text(&text).ok());
    let text = text.unwrap_or_else(|| epicor::JOURNAL_TEXT.shortened(&line.text));
    Ok(json!({"GLAccount": epicor::GL_ACCOUNT.required(&line.account)?, side: amount, "Description": text}))
}
