//! When a person has to look before a sale is written down.

use super::{Documents, Flow, Sale, settings::is_over};
use crate::{contract::Plan, stop::Stop};

/// The plan, or the hold with it: each reason is a sentence.
pub(super) fn or_hold(plan: Plan, reasons: &[String]) -> Result<Plan, Stop> {
    if reasons.is_empty() { Ok(plan) } else { Err(Stop::hold(reasons.join("; "), plan)) }
}

/// What a person has to decide about a sale.
pub(super) fn of_sale(flow: &Flow, sale: &Sale, documents: &Documents) -> Result<Vec<String>, Stop> {
    let (captured, currency) = (sale.captured, sale.captured.currency);
    let mut reasons = documents.concerns.clone();
    if is_over(captured, &flow.hold.amount_over)? {
        reasons.push(format!("{captured} is over the limit for {currency}"));
    }
    if !flow.hold.currencies.is_empty() && !flow.hold.currencies.iter().any(|code| code == currency.code()) {
        reasons.push(format!("{currency} is not among the allowed currencies"));
    }
    if documents.new_customer && is_over(captured, &flow.hold.new_customer_over)? {
        reasons.push(format!("{captured} is over the limit for a new customer ({})", sale.buyer.name));
    }
    let score = sale.charge.outcome.risk_score;
    if let Some((score, from)) = score.zip(flow.fraud.block_from).filter(|(score, from)| score >= from) {
        reasons.push(format!("Stripe's risk score is {score}, and {from} or more waits for a person"));
    }
    Ok(reasons)
}
