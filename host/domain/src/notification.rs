//! Notification rules: which alerts and which successes an environment wants to be told, and where to. Pure: the store
//! asks, in the transaction in which something happens, who is to be told; the pipeline sends.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    AlertId, ConnectionId, DeliveryId, EventId, RunId, Scope, Timestamp,
    contract::{Reference, Severity, kind_covers},
    state::AlertState,
};

/// Notices of one rule in a minute, where the rule does not say: what comes beyond is summed into one.
pub const PER_MINUTE_DEFAULT: u32 = 30;
/// The most that a rule may ask for.
pub const PER_MINUTE_MAX: u32 = 600;
/// Patterns, states or receivers in one list of a rule.
const LIST_MAX: usize = 50;
/// Receivers of one e-mail.
const RECEIVERS_MAX: usize = 20;
/// The longest pattern, address or URL, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;
/// What a digest counts one by one; the rest is `other`.
const KINDS_MAX: usize = 20;
/// Subjects that a digest names.
const SUBJECTS_MAX: usize = 10;
/// A larger detail of an alert is not told; the alert has it.
const DETAIL_BYTES_MAX: usize = 16 * 1_024;

/// What a rule tells, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which alerts; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertsTold>,
    /// Which deliveries that were made; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<DeliveriesTold>,
    /// Where to.
    pub to: Receiver,
    /// Notices in a minute, 1 to 600; what comes beyond is summed into one.
    #[serde(default = "per_minute_default")]
    pub per_minute_max: u32,
}

const fn per_minute_default() -> u32 {
    PER_MINUTE_DEFAULT
}

/// Which alerts a rule tells. All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsTold {
    /// Codes: `connection-down`, `delivery-dead.*`, `*`. Empty: all.
    pub codes: Vec<String>,
    /// Those that matter at least so much.
    pub severity_least: Severity,
    /// When one comes into one of these states.
    pub states: Vec<AlertState>,
}

impl Default for AlertsTold {
    /// Warnings and worse, when they are opened.
    fn default() -> Self {
        Self { codes: Vec::new(), severity_least: Severity::Warning, states: vec![AlertState::Open] }
    }
}

/// Which successes a rule tells: deliveries that were made. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveriesTold {
    /// Operations: `sales-order.create`, `*`. Empty: all.
    pub operations: Vec<String>,
    /// Through these connections. Empty: all.
    pub connections: Vec<ConnectionId>,
}

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Receiver {
    /// A URL that takes Standard Webhooks, signed with the rule's secret.
    Webhook {
        /// `https://…`, without a query.
        url: String,
    },
    /// E-mail, through the operator's server.
    Email {
        /// At least one address.
        to: Vec<String>,
    },
}

impl Receiver {
    /// `webhook` or `email`.
    #[must_use]
    pub const fn channel(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Email { .. } => "email",
        }
    }
}

impl Rule {
    /// Checks a rule before it is stored. Whether its URL or addresses can be used is for those to say who use them.
    ///
    /// # Errors
    /// The field that is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.alerts.is_none() && self.deliveries.is_none() {
            return Err("alerts or deliveries: name at least one of them".to_owned());
        }
        if !(1..=PER_MINUTE_MAX).contains(&self.per_minute_max) {
            return Err(format!("per_minute_max: from 1 to {PER_MINUTE_MAX}"));
        }
        if let Some(alerts) = &self.alerts {
            texts("alerts/codes", &alerts.codes)?;
            if alerts.states.is_empty() || alerts.states.len() > LIST_MAX {
                return Err("alerts/states: name at least one of open, acknowledged, resolved".to_owned());
            }
        }
        if let Some(deliveries) = &self.deliveries {
            texts("deliveries/operations", &deliveries.operations)?;
            if deliveries.connections.len() > LIST_MAX {
                return Err(format!("deliveries/connections: at most {LIST_MAX}"));
            }
        }
        match &self.to {
            Receiver::Webhook { url } if url.is_empty() || url.len() > TEXT_BYTES_MAX => {
                Err("to/webhook/url: a URL that takes Standard Webhooks".to_owned())
            }
            Receiver::Webhook { .. } => Ok(()),
            Receiver::Email { to } if to.is_empty() || to.len() > RECEIVERS_MAX => {
                Err(format!("to/email/to: from 1 to {RECEIVERS_MAX} addresses"))
            }
            Receiver::Email { to } => texts("to/email/to", to),
        }
    }

    /// Whether an alert is told that comes into this state.
    #[must_use]
    pub fn tells_alert(&self, code: &str, severity: Severity, state: AlertState) -> bool {
        self.alerts.as_ref().is_some_and(|told| {
            severity >= told.severity_least && told.states.contains(&state) && covered(&told.codes, code)
        })
    }

    /// Whether a delivery is told that was made.
    #[must_use]
    pub fn tells_delivery(&self, operation: &str, connection: &str) -> bool {
        self.deliveries.as_ref().is_some_and(|told| {
            covered(&told.operations, operation)
                && (told.connections.is_empty()
                    || told.connections.iter().any(|id| id.as_str() == connection))
        })
    }
}

fn covered(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| kind_covers(pattern, text))
}

fn texts(name: &str, list: &[String]) -> Result<(), String> {
    let fits = |text: &String| {
        !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
    };
    let is_open = |text: &&String| *text != "*" && text.strip_suffix(".*").unwrap_or(text).contains('*');
    if let Some(text) = list.iter().find(is_open) {
        return Err(format!(
            "{name}: {text:?} matches nothing: a `*` stands alone, or at the end behind a dot"
        ));
    }
    if list.len() <= LIST_MAX && list.iter().all(fits) {
        return Ok(());
    }
    Err(format!("{name}: at most {LIST_MAX} texts, none empty or longer than {TEXT_BYTES_MAX} bytes"))
}

/// Something that is told: what its receiver reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// `alert.open`, `alert.acknowledged`, `alert.resolved`, `delivery.delivered`, `digest`, `test`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// One line, for a person.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// The id of what it is about; empty for a test.
    pub subject: String,
    /// The environment it happened in: `ten_…/production`.
    pub scope: String,
    /// What there is to say.
    pub data: Value,
}

/// An alert, as news of it need it.
#[derive(Debug, Clone)]
pub struct AlertNews<'a> {
    /// Which.
    pub id: &'a AlertId,
    /// Into which state it came.
    pub state: AlertState,
    /// How much it matters.
    pub severity: Severity,
    /// Its code.
    pub code: &'a str,
    /// Its line.
    pub title: &'a str,
    /// Its facts.
    pub detail: &'a Value,
    /// How often it happened so far.
    pub count: u64,
    /// Who changed it and why; null when it was opened.
    pub decision: Value,
    /// The event that it is about, if it is about one.
    pub event: Option<&'a EventId>,
}

/// A delivery that was made, as news of it need it.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryNews<'a> {
    /// Which.
    pub id: &'a DeliveryId,
    /// Of which event.
    pub event: &'a EventId,
    /// Of which run.
    pub run: &'a RunId,
    /// Its key in the plan.
    pub key: &'a str,
    /// What was done.
    pub operation: &'a str,
    /// Through which connection.
    pub connection: &'a str,
    /// What is remembered of the answer: the document's numbers.
    pub references: &'a [Reference],
}

impl News {
    /// Of an alert that came into a state.
    #[must_use]
    pub fn of_alert(scope: &Scope, alert: AlertNews<'_>, at: Timestamp) -> Self {
        let AlertNews { id, state, severity, code, title, detail, count, decision, event } = alert;
        let detail = if detail.to_string().len() > DETAIL_BYTES_MAX { &Value::Null } else { detail };
        Self {
            kind: format!("alert.{state}"),
            timestamp: at,
            title: title.to_owned(),
            severity,
            subject: id.as_str().to_owned(),
            scope: scope.to_string(),
            data: json!({
                "alert": id, "state": state, "severity": severity, "code": code, "title": title,
                "detail": detail, "count": count, "decision": decision, "event": event,
                "tenant": scope.tenant, "environment": scope.environment,
            }),
        }
    }

    /// Of a delivery that was made.
    #[must_use]
    pub fn of_delivery(scope: &Scope, delivery: DeliveryNews<'_>, at: Timestamp) -> Self {
        let DeliveryNews { id, event, run, key, operation, connection, references } = delivery;
        Self {
            kind: "delivery.delivered".to_owned(),
            timestamp: at,
            title: format!("{operation} was made"),
            severity: Severity::Info,
            subject: id.as_str().to_owned(),
            scope: scope.to_string(),
            data: json!({
                "delivery": id, "event": event, "run": run, "key": key, "operation": operation,
                "connection": connection, "references": references,
                "tenant": scope.tenant, "environment": scope.environment,
            }),
        }
    }

    /// That a rule works.
    #[must_use]
    pub fn of_test(scope: &Scope, rule: &str, at: Timestamp) -> Self {
        Self {
            kind: "test".to_owned(),
            timestamp: at,
            title: format!("a test of the notification rule {rule}"),
            severity: Severity::Info,
            subject: String::new(),
            scope: scope.to_string(),
            data: json!({ "rule": rule, "tenant": scope.tenant, "environment": scope.environment }),
        }
    }

    /// What a digest counts it under: an alert's code with its state, or an operation.
    fn counted_as(&self) -> String {
        let what = self.data.get("code").or_else(|| self.data.get("operation")).and_then(Value::as_str);
        what.map_or_else(|| self.kind.clone(), |what| format!("{} {what}", self.kind))
    }
}

/// What was too much to be told one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How much.
    pub count: u64,
    /// By type and code or operation; beyond twenty of them, `other`.
    pub counts: BTreeMap<String, u64>,
    /// The ids of the first ten.
    pub subjects: Vec<String>,
    /// The worst.
    pub severity: Severity,
    /// From when.
    pub first_at: Timestamp,
    /// Until when.
    pub last_at: Timestamp,
}

impl Digest {
    /// That holds nothing yet.
    #[must_use]
    pub const fn begun(at: Timestamp) -> Self {
        Self {
            count: 0,
            counts: BTreeMap::new(),
            subjects: Vec::new(),
            severity: Severity::Info,
            first_at: at,
            last_at: at,
        }
    }

    /// Adds one. Its size stays bounded.
    pub fn add(&mut self, news: &News) {
        let mut name = news.counted_as();
        if !self.counts.contains_key(&name) && self.counts.len() >= KINDS_MAX {
            "other".clone_into(&mut name);
        }
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
        self.count = self.count.saturating_add(1);
        if self.subjects.len() < SUBJECTS_MAX {
            self.subjects.push(news.subject.clone());
        }
        self.severity = self.severity.max(news.severity);
        self.last_at = self.last_at.max(news.timestamp);
    }

    /// As news.
    #[must_use]
    pub fn into_news(self, scope: &Scope) -> News {
        News {
            kind: "digest".to_owned(),
            timestamp: self.last_at,
            title: format!("{} more", self.count),
            severity: self.severity,
            subject: String::new(),
            scope: scope.to_string(),
            data: json!({
                "count": self.count, "counts": self.counts, "subjects": self.subjects,
                "first_at": self.first_at.to_string(), "last_at": self.last_at.to_string(),
                "tenant": scope.tenant, "environment": scope.environment,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, TenantId};

    fn rule() -> Rule {
        Rule {
            alerts: Some(AlertsTold::default()),
            deliveries: None,
            to: Receiver::Webhook { url: "https://example.com".to_owned() },
            per_minute_max: 30,
        }
    }

    fn scope() -> Scope {
        Scope { tenant: TenantId::generate(Timestamp::from_millis(0)), environment: Environment::Production }
    }

    #[test]
    fn a_rule_tells_what_it_names_and_nothing_else() {
        let mut rule = rule();
        assert!(rule.tells_alert("guard", Severity::Warning, AlertState::Open));
        assert!(!rule.tells_alert("guard", Severity::Info, AlertState::Open));
        assert!(!rule.tells_alert("guard", Severity::Critical, AlertState::Resolved));
        assert!(!rule.tells_delivery("sales-order.create", "con_1"));
        let codes = vec!["delivery-dead.*".to_owned(), "guard".to_owned()];
        rule.alerts = Some(AlertsTold { codes, ..AlertsTold::default() });
        assert!(rule.tells_alert("delivery-dead.timeout", Severity::Warning, AlertState::Open));
        assert!(!rule.tells_alert("delivery-in-doubt", Severity::Critical, AlertState::Open));
        rule.deliveries = Some(DeliveriesTold {
            operations: vec!["sales-order.*".to_owned()],
            connections: vec!["con_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()],
        });
        assert!(rule.tells_delivery("sales-order.create", "con_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
        assert!(!rule.tells_delivery("sales-order.create", "con_01ARZ3NDEKTSV4RRFFQ69G5FAW"));
        assert!(!rule.tells_delivery("journal.post", "con_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    }

    #[test]
    fn what_a_rule_must_not_say_is_named() {
        rule().check().unwrap();
        let refused = |rule: Rule, name: &str| assert!(rule.check().unwrap_err().starts_with(name), "{name}");
        refused(Rule { alerts: None, ..rule() }, "alerts or deliveries");
        refused(Rule { per_minute_max: 0, ..rule() }, "per_minute_max");
        refused(Rule { to: Receiver::Email { to: vec![] }, ..rule() }, "to/email/to");
        refused(
            Rule { to: Receiver::Email { to: vec!["a@b.c\r\nBcc: d".to_owned()] }, ..rule() },
            "to/email/to",
        );
        refused(Rule { to: Receiver::Webhook { url: String::new() }, ..rule() }, "to/webhook/url");
        let states = AlertsTold { states: vec![], ..AlertsTold::default() };
        refused(Rule { alerts: Some(states), ..rule() }, "alerts/states");
        let codes = AlertsTold { codes: vec![String::new()], ..AlertsTold::default() };
        refused(Rule { alerts: Some(codes), ..rule() }, "alerts/codes");
        let codes = AlertsTold { codes: vec!["quota*".to_owned()], ..AlertsTold::default() };
        refused(Rule { alerts: Some(codes), ..rule() }, "alerts/codes: \"quota*\" matches nothing");
    }

    #[test]
    fn a_digest_counts_everything_and_stays_small() {
        let mut digest = Digest::begun(Timestamp::from_millis(1));
        for number in 0..1_000_u64 {
            let at = Timestamp::from_millis(number);
            let alert = AlertNews {
                id: &AlertId::generate(at),
                state: AlertState::Open,
                severity: Severity::Warning,
                code: &format!("code-{number}"),
                title: "x",
                detail: &Value::Null,
                count: 1,
                decision: Value::Null,
                event: None,
            };
            digest.add(&News::of_alert(&scope(), alert, at));
        }
        assert_eq!((digest.count, digest.counts.len(), digest.subjects.len()), (1_000, 21, 10));
        assert_eq!(digest.counts.values().sum::<u64>(), 1_000);
        assert_eq!(digest.counts["other"], 980);
        assert_eq!(digest.severity, Severity::Warning);
    }
}
