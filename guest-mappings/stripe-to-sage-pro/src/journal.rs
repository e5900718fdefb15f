//! Journals of the general ledger, and their reversal by number.
//!
//! A journal's `ExternalRef` is its economic fact (`payout/po_…/2`): one Stripe object may have several journals.

use portolan_sdk::{
    Stop,
    contract::{Delivery, Side},
    flow::{Journal, Reversal},
    prelude::*,
    sage_pro,
};
use serde_json::Value;

use crate::ERP;

/// The journal's call.
pub(crate) fn delivery(journal: &Journal) -> Result<Delivery, Stop> {
    let reference = sage_pro::EXTERNAL_REF.required(&journal.fact)?;
    let currency = journal.lines.first().map(|line| line.amount.currency.code().to_owned());
    let lines = journal.lines.iter().map(|line| {
        let side = match line.side {
            Side::Debit => "Debit",
            Side::Credit => "Credit",
        };
        Ok(json!({
            "Account": sage_pro::ACCOUNT.required(&line.account)?,
            side: line.amount.decimal()?.to_string(),
            "Descrip": sage_pro::DESCRIP.shortened(&line.text),
        }))
    });
    let body = json!({
        "ExternalRef": reference,
        "Date": journal.day.to_string(),
        "Description": sage_pro::DESCRIPTION.shortened(&title(journal)),
        "Currency": currency,
        "Lines": lines.collect::<Result<Vec<Value>, Stop>>()?,
    });
    let (kind, id) = &journal.object;
    let delivery = Delivery::new(&journal.key, ERP, "gl-journal.post", body)
        .once(&journal.fact)
        .unless(Check::in_doubt("gl-journal.find", json!({"ExternalRef": reference}), "/JournalNo"))
        .capture(*kind, id, system(&journal.fact), "/JournalNo");
    journal.ledger(delivery)
}

/// The reversal's call.
pub(crate) fn reversal(reversal: &Reversal) -> Result<Delivery, Stop> {
    let reference = sage_pro::EXTERNAL_REF.required(&reversal.fact)?;
    let body = json!({
        "JournalNo": reversal.number,
        "ExternalRef": reference,
        "Date": reversal.day.to_string(),
        "Description": sage_pro::DESCRIPTION.shortened(&format!("Reversal {}", title(&reversal.journal))),
    });
    let (kind, id) = &reversal.journal.object;
    let system = system(&reversal.fact).replace("journal", "reversal");
    let delivery = Delivery::new(&reversal.key, ERP, "gl-journal.reverse", body)
        .once(&reversal.fact)
        .unless(Check::in_doubt("gl-journal.find", json!({"ExternalRef": reference}), "/JournalNo"))
        .capture(*kind, id, system, "/JournalNo");
    let mut delivery = reversal.journal.ledger(delivery)?;
    for line in &mut delivery.ledger {
        line.side = if line.side == Side::Debit { Side::Credit } else { Side::Debit };
    }
    Ok(delivery)
}

fn title(journal: &Journal) -> String {
    format!("{} {}", journal.title, journal.reference)
}

/// Under which system a journal is remembered: the first part of a payout as `sage-pro.journal`, the second as
/// `sage-pro.journal.2`, and so on.
fn system(fact: &str) -> String {
    let part = fact.rsplit('/').next().and_then(|part| part.parse::<usize>().ok());
    match part {
        Some(part @ 2..) => format!("sage-pro.journal.{part}"),
        _ => "sage-pro.journal".to_owned(),
    }
}
