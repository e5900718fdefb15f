//! Guest to host: an outcome or a description, with its JSON texts parsed, its amounts checked and its bytes
//! counted. The first thing that cannot be is named by its place.

use portolan_domain::{
    Timestamp,
    contract::{
        Binding, Capture, CheckTime, Deferral, Description, ExistenceCheck, HeldPlan, LedgerLine, Lookup,
        Need, Outcome, Plan, PlannedAlert, PlannedDelivery, Query, Reference, ReferenceKey,
        RequiredConnection, RequiredTable, Served, Severity, Side, Violation,
    },
    pointer::is_deeper,
};
use serde_json::Value;

use crate::{bindings::types, log::printable, report::GuestFailure};

/// Characters of a guest's text that are repeated in a problem.
const SHOWN_BYTES_MAX: usize = 200;
/// Bytes of a text that people read.
const SENTENCE_BYTES_MAX: usize = 4 << 10;
/// Violations that are kept of a refusal; the others are counted.
const VIOLATIONS_MAX: usize = 100;
/// Levels of a JSON text of a guest. It is stored inside other JSON, and what is deeper than 127 cannot be read back.
const JSON_DEPTH_MAX: usize = 64;
/// Digits of a number in a body: those of a decimal of the contract.
const DIGITS_MAX: usize = 28;

/// Reads what a guest returned.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: usize,
}

type Read<T> = Result<T, GuestFailure>;

impl Reader {
    /// Bytes of text read so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn outcome(&mut self, outcome: types::Outcome) -> Read<Outcome> {
        Ok(match outcome {
            types::Outcome::Deliver(plan) => Outcome::Deliver(self.plan(plan, "deliver")?),
            types::Outcome::Need(needs) => Outcome::Need(self.needs(needs)?),
            types::Outcome::Hold(held) => Outcome::Hold(HeldPlan {
                reason: self.sentence(held.reason),
                plan: self.plan(held.plan, "hold.plan")?,
            }),
            types::Outcome::Defer(deferral) => Outcome::Defer(Deferral {
                reason: self.sentence(deferral.reason),
                not_before: deferral.not_before.map(Timestamp::from_millis),
            }),
            types::Outcome::Skip(reason) => Outcome::Skip(self.sentence(reason)),
            types::Outcome::Reject(violations) => Outcome::Reject(self.violations(violations)?),
        })
    }

    pub(crate) fn description(&mut self, description: types::Description) -> Read<Description> {
        Ok(Description {
            name: self.text(description.name),
            version: self.text(description.version),
            summary: self.text(description.summary),
            serves: description
                .serves
                .into_iter()
                .map(|served| Served { system: self.text(served.system), kind: self.text(served.kind) })
                .collect(),
            connections: description
                .connections
                .into_iter()
                .map(|required| RequiredConnection {
                    name: self.text(required.name),
                    connector: self.text(required.connector),
                    operations: self.texts(required.operations),
                    optional: required.optional,
                })
                .collect(),
            tables: description
                .tables
                .into_iter()
                .map(|table| RequiredTable { name: self.text(table.name), summary: self.text(table.summary) })
                .collect(),
            settings_schema: self.json(&description.settings_schema, || "settings-schema".to_owned())?,
        })
    }

    fn needs(&mut self, needs: Vec<types::NeedResult>) -> Read<Vec<Need>> {
        if needs.is_empty() {
            return Err(nonsense("need".into(), &"it asks for nothing"));
        }
        let mut read = Vec::with_capacity(needs.len());
        for (index, need) in needs.into_iter().enumerate() {
            read.push(match need {
                types::NeedResult::Lookup(lookup) => {
                    Need::Lookup(Lookup { table: self.text(lookup.table), key: self.text(lookup.key) })
                }
                types::NeedResult::Reference(key) => Need::Reference(self.key(key)),
                types::NeedResult::Query(query) => Need::Query(Query {
                    connection: self.text(query.connection),
                    operation: self.text(query.operation),
                    parameters: self.json(&query.parameters, || format!("need[{index}].parameters"))?,
                }),
            });
        }
        Ok(read)
    }

    fn violations(&mut self, violations: Vec<types::Violation>) -> Read<Vec<Violation>> {
        if violations.is_empty() {
            return Err(nonsense("reject".into(), &"it names no violation"));
        }
        let more = violations.len().saturating_sub(VIOLATIONS_MAX);
        let kept = violations.into_iter().take(VIOLATIONS_MAX).map(|violation| Violation {
            pointer: self.sentence(violation.pointer),
            code: self.sentence(violation.code),
            message: self.sentence(violation.message),
        });
        let mut read: Vec<Violation> = kept.collect();
        if more > 0 {
            let message = format!("and {more} more");
            read.push(Violation { pointer: String::new(), code: "more".to_owned(), message });
        }
        Ok(read)
    }

    fn plan(&mut self, plan: types::Plan, at: &str) -> Read<Plan> {
        let mut deliveries = Vec::with_capacity(plan.deliveries.len());
        for (index, delivery) in plan.deliveries.into_iter().enumerate() {
            deliveries.push(self.delivery(delivery, &format!("{at}.deliveries[{index}]"))?);
        }
        let references = plan
            .references
            .into_iter()
            .map(|reference| Reference {
                key: self.key(reference.key),
                system: self.text(reference.system),
                id: self.text(reference.id),
            })
            .collect();
        let mut alerts = Vec::with_capacity(plan.alerts.len());
        for (index, alert) in plan.alerts.into_iter().enumerate() {
            alerts.push(self.alert(alert, &format!("{at}.alerts[{index}]"))?);
        }
        Ok(Plan { ordering_key: plan.ordering_key.map(|key| self.text(key)), deliveries, references, alerts })
    }

    fn delivery(&mut self, delivery: types::Delivery, at: &str) -> Read<PlannedDelivery> {
        let mut ledger = Vec::with_capacity(delivery.ledger.len());
        for (index, line) in delivery.ledger.into_iter().enumerate() {
            ledger.push(self.ledger_line(line, || format!("{at}.ledger[{index}].amount"))?);
        }
        Ok(PlannedDelivery {
            key: self.text(delivery.key),
            connection: self.text(delivery.connection),
            operation: self.text(delivery.operation),
            body: self.body(&delivery.body, || format!("{at}.body"))?,
            after: self.texts(delivery.after),
            bindings: self.bindings(delivery.bindings),
            unless: delivery.unless.map(|check| self.existence_check(check, at)).transpose()?,
            once: delivery.once.map(|fact| self.text(fact)),
            captures: delivery
                .captures
                .into_iter()
                .map(|capture| Capture {
                    key: self.key(capture.key),
                    system: self.text(capture.system),
                    pointer: self.text(capture.pointer),
                })
                .collect(),
            ledger,
        })
    }

    fn existence_check(&mut self, check: types::ExistenceCheck, at: &str) -> Read<ExistenceCheck> {
        Ok(ExistenceCheck {
            when: match check.when {
                types::CheckTime::Always => CheckTime::Always,
                types::CheckTime::InDoubt => CheckTime::InDoubt,
            },
            operation: self.text(check.operation),
            parameters: self.json(&check.parameters, || format!("{at}.unless.parameters"))?,
            bindings: self.bindings(check.bindings),
            hit: self.text(check.hit),
        })
    }

    fn bindings(&mut self, bindings: Vec<types::Binding>) -> Vec<Binding> {
        bindings
            .into_iter()
            .map(|binding| Binding {
                delivery: self.text(binding.delivery),
                source: self.text(binding.source),
                target: self.text(binding.target),
            })
            .collect()
    }

    fn ledger_line(&mut self, line: types::LedgerLine, at: impl FnOnce() -> String) -> Read<LedgerLine> {
        let amount = self.text(line.amount);
        Ok(LedgerLine {
            account: self.text(line.account),
            side: match line.side {
                types::Side::Debit => Side::Debit,
                types::Side::Credit => Side::Credit,
            },
            amount: amount.parse().map_err(|error| nonsense(at(), &error))?,
            currency: self.text(line.currency),
        })
    }

    fn alert(&mut self, alert: types::Alert, at: &str) -> Read<PlannedAlert> {
        Ok(PlannedAlert {
            severity: match alert.severity {
                types::Severity::Info => Severity::Info,
                types::Severity::Warning => Severity::Warning,
                types::Severity::Critical => Severity::Critical,
            },
            code: self.sentence(alert.code),
            title: self.sentence(alert.title),
            detail: self.json(&alert.detail, || format!("{at}.detail"))?,
        })
    }

    fn key(&mut self, key: types::ReferenceKeyResult) -> ReferenceKey {
        ReferenceKey { kind: self.text(key.kind), id: self.text(key.id) }
    }

    fn texts(&mut self, texts: Vec<String>) -> Vec<String> {
        texts.into_iter().map(|text| self.text(text)).collect()
    }

    fn text(&mut self, text: String) -> String {
        self.bytes = self.bytes.saturating_add(text.len());
        text
    }

    /// A text that people read and nothing is looked up by: it may be endless or carry control characters, as a log
    /// line may.
    fn sentence(&mut self, text: String) -> String {
        printable(&self.text(text), SENTENCE_BYTES_MAX)
    }

    fn json(&mut self, text: &str, at: impl FnOnce() -> String) -> Read<Value> {
        self.bytes = self.bytes.saturating_add(text.len());
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                let shown = printable(text, SHOWN_BYTES_MAX);
                return Err(nonsense(at(), &format!("not JSON, {error}: {shown:?}")));
            }
        };
        if is_deeper(&value, JSON_DEPTH_MAX) {
            return Err(nonsense(at(), &format!("JSON with more than {JSON_DEPTH_MAX} levels")));
        }
        Ok(value)
    }

    /// What is sent. An amount is a text or an integer; a binary fraction is refused before it is money.
    fn body(&mut self, text: &str, at: impl Fn() -> String) -> Read<Value> {
        let value = self.json(text, &at)?;
        match inexact(&value) {
            None => Ok(value),
            Some(number) => {
                let shown = printable(&number, SHOWN_BYTES_MAX);
                let problem = format!(
                    "{shown} is not exact: numbers are integers of at most {DIGITS_MAX} digits, amounts are texts"
                );
                Err(nonsense(at(), &problem))
            }
        }
    }
}

/// The first number that is no plain integer.
fn inexact(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let plain = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
            (!plain || text == "-0").then_some(text)
        }
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(fields) => fields.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn nonsense(at: String, problem: &impl ToString) -> GuestFailure {
    GuestFailure::Nonsense { at, problem: problem.to_string() }
}
