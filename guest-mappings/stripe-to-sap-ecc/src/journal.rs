//! Journals: balanced G/L documents for fees, disputes and payouts, assigned to cost and profit centres by account.

use portolan_sdk::{
    contract::{Delivery, Side},
    flow::{Journal, JournalLine, Reversal},
    money::Decimal,
    prelude::*,
    sap,
    text::Field,
};
use serde_json::{Map, Value};

use crate::{
    Assignment, ERP, Settings,
    posting::{self, Header},
};

/// Lines of one document of SAP.
const LINES_MAX: usize = 999;

/// The delivery that posts a journal.
pub(crate) fn delivery(settings: &Settings, journal: &Journal) -> Result<Delivery, Stop> {
    if journal.lines.len() > LINES_MAX {
        let text =
            format!("{} has {} lines, a document of SAP holds {LINES_MAX}", journal.key, journal.lines.len());
        return Err(Stop::reject("", "too-many-lines", text));
    }
    let (mut accounts, mut amounts, mut sum) = (Vec::new(), Vec::new(), Decimal::ZERO);
    for (line, place) in journal.lines.iter().zip(1_u64..) {
        let item = sap::ITEMNO_ACC.numc(place)?;
        let amount = sap::amount(line.amount, &settings.currency_decimals)?;
        let signed = if line.side == Side::Debit { amount } else { -amount };
        sum += signed;
        accounts.push(account_row(settings, journal, (line, &item))?);
        amounts.push(json!({
            "ITEMNO_ACC": item,
            "CURR_TYPE": "00",
            "CURRENCY": line.amount.currency.code(),
            "AMT_DOCCUR": signed.to_string(),
        }));
    }
    if !sum.is_zero() || journal.lines.is_empty() {
        let text = format!("the lines of {} do not balance: debits minus credits are {sum}", journal.key);
        return Err(Stop::reject("", "not-balanced", text));
    }
    let header =
        Header { settings, document_type: &settings.journal_type, title: &journal.title, day: journal.day };
    // Of the fact, not of the object: a payout may need several documents, and each is found by itself.
    let (header, check) = header.written(&journal.fact)?;
    let body = json!({"DOCUMENTHEADER": header, "ACCOUNTGL": accounts, "CURRENCYAMOUNT": amounts});
    let delivery = Delivery::new(&journal.key, ERP, "accounting-document.post", body)
        .once(&journal.fact)
        .unless(check)
        .capture(journal.object.0, &journal.object.1, remembered_as("journal", &journal.fact), "/OBJ_KEY");
    journal.ledger(delivery)
}

fn account_row(
    settings: &Settings,
    journal: &Journal,
    (line, item): (&JournalLine, &str),
) -> Result<Value, Stop> {
    let text = if line.text.is_empty() { &journal.reference } else { &line.text };
    let mut row = Map::new();
    row.insert("ITEMNO_ACC".to_owned(), json!(item));
    row.insert("GL_ACCOUNT".to_owned(), json!(sap::GL_ACCOUNT.alpha(&line.account)?));
    row.insert("ITEM_TEXT".to_owned(), json!(sap::ITEM_TEXT.text(text)?));
    if let Some(assignment) = &line.assignment {
        row.insert("ALLOC_NMBR".to_owned(), json!(sap::ALLOC_NMBR.text(assignment)?));
    }
    if let Some(Assignment { cost_centre, profit_centre, order }) = assignment(settings, &line.account) {
        for (field, value) in [
            (sap::COSTCENTER, cost_centre),
            (sap::PROFIT_CTR, profit_centre),
            (Field::new("ORDERID", 12), order),
        ] {
            if let Some(value) = value {
                row.insert(field.name().to_owned(), json!(field.alpha(value)?));
            }
        }
    }
    Ok(Value::Object(row))
}

/// An account's assignment, whether the settings write the account with zeros or without.
fn assignment<'a>(settings: &'a Settings, account: &str) -> Option<&'a Assignment> {
    let bare = |account: &str| account.trim().trim_start_matches('0').to_uppercase();
    let wanted = bare(account);
    settings
        .account_assignments
        .iter()
        .find(|(name, _)| bare(name) == wanted)
        .map(|(_, assignment)| assignment)
}

/// `sap-ecc.journal`, and `sap-ecc.journal.2` for the second part of a payout: the fact's last segment counts.
fn remembered_as(what: &str, fact: &str) -> String {
    let part = fact.rsplit('/').next().and_then(|last| last.parse::<u64>().ok()).filter(|part| *part > 1);
    part.map_or_else(|| format!("sap-ecc.{what}"), |part| format!("sap-ecc.{what}.{part}"))
}

/// The delivery that reverses a journal by its number.
pub(crate) fn reversal(settings: &Settings, reversal: &Reversal) -> Result<Delivery, Stop> {
    let (key, fact) = (reversal.key.as_str(), reversal.fact.clone());
    let system = remembered_as("journal-reversal", &fact);
    let document = (reversal.number.as_str(), reversal.day, settings.reversal_reason.as_str());
    let (kind, id) = &reversal.journal.object;
    let delivery = posting::reversal(settings, key, fact, document)?.capture(*kind, id, system, "/OBJ_KEY");
    let turned = |line: &JournalLine| JournalLine {
        side: if line.side == Side::Debit { Side::Credit } else { Side::Debit },
        ..line.clone()
    };
    let lines = reversal.journal.lines.iter().map(turned).collect();
    Journal { lines, ..reversal.journal.clone() }.ledger(delivery)
}
