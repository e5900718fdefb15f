//! Judges the demo by what the stand-ins really committed, not by what the host says.

use std::collections::BTreeMap;

use anyhow::Context;
use portolan::stage::{LedgerEntry, StandIn};
use rust_decimal::Decimal;

use super::{Cast, play::End};

/// For every charge one document of each of these kinds, per ERP.
const KINDS: [&[&str]; 3] = [
    &["sales-order", "accounting-document"],
    &["sales-order", "cash-receipt", "cash-receipt-posting"],
    &["invoice"],
];

/// What is not as it should be; empty when everything is.
pub(crate) async fn judge(cast: &Cast, ends: &[End]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for end in ends.iter().filter(|end| end.outcome != end.expected) {
        findings
            .push(format!("{} ({}): {} instead of {}", end.charge.id, end.note, end.outcome, end.expected));
    }
    for (index, stand_in) in [&cast.sap, &cast.epicor, &cast.sage].into_iter().enumerate() {
        let charged: Vec<&End> =
            ends.iter().filter(|end| end.tenant == index && end.expected == "delivered").collect();
        for kind in KINDS.get(index).copied().unwrap_or_default() {
            check_kind(stand_in, kind, &charged, &mut findings).await?;
        }
    }
    Ok(findings)
}

async fn check_kind(
    stand_in: &StandIn,
    kind: &str,
    charged: &[&End],
    findings: &mut Vec<String>,
) -> anyhow::Result<()> {
    let system = stand_in.system.name();
    let entries = stand_in.ledger(kind).await?;
    let mut by_key: BTreeMap<&str, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in &entries {
        by_key.entry(&entry.business_key).or_default().push(entry);
    }
    for (key, entries) in by_key.iter().filter(|(_, entries)| entries.len() > 1) {
        findings.push(format!("{system} has {} documents of kind {kind} for {key}", entries.len()));
    }
    if by_key.len() != charged.len() {
        findings.push(format!(
            "{system} has {} documents of kind {kind} for {} charges",
            by_key.len(),
            charged.len()
        ));
    }
    let mut expected: BTreeMap<&str, Decimal> = BTreeMap::new();
    for end in charged {
        *expected.entry(end.charge.currency).or_default() += natural(end.charge.amount, end.charge.currency);
    }
    let mut posted: BTreeMap<&str, Decimal> = BTreeMap::new();
    for entry in &entries {
        for (currency, amount) in entry.entry["amounts"].as_object().into_iter().flatten() {
            let amount = amount.as_str().context("an amount that is no text")?;
            *posted.entry(currency).or_default() += Decimal::from_str_exact(amount)?;
        }
    }
    for (currency, expected) in expected {
        let posted = posted.get(currency).copied().unwrap_or_default();
        if posted != expected {
            findings.push(format!("{system} has {posted} {currency} in {kind}, charged were {expected}"));
        }
    }
    Ok(())
}

/// Stripe's smallest units as an amount. The demo's own small table, so that it does not judge the mappings by
/// their own code.
pub(crate) fn natural(amount: u64, currency: &str) -> Decimal {
    let scale = match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    Decimal::from_i128_with_scale(i128::from(amount), scale)
}
