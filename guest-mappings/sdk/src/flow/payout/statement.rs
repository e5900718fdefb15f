//! What is in a payout: its balance transactions, checked, and matched with what the ERP has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::returned;
use crate::{
    Cx, Stop,
    ask::{self, Counterparts, Question},
    contract::{Plan, Severity},
    flow::{Accounts, Erp, STRIPE},
    money::Money,
    prelude::json,
    stripe::{BalanceTransaction, List, Payout, net_by},
};

/// A payout's balance transactions, all pages.
pub(super) fn question(payout: &str) -> Question<List<BalanceTransaction>> {
    ask::query(STRIPE, "balance-transactions.by-payout", json!({"payout": payout}))
}

/// What a category means for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The ERP has its payment on the clearing account.
    Charge,
    /// The ERP has its document on the clearing account, before the fee.
    Refund,
    /// The same, the other way.
    RefundFailure,
    /// The ERP has its journal on the clearing account, fee and all.
    Dispute,
    /// Nobody has posted it: it goes to this account.
    Cost(&'a str),
}

/// A balance transaction of the payout.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) row: BalanceTransaction,
    pub(super) meaning: Meaning<'a>,
    /// Whether the ERP has what it stands for.
    pub(super) is_matched: bool,
    /// Whether its fee was posted with its charge.
    pub(super) is_fee_posted: bool,
}

impl Entry<'_> {
    /// What moved it, else itself.
    pub(super) fn source(&self) -> &str {
        self.row.source.as_ref().map_or(&self.row.id, |source| &source.id)
    }

    /// What was paid in another currency, with the sign of the movement. A dispute is posted in the currency of
    /// settlement to begin with.
    pub(super) fn converted(&self) -> Option<Money> {
        match self.meaning {
            Meaning::Charge | Meaning::Refund | Meaning::RefundFailure => {
                let paid = self.row.converted()?;
                let minor = if self.row.amount < 0 { paid.minor.saturating_neg() } else { paid.minor };
                Some(Money::new(minor, paid.currency))
            }
            Meaning::Dispute | Meaning::Cost(_) => None,
        }
    }

    /// Under which kind and id the ERP's document is remembered.
    fn remembered(&self) -> Option<(&'static str, &str)> {
        match self.meaning {
            Meaning::Charge => Some(("stripe.charge", self.source())),
            Meaning::Refund | Meaning::RefundFailure => Some(("stripe.refund", self.source())),
            Meaning::Dispute => Some(("stripe.balance-transaction", &self.row.id)),
            Meaning::Cost(_) => None,
        }
    }
}

/// A payout with what is in it.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) payout: &'a Payout,
    pub(super) entries: Vec<Entry<'a>>,
    /// Why it cannot be posted, each a sentence.
    pub(super) problems: Vec<String>,
    sums: BTreeMap<String, i64>,
}

impl<'a> Statement<'a> {
    /// Checks and matches. `own_number` is the payout's journal in the ERP, where it is posted already.
    pub(super) fn of<E: Erp>(
        cx: &Cx<'_>,
        erp: &'a E,
        payout: &'a Payout,
        mut rows: Vec<BalanceTransaction>,
        own_number: Option<&str>,
    ) -> Result<Self, Stop> {
        rows.retain(|row| !is_own(row, payout));
        let mut problems = problems(payout, &rows);
        let sums = net_by(&rows, |row| row.reporting_category.clone()).unwrap_or_default();
        let mut own_numbers: Vec<String> = own_number.into_iter().map(str::to_owned).collect();
        if problems.is_empty() {
            let opened = returned::open::<E>(cx, rows, &mut own_numbers)?;
            rows = opened.rows;
            problems.extend(opened.problems);
        }
        // The order in which a list is answered is nobody's promise.
        rows.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        let mut entries = Vec::with_capacity(rows.len());
        let mut unknown = BTreeSet::new();
        for row in rows {
            match meaning(&row.reporting_category, &erp.flow().accounts)? {
                Some(meaning) => {
                    entries.push(Entry { row, meaning, is_matched: true, is_fee_posted: false });
                }
                None => {
                    unknown.insert(row.reporting_category);
                }
            }
        }
        if !unknown.is_empty() {
            let names = unknown.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            problems.push(format!("no account is known for the categories {names}"));
        }
        let mut statement = Self { payout, entries, problems, sums };
        if statement.problems.is_empty() {
            statement.match_with::<E>(cx, &own_numbers)?;
            statement.drop_what_never_was();
        }
        Ok(statement)
    }

    /// Asks for everything at once: under which numbers the ERP has what the rows stand for, and the fees of charges.
    fn match_with<E: Erp>(&mut self, cx: &Cx<'_>, own_numbers: &[String]) -> Result<(), Stop> {
        let has_fee = |entry: &Entry<'_>| entry.meaning == Meaning::Charge && entry.row.fee != 0;
        let documents = self.entries.iter().filter_map(|entry| entry.remembered());
        let fees = self.entries.iter().filter(|entry| has_fee(entry));
        let fees = fees.map(|entry| ("stripe.balance-transaction", entry.row.id.as_str()));
        let answers = cx.all(ask::references(documents.chain(fees)))?;
        let mut answers = answers.into_iter();
        let refund = format!("{}.refund", E::SYSTEM);
        for entry in self.entries.iter_mut().filter(|entry| entry.remembered().is_some()) {
            let answer = answers.next().unwrap_or_default();
            let system = match entry.meaning {
                Meaning::Charge => E::PAYMENT,
                Meaning::Refund | Meaning::RefundFailure => &refund,
                Meaning::Dispute | Meaning::Cost(_) => E::JOURNAL,
            };
            // A refund that failed before it was posted has no document, and never will: what it took and what came
            // back meet on the clearing account, though in different payouts.
            let is_refund = matches!(entry.meaning, Meaning::Refund | Meaning::RefundFailure);
            let is_nothing = is_refund && entry.row.source.as_ref().is_some_and(|source| source.failed);
            entry.is_matched = is_nothing || answer.id(system).is_some();
        }
        for entry in self.entries.iter_mut().filter(|entry| has_fee(entry)) {
            let answer: Counterparts = answers.next().unwrap_or_default();
            let number = answer.id(E::JOURNAL);
            // A fee that a payout's journal brought was not posted with its charge.
            entry.is_fee_posted = number.is_some_and(|number| own_numbers.iter().all(|own| own != number));
        }
        Ok(())
    }

    /// A refund that failed before it was ever posted is two rows that cancel each other.
    fn drop_what_never_was(&mut self) {
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let is_refund = |entry: &Entry<'_>| matches!(entry.meaning, Meaning::Refund | Meaning::RefundFailure);
        for entry in self.entries.iter().filter(|entry| !entry.is_matched && is_refund(entry)) {
            let sum = sums.entry(entry.source().to_owned()).or_default();
            sum.0 = sum.0.saturating_add(entry.row.net);
            sum.1 = sum.1.saturating_add(entry.converted().map_or(0, |paid| paid.minor));
        }
        self.entries.retain(|entry| {
            let cancelled = sums.get(entry.source()) == Some(&(0, 0)) && entry.row.fee == 0;
            entry.is_matched || !is_refund(entry) || !cancelled
        });
    }

    /// What the ERP does not know.
    pub(super) fn unmatched(&self) -> Vec<&Entry<'a>> {
        self.entries.iter().filter(|entry| !entry.is_matched).collect()
    }

    /// The alert that a person decides by.
    pub(super) fn evidence(&self, plan: Plan) -> Plan {
        let unmatched = self.unmatched();
        let shown = unmatched.iter().take(SHOWN_MAX).map(|entry| {
            json!({
                "transaction": entry.row.id,
                "source": entry.source(),
                "category": entry.row.reporting_category,
                "amount": entry.row.moved().to_string(),
            })
        });
        let sums = self.sums.iter().map(|(category, net)| {
            (category.clone(), Value::String(Money::new(*net, self.payout.currency).to_string()))
        });
        let detail = json!({
            "payout": self.payout.id,
            "amount": self.payout.total().to_string(),
            "problems": self.problems,
            "net_by_category": sums.collect::<serde_json::Map<_, _>>(),
            "unmatched": shown.collect::<Vec<_>>(),
            "unmatched_count": unmatched.len(),
        });
        let title = format!("The payout {} waits for a person", self.payout.id);
        plan.alert(Severity::Warning, "payout-held", title, &detail)
    }
}

/// How many unmatched rows an alert lists.
const SHOWN_MAX: usize = 200;

/// The payout's own row, and the one that brings it back.
pub(super) fn is_own(row: &BalanceTransaction, payout: &Payout) -> bool {
    let own = [&payout.balance_transaction, &payout.failure_balance_transaction];
    own.iter().any(|own| own.as_deref() == Some(&row.id))
        || (matches!(row.reporting_category.as_str(), "payout" | "payout_reversal")
            && row.source.as_ref().is_some_and(|source| source.id == payout.id))
}

/// What a category means. `None`: nobody knows.
fn meaning<'a>(category: &str, accounts: &'a Accounts) -> Result<Option<Meaning<'a>>, Stop> {
    Ok(match category {
        "charge" => Some(Meaning::Charge),
        "refund" => Some(Meaning::Refund),
        "refund_failure" => Some(Meaning::RefundFailure),
        "dispute" | "dispute_reversal" => Some(Meaning::Dispute),
        other => match (accounts.categories.get(other), other) {
            (Some(account), _) => Some(Meaning::Cost(account)),
            (None, "fee") => Some(Meaning::Cost(accounts.fee("stripe_fee")?)),
            (None, "tax") => Some(Meaning::Cost(accounts.fee("tax")?)),
            (None, _) => None,
        },
    })
}

/// What of a payout's rows does not add up.
fn problems(payout: &Payout, rows: &[BalanceTransaction]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut say = |row: &BalanceTransaction, what: &str| problems.push(format!("{} {what}", row.id));
    let mut sum: i128 = 0;
    for row in rows {
        sum += i128::from(row.net);
        if !seen.insert(&row.id) {
            say(row, "is listed twice");
        }
        if row.currency != payout.currency {
            say(row, &format!("is in {}, the payout in {}", row.currency, payout.currency));
        }
        if !row.adds_up() {
            say(row, "says another net than amount less fee");
        }
        if row.fees().is_none() {
            say(row, "has a fee whose parts do not add up to it");
        }
        let is_paid = matches!(row.reporting_category.as_str(), "charge" | "refund" | "refund_failure");
        if is_paid
            && row.exchange_rate.is_some()
            && row.source.as_ref().and_then(|source| source.paid).is_none()
        {
            say(row, "was converted, and does not say from what");
        }
    }
    if sum != i128::from(payout.amount) {
        let difference = i64::try_from(i128::from(payout.amount) - sum).unwrap_or(i64::MAX);
        problems.push(format!(
            "its {} transactions do not add up to {}: the difference is {}",
            rows.len(),
            payout.total(),
            Money::new(difference, payout.currency)
        ));
    }
    problems.truncate(PROBLEMS_MAX);
    problems
}

/// How many problems are told.
const PROBLEMS_MAX: usize = 20;
