//! Stripe's books beside the ERP's, row by row.

use std::fmt;

use anyhow::Context;
use portolan::stage::Client;
use portolan_simulators::story::books::decimal as natural;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{
    Shop,
    erp::{Books, Role},
};

/// The currency of the balance.
const SETTLEMENT: &str = "USD";

/// One thing that both sides know.
#[derive(Debug)]
struct Row {
    what: String,
    currency: String,
    stripe: Decimal,
    erp: Decimal,
}

/// What came of a shop's month.
#[derive(Debug)]
pub(super) struct Reconciliation {
    tenant: String,
    events: u64,
    dropped: u64,
    documents: usize,
    rows: Vec<Row>,
    held: Vec<String>,
    findings: Vec<String>,
}

pub(super) async fn reconcile(shop: &Shop) -> anyhow::Result<Reconciliation> {
    let client = Client::new(shop.stripe.url(), None)?;
    let (report, books) =
        (client.get("/_simulator/month").await?, client.get("/_simulator/month/books").await?);
    let erp = Books::of(&shop.erp).await?;
    let mut rows = rows(&books, &erp);
    rows.retain(|row| !row.stripe.is_zero() || !row.erp.is_zero());
    let held = all(shop, "/holds").await?;
    let mut findings: Vec<String> = erp.doubled.iter().map(|twice| format!("twice: {twice}")).collect();
    for row in rows.iter().filter(|row| row.stripe != row.erp) {
        findings.push(format!("{} {}: {} apart", row.what, row.currency, row.erp - row.stripe));
    }
    let expected_holds = books["outcomes"]["payout held"].as_u64().unwrap_or_default();
    if held.len() as u64 != expected_holds {
        findings.push(format!("{} events are held, {expected_holds} should be", held.len()));
    }
    for path in ["/runs?state=dead", "/deliveries?state=dead", "/deliveries?state=in-doubt"] {
        for dead in all(shop, path).await? {
            findings.push(format!("{path}: {}", told(&dead)));
        }
    }
    Ok(Reconciliation {
        tenant: shop.tenant.name.clone(),
        events: report["events"].as_u64().unwrap_or_default(),
        dropped: report["dropped"].as_u64().unwrap_or_default(),
        documents: erp.documents.values().sum(),
        rows,
        held: held.iter().map(told).collect(),
        findings,
    })
}

fn told(row: &Value) -> String {
    let reason = row["reason"]["message"].as_str().unwrap_or_default();
    let what =
        ["operation", "key"].iter().filter_map(|name| row[*name].as_str()).collect::<Vec<_>>().join(" ");
    format!("{} {what} {reason}", row["id"].as_str().unwrap_or_default())
}

/// All pages of a list.
async fn all(shop: &Shop, path: &str) -> anyhow::Result<Vec<Value>> {
    let (mut rows, mut before) = (Vec::new(), String::new());
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = shop.tenant.get(&format!("{path}{joint}limit=100{before}")).await?;
        rows.extend(page["items"].as_array().context("no items")?.iter().cloned());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(rows),
        }
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn amount(minor: i64, currency: &str) -> Decimal {
    natural(minor, currency).parse().unwrap_or_default()
}

fn rows(books: &Value, erp: &Books) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut settled_elsewhere = 0;
    for (currency, sums) in books["presented"].as_object().into_iter().flatten() {
        let mut row = |what: &str, minor: &Value, erp: Option<&Decimal>| {
            rows.push(Row {
                what: what.to_owned(),
                currency: currency.clone(),
                stripe: amount(number(minor), currency),
                erp: erp.copied().unwrap_or_default(),
            });
        };
        row("charged", &sums["charges"]["minor"], erp.payments.get(currency));
        row("refunded", &sums["refunds"]["minor"], erp.refunds.get(currency));
        if currency != SETTLEMENT {
            settled_elsewhere +=
                number(&sums["charges_settled"]["minor"]) + number(&sums["refunds_settled"]["minor"]);
        }
    }
    let paid = Paid::of(books);
    let balance = |role| erp.accounts.get(&(role, SETTLEMENT.to_owned())).copied().unwrap_or_default();
    let mut row = |what: &str, minor: i64, erp: Decimal| {
        let stripe = amount(minor, SETTLEMENT);
        rows.push(Row { what: what.to_owned(), currency: SETTLEMENT.to_owned(), stripe, erp });
    };
    row("paid out to the bank", paid.bank, balance(Role::Bank));
    row("fees", paid.fees, balance(Role::Fees));
    row("disputed", paid.disputed, balance(Role::Disputes));
    row("in transit", 0, balance(Role::Transit));
    // What Stripe still has, against what the ERP thinks that it has. Fees of what is not paid out yet are not posted.
    let own = |sums: &super::erp::Sums| sums.get(SETTLEMENT).copied().unwrap_or_default();
    let journals = balance(Role::Clearing) + balance(Role::Conversion);
    let sales = if erp.clears_payments { Decimal::ZERO } else { own(&erp.payments) - own(&erp.refunds) };
    let at_stripe = journals + sales + amount(settled_elsewhere, SETTLEMENT);
    row("at Stripe, before fees", paid.at_stripe, at_stripe);
    rows
}

/// What Stripe's books say of the balance.
struct Paid {
    bank: i64,
    fees: i64,
    disputed: i64,
    at_stripe: i64,
}

impl Paid {
    fn of(books: &Value) -> Self {
        let payouts = || books["payouts"].as_array().into_iter().flatten();
        let outcome = |payout: &Value| {
            let id = payout["id"].as_str().unwrap_or_default();
            books["objects"][id]["outcome"].as_str().unwrap_or_default().to_owned()
        };
        let posted = || payouts().filter(|payout| outcome(payout) == "posted");
        let bank = posted().map(|payout| number(&payout["amount"])).sum();
        let returned = posted().any(|payout| payout["categories"]["payout_reversal"].is_object());
        // What was in a payout that came back is posted with the one that brought it.
        let failed = payouts().filter(|payout| returned && outcome(payout) == "reversed");
        let fees_of = |payout: &Value| fees(&payout["categories"]);
        let disputes = &books["balance"]["categories"];
        let of_disputes =
            |field: &str| number(&disputes["dispute"][field]) + number(&disputes["dispute_reversal"][field]);
        let fees_posted: i64 = posted().chain(failed).map(fees_of).sum::<i64>() + of_disputes("fee");
        let fees_all = fees(&books["balance"]["categories"]) + of_disputes("fee");
        let left: i64 = payouts()
            .filter(|payout| !matches!(outcome(payout).as_str(), "posted" | "reversed"))
            .map(|payout| number(&payout["amount"]))
            .sum();
        let closing = number(&books["balance"]["closing"]);
        Self {
            bank,
            fees: fees_posted,
            disputed: -of_disputes("amount"),
            at_stripe: closing + left + fees_all - fees_posted,
        }
    }
}

/// What categories cost: the fees of movements, and movements that are fees.
fn fees(categories: &Value) -> i64 {
    let movements =
        ["charge", "refund", "refund_failure"].iter().map(|name| number(&categories[*name]["fee"]));
    let costs = ["fee", "tax"].iter().map(|name| -number(&categories[*name]["net"]));
    movements.chain(costs).sum()
}

impl Reconciliation {
    pub(super) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what, "currency": row.currency, "stripe": row.stripe.to_string(),
                "erp": row.erp.to_string(), "difference": (row.erp - row.stripe).to_string(),
            })
        });
        json!({
            "tenant": self.tenant, "events": self.events, "dropped": self.dropped, "documents": self.documents,
            "rows": rows.collect::<Vec<_>>(), "held": self.held, "findings": self.findings,
        })
    }
}

impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} events of a month ({} never sent, found by the sweep), {} entries in the ledger",
            self.tenant, self.events, self.dropped, self.documents
        )?;
        for Row { what, currency, stripe, erp } in &self.rows {
            let difference = erp - stripe;
            let mark = if difference.is_zero() { "" } else { "  ✗" };
            writeln!(
                f,
                "  {what:<24} {currency}  Stripe {stripe:>16}  ERP {erp:>16}  difference {difference}{mark}"
            )?;
        }
        for held in &self.held {
            writeln!(f, "  held: {held}")?;
        }
        for finding in self.findings.iter().take(20) {
            writeln!(f, "  ✗ {finding}")?;
        }
        Ok(())
    }
}
