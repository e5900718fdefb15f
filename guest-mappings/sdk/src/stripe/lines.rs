//! The lines of a charge. A charge itself has none: they come from the checkout session of its payment intent,
//! else from its invoice, else from its metadata, else it is one line of the tenant's default product. Wherever
//! they come from, they add up to what was captured, or the charge is refused with the difference.
//!
//! Two things are settled here, exactly and in proportion (largest remainder): lines of a charge that was captured
//! in part are reduced to what was captured, and lines below zero (credits of a subscription change) are taken off
//! the others, because an order has no negative lines.

use serde::Deserialize;

use super::{Charge, CheckoutSession, Invoice};
use crate::{
    ask::{self, Ask, Facts, Question, Row},
    contract::Need,
    money::{Money, MoneyError},
    prelude::json,
    stop::Stop,
};

/// Lines of one charge: more than this is refused. (An order of SAP numbers them to 999,990 in tens; a plan's
/// body holds far fewer.)
const LINES_MAX: usize = 500;

/// Where lines may come from, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineSource {
    /// The newest checkout session of the payment intent.
    CheckoutSession,
    /// The invoice that the charge paid.
    Invoice,
    /// The charge's metadata: `lines` with a JSON array, or `line_1`, `line_2`… with one object each:
    /// `{"product": "prod_1", "quantity": 2, "amount": 4998, "tax": 0, "description": "…"}`, amounts of whole
    /// lines in Stripe's minor unit.
    Metadata,
}

impl LineSource {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::CheckoutSession, Self::Invoice, Self::Metadata]
    }
}

/// Which prices an order is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prices {
    /// With tax: the order's total is what was captured.
    #[default]
    Gross,
    /// Without tax: the ERP adds it.
    Net,
}

/// One line: what was bought, and what it cost, discounts taken off and taxes added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `prod_…`, or what the metadata say; unknown for the default line.
    pub product: Option<String>,
    /// For people.
    pub description: String,
    /// Pieces.
    pub quantity: u32,
    /// What they cost.
    pub total: Money,
    /// Tax within the total.
    pub tax: Money,
}

/// The lines of a charge; their totals add up to what was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The lines, at least one.
    pub lines: Vec<Line>,
    /// Whether they were reduced, because less was captured than authorized.
    pub reduced: bool,
}

/// The questions for a charge's lines, asked together: see [`Lines::ask`].
#[derive(Debug, Clone)]
pub struct LineQuestions {
    session: Option<Question<CheckoutSession>>,
    invoice: Option<Question<Invoice>>,
}

/// What was found: see [`Lines::of`].
#[derive(Debug, Clone)]
pub struct LineAnswers {
    session: Option<CheckoutSession>,
    invoice: Option<Invoice>,
}

impl Ask for LineQuestions {
    type Answer = LineAnswers;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<LineAnswers>, Stop> {
        let found = (self.session.as_ref(), self.invoice.as_ref()).read(facts, missing)?;
        let flat = |(session, invoice): (Option<Option<_>>, Option<Option<_>>)| LineAnswers {
            session: session.flatten(),
            invoice: invoice.flatten(),
        };
        Ok(found.map(flat))
    }
}

impl LineAnswers {
    /// The checkout session, where it was asked for and is one.
    #[must_use]
    pub fn session(&self) -> Option<&CheckoutSession> {
        self.session.as_ref()
    }

    /// The invoice, where it was asked for and is one.
    #[must_use]
    pub fn invoice(&self) -> Option<&Invoice> {
        self.invoice.as_ref()
    }
}

impl Line {
    /// The total without its tax.
    #[must_use]
    pub fn net(&self) -> Money {
        Money::new(self.total.minor - self.tax.minor, self.total.currency)
    }

    /// The total, with tax or without.
    #[must_use]
    pub fn amount(&self, prices: Prices) -> Money {
        match prices {
            Prices::Gross => self.total,
            Prices::Net => self.net(),
        }
    }
}

impl Lines {
    /// What to ask Stripe for a charge's lines, through a connection that declares
    /// `checkout-session.by-payment-intent`, `invoice.get` and `invoice.by-payment-intent`.
    #[must_use]
    pub fn ask(charge: &Charge, connection: &str, sources: &[LineSource]) -> LineQuestions {
        let intent = charge.payment_intent.as_deref();
        let session = intent.filter(|_| sources.contains(&LineSource::CheckoutSession)).map(|intent| {
            ask::query(connection, "checkout-session.by-payment-intent", json!({"payment_intent": intent}))
        });
        let invoice = match (&charge.invoice, intent) {
            _ if !sources.contains(&LineSource::Invoice) => None,
            (Some(invoice), _) => Some(ask::query(connection, "invoice.get", json!({"id": &**invoice}))),
            (None, Some(intent)) => {
                Some(ask::query(connection, "invoice.by-payment-intent", json!({"payment_intent": intent})))
            }
            (None, None) => None,
        };
        LineQuestions { session, invoice }
    }

    /// The question for each line's product in a lookup table, in the lines' order.
    #[must_use]
    pub fn row_questions(&self, table: &str) -> Vec<Option<Question<Row>>> {
        let question = |line: &Line| line.product.as_deref().map(|product| ask::lookup(table, product));
        self.lines.iter().map(question).collect()
    }

    /// Each line with its row: the answers to [`Self::row_questions`].
    #[must_use]
    pub fn with_rows(self, rows: Vec<Option<Option<Row>>>) -> Vec<(Line, Option<Row>)> {
        self.lines.into_iter().zip(rows.into_iter().map(Option::flatten)).collect()
    }

    /// The lines of a charge, settled to what was captured.
    ///
    /// # Errors
    /// A refusal, when the lines do not add up, or metadata are malformed.
    pub fn of(charge: &Charge, answers: LineAnswers, sources: &[LineSource]) -> Result<Self, Stop> {
        let captured = charge.captured()?;
        let from_metadata = || match sources.contains(&LineSource::Metadata) {
            true => metadata_lines(charge),
            false => Ok(Vec::new()),
        };
        let mut lines = answers.session.map(|session| session_lines(charge, session)).unwrap_or_default();
        if lines.is_empty() {
            lines = answers.invoice.map(|invoice| invoice_lines(charge, invoice)).unwrap_or_default();
        }
        if lines.is_empty() {
            lines = from_metadata()?;
        }
        if lines.is_empty() {
            let description =
                charge.description.clone().unwrap_or_else(|| format!("Stripe charge {}", charge.id));
            let tax = Money::new(0, captured.currency);
            lines = vec![Line { product: None, description, quantity: 1, total: captured, tax }];
        }
        settle(lines, charge, captured)
    }
}

fn session_lines(charge: &Charge, session: CheckoutSession) -> Vec<Line> {
    let shipping = session.shipping_cost.map(|cost| (cost.amount_total, cost.amount_tax));
    let lines = session.line_items.data.into_iter().map(|line| {
        let product = line.price.and_then(|price| price.product).map(|product| product.to_string());
        (product, line.description, line.quantity, (line.amount_total, line.amount_tax))
    });
    lines_of(charge, lines.collect(), shipping)
}

fn invoice_lines(charge: &Charge, invoice: Invoice) -> Vec<Line> {
    let shipping = invoice.shipping_cost.map(|cost| (cost.amount_total, cost.amount_tax));
    let lines = invoice.lines.data.into_iter().map(|line| {
        let product = line.product().map(str::to_owned);
        let amounts = (line.total(), line.tax());
        (product, line.description, line.quantity, amounts)
    });
    lines_of(charge, lines.collect(), shipping)
}

/// Product, description, quantity, total and tax of a line.
type Found = (Option<String>, Option<String>, Option<u64>, (i64, i64));

/// The product under which lookup tables know shipping.
const SHIPPING: &str = "shipping";

fn lines_of(charge: &Charge, found: Vec<Found>, shipping: Option<(i64, i64)>) -> Vec<Line> {
    if found.is_empty() {
        return Vec::new();
    }
    let shipping = shipping.filter(|(total, _)| *total != 0);
    let shipping =
        shipping.map(|amounts| (Some(SHIPPING.to_owned()), Some("Shipping".to_owned()), Some(1), amounts));
    let all = found.into_iter().chain(shipping);
    all.map(|(product, description, quantity, (total, tax))| Line {
        description: description.or_else(|| product.clone()).unwrap_or_else(|| charge.id.clone()),
        product,
        // Metered and tiered lines count in millions or not at all; then the line is one piece.
        quantity: quantity
            .and_then(|pieces| u32::try_from(pieces).ok())
            .filter(|pieces| *pieces > 0)
            .unwrap_or(1),
        total: Money::new(total, charge.currency),
        tax: Money::new(tax, charge.currency),
    })
    .collect()
}

/// A line in a charge's metadata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataLine {
    product: Option<String>,
    description: Option<String>,
    quantity: Option<u64>,
    amount: i64,
    #[serde(default)]
    tax: i64,
}

fn metadata_lines(charge: &Charge) -> Result<Vec<Line>, Stop> {
    let malformed = |key: &str, error: &serde_json::Error| {
        Stop::reject(
            format!("/data/object/metadata/{key}"),
            "malformed-lines",
            format!("metadata {key}: {error}"),
        )
    };
    let mut numbered: Vec<(u32, &String, &String)> = Vec::new();
    for (key, text) in &charge.metadata {
        if let Some(number) = key.strip_prefix("line_").and_then(|number| number.parse().ok()) {
            numbered.push((number, key, text));
        }
    }
    numbered.sort_unstable();
    let mut found: Vec<MetadataLine> = match charge.metadata.get("lines") {
        Some(text) => serde_json::from_str(text).map_err(|error| malformed("lines", &error))?,
        None => Vec::new(),
    };
    for (_, key, text) in numbered {
        found.push(serde_json::from_str(text).map_err(|error| malformed(key, &error))?);
    }
    let found = found
        .into_iter()
        .map(|line| (line.product, line.description, line.quantity, (line.amount, line.tax)))
        .collect();
    Ok(lines_of(charge, found, None))
}

/// Makes the lines add up to what was captured, or refuses them.
fn settle(lines: Vec<Line>, charge: &Charge, captured: Money) -> Result<Lines, Stop> {
    if lines.len() > LINES_MAX {
        let text = format!("{} lines, at most {LINES_MAX} are taken", lines.len());
        return Err(Stop::reject("", "too-many-lines", text));
    }
    let sum: i128 = lines.iter().map(|line| i128::from(line.total.minor)).sum();
    let reduced = i128::from(captured.minor) != sum && i128::from(charge.amount) == sum;
    if i128::from(captured.minor) != sum && !reduced {
        return Err(does_not_add_up(sum, captured));
    }
    let negative = lines.iter().any(|line| line.total.minor < 0);
    let lines = if reduced || negative { in_proportion(lines, captured)? } else { lines };
    Ok(Lines { lines, reduced })
}

/// The lines above zero share `total` in proportion; each keeps its own share of tax.
fn in_proportion(lines: Vec<Line>, total: Money) -> Result<Vec<Line>, MoneyError> {
    let kept: Vec<Line> = lines.into_iter().filter(|line| line.total.minor >= 0).collect();
    let weight = |minor: i64| u64::try_from(minor).unwrap_or(0);
    let weights: Vec<u64> = kept.iter().map(|line| weight(line.total.minor)).collect();
    let shares = total.split(&weights)?;
    let share = |(line, share): (Line, Money)| {
        let parts = match line.total.minor {
            0 => vec![Money::new(0, share.currency)],
            _ => share.split(&[weight(line.tax.minor), weight(line.net().minor)])?,
        };
        let tax = parts.first().copied().unwrap_or(Money::new(0, share.currency));
        Ok(Line { total: share, tax, ..line })
    };
    kept.into_iter().zip(shares).map(share).collect()
}

fn does_not_add_up(sum: i128, captured: Money) -> Stop {
    let difference = i128::from(captured.minor) - sum;
    let money = |minor: i128| match i64::try_from(minor) {
        Ok(minor) => Money::new(minor, captured.currency).to_string(),
        Err(_) => minor.to_string(),
    };
    let text = format!(
        "the lines add up to {}, {captured} were captured: the difference is {}",
        money(sum),
        money(difference)
    );
    Stop::reject("/data/object/amount_captured", "lines-do-not-add-up", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn charge(amount: i64, captured: i64, metadata: Value) -> Charge {
        serde_json::from_value(json!({
            "id": "ch_1", "amount": amount, "amount_captured": captured, "currency": "usd", "created": 1,
            "captured": true, "payment_intent": "pi_1", "metadata": metadata,
        }))
        .unwrap()
    }

    fn answers(session: Value, invoice: Value) -> LineAnswers {
        LineAnswers {
            session: serde_json::from_value(session).unwrap(),
            invoice: serde_json::from_value(invoice).unwrap(),
        }
    }

    /// Product, quantity, total and tax.
    type Row = (Option<String>, u32, i64, i64);

    fn lines(charge: &Charge, answers: LineAnswers) -> Result<Vec<Row>, Stop> {
        let lines = Lines::of(charge, answers, &LineSource::all())?.lines;
        Ok(lines
            .into_iter()
            .map(|line| (line.product, line.quantity, line.total.minor, line.tax.minor))
            .collect())
    }

    fn session() -> Value {
        json!({"id": "cs_1", "line_items": {"data": [
            {"amount_total": 4000, "amount_tax": 0, "quantity": 2, "description": "Widget", "price": {"product": "prod_1"}},
        ]}, "shipping_cost": {"amount_total": 998, "amount_tax": 0}})
    }

    #[test]
    fn the_session_comes_first_and_shipping_is_a_line() {
        let invoice = json!({"id": "in_1", "lines": {"data": [{"amount": 4998}]}});
        let found = lines(&charge(4998, 4998, json!({})), answers(session(), invoice)).unwrap();
        assert_eq!(found, [(Some("prod_1".into()), 2, 4000, 0), (Some("shipping".into()), 1, 998, 0)]);
    }

    #[test]
    fn then_the_invoice_then_the_metadata_then_one_default_line() {
        let invoice = json!({"id": "in_1", "lines": {"data": [{"amount": 4998, "quantity": 1, "pricing":
            {"price_details": {"product": "prod_2"}}}]}});
        let with_metadata = charge(
            4998,
            4998,
            json!({
                "line_2": r#"{"product":"b","amount":998}"#, "line_1": r#"{"product":"a","quantity":2,"amount":4000}"#,
            }),
        );
        let found = lines(&with_metadata, answers(json!(null), invoice)).unwrap();
        assert_eq!(found, [(Some("prod_2".into()), 1, 4998, 0)]);
        let found = lines(&with_metadata, answers(json!(null), json!(null))).unwrap();
        assert_eq!(found, [(Some("a".into()), 2, 4000, 0), (Some("b".into()), 1, 998, 0)]);
        let found =
            lines(&charge(4998, 4998, json!({"lines": "[]"})), answers(json!(null), json!(null))).unwrap();
        assert_eq!(found, [(None, 1, 4998, 0)]);
    }

    #[test]
    fn lines_that_do_not_add_up_are_refused_with_the_difference() {
        let Err(Stop::Reject(violations)) =
            lines(&charge(5000, 5000, json!({})), answers(session(), json!(null)))
        else {
            panic!("a refusal was expected")
        };
        assert_eq!(violations[0].code, "lines-do-not-add-up");
        assert!(violations[0].message.ends_with("the difference is 0.02 USD"), "{}", violations[0].message);
    }

    #[test]
    fn malformed_metadata_are_refused_where_they_stand() {
        let charge = charge(100, 100, json!({"line_7": r#"{"amount":1.5}"#}));
        let Err(Stop::Reject(violations)) = lines(&charge, answers(json!(null), json!(null))) else {
            panic!("a refusal was expected")
        };
        assert_eq!(violations[0].pointer, "/data/object/metadata/line_7");
    }

    #[test]
    fn a_partial_capture_reduces_the_lines() {
        let found = lines(&charge(4998, 2000, json!({})), answers(session(), json!(null))).unwrap();
        assert_eq!(found, [(Some("prod_1".into()), 2, 1601, 0), (Some("shipping".into()), 1, 399, 0)]);
    }

    #[test]
    fn a_credit_is_taken_off_the_other_lines() {
        let invoice = json!({"id": "in_1", "lines": {"data": [
            {"amount": 3000, "price": {"product": "new"}}, {"amount": -1000, "price": {"product": "old"}},
            {"amount": 0, "price": {"product": "free"}},
        ]}});
        let found = lines(&charge(2000, 2000, json!({})), answers(json!(null), invoice)).unwrap();
        assert_eq!(found, [(Some("new".into()), 1, 2000, 0), (Some("free".into()), 1, 0, 0)]);
    }

    proptest! {
        #[test]
        fn settled_lines_add_up_to_what_was_captured(
            amounts in prop::collection::vec((1i64..1_000_000, 0i64..100), 1..20),
            percent in 1i64..=100,
        ) {
            let amount: i64 = amounts.iter().map(|(total, _)| total).sum();
            let captured = (amount * percent / 100).max(1);
            let data: Vec<Value> = amounts.iter().map(|(total, tax)| {
                json!({"amount_total": total, "amount_tax": total * tax / 100})
            }).collect();
            let session = json!({"id": "cs_1", "line_items": {"data": data}});
            let found = lines(&charge(amount, captured, json!({})), answers(session, json!(null))).unwrap();
            prop_assert_eq!(found.iter().map(|(_, _, total, _)| total).sum::<i64>(), captured);
            prop_assert!(found.iter().all(|(_, _, total, tax)| *tax >= 0 && tax <= total));
        }
    }
}
