//! What the demo prints: a table row by row, or one JSON object; progress and the invitation go to stderr.

use std::{io::Write, path::Path};

use portolan::stage::Tenant;
use serde_json::{Value, json};

use super::{Cast, Output, judge::natural, play::End};

/// Prints ends as they come.
pub(crate) struct Printer {
    output: Output,
}

impl Printer {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(crate) fn open(&mut self, _: &[Tenant]) {
        if self.output == Output::Text {
            println!("{}", line(["event", "tenant", "charge", "outcome", "documents", "ms"]));
            println!("{}", "─".repeat(140));
        }
    }

    pub(crate) fn row(&mut self, tenants: &[Tenant], end: &End) {
        if self.output == Output::Json {
            return;
        }
        let amount = format!("{} {}", natural(end.charge.amount, end.charge.currency), end.charge.currency);
        let documents = end.documents.iter().map(|(name, number)| format!("{name} {number}"));
        let mut documents = documents.collect::<Vec<_>>().join(", ");
        if documents.is_empty() {
            documents = format!("({})", end.note);
        }
        let mark = if end.outcome == end.expected { "" } else { "  ✗" };
        let tenant = tenants.get(end.tenant).map(|tenant| tenant.name.as_str()).unwrap_or_default();
        let ms = end.ms.map(|ms| ms.to_string()).unwrap_or_default();
        let event = end.event.as_deref().unwrap_or("–");
        println!("{}{mark}", line([event, tenant, &amount, &end.outcome, &documents, &ms]));
    }

    pub(crate) fn close(
        &mut self,
        cast: &Cast,
        tenants: &[Tenant],
        ends: &[End],
        findings: &[String],
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Text => {
                println!();
                if findings.is_empty() {
                    println!(
                        "All {} requests reached their right end. The stand-ins' own ledgers hold every document \
                         once, and every currency to the unit.",
                        ends.len()
                    );
                }
                for finding in findings {
                    println!("✗ {finding}");
                }
            }
            Output::Json => println!("{}", facts(cast, tenants, ends, findings)),
        }
        Ok(std::io::stdout().flush()?)
    }
}

fn facts(cast: &Cast, tenants: &[Tenant], ends: &[End], findings: &[String]) -> Value {
    let events: Vec<Value> = ends
        .iter()
        .map(|end| {
            let documents =
                end.documents.iter().map(|(kind, number)| json!({ "kind": kind, "number": number }));
            json!({
                "event": end.event,
                "tenant": tenants.get(end.tenant).map(|tenant| tenant.name.clone()),
                "charge": end.charge.id,
                "amount": natural(end.charge.amount, end.charge.currency).to_string(),
                "currency": end.charge.currency,
                "note": end.note,
                "outcome": end.outcome,
                "expected": end.expected,
                "documents": documents.collect::<Vec<_>>(),
                "ms": end.ms,
            })
        })
        .collect();
    json!({
        "host": cast.operator.base(),
        "stripe": cast.stripe.url(),
        "sap-ecc": cast.sap.url(),
        "epicor": cast.epicor.url(),
        "sage-pro": cast.sage.url(),
        "events": events,
        "findings": findings,
        "ok": findings.is_empty(),
    })
}

fn line([event, tenant, charge, outcome, documents, ms]: [&str; 6]) -> String {
    format!("{event:<30}  {tenant:<20} {charge:>13}  {outcome:<10} {documents:<52} {ms:>5}")
}

/// Says what is being done, to people.
#[expect(clippy::print_stderr, reason = "progress is for people, data on stdout may be for programs")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// Says what can be looked at while the demo stays up.
pub(crate) fn invitation(cast: &Cast, tenants: &[Tenant], folder: &Path) {
    let host = cast.operator.base();
    let stand_ins = [&cast.stripe, &cast.sap, &cast.epicor, &cast.sage];
    let mut text = format!("\nThe host is at {host} (health: {host}/readyz, metrics: {host}/metrics).\n");
    for stand_in in stand_ins {
        text.push_str(&format!("  {:<9} {}/_simulator/ledger\n", stand_in.system.name(), stand_in.url()));
    }
    text.push_str(&format!("Logs and data: {}\n\nThree commands to try:\n", folder.display()));
    if let Some(tenant) = tenants.get(1) {
        let key = tenant.client.key().unwrap_or_default();
        let environment = format!("{host}/api/v1/environments/sandbox");
        text.push_str(&format!(
            "  curl -H 'Authorization: Bearer {key}' {environment}/events\n  \
             curl -H 'Authorization: Bearer {key}' {environment}/deliveries?limit=3\n  \
             kill -9 {}   # the host: it comes back on its data, and nothing is lost or doubled\n\n\
             Ctrl-C ends everything.",
            cast.host.id(),
        ));
    }
    progress(&text);
}
