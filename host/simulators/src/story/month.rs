//! A month of business of one account, told as Stripe would: every object, every event, every unit of money.
//!
//! Called by the Stripe simulator (`POST /_simulator/month`), by tests and by the demo. The same settings give the same
//! bytes; nothing here looks at a clock. Four weeks are played day by day from an agenda: purchases, captures, refunds,
//! disputes, subscriptions and payouts put their own consequences onto it, and each step changes objects and tells
//! events as it happens. What would happen after the four weeks does not happen: some money stays in the balance, some
//! payouts stay on their way, as in life.
//!
//! | module | what happens there |
//! |---|---|
//! | `shop` | customers, purchases, captures |
//! | `trouble` | refunds, disputes, warnings, reviews |
//! | `subscriptions`, `invoices` | recurring business |
//! | `payouts` | money leaves the balance |
//! | `world` | the account and its agenda |
//! | `rates`, `dice`, `shapes` | money, chance, JSON |

use serde_json::{Value, json};

use super::PRODUCTS;

pub(crate) mod dice;
mod invoices;
mod payouts;
mod rates;
mod shapes;
mod shop;
mod subscriptions;
mod trouble;
mod world;

use world::World;

/// Days of the month.
pub const DAYS: u64 = 28;
/// Seconds of a day.
pub(crate) const DAY_S: u64 = 86_400;
/// The most charges of one month.
pub const CHARGES_MAX: usize = 20_000;
/// The version in which events are told before a webhook endpoint wants them otherwise.
pub(crate) const API_VERSION: &str = "2026-07-29.dahlia";
/// 2026-11-01 00:00 UTC: when the month begins if nothing else is said.
pub const MONTH_START: u64 = 1_793_491_200;

/// What month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonthSettings {
    /// Another seed, another month.
    pub seed: u64,
    /// About how many charges: a tenth of them come from subscriptions.
    pub charges: usize,
    /// When it begins, in Unix seconds; moved back to midnight UTC.
    pub start: u64,
}

impl Default for MonthSettings {
    fn default() -> Self {
        Self { seed: 1, charges: 2_000, start: MONTH_START }
    }
}

/// The month as it was.
#[derive(Clone, Debug)]
pub struct Month {
    /// What was asked for.
    pub settings: MonthSettings,
    /// Every object as it stands at the end. `_simulator` inside holds what Stripe does not show: the payout of a
    /// balance transaction, and what objects had before API version 2025-03-31.basil.
    pub objects: Vec<Value>,
    /// Every event, oldest first, with the object as it was at its time.
    pub events: Vec<MonthEvent>,
}

/// An event of the month. Kept as text: thousands of them would not fit into memory otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthEvent {
    /// `evt_…`
    pub id: String,
    /// `charge.succeeded`
    pub kind: String,
    /// Unix seconds.
    pub created: u64,
    /// The event as JSON, `_simulator` inside its object.
    pub text: String,
}

/// What is still to happen.
#[derive(Clone, Debug)]
enum Act {
    Purchase,
    Capture { charge: String, amount: i64 },
    Expire { charge: String },
    Settle { charge: String, session: Option<String>, fails: bool },
    Attach { charge: String },
    Refund { charge: String, amount: Option<i64>, reason: Option<&'static str>, fails: bool },
    RefundSucceeds { refund: String },
    RefundFails { refund: String },
    Dispute { charge: String, inquiry: bool },
    DisputeEnds { dispute: String },
    Warn { charge: String },
    ReviewEnds { review: String, charge: String },
    MoveHouse { customer: String },
    Leave { customer: String },
    Subscribe { scenario: usize },
    Bill { subscription: String, retried: bool },
    Upgrade { subscription: String },
    Pause { subscription: String },
    Resume { subscription: String },
    Cancel { subscription: String },
    TrialWillEnd { subscription: String },
    TrialEnds { subscription: String },
    VoidInvoice { customer: String },
    Credit { invoice: String, refunded: bool },
    AccountFee,
    Payout { automatic: bool },
    PayoutReconciled { payout: String },
    PayoutArrives { payout: String },
    PayoutFails { payout: String },
}

impl Month {
    /// Plays a month.
    #[must_use]
    pub fn play(settings: MonthSettings) -> Self {
        let start = settings.start - settings.start % DAY_S;
        let settings = MonthSettings { charges: settings.charges.min(CHARGES_MAX), start, ..settings };
        let mut world = World::new(settings.seed, start, start + DAYS * DAY_S);
        world.open_shop();
        world.fill_agenda(settings.charges);
        while let Some(act) = world.next() {
            world.carry_out(act);
        }
        let World { objects, mut events, .. } = world;
        // A step tells several events within seconds; other steps may fall between them.
        events.sort_by_key(|event| event.created);
        Self { settings, objects: objects.into_values().collect(), events }
    }
}

impl World {
    fn open_shop(&mut self) {
        for mut object in super::demo_catalogue() {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("created".to_owned(), json!(self.start - 30 * DAY_S));
            }
            let id = self.put(object);
            if id.starts_with("cus_") {
                self.customers.push(id);
            }
        }
        for price in shapes::prices(self.start - 30 * DAY_S) {
            self.put(price);
        }
    }

    fn fill_agenda(&mut self, charges: usize) {
        let span = self.end - self.start - 3_600;
        let subscriptions = (charges / 10).max(subscriptions::SCENARIOS);
        for _ in 0..charges.saturating_sub(subscriptions).max(1) {
            let at = self.start + self.dice.below(span);
            self.plan(at, Act::Purchase);
        }
        for number in 0..subscriptions {
            let at = self.start + 600 + self.dice.below(5 * DAY_S);
            self.plan(at, Act::Subscribe { scenario: number % subscriptions::SCENARIOS });
        }
        for day in 1..DAYS {
            self.plan(self.start + day * DAY_S + 6 * 3_600, Act::Payout { automatic: true });
            if day % 7 == 0 {
                self.plan(self.start + day * DAY_S + 3_600, Act::AccountFee);
            }
        }
        self.plan(self.start + 14 * DAY_S + 5 * 3_600, Act::Payout { automatic: false });
    }

    fn carry_out(&mut self, act: Act) {
        match act {
            Act::Purchase => self.purchase(),
            Act::Capture { charge, amount } => self.capture(&charge, amount),
            Act::Expire { charge } => self.expire(&charge),
            Act::Settle { charge, session, fails } => self.settle(&charge, session.as_deref(), fails),
            Act::Attach { charge } => self.attach_late(&charge),
            Act::Refund { charge, amount, reason, fails } => {
                self.refund(&charge, amount, reason, fails);
            }
            Act::RefundSucceeds { refund } => self.refund_succeeds(&refund),
            Act::RefundFails { refund } => self.refund_fails(&refund),
            Act::Dispute { charge, inquiry } => self.dispute(&charge, inquiry),
            Act::DisputeEnds { dispute } => self.dispute_ends(&dispute),
            Act::Warn { charge } => self.warn(&charge),
            Act::ReviewEnds { review, charge } => self.review_ends(&review, &charge),
            Act::MoveHouse { customer } => self.move_house(&customer),
            Act::Leave { customer } => self.leave(&customer),
            Act::Subscribe { scenario } => self.subscribe(scenario),
            Act::Bill { subscription, retried } => self.bill(&subscription, retried),
            Act::Upgrade { subscription } => self.upgrade(&subscription),
            Act::Pause { subscription } => self.pause(&subscription),
            Act::Resume { subscription } => self.resume(&subscription),
            Act::Cancel { subscription } => self.cancel(&subscription),
            Act::TrialWillEnd { subscription } => {
                self.tell("customer.subscription.trial_will_end", &subscription)
            }
            Act::TrialEnds { subscription } => self.trial_ends(&subscription),
            Act::VoidInvoice { customer } => self.void_invoice(&customer),
            Act::Credit { invoice, refunded } => self.credit(&invoice, refunded),
            Act::AccountFee => self.account_fee(),
            Act::Payout { automatic } => self.pay_out(automatic),
            Act::PayoutReconciled { payout } => self.payout_reconciled(&payout),
            Act::PayoutArrives { payout } => self.payout_arrives(&payout),
            Act::PayoutFails { payout } => self.payout_fails(&payout),
        }
    }
}

/// A product by place, for lines.
fn product(place: usize) -> (&'static str, &'static str, i64) {
    const CENTS: [i64; 4] = [2_499, 1_999, 50, 12_000];
    let at = place % PRODUCTS.len();
    let product = PRODUCTS.get(at);
    (product.map_or("", |p| p.id), product.map_or("", |p| p.name), CENTS.get(at).copied().unwrap_or(100))
}
