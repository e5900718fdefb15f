//! Sage Pro behind the gateway of `docs/sage-pro-gateway.md`.
//!
//! The gateway remembers: every external reference for ever, every idempotency key for a time. So a repeat is
//! recognised whoever sends it, and a cut connection is answered by sending the same again.
//!
//! The cast: [`documents`] is what was committed, [`checks`] reads bodies and refuses what does not fit the
//! tables, `customers`, `changes`, `holds`, `receivables`, `credit_memos` and `journals` are the calls. This file is the front door: keys, companies, the
//! journal of idempotency keys.

use std::collections::{BTreeSet, HashMap};

use http::Method;
use serde_json::{Value, json};

use crate::ledger::Entry;
use crate::settings::SageOptions;
use crate::stand_in::{Call, Draft, Moment, Outcome, Refusal, Reply, StandIn};

mod changes;
mod checks;
mod credit_memos;
mod customers;
mod documents;
mod holds;
mod journals;
mod receivables;

use documents::Documents;

/// Idempotency keys that are remembered; beyond, the oldest half is forgotten.
const KEYS_MAX: usize = 200_000;

/// A refusal: status, code, text, field, details.
#[derive(Debug)]
pub(crate) struct Problem {
    status: u16,
    code: &'static str,
    message: String,
    field: String,
    details: Vec<Value>,
}

impl Problem {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: String::new(), details: Vec::new() }
    }

    fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), ..Self::new(422, "validation_failed", message) }
    }

    fn missing(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), ..Self::new(404, "record_not_found", message) }
    }

    fn reply(self) -> Reply {
        let field = if self.field.is_empty() { Value::Null } else { json!(self.field) };
        let locked = matches!(self.code, "record_locked" | "database_busy" | "maintenance");
        let reply = Reply::json(
            self.status,
            &json!({"error": {"code": self.code, "message": self.message, "field": field, "details": self.details}}),
        );
        if locked { reply.with("retry-after", "1") } else { reply }
    }
}

/// What a write decided: status, answer, and the draft when something new is committed.
pub(crate) struct Written {
    status: u16,
    answer: Value,
    draft: Option<Draft>,
}

struct Remembered {
    payload_sha256: String,
    status: u16,
    answer: Value,
    at_ms: u64,
}

/// The gateway and the tables behind it.
pub(crate) struct SagePro {
    options: SageOptions,
    documents: Documents,
    locked: BTreeSet<String>,
    keys: HashMap<String, Remembered>,
    next_invoice: u64,
    next_receipt: u64,
    next_journal: u64,
}

impl SagePro {
    pub(crate) fn new(options: SageOptions) -> Self {
        Self {
            documents: Documents::new(&options),
            locked: options.locked.clone(),
            keys: HashMap::new(),
            next_invoice: options.invoice_first,
            next_receipt: options.receipt_first,
            next_journal: options.journal_first,
            options,
        }
    }

    fn door(&self, call: &Call) -> Result<(), Problem> {
        if !call.header("x-api-key").is_some_and(|key| self.options.api_keys.contains(key)) {
            return Err(Problem::new(401, "auth_failed", "X-API-Key is missing or unknown."));
        }
        if !call.header("x-company").is_some_and(|company| self.options.companies.contains(company)) {
            return Err(Problem {
                field: "X-Company".to_owned(),
                ..Problem::invalid("", "X-Company is missing or unknown.")
            });
        }
        Ok(())
    }

    fn check_unlocked(&self, record: &str) -> Result<(), Problem> {
        if self.locked.contains(record) {
            let text = format!("{record} is in use by MILL (LCKSTAT = Y).");
            return Err(Problem::new(409, "record_locked", text));
        }
        Ok(())
    }

    fn read(&self, call: &Call, moment: Moment) -> Result<Reply, Problem> {
        let mut segments = call.path.trim_start_matches('/').splitn(2, '/');
        let (resource, key) = (segments.next().unwrap_or_default(), segments.next().map(decoded));
        let reference = call.query("externalRef");
        match (resource, key) {
            ("Health", None) => {
                Ok(Reply::json(200, &json!({"Status": "ok", "Company": call.header("x-company")})))
            }
            ("Customer", Some(changes)) if changes == "changes" => self.changes_reply(call, moment),
            ("Customer", Some(number)) => self.customer_reply(&number, moment),
            ("Customer", None) => self.customers_reply(call, moment),
            ("Item", Some(number)) => {
                let text = self.options.items.get(&number);
                let text =
                    text.ok_or_else(|| Problem::missing("Item", format!("There is no item {number}.")))?;
                Ok(Reply::json(200, &json!({"Item": number, "Descrip": text, "Unit": "EA"})))
            }
            ("Invoice", None) if call.query("order").is_some() => {
                let order = call.query("order").unwrap_or_default().trim();
                if call.query("open") != Some("true") {
                    return Err(Problem::invalid(
                        "open",
                        "Only open invoices are listed by order: open=true.",
                    ));
                }
                let open =
                    self.documents.open_invoices(order, moment.seen_ms).into_iter().map(invoice_answer);
                Ok(Reply::json(200, &json!({"Invoices": open.collect::<Vec<_>>()})))
            }
            (kind @ ("Invoice" | "CreditMemo" | "CashReceipt" | "GLJournal"), key) => {
                let found = match (key, reference) {
                    (Some(number), _) => self.documents.by_number(kind, &number, moment.seen_ms),
                    (None, Some(reference)) => self.documents.by_reference(kind, reference, moment.seen_ms),
                    (None, None) => return Err(Problem::invalid("externalRef", "externalRef is required.")),
                };
                let mut found =
                    found.ok_or_else(|| Problem::missing(kind, format!("There is no such {kind}.")))?;
                if kind == "GLJournal" {
                    let own = found.get("JournalNo").and_then(Value::as_str).unwrap_or_default();
                    let by = self.documents.reversal_of(own).cloned();
                    if let Some(fields) = found.as_object_mut() {
                        fields.insert("ReversedBy".to_owned(), json!(by));
                    }
                }
                Ok(Reply::json(200, &if kind == "Invoice" { invoice_answer(found) } else { found }))
            }
            _ => Err(Problem::new(404, "record_not_found", "There is no such resource.")),
        }
    }

    fn write(&mut self, call: &Call, moment: Moment) -> Result<Outcome, Problem> {
        let body: Value = serde_json::from_slice(&call.body)
            .map_err(|error| Problem::new(400, "malformed_json", error.to_string()))?;
        if !body.is_object() {
            return Err(Problem::new(400, "malformed_json", "A JSON object is expected."));
        }
        let segments: Vec<String> = call.path.trim_start_matches('/').split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if call.method == Method::PUT {
            return Ok(outcome(match segments.as_slice() {
                ["Customer", number] => self.customer_update(call, moment, number, &body)?,
                ["Customer", number, "Hold"] => self.hold(call, moment, ("Customer", number), &body)?,
                ["Invoice", number, "Hold"] => self.hold(call, moment, ("Invoice", number), &body)?,
                _ => return Err(Problem::new(404, "record_not_found", "There is no such resource.")),
            }));
        }
        let Some(key) = call.header("idempotency-key").map(str::to_owned) else {
            return Err(Problem::invalid("Idempotency-Key", "Idempotency-Key is required."));
        };
        let key = format!("{}|{}|{key}", call.header("x-company").unwrap_or_default(), call.path);
        if let Some(remembered) = self.keys.get(&key)
            && remembered.at_ms + self.options.idempotency_ms > moment.now_ms
        {
            if remembered.payload_sha256 != call.payload_sha256() {
                return Err(Problem::invalid("Idempotency-Key", "The key was used for another body."));
            }
            let reply =
                Reply::json(remembered.status, &remembered.answer).with("idempotent-replayed", "true");
            return Ok(reply.into());
        }
        let written = match segments.as_slice() {
            ["Customer"] => self.customer_create(call, moment, &body)?,
            ["Invoice"] => self.invoice_create(call, moment, &body)?,
            ["CreditMemo"] => self.credit_memo_create(call, moment, &body)?,
            ["CreditMemo", number, "Void"] => self.credit_memo_void(call, moment, number, &body)?,
            ["CashReceipt"] => self.cash_receipt_create(call, moment, &body)?,
            ["GLJournal"] => self.journal_create(call, moment, &body)?,
            ["GLJournal", number, "Reversal"] => self.journal_reverse(call, moment, number, &body)?,
            _ => return Err(Problem::new(404, "record_not_found", "There is no such resource.")),
        };
        let mut outcome = outcome(written);
        // The key becomes known with the commit, not before: a commit that is lost leaves no trace.
        if let Some(draft) = outcome.commits.first_mut() {
            let answer = serde_json::from_slice::<Value>(&outcome.reply.body).unwrap_or_default();
            draft.document = json!({
                "record": draft.document, "visible_at_ms": moment.now_ms, "idempotency_key": key,
                "status": outcome.reply.status.as_u16(), "answer": answer,
            });
        }
        Ok(outcome)
    }

    fn remember(&mut self, entry: &Entry) {
        let text = |name: &str| entry.document.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(key) = text("idempotency_key") else { return };
        if self.keys.len() >= KEYS_MAX {
            let mut ages: Vec<u64> = self.keys.values().map(|remembered| remembered.at_ms).collect();
            ages.sort_unstable();
            let median = ages.get(ages.len() / 2).copied().unwrap_or_default();
            self.keys.retain(|_, remembered| remembered.at_ms > median);
        }
        let status = entry
            .document
            .get("status")
            .and_then(Value::as_u64)
            .and_then(|status| u16::try_from(status).ok());
        let remembered = Remembered {
            payload_sha256: entry.payload_sha256.clone(),
            status: status.unwrap_or(201),
            answer: entry.document.get("answer").cloned().unwrap_or_default(),
            at_ms: entry.at_ms,
        };
        self.keys.insert(key, remembered);
    }
}

/// An invoice as it is answered.
fn invoice_answer(record: Value) -> Value {
    record.as_object().map_or(Value::Null, |record| holds::invoice_shown(record.clone()))
}

fn outcome(written: Written) -> Outcome {
    let reply = Reply::json(written.status, &written.answer);
    Outcome { reply, commits: written.draft.into_iter().collect() }
}

/// A path segment as it was meant.
fn decoded(segment: &str) -> String {
    // `+` is a plus sign in a path; form decoding would make it a blank.
    let text = segment.replace('+', "%2B");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(key, _)| key.into_owned()).unwrap_or_default()
}

/// A reference that is known already: the existing document goes with the refusal.
fn duplicate(existing: Value) -> Problem {
    let text = "A document with this ExternalRef exists.";
    Problem {
        field: "ExternalRef".to_owned(),
        details: vec![existing],
        ..Problem::new(409, "duplicate_reference", text)
    }
}

impl StandIn for SagePro {
    fn operation(&self, call: &Call) -> String {
        // `POST /CreditMemo`, `POST /CreditMemo/Void`: without the number.
        let segments: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            [resource, _, action] => format!("{} /{resource}/{action}", call.method),
            ["Customer", "changes"] => format!("{} /Customer/changes", call.method),
            [resource, ..] => format!("{} /{resource}", call.method),
            [] => call.method.to_string(),
        }
    }

    fn answer(&mut self, call: &Call, moment: Moment) -> Outcome {
        if call.method == Method::GET && call.path == "/Health" {
            return Reply::json(200, &json!({"Status": "ok"})).into();
        }
        if let Err(problem) = self.door(call) {
            return problem.reply().into();
        }
        let answered = if call.method == Method::GET {
            self.read(call, moment).map(Outcome::from)
        } else if call.method == Method::POST || call.method == Method::PUT {
            self.write(call, moment)
        } else {
            return Reply::empty(405).into();
        };
        answered.unwrap_or_else(|problem| problem.reply().into())
    }

    fn apply(&mut self, entry: &Entry) {
        let number = entry.number.parse::<u64>().unwrap_or(0) + 1;
        match entry.kind.as_str() {
            "invoice" | "credit-memo" => self.next_invoice = self.next_invoice.max(number),
            "cash-receipt" => self.next_receipt = self.next_receipt.max(number),
            "gl-journal" | "gl-journal-reversal" => self.next_journal = self.next_journal.max(number),
            _ => {}
        }
        let receipt = entry.document.pointer("/record/ReceiptNo").and_then(Value::as_str);
        if let Some(receipt) = receipt.and_then(|receipt| receipt.parse::<u64>().ok()) {
            self.next_receipt = self.next_receipt.max(receipt + 1);
        }
        self.remember(entry);
        self.documents.apply(entry);
    }

    fn refusal(&self, _call: &Call, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Unauthorized => {
                Problem::new(401, "auth_failed", "X-API-Key is missing or unknown.").reply()
            }
            Refusal::Forbidden => Problem::new(403, "forbidden", "The key may not do this.").reply(),
            Refusal::RateLimited { retry_after_s } => Problem::new(429, "rate_limited", "Too many calls.")
                .reply()
                .with("retry-after", retry_after_s.to_string()),
            Refusal::Internal => Problem::new(500, "internal_error", "The gateway failed.").reply(),
            Refusal::Unavailable => {
                Problem::new(503, "maintenance", "The tables are being reindexed.").reply()
            }
            Refusal::Locked => Problem::new(409, "record_locked", "The record is in use by MILL.").reply(),
            Refusal::Business => Problem::invalid("InvoiceDate", "The period is closed.").reply(),
        }
    }

    fn lock(&mut self, object: &str, locked: bool) {
        if locked {
            self.locked.insert(object.to_owned());
        } else {
            self.locked.remove(object);
        }
    }

    fn seed(&mut self, objects: Vec<Value>) -> Result<Vec<Draft>, String> {
        self.changed_by_people(objects, crate::clock::now_ms())
    }

    fn world(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }
}
