//! The flows of business from Stripe to an ERP, said once: which events tell which economic fact, what must be
//! known of it, when a person has to look, and what goes back to Stripe. What is left to a module is its ERP's
//! side: how a sale, a refund, a journal, a customer or a block is written down there ([`Erp`]).
//!
//! Every call that books something names its economic fact ([`fact`]), so that of the many events that tell it
//! (a charge's success, its payment intent's, its checkout session's, its invoice's) one makes the document and the
//! others take its number. A module therefore returns the whole of what should exist each time, and never asks
//! itself which event came first.

mod asked;
mod billing;
mod customer;
mod describe;
mod dispute;
pub mod fact;
mod fraud;
mod holds;
mod payout;
mod refund;
mod sale;
mod settings;
mod tell;

use asked::{charge_of_intent, charge_of_invoice, charge_question, day, event_day, known, read};
pub use describe::describe;
pub use settings::{
    Account, Accounts, Customers, Fees, Flow, Fraud, Holds, Notify, PayoutLines, Payouts, Unmatched,
    settings_schema,
};

use crate::{
    Cx, Stop,
    ask::Row,
    contract::{Delivery, Plan, Side},
    date::Date,
    money::{Decimal, Money},
    stripe::{Buyer, Charge, Customer, Line, LineSource},
};

/// An ERP's side of the flows. Implemented on a module's settings.
///
/// Every method may ask for facts through `cx` and `?`; it is called again with the answers. Deliveries go through
/// the connection `erp`, carry `once` (a [`fact`]), an existence check, and the ledger lines they stand for.
pub trait Erp {
    /// The system's name, as in references: `sap-ecc`.
    const SYSTEM: &'static str;
    /// Under which system a charge's payment is remembered: a charge that has it was posted. `sap-ecc.fi`
    const PAYMENT: &'static str;
    /// Under which system a journal is remembered: `sap-ecc.journal`.
    const JOURNAL: &'static str;
    /// The lookup table from Stripe products to the ERP's: `materials`.
    const PRODUCTS: &'static str;

    /// What the tenant chose of the flows.
    fn flow(&self) -> &Flow;
    /// Where documents are dated.
    fn time_zone(&self) -> &str;
    /// Where lines are looked for.
    fn line_sources(&self) -> &[LineSource];

    /// A captured charge: customer (found, or created), order or invoice (or the one named), payment.
    ///
    /// # Errors
    /// A need, or why the sale cannot be written down.
    fn sale(&self, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop>;

    /// Money given back for a charge that the ERP has: a credit memo or a reversed payment.
    ///
    /// # Errors
    /// A need, or why it cannot be written down.
    fn refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop>;

    /// A refund that the ERP has, and that failed: its document is reversed.
    ///
    /// # Errors
    /// A need, or why it cannot be reversed.
    fn reverse_refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop>;

    /// A credit note without money: what was invoiced is taken back.
    ///
    /// # Errors
    /// A need, or why it cannot be written down.
    fn credit(&self, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop>;

    /// A balanced general ledger document: fees, disputes, payouts, conversions.
    ///
    /// # Errors
    /// A need, or why it cannot be written down.
    fn journal(&self, cx: &Cx<'_>, journal: &Journal) -> Result<Delivery, Stop>;

    /// A journal that the ERP has is reversed.
    ///
    /// # Errors
    /// A need, or why it cannot be reversed.
    fn reverse_journal(&self, cx: &Cx<'_>, reversal: &Reversal) -> Result<Delivery, Stop>;

    /// A customer as Stripe knows it now. Nothing to do (the ERP says the same) is no document.
    ///
    /// # Errors
    /// A need, or why it cannot be written down.
    fn customer(&self, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop>;

    /// The documents of a charge are blocked (no shipment, no invoice), or a block is lifted.
    ///
    /// # Errors
    /// A need, or why it cannot be done.
    fn block(&self, cx: &Cx<'_>, block: &Block) -> Result<Documents, Stop>;
}

/// What an ERP's side returns.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// The calls, in an order in which they can be made.
    pub deliveries: Vec<Delivery>,
    /// The numbers of documents, for whoever is told.
    pub numbers: Vec<Number>,
    /// References that are known already: kind, id, system, counterpart.
    pub references: Vec<[String; 4]>,
    /// Whether the customer is made by these deliveries: a limit for new customers applies.
    pub new_customer: bool,
    /// What a person has to decide before anything is sent, in one sentence each.
    pub concerns: Vec<String>,
}

/// A document's number, to be written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// As metadata name it: `sap_ecc_order`. At most 40 characters.
    pub name: &'static str,
    /// Key of the delivery whose response brings it.
    pub delivery: String,
    /// JSON Pointer into that response.
    pub pointer: String,
}

/// A captured charge with all that its documents are made of.
#[derive(Debug, Clone)]
pub struct Sale {
    /// The charge.
    pub charge: Charge,
    /// What was captured.
    pub captured: Money,
    /// When, in the tenant's time zone.
    pub day: Date,
    /// Who bought.
    pub buyer: Buyer,
    /// What Stripe knows of the customer; a guest is none.
    pub customer: Option<Customer>,
    /// What was bought, with the row of [`Erp::PRODUCTS`] for each.
    pub lines: Vec<(Line, Option<Row>)>,
    /// The order that metadata name: it is found, not created.
    pub order: Option<String>,
    /// The Stripe invoice it paid.
    pub invoice: Option<String>,
    /// The subscription it paid for.
    pub subscription: Option<String>,
}

/// Money given back, wholly or in part.
#[derive(Debug, Clone)]
pub struct Refund {
    /// `re_…`
    pub id: String,
    /// How much.
    pub amount: Money,
    /// Stripe's reason: `duplicate`, `fraudulent`, `requested_by_customer`, …
    pub reason: Option<String>,
    /// The row of the lookup table `reasons` for it.
    pub reason_row: Option<Row>,
    /// When, in the tenant's time zone.
    pub day: Date,
    /// The charge it gives back.
    pub charge: Charge,
    /// Whether it gives back, at once, all that was captured.
    pub whole: bool,
    /// What the ERP's systems know of the charge: ids by system.
    pub posted: crate::ask::Counterparts,
}

/// A credit note: what was invoiced is taken back, without money.
#[derive(Debug, Clone)]
pub struct Credit {
    /// `cn_…`
    pub id: String,
    /// How much.
    pub amount: Money,
    /// For people.
    pub text: String,
    /// Stripe's reason.
    pub reason: Option<String>,
    /// The row of the lookup table `reasons` for it.
    pub reason_row: Option<Row>,
    /// When, in the tenant's time zone.
    pub day: Date,
    /// Who is credited.
    pub buyer: Buyer,
    /// The charge that paid what is credited, if any, and what the ERP's systems know of it.
    pub posted: crate::ask::Counterparts,
}

/// A balanced general ledger document. All lines have one currency.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Key of its delivery in the plan.
    pub key: String,
    /// What it records: see [`fact`].
    pub fact: String,
    /// The object that it is remembered under: kind and id (`stripe.payout`, `po_…`).
    pub object: (&'static str, String),
    /// Stripe's id that the document carries, in full and as short reference: `po_…`, `txn_…`.
    pub reference: String,
    /// For people, at most 25 characters.
    pub title: String,
    /// When, in the tenant's time zone.
    pub day: Date,
    /// The lines; debits equal credits.
    pub lines: Vec<JournalLine>,
}

/// One line of a [`Journal`].
#[derive(Debug, Clone)]
pub struct JournalLine {
    /// The account, in the ERP's words, as the tenant's settings name it.
    pub account: String,
    /// Debit or credit.
    pub side: Side,
    /// Not negative.
    pub amount: Money,
    /// What it is about, at most 50 characters: a Stripe id.
    pub text: String,
    /// What it is matched by in the ledger, at most 18 characters: a short reference.
    pub assignment: Option<String>,
}

/// A journal to be reversed.
#[derive(Debug, Clone)]
pub struct Reversal {
    /// Key of its delivery in the plan.
    pub key: String,
    /// What it records: see [`fact`].
    pub fact: String,
    /// The journal as it was posted; its lines are reversed where the ERP cannot reverse a document by its number.
    pub journal: Journal,
    /// The number of the document, as remembered.
    pub number: String,
    /// When, in the tenant's time zone.
    pub day: Date,
}

/// A block on a charge's documents.
#[derive(Debug, Clone)]
pub struct Block {
    /// What it rests on: `issfr_…`, `prv_…`, `re_…`.
    pub id: String,
    /// Set or lifted.
    pub set: bool,
    /// For people, in one sentence.
    pub reason: String,
    /// The charge.
    pub charge: Charge,
    /// What the ERP's systems know of it: ids by system.
    pub posted: crate::ask::Counterparts,
}

/// What follows from a Stripe event: asks, decides, and has the ERP's side write it down.
///
/// # Errors
/// Every end that is not a plan to carry out: missing facts, a skip, a wait, a hold, a refusal.
pub fn map<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    // Thin events of Stripe's own v1 objects carry the version in their type.
    let kind = cx.event().kind.as_str();
    match kind.strip_prefix("v1.").unwrap_or(kind) {
        "charge.succeeded" | "charge.captured" => sale::of_charge(cx, erp),
        "charge.updated" => sale::of_changed_charge(cx, erp),
        "payment_intent.succeeded" => sale::of_intent(cx, erp),
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            sale::of_session(cx, erp)
        }
        "invoice.paid" => sale::of_invoice(cx, erp),
        "charge.refunded" => refund::of_charge(cx, erp),
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            refund::of_refund(cx, erp)
        }
        "charge.dispute.funds_withdrawn" | "charge.dispute.funds_reinstated" => dispute::moved(cx, erp),
        "charge.dispute.created" | "charge.dispute.closed" => dispute::told(cx, erp),
        "customer.created" => customer::changed(cx, erp, true),
        "customer.updated" => customer::changed(cx, erp, false),
        "customer.deleted" => customer::deleted(cx, erp),
        "invoice.voided" => billing::voided(cx, erp),
        "credit_note.created" => billing::credited(cx, erp),
        "customer.subscription.created"
        | "customer.subscription.updated"
        | "customer.subscription.deleted"
        | "customer.subscription.paused"
        | "customer.subscription.resumed" => billing::subscribed(cx, erp),
        "payout.reconciliation_completed" => payout::reconciled(cx, erp),
        "payout.paid" => payout::paid(cx, erp),
        "payout.failed" | "payout.canceled" => payout::failed(cx, erp),
        "radar.early_fraud_warning.created" => fraud::warned(cx, erp),
        "review.opened" | "review.closed" => fraud::reviewed(cx, erp),
        other => Err(Stop::skip(format!("{other} is not among the events of the flows"))),
    }
}

/// The modules' name for Stripe's API.
const STRIPE: &str = "stripe";
/// The modules' name for whoever else is told.
const NOTIFY: &str = "notify";
/// Stripe's reason of a refund to the ERP's.
const REASONS: &str = "reasons";

impl Documents {
    /// One more call.
    #[must_use]
    pub fn deliver(mut self, delivery: Delivery) -> Self {
        self.deliveries.push(delivery);
        self
    }

    /// A number to write back: its name, the delivery, and where its response has it.
    #[must_use]
    pub fn number(mut self, name: &'static str, delivery: &str, pointer: &str) -> Self {
        self.numbers.push(Number { name, delivery: delivery.to_owned(), pointer: pointer.to_owned() });
        self
    }
}

impl Journal {
    /// The lines as ledger lines of its delivery.
    ///
    /// # Errors
    /// An amount that is no decimal of its currency.
    pub fn ledger(&self, mut delivery: Delivery) -> Result<Delivery, Stop> {
        for line in &self.lines {
            let (amount, currency): (Decimal, _) =
                (line.amount.decimal()?, line.amount.currency.code().to_owned());
            delivery = match line.side {
                Side::Debit => delivery.debit(&line.account, amount, currency),
                Side::Credit => delivery.credit(&line.account, amount, currency),
            };
        }
        Ok(delivery)
    }
}
