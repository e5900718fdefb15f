//! An ERP that writes down what it is told, neutrally: each document's body is what the flows said.

use portolan_sdk::{
    contract::Side,
    date::Date,
    flow::{self, Block, Credit, Documents, Erp, Flow, Journal, Refund, Reversal, Sale, fact},
    money::Money,
    prelude::*,
    stripe::{Customer, LineSource},
};
use serde_json::Value;

#[derive(Debug, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    flow: Flow,
    time_zone: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { flow: Flow::default(), time_zone: "UTC".to_owned() }
    }
}

/// The mapping.
#[derive(Debug, Clone)]
pub(crate) struct Fake;

impl Mapping for Fake {
    fn describe() -> Description {
        let description = Description::new("stripe-to-fake", "1.0.0", "Writes down what it is told.")
            .connection("erp", "fake", &["document.post", "document.find"]);
        flow::describe::<Settings>(description)
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        flow::map(cx, &settings)
    }
}

const SOURCES: [LineSource; 3] = [LineSource::CheckoutSession, LineSource::Invoice, LineSource::Metadata];

fn money(money: Money) -> Value {
    json!(money.to_string())
}

fn date(date: Date) -> Value {
    json!(date.to_string())
}

fn post(key: &str, fact: String, body: Value) -> Delivery {
    let check = Check::always("document.find", json!({"fact": fact}), "/number");
    Delivery::new(key, "erp", "document.post", body).once(fact).unless(check)
}

fn both(delivery: Delivery, debit: &str, credit: &str, money: Money) -> Result<Delivery, Stop> {
    let (amount, currency) = (money.decimal()?, money.currency.code());
    Ok(delivery.debit(debit, amount, currency).credit(credit, amount, currency))
}

fn journal_system(fact: &str) -> String {
    match fact.rsplit('/').next().and_then(|part| part.parse::<u32>().ok()) {
        Some(part) if part > 1 => format!("fake.journal.{part}"),
        _ => "fake.journal".to_owned(),
    }
}

fn journal_lines(journal: &Journal) -> Value {
    let line = |line: &flow::JournalLine| {
        let side = if line.side == Side::Debit { "debit" } else { "credit" };
        json!([side, line.account, line.amount.to_string(), line.text, line.assignment])
    };
    journal.lines.iter().map(line).collect()
}

impl Erp for Settings {
    const SYSTEM: &'static str = "fake";
    const PAYMENT: &'static str = "fake.payment";
    const JOURNAL: &'static str = "fake.journal";
    const PRODUCTS: &'static str = "products";

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn time_zone(&self) -> &str {
        &self.time_zone
    }

    fn line_sources(&self) -> &[LineSource] {
        &SOURCES
    }

    fn sale(&self, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
        let charge = &sale.charge.id;
        let known = cx.reference(sale.buyer.kind, &sale.buyer.id)?;
        let mut documents = Documents::default();
        if known.id("fake").is_none() {
            documents.new_customer = true;
            let customer = post("customer", fact::customer(&sale.buyer.id), json!({"name": sale.buyer.name}));
            documents =
                documents.deliver(customer.capture(sale.buyer.kind, &sale.buyer.id, "fake", "/number"));
        }
        let lines = sale.lines.iter().map(|(line, row)| {
            let product = row.as_ref().and_then(|row| row.main("product")).or_else(|| line.product.clone());
            json!([product, line.quantity, money(line.total), money(line.tax)])
        });
        if sale.order.is_none() {
            let body = json!({"lines": lines.collect::<Vec<_>>(), "day": date(sale.day)});
            let order = post("order", fact::order(charge), body).capture(
                "stripe.charge",
                charge,
                "fake.order",
                "/number",
            );
            documents = documents.deliver(order).number("fake_order", "order", "/number");
        }
        let body = json!({
            "order": sale.order, "amount": money(sale.captured), "day": date(sale.day), "invoice": sale.invoice,
            "subscription": sale.subscription,
        });
        let payment = post("payment", fact::payment(charge), body);
        let payment = both(payment, "clearing", "receivables", sale.captured)?;
        let payment = payment.capture("stripe.charge", charge, "fake.payment", "/number");
        Ok(documents.deliver(payment).number("fake_payment", "payment", "/number"))
    }

    fn refund(&self, _: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        let reason = refund.reason_row.as_ref().and_then(|row| row.main("reason"));
        let body = json!({"amount": money(refund.amount), "charge": refund.charge.id, "day": date(refund.day),
            "whole": refund.whole, "reason": reason, "payment": refund.posted.id("fake.payment")});
        let delivery =
            both(post("refund", fact::refund(&refund.id), body), "receivables", "clearing", refund.amount)?;
        let delivery = delivery.capture("stripe.refund", &refund.id, "fake.refund", "/number");
        Ok(Documents::default().deliver(delivery).number("fake_refund", "refund", "/number"))
    }

    fn reverse_refund(&self, _: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        let body = json!({"reverses": refund.id, "day": date(refund.day)});
        let fact = fact::refund_reversal(&refund.id);
        let delivery = both(post("refund-reversal", fact, body), "clearing", "receivables", refund.amount)?;
        Ok(Documents::default().deliver(delivery).number(
            "fake_refund_reversal",
            "refund-reversal",
            "/number",
        ))
    }

    fn credit(&self, _: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
        let body = json!({"amount": money(credit.amount), "text": credit.text, "buyer": credit.buyer.id, "day": date(credit.day)});
        let delivery =
            both(post("credit", fact::credit(&credit.id), body), "revenue", "receivables", credit.amount)?;
        Ok(Documents::default().deliver(delivery).number("fake_credit", "credit", "/number"))
    }

    fn journal(&self, _: &Cx<'_>, journal: &Journal) -> Result<Delivery, Stop> {
        let body = json!({"title": journal.title, "reference": journal.reference, "day": date(journal.day), "lines": journal_lines(journal)});
        let delivery = post(&journal.key, journal.fact.clone(), body);
        let (kind, id) = (journal.object.0, &journal.object.1);
        journal.ledger(delivery.capture(kind, id, journal_system(&journal.fact), "/number"))
    }

    fn reverse_journal(&self, _: &Cx<'_>, reversal: &Reversal) -> Result<Delivery, Stop> {
        let lines = journal_lines(&reversal.journal);
        let body = json!({"reverses": reversal.number, "day": date(reversal.day), "lines": lines});
        Ok(post(&reversal.key, reversal.fact.clone(), body))
    }

    fn customer(&self, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
        let known = cx.reference("stripe.customer", &customer.id)?;
        // Stands for what the ERP says.
        if known.id("fake.name").is_some_and(|name| Some(name) == customer.name.as_deref()) {
            return Ok(Documents::default());
        }
        let delivery = post("customer", fact::customer(&customer.id), json!({"name": customer.name}));
        let delivery = delivery.capture("stripe.customer", &customer.id, "fake", "/number");
        Ok(Documents::default().deliver(delivery).number("fake_customer", "customer", "/number"))
    }

    fn block(&self, _: &Cx<'_>, block: &Block) -> Result<Documents, Stop> {
        let Some(order) = block.posted.id("fake.order") else { return Ok(Documents::default()) };
        let body = json!({"order": order, "set": block.set, "reason": block.reason});
        Ok(Documents::default().deliver(post("block", format!("block/{}/{}", block.id, block.set), body)))
    }
}
