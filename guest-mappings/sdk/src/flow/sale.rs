//! Order-to-cash. A charge's success, its capture, its change, its payment intent's success, its checkout session's
//! completion and its invoice's payment all come to the same sale, made of the charge as Stripe has it; which of
//! them came first makes no difference, and of all of them one document follows.

use super::{
    Erp, Fees, Flow, Journal, JournalLine, Sale, charge_of_intent, charge_of_invoice, charge_question, day,
    fact, holds, known, read, tell,
};
use crate::{
    Cx, Stop,
    ask::{self, Counterparts, Question},
    contract::{Plan, Severity, Side},
    money::Money,
    prelude::{At, json},
    short,
    stripe::{
        BalanceTransaction, Buyer, Charge, CheckoutSession, Customer, Event, Invoice, LineAnswers, Lines,
        PaymentIntent,
    },
};

/// `charge.succeeded`, `charge.captured`
pub(super) fn of_charge<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let event: Event<Charge> = read(cx, erp.flow())?;
    sale(cx, erp, event.object)
}

/// What of a charge matters to its documents.
const MATTERS: [&str; 5] = ["amount_captured", "balance_transaction", "captured", "paid", "status"];

/// `charge.updated`
pub(super) fn of_changed_charge<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let event: Event<Charge> = read(cx, erp.flow())?;
    if event.is_echo() {
        return Err(Stop::skip("caused by Portolan itself"));
    }
    if !event.changed(&MATTERS) {
        return Err(Stop::skip("nothing changed that matters to documents"));
    }
    sale(cx, erp, event.object)
}

/// `payment_intent.succeeded`
pub(super) fn of_intent<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let intent: PaymentIntent = read(cx, erp.flow())?.object;
    let charge = match intent.charge() {
        Some(charge) => Some(known(cx.all(charge_question(charge))?, charge)?),
        None => charge_of_intent(cx, &intent.id)?,
    };
    sale(cx, erp, charge.ok_or_else(|| Stop::skip(format!("{} has no captured charge", intent.id)))?)
}

/// `checkout.session.completed`, `.async_payment_succeeded`
pub(super) fn of_session<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let session: CheckoutSession = read(cx, erp.flow())?.object;
    if session.payment_status != "paid" {
        let status = &session.payment_status;
        return Err(Stop::skip(format!("{} is {status}, not paid: no money has moved", session.id)));
    }
    let charge = match (&session.payment_intent, &session.invoice) {
        (Some(intent), _) => charge_of_intent(cx, intent)?.ok_or_else(|| {
            Stop::skip(format!("the payment of {} is not captured: no money has moved", session.id))
        })?,
        (None, Some(invoice)) => {
            let invoice: Option<Invoice> =
                cx.query(super::STRIPE, "invoice.get", json!({"id": &**invoice}))?;
            let invoice = known(invoice, &session.id)?;
            charge_of_invoice(cx, &invoice)?.map_err(Stop::skip)?
        }
        (None, None) => return Err(Stop::skip(format!("{} took no payment", session.id))),
    };
    sale(cx, erp, charge)
}

/// `invoice.paid`
pub(super) fn of_invoice<E: Erp>(cx: &Cx<'_>, erp: &E) -> Result<Plan, Stop> {
    let invoice: Invoice = read(cx, erp.flow())?.object;
    let charge = charge_of_invoice(cx, &invoice)?.map_err(Stop::skip)?;
    sale(cx, erp, charge)
}

/// A charge's fee: what is asked for it, where fees are posted with their charges.
type FeeQuestions = (Question<BalanceTransaction>, ask::ReferenceQuestion);

fn fee_questions(flow: &Flow, charge: &Charge) -> Option<FeeQuestions> {
    let transaction = charge.balance_transaction.as_deref().filter(|_| flow.fees == Fees::WithCharge)?;
    let query = ask::query(super::STRIPE, "balance-transaction.get", json!({"id": transaction}));
    Some((query, ask::reference("stripe.balance-transaction", transaction)))
}

fn sale<E: Erp>(cx: &Cx<'_>, erp: &E, charge: Charge) -> Result<Plan, Stop> {
    let flow = erp.flow();
    if !matches!(charge.status.as_str(), "succeeded" | "") {
        return Err(Stop::skip(format!("{} is {}: no money has moved", charge.id, charge.status)));
    }
    let captured = charge.captured()?;
    let day = day(erp, charge.created).at("/data/object/created")?;
    let buyer = charge.customer.as_deref();
    let (customer, answers, fee) = cx.all((
        buyer.map(|id| ask::query::<Customer>(super::STRIPE, "customer.get", json!({"id": id}))),
        Lines::ask(&charge, super::STRIPE, erp.line_sources()),
        fee_questions(flow, &charge),
    ))?;
    let (order, invoice, subscription) = told_by(flow, &charge, &answers);
    let lines = Lines::of(&charge, answers, erp.line_sources())?;
    let reduced = lines.reduced;
    let rows = cx.all(lines.row_questions(E::PRODUCTS))?;
    let customer = customer.flatten();
    let sale = Sale {
        captured,
        day,
        buyer: Buyer::of(&charge, customer.as_ref()),
        customer,
        lines: lines.with_rows(rows),
        order,
        invoice,
        subscription,
        charge,
    };
    let documents = erp.sale(cx, &sale)?;
    let reasons = holds::of_sale(flow, &sale, &documents)?;
    let numbers = documents.numbers.clone();
    let mut plan = tell::plan(documents, &sale.charge.id);
    let id = sale.charge.id.as_str();
    let told = tell::Told { kind: "sale", object: "charge", id, status: "posted", about: id };
    plan = tell::tell(plan, flow, &told, &numbers);
    if let Some(journal) = fee.map(|fee| fee_journal(erp, &sale.charge.id, fee)).transpose()?.flatten() {
        plan = plan.deliver(erp.journal(cx, &journal)?);
    }
    holds::or_hold(if reduced { tell_reduced(plan, &sale) } else { plan }, &reasons)
}

/// The order that metadata name, the invoice and the subscription.
fn told_by(
    flow: &Flow,
    charge: &Charge,
    answers: &LineAnswers,
) -> (Option<String>, Option<String>, Option<String>) {
    let (session, invoice) = (answers.session(), answers.invoice());
    let metadata = [
        Some(&charge.metadata),
        session.map(|session| &session.metadata),
        invoice.map(|invoice| &invoice.metadata),
    ];
    let named = |key: &String| {
        let mut texts = metadata.iter().flatten().filter_map(|metadata| metadata.get(key));
        texts.find(|text| !text.trim().is_empty()).map(|text| text.trim().to_owned())
    };
    let subscription = invoice.and_then(Invoice::subscription).map(str::to_owned);
    let paid = charge.invoice.as_deref().map(str::to_owned);
    (
        flow.order_metadata.iter().find_map(named),
        paid.or_else(|| invoice.map(|invoice| invoice.id.clone())),
        subscription.or_else(|| session?.subscription.as_ref().map(|subscription| subscription.to_string())),
    )
}

/// The journal of a fee, unless there is none, or the ERP has it (its payout may have brought it).
fn fee_journal<E: Erp>(
    erp: &E,
    charge: &str,
    (transaction, posted): (Option<BalanceTransaction>, Counterparts),
) -> Result<Option<Journal>, Stop> {
    let Some(transaction) = transaction.filter(|row| row.fee != 0 && posted.id(E::JOURNAL).is_none()) else {
        return Ok(None);
    };
    journal_of_fee(erp, charge, &transaction, "fee".to_owned()).map(Some)
}

/// Fee accounts to the clearing account, in the currency of settlement.
pub(super) fn journal_of_fee<E: Erp>(
    erp: &E,
    charge: &str,
    transaction: &BalanceTransaction,
    key: String,
) -> Result<Journal, Stop> {
    let accounts = &erp.flow().accounts;
    let currency = transaction.currency;
    let fees = transaction.fees().ok_or_else(|| {
        let text = format!("the parts of the fee of {} do not add up to {}", transaction.id, transaction.fee);
        Stop::reject("", "fee-does-not-add-up", text)
    })?;
    let mut lines = Lined::new(&transaction.id, Some(short::reference(charge)));
    for (kind, fee) in fees {
        lines.add(accounts.fee(kind)?, Money::new(fee, currency));
    }
    let clearing = accounts.named("clearing", accounts.clearing.as_ref(), currency)?;
    lines.add(clearing, Money::new(-transaction.fee, currency));
    Ok(Journal {
        key,
        fact: fact::transaction("fee", &transaction.id),
        object: ("stripe.balance-transaction", transaction.id.clone()),
        reference: transaction.id.clone(),
        title: "Stripe fee".to_owned(),
        day: day(erp, transaction.created)?,
        lines: lines.lines,
    })
}

/// Lines of a journal that share text and assignment.
pub(super) struct Lined<'a> {
    text: &'a str,
    assignment: Option<String>,
    pub(super) lines: Vec<JournalLine>,
}

impl<'a> Lined<'a> {
    pub(super) fn new(text: &'a str, assignment: Option<String>) -> Self {
        Self { text, assignment, lines: Vec::new() }
    }

    /// A debit; below zero a credit; nothing, when it is zero.
    pub(super) fn add(&mut self, account: &str, debit: Money) {
        self.lines.extend(line(account, debit, self.text, self.assignment.clone()));
    }
}

/// A line on its side. Zero is no line.
pub(super) fn line(
    account: &str,
    debit: Money,
    text: &str,
    assignment: Option<String>,
) -> Option<JournalLine> {
    (debit.minor != 0).then(|| JournalLine {
        account: account.to_owned(),
        side: if debit.minor > 0 { Side::Debit } else { Side::Credit },
        amount: Money::new(debit.minor.saturating_abs(), debit.currency),
        text: text.chars().take(50).collect(),
        assignment,
    })
}

fn tell_reduced(plan: Plan, sale: &Sale) -> Plan {
    let detail =
        json!({"charge": sale.charge.id, "authorized": sale.charge.amount, "captured": sale.captured.minor});
    plan.alert(
        Severity::Info,
        "partial-capture",
        "The lines of a partly captured charge were reduced",
        &detail,
    )
}
