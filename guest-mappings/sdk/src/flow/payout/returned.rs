//! A payout that failed comes back: its amount is a row of a later payout. Its own journal was reversed (or never
//! posted), fees and all, so what was in it is on the clearing account still; it is posted with the later payout, row
//! by row, in the place of the one row that stands for it.

use std::collections::{BTreeMap, BTreeSet};

use super::statement::question;
use crate::{Cx, Stop, ask, flow::Erp, stripe::BalanceTransaction};

/// Rows without returned payouts.
pub(super) struct Opened {
    pub(super) rows: Vec<BalanceTransaction>,
    /// Payouts that returned, and cannot be opened.
    pub(super) problems: Vec<String>,
}

/// Whether a row is about a whole payout.
fn is_payout(row: &BalanceTransaction) -> bool {
    matches!(row.reporting_category.as_str(), "payout" | "payout_reversal")
}

fn payout_of(row: &BalanceTransaction) -> Option<&str> {
    Some(row.source.as_ref().filter(|_| is_payout(row))?.id.as_str())
}

/// Puts what was in returned payouts in the place of their rows. `numbers` takes in the numbers of their journals:
/// what those posted was taken back.
pub(super) fn open<E: Erp>(
    cx: &Cx<'_>,
    rows: Vec<BalanceTransaction>,
    numbers: &mut Vec<String>,
) -> Result<Opened, Stop> {
    let mut opened = Opened { rows: without_pairs(rows), problems: Vec::new() };
    let mut seen = BTreeSet::new();
    loop {
        let is_returned = |row: &BalanceTransaction| row.reporting_category == "payout_reversal";
        let (returned, rest): (Vec<_>, Vec<_>) = opened.rows.into_iter().partition(is_returned);
        opened.rows = rest;
        if returned.is_empty() {
            return Ok(opened);
        }
        let questions = returned
            .iter()
            .map(payout_of)
            .map(|payout| payout.map(|payout| (question(payout), ask::reference("stripe.payout", payout))));
        let answers = cx.all(questions.collect::<Vec<_>>())?;
        for (row, answer) in returned.into_iter().zip(answers) {
            let (list, known_as) = answer.unwrap_or_default();
            let mut inside = list.unwrap_or_default().data;
            inside.retain(|one| payout_of(one).is_none_or(|payout| payout_of(&row) != Some(payout)));
            let sum: i128 = inside.iter().map(|one| i128::from(one.net)).sum();
            let is_first = seen.insert(row.id.clone());
            let is_sound = inside.iter().all(|one| one.adds_up() && one.currency == row.currency);
            if !is_first || !is_sound || inside.is_empty() || sum != i128::from(row.net) {
                let payout = payout_of(&row).unwrap_or("nothing that it names");
                opened
                    .problems
                    .push(format!("{} brings back {payout}, and what was in that is not known", row.id));
                continue;
            }
            numbers.extend(known_as.id(E::JOURNAL).map(str::to_owned));
            opened.rows.extend(without_pairs(inside));
        }
    }
}

/// A payout that went out and came back within the same list moved nothing.
fn without_pairs(mut rows: Vec<BalanceTransaction>) -> Vec<BalanceTransaction> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for row in &rows {
        if let Some(payout) = payout_of(row) {
            *sums.entry(payout.to_owned()).or_default() += i128::from(row.net);
        }
    }
    rows.retain(|row| payout_of(row).is_none_or(|payout| sums.get(payout) != Some(&0)));
    rows
}
