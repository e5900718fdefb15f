//! The journals of a payout. In the currency of settlement: the bank, fees by kind, and the clearing account by
//! transaction or by category; what was paid in another currency stands there on the conversion account, and a
//! journal in that currency takes it from the clearing account. Documents that are longer than the ERP allows are
//! split; each part balances by itself, through the transit account.

use std::collections::BTreeMap;

use super::{
    part, payout_day,
    statement::{Entry, Meaning, Statement},
};
use crate::{
    Stop,
    contract::Side,
    flow::{Accounts, Erp, Fees, Journal, JournalLine, PayoutLines, sale::journal_of_fee, sale::line},
    money::{Currency, Money},
    short,
};

/// What follows from a statement.
#[derive(Debug)]
pub(super) struct Journals {
    /// Fees of charges that should have been posted with them, and were not yet: journals of their own, once.
    pub(super) fees: Vec<Journal>,
    /// Fees of that kind that are posted in the payout's journals instead: their balance transactions.
    pub(super) fees_here: Vec<String>,
    /// The payout's journals, from part 1.
    pub(super) parts: Vec<Journal>,
    /// Whether there were more transactions than a plan has lines.
    pub(super) aggregated: bool,
    /// What a person has to decide.
    pub(super) concern: Option<String>,
}

/// Ledger lines of a plan: a little fewer than the host grants.
const LINES_MAX: usize = 1_900;

/// Fee journals beside the payout's own: the host grants 64 deliveries to a plan.
const FEES_MAX: usize = 32;

impl Journals {
    pub(super) fn of<E: Erp>(erp: &E, statement: &Statement<'_>) -> Result<Self, Stop> {
        let flow = erp.flow();
        let is_late = |entry: &&Entry<'_>| {
            flow.fees == Fees::WithCharge
                && entry.meaning == Meaning::Charge
                && entry.row.fee != 0
                && !entry.is_fee_posted
        };
        let late: Vec<&Entry<'_>> = statement.entries.iter().filter(is_late).collect();
        let beside = late.len() <= FEES_MAX && late.iter().all(|entry| entry.is_matched);
        let fee_journal = |entry: &&Entry<'_>| {
            journal_of_fee(erp, entry.source(), &entry.row, format!("fee-{}", entry.row.id))
        };
        let fees = if beside { late.iter().map(fee_journal).collect::<Result<_, _>>()? } else { Vec::new() };
        let fees_here: Vec<String> =
            late.iter().filter(|_| !beside).map(|entry| entry.row.id.clone()).collect();
        let is_aggregated = flow.payout.lines == PayoutLines::PerTransaction
            && statement.entries.len().saturating_add(late.len().saturating_mul(3)) > LINES_MAX;
        let lines = if is_aggregated { PayoutLines::PerCategory } else { flow.payout.lines };
        let mut books = Books::new(&flow.accounts, lines, statement.payout.currency);
        for entry in &statement.entries {
            let fee_is_elsewhere = entry.is_fee_posted || (beside && is_late(&entry));
            books.add(entry, fee_is_elsewhere)?;
        }
        let concern = (!fees_here.is_empty()).then(|| {
            format!(
                "the fees of {} charges were not posted with them: they are posted with the payout",
                late.len()
            )
        });
        let parts = books.parts(erp, statement)?;
        Ok(Self { fees, fees_here, parts, aggregated: is_aggregated, concern })
    }
}

/// A line on the clearing account under construction: text and assignment, and the debit.
type Clearing = BTreeMap<(String, String), i64>;

/// Debits (below zero: credits) by account, while entries are added.
struct Books<'a> {
    accounts: &'a Accounts,
    lines: PayoutLines,
    currency: Currency,
    /// In the currency of settlement, in the entries' order.
    clearing: Vec<JournalLine>,
    /// The same by category.
    by_category: Clearing,
    /// Fees and other costs: by account and what they are.
    costs: BTreeMap<(String, String), i64>,
    /// By the currency that was paid in: what it came to in the currency of settlement, and its own journal.
    converted: BTreeMap<Currency, Converted>,
}

#[derive(Default)]
struct Converted {
    settled: i64,
    paid: i64,
    lines: Vec<JournalLine>,
    by_category: Clearing,
}

impl<'a> Books<'a> {
    fn new(accounts: &'a Accounts, lines: PayoutLines, currency: Currency) -> Self {
        Self {
            accounts,
            lines,
            currency,
            clearing: Vec::new(),
            by_category: BTreeMap::new(),
            costs: BTreeMap::new(),
            converted: BTreeMap::new(),
        }
    }

    fn clearing_account(&self, currency: Currency) -> Result<&'a str, Stop> {
        self.accounts.named("clearing", self.accounts.clearing.as_ref(), currency)
    }

    /// An entry, on all accounts that it touches: amount less fee is net, so debits equal credits.
    fn add(&mut self, entry: &Entry<'_>, is_fee_elsewhere: bool) -> Result<(), Stop> {
        let row = &entry.row;
        // What the clearing account has of the fee already, it is given back.
        let is_fee_on_clearing = is_fee_elsewhere || entry.meaning == Meaning::Dispute;
        let fee_on_clearing = if is_fee_on_clearing { row.fee } else { 0 };
        if !is_fee_on_clearing {
            for (kind, fee) in row.fees().unwrap_or_default() {
                self.cost(self.accounts.fee(kind)?, kind, fee)?;
            }
        }
        let clearing = match (entry.meaning, entry.converted()) {
            (Meaning::Cost(account), _) => {
                self.cost(account, &row.reporting_category, row.amount.saturating_neg())?;
                0
            }
            (_, Some(paid)) => {
                self.convert(entry, paid)?;
                fee_on_clearing
            }
            (_, None) => fee_on_clearing.saturating_sub(row.amount),
        };
        if clearing == 0 {
            return Ok(());
        }
        match self.lines {
            PayoutLines::PerTransaction => {
                let (account, debit) =
                    (self.clearing_account(self.currency)?, Money::new(clearing, self.currency));
                self.clearing.extend(line(account, debit, entry.source(), assignment(entry)));
                Ok(())
            }
            PayoutLines::PerCategory => add(&mut self.by_category, &row.reporting_category, "", clearing),
        }
    }

    fn cost(&mut self, account: &str, what: &str, debit: i64) -> Result<(), Stop> {
        add(&mut self.costs, account, what, debit)
    }

    fn convert(&mut self, entry: &Entry<'_>, paid: Money) -> Result<(), Stop> {
        let account = self.clearing_account(paid.currency)?;
        let converted = self.converted.entry(paid.currency).or_default();
        converted.settled = sum(converted.settled, entry.row.amount)?;
        converted.paid = sum(converted.paid, paid.minor)?;
        let debit = Money::new(paid.minor.saturating_neg(), paid.currency);
        match self.lines {
            PayoutLines::PerTransaction => {
                converted.lines.extend(line(account, debit, entry.source(), assignment(entry)));
                Ok(())
            }
            PayoutLines::PerCategory => {
                add(&mut converted.by_category, &entry.row.reporting_category, "", debit.minor)
            }
        }
    }

    /// All journals: those of the settlement first, then one per currency that was paid in.
    fn parts<E: Erp>(self, erp: &E, statement: &Statement<'_>) -> Result<Vec<Journal>, Stop> {
        let (payout, accounts, currency) = (statement.payout, self.accounts, self.currency);
        let reference = Some(short::reference(&payout.id));
        let of = |account: &str, debit: i64, what: &str, currency: Currency| {
            let text = if what.is_empty() { payout.id.clone() } else { format!("{what} {}", payout.id) };
            line(account, Money::new(debit, currency), &text, reference.clone())
        };
        let conversion = |currency| accounts.named("conversion", accounts.conversion.as_ref(), currency);
        let clearing = self.clearing_account(currency);
        let mut lines = self.clearing;
        for ((category, _), debit) in self.by_category {
            lines.extend(of(clearing.clone()?, debit, &category, currency));
        }
        for ((account, what), debit) in self.costs {
            lines.extend(of(&account, debit, &what, currency));
        }
        let mut others = Vec::new();
        for (paid_in, converted) in self.converted {
            let what = format!("conversion {paid_in}");
            lines.extend(of(conversion(currency)?, converted.settled.saturating_neg(), &what, currency));
            let mut own = converted.lines;
            let clearing = accounts.named("clearing", accounts.clearing.as_ref(), paid_in)?;
            for ((category, _), debit) in converted.by_category {
                own.extend(of(clearing, debit, &category, paid_in));
            }
            let last = of(conversion(paid_in)?, converted.paid, &format!("conversion {currency}"), paid_in);
            others.push((own, last, paid_in));
        }
        let bank = of(accounts.named("bank", accounts.bank.as_ref(), currency)?, payout.amount, "", currency);
        let documents = std::iter::once((lines, bank, currency)).chain(others);
        let mut documents_lines = Vec::new();
        for (lines, last, currency) in documents {
            documents_lines.extend(split(lines, last, erp.flow().payout.lines_max, &|debit| {
                let transit = accounts.named("transit", accounts.transit.as_ref(), currency)?;
                Ok(of(transit, debit, "transit", currency))
            })?);
        }
        documents_lines.retain(|lines| !lines.is_empty());
        let (day, count) = (payout_day(erp, payout)?, documents_lines.len());
        let numbered = documents_lines.into_iter().enumerate();
        Ok(numbered.map(|(index, lines)| part(payout, index + 1, count, day, lines)).collect())
    }
}

/// What an open item is met by: the short reference of what moved it; of a dispute, of its balance transaction.
fn assignment(entry: &Entry<'_>) -> Option<String> {
    let id = if entry.meaning == Meaning::Dispute { &entry.row.id } else { entry.source() };
    Some(short::reference(id))
}

fn add(sums: &mut BTreeMap<(String, String), i64>, one: &str, other: &str, debit: i64) -> Result<(), Stop> {
    let entry = sums.entry((one.to_owned(), other.to_owned())).or_default();
    *entry = sum(*entry, debit)?;
    Ok(())
}

fn sum(one: i64, other: i64) -> Result<i64, Stop> {
    one.checked_add(other)
        .ok_or_else(|| Stop::reject("", "amount-too-large", "the payout's transactions are too large to add"))
}

/// Splits a document that is too long. Every part but the last balances through a line of transit; the last has
/// what all of them brought there, and `last`.
pub(super) fn split(
    lines: Vec<JournalLine>,
    last: Option<JournalLine>,
    lines_max: usize,
    transit: &dyn Fn(i64) -> Result<Option<JournalLine>, Stop>,
) -> Result<Vec<Vec<JournalLine>>, Stop> {
    let count = lines.len() + usize::from(last.is_some());
    if count <= lines_max {
        return Ok(vec![lines.into_iter().chain(last).collect()]);
    }
    // Beside the lines of its own, the last part has two: the transit, and the last line.
    let size = lines_max.saturating_sub(2).max(1);
    let mut parts: Vec<Vec<JournalLine>> = lines.chunks(size).map(<[JournalLine]>::to_vec).collect();
    let mut in_transit: i64 = 0;
    let before_last = parts.len().saturating_sub(1);
    for part in parts.iter_mut().take(before_last) {
        let debits = part.iter().try_fold(0_i64, |debits, line| sum(debits, debit(line)))?;
        in_transit = sum(in_transit, debits)?;
        part.extend(transit(debits.saturating_neg())?);
    }
    if let Some(part) = parts.last_mut() {
        part.extend(transit(in_transit)?);
        part.extend(last);
    }
    Ok(parts)
}

/// A line's debit; below zero, when it is a credit.
fn debit(line: &JournalLine) -> i64 {
    match line.side {
        Side::Debit => line.amount.minor,
        Side::Credit => line.amount.minor.saturating_neg(),
    }
}
