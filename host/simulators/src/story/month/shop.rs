//! Customers come, change and leave; purchases are paid by card or by debit, at once, later, partly or not at all.

use serde_json::{Value, json};

use super::rates::{self, Method};
use super::shapes::{self, Line, Sale};
use super::world::{Movement, World};
use super::{Act, DAY_S, product};
use crate::story::{CUSTOMERS, objects};

const FIRST_NAMES: &[&str] =
    &["Ada", "Grace", "Kenji", "Fatima", "Alan", "Zoë", "José", "Mei", "Olu", "Ingrid", "Bjørn", "Łucja"];
const LAST_NAMES: &[&str] = &[
    "Lovelace",
    "Hopper",
    "Tanaka",
    "Al Sabah",
    "Turing",
    "Müller",
    "García-Núñez",
    "Chen",
    "Okafor",
    "O'Neill",
];

/// Who buys.
pub(super) struct Buyer {
    pub(super) customer: Option<String>,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) country: String,
}

impl World {
    /// A customer that did not exist before.
    pub(super) fn new_customer(&mut self, country: &str) -> String {
        let first = self.dice.pick(FIRST_NAMES).copied().unwrap_or_default();
        let last = self.dice.pick(LAST_NAMES).copied().unwrap_or_default();
        let id = self.id("cus_", 14);
        let tail: String = id.chars().skip(4).take(8).collect();
        let mail = format!("{}.{}@example.com", first.to_lowercase(), tail.to_lowercase());
        let mut customer = objects::customer(&id, &format!("{first} {last}"), &mail, country);
        if let Some(fields) = customer.as_object_mut() {
            fields.insert("created".to_owned(), json!(self.now));
            fields.insert("preferred_locales".to_owned(), json!(["en"]));
        }
        self.put(customer);
        self.tell("customer.created", &id);
        if self.dice.chance(60) {
            let at = self.now + self.dice.between(DAY_S, 9 * DAY_S);
            self.plan(at, Act::MoveHouse { customer: id.clone() });
        }
        id
    }

    pub(super) fn buyer_of(&self, customer: &str) -> Buyer {
        let address = self.field(customer, "address");
        Buyer {
            customer: Some(customer.to_owned()),
            name: self.text(customer, "name"),
            email: self.text(customer, "email"),
            country: super::world::text(&address, "country"),
        }
    }

    fn buyer(&mut self, currency: &str) -> Buyer {
        let country = match currency {
            "eur" => "DE",
            "gbp" => "GB",
            "jpy" => "JP",
            "kwd" => "KW",
            _ => "US",
        };
        match self.dice.below(10) {
            0 => {
                let last = self.dice.pick(LAST_NAMES).copied().unwrap_or_default();
                let email = format!("guest.{}@example.com", self.dice.below(100_000));
                Buyer { customer: None, name: format!("Guest {last}"), email, country: country.to_owned() }
            }
            1..=3 => {
                let known = self.dice.pick(CUSTOMERS).map(|one| one.id).unwrap_or_default();
                self.buyer_of(known)
            }
            4..=6 if self.customers.len() > 8 => {
                let customers = std::mem::take(&mut self.customers);
                let known = self.dice.pick(&customers).cloned().unwrap_or_default();
                self.customers = customers;
                self.buyer_of(&known)
            }
            _ => {
                let id = self.new_customer(country);
                if self.dice.chance(15) {
                    let at = self.now + self.dice.between(10 * DAY_S, 20 * DAY_S);
                    self.plan(at, Act::Leave { customer: id.clone() });
                } else {
                    self.customers.push(id.clone());
                }
                self.buyer_of(&id)
            }
        }
    }

    fn lines(&mut self, currency: &str) -> Vec<Line> {
        let count = if self.dice.chance(25) { 12 } else { self.dice.between(1, 4) };
        let mut lines = Vec::new();
        for _ in 0..count {
            let (id, name, cents) = product(usize::try_from(self.dice.below(4)).unwrap_or(0));
            let quantity = i64::try_from(self.dice.between(1, 3)).unwrap_or(1);
            lines.push((id, name, rates::price(cents, currency), quantity));
        }
        lines
    }

    pub(super) fn purchase(&mut self) {
        let lot = self.dice.below(1_000);
        let currency = rates::currency(lot);
        let buyer = self.buyer(currency);
        let lines = self.lines(currency);
        let method = if currency == "eur" && self.dice.chance(300) { Method::Sepa } else { Method::Card };
        let (has_session, has_metadata) = match self.dice.below(10) {
            0..=5 => (true, false),
            6..=7 => (false, true),
            _ => (false, false),
        };
        let metadata = if has_metadata { metadata(&lines) } else { json!({}) };
        let amount = lines.iter().map(|(.., price, quantity)| price * quantity).sum();
        let sale = self.sale(buyer, (amount, currency, method), metadata);
        let session = has_session.then(|| self.id("cs_test_", 32));
        if let Some(session) = &session {
            let mut object = shapes::session(session, &sale, &lines);
            if let (Some(fields), Method::Card) = (object.as_object_mut(), method) {
                fields.insert("payment_status".to_owned(), json!("paid"));
            }
            self.put(object);
        }
        match (method, self.dice.below(100)) {
            (Method::Sepa, lot) => self.debit(&sale, session, lot < 10),
            (Method::Card, 0..=3) if session.is_none() => self.declined(&sale),
            (Method::Card, 4..=12) if session.is_none() => self.authorise(&sale),
            (Method::Card, _) => self.pay_by_card(&sale, session.as_deref()),
        }
    }

    /// Ids and facts of a sale that happens now.
    pub(super) fn sale(
        &mut self,
        buyer: Buyer,
        (amount, currency, method): (i64, &'static str, Method),
        metadata: Value,
    ) -> Sale {
        let prefix = if method == Method::Card { "ch_3" } else { "py_3" };
        Sale {
            charge: self.id(prefix, 23),
            intent: self.id("pi_3", 23),
            amount,
            currency,
            customer: buyer.customer,
            name: buyer.name,
            email: buyer.email,
            country: buyer.country,
            method,
            created: self.now,
            metadata,
            description: Value::Null,
            invoice: None,
            payment_method: self.id("pm_1", 23),
        }
    }

    /// A card is charged. For some the balance transaction comes later.
    pub(super) fn pay_by_card(&mut self, sale: &Sale, session: Option<&str>) {
        self.put(shapes::intent(sale, "automatic_async"));
        self.put(shapes::charge(sale));
        self.tell("payment_intent.created", &sale.intent);
        let is_late = self.dice.chance(150);
        self.paid(&sale.charge, sale.amount, !is_late);
        self.now += 1;
        self.tell("charge.succeeded", &sale.charge);
        self.patch(&sale.intent, json!({"status": "succeeded", "amount_received": sale.amount}));
        self.tell("payment_intent.succeeded", &sale.intent);
        if let Some(session) = session {
            self.now += 1;
            self.tell("checkout.session.completed", session);
        }
        if is_late {
            self.plan(self.now + 5, Act::Attach { charge: sale.charge.clone() });
        }
        self.foresee(&sale.charge);
    }

    /// The charge has its money.
    fn paid(&mut self, charge: &str, amount: i64, with_balance: bool) {
        let changes =
            json!({"status": "succeeded", "paid": true, "captured": true, "amount_captured": amount});
        self.patch(charge, changes);
        if with_balance {
            let transaction = self.charge_moves(charge);
            self.patch(charge, json!({"balance_transaction": transaction}));
        }
    }

    pub(super) fn attach_late(&mut self, charge: &str) {
        let transaction = self.charge_moves(charge);
        let previous = self.patch(charge, json!({"balance_transaction": transaction}));
        self.tell_change("charge.updated", charge, previous);
    }

    fn charge_moves(&mut self, charge: &str) -> String {
        let (currency, amount) = (self.text(charge, "currency"), self.number(charge, "amount_captured"));
        let method = if charge.starts_with("py_") { Method::Sepa } else { Method::Card };
        let rate = self.rate(&currency);
        let settled = rate.convert(amount);
        let (kind, days) = if method == Method::Card { ("charge", 2) } else { ("payment", 3) };
        let mut movement = Movement::new(kind, "charge", settled, self.midnight_in(days)).of(charge);
        movement.fees = rates::fees(method, settled, &currency);
        movement.rate = Some((&currency, rate));
        self.move_balance(&movement)
    }

    fn declined(&mut self, sale: &Sale) {
        self.put(shapes::intent(sale, "automatic_async"));
        self.put(shapes::charge(sale));
        self.tell("payment_intent.created", &sale.intent);
        let failure = json!({"status": "failed", "failure_code": "card_declined", "failure_message": "Your card was declined."});
        self.patch(&sale.charge, failure);
        self.tell("charge.failed", &sale.charge);
        self.patch(&sale.intent, json!({"status": "requires_payment_method"}));
        self.tell("payment_intent.payment_failed", &sale.intent);
    }

    /// Authorised now, captured later: wholly, partly or never.
    fn authorise(&mut self, sale: &Sale) {
        self.put(shapes::intent(sale, "manual"));
        self.put(shapes::charge(sale));
        self.tell("payment_intent.created", &sale.intent);
        self.patch(&sale.charge, json!({"status": "succeeded", "paid": true}));
        self.tell("charge.succeeded", &sale.charge);
        self.patch(&sale.intent, json!({"status": "requires_capture", "amount_capturable": sale.amount}));
        self.tell("payment_intent.amount_capturable_updated", &sale.intent);
        let charge = sale.charge.clone();
        match self.dice.below(10) {
            0 => self.plan(self.now + 7 * DAY_S, Act::Expire { charge }),
            1..=5 => {
                let part = (sale.amount * 3 / 5).max(1);
                // Dinars end in 0.
                let amount = if sale.currency == "kwd" { part - part % 10 } else { part };
                self.plan(self.now + DAY_S, Act::Capture { charge, amount });
            }
            _ => self.plan(self.now + DAY_S, Act::Capture { charge, amount: sale.amount }),
        }
    }

    pub(super) fn capture(&mut self, charge: &str, amount: i64) {
        self.paid(charge, amount, true);
        self.tell("charge.captured", charge);
        let intent = self.text(charge, "payment_intent");
        let changes = json!({"status": "succeeded", "amount_capturable": 0, "amount_received": amount});
        self.patch(&intent, changes);
        self.tell("payment_intent.succeeded", &intent);
        self.foresee(charge);
    }

    pub(super) fn expire(&mut self, charge: &str) {
        self.tell("charge.expired", charge);
        let intent = self.text(charge, "payment_intent");
        let changes = json!({"status": "canceled", "amount_capturable": 0, "canceled_at": self.now, "cancellation_reason": "automatic"});
        self.patch(&intent, changes);
        self.tell("payment_intent.canceled", &intent);
    }

    /// A debit takes days.
    fn debit(&mut self, sale: &Sale, session: Option<String>, fails: bool) {
        self.put(shapes::intent(sale, "automatic_async"));
        self.put(shapes::charge(sale));
        self.tell("payment_intent.created", &sale.intent);
        self.tell("payment_intent.processing", &sale.intent);
        self.tell("charge.pending", &sale.charge);
        if let Some(session) = &session {
            self.now += 1;
            self.tell("checkout.session.completed", session);
        }
        let at = self.now + self.dice.between(3 * DAY_S, 5 * DAY_S);
        self.plan(at, Act::Settle { charge: sale.charge.clone(), session, fails });
    }

    pub(super) fn settle(&mut self, charge: &str, session: Option<&str>, fails: bool) {
        let intent = self.text(charge, "payment_intent");
        if fails {
            self.patch(charge, json!({"status": "failed", "failure_code": "insufficient_funds"}));
            self.tell("charge.failed", charge);
            self.patch(&intent, json!({"status": "requires_payment_method"}));
            self.tell("payment_intent.payment_failed", &intent);
            if let Some(session) = session {
                self.tell("checkout.session.async_payment_failed", session);
            }
            return;
        }
        let amount = self.number(charge, "amount");
        self.paid(charge, amount, true);
        self.tell("charge.succeeded", charge);
        self.patch(&intent, json!({"status": "succeeded", "amount_received": amount}));
        self.tell("payment_intent.succeeded", &intent);
        if let Some(session) = session {
            self.patch(session, json!({"payment_status": "paid"}));
            self.tell("checkout.session.async_payment_succeeded", session);
        }
        self.foresee(charge);
    }

    pub(super) fn move_house(&mut self, customer: &str) {
        if self.field(customer, "deleted") == json!(true) {
            return;
        }
        let address = json!({"city": "Bonn", "country": "DE", "line1": "Adenauerallee 1", "line2": null, "postal_code": "53113", "state": null});
        let previous = self.patch(customer, json!({"address": address, "phone": "+49 228 555000"}));
        self.tell_change("customer.updated", customer, previous);
    }

    pub(super) fn leave(&mut self, customer: &str) {
        self.tell("customer.deleted", customer);
        self.put(json!({"id": customer, "object": "customer", "deleted": true}));
    }
}

/// Lines as a shop writes them into metadata; what does not fit into a value of metadata is left to one line.
fn metadata(lines: &[Line]) -> Value {
    let row = |(product, name, price, quantity): &Line| json!({"product": product, "description": name, "quantity": quantity, "amount": price * quantity});
    let text = Value::Array(lines.iter().map(row).collect()).to_string();
    if text.len() > 500 {
        json!({"shop": "portolan-demo"})
    } else {
        json!({"shop": "portolan-demo", "lines": text})
    }
}
