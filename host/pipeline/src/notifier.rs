//! Tells people and their systems: sends the notices that notification rules have stored (S24), as signed webhooks
//! (Standard Webhooks, through the connector `http`) or as e-mail (through the operator's server).
//!
//! A notice is sent at least once: its receiver recognises a repeat by the id. Sending never holds anything up; what
//! cannot be sent is tried again with growing pauses, and is visible as failed when that has been done often enough.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use portolan_connectors::{
    CallContext, ConnectionConfig, Outbound, Registry,
    mail::{Mail, Mailer, check_address},
};
use portolan_domain::{
    AlertId, NoticeId, Secret, Timestamp,
    contract::Severity,
    notification::{News, Receiver, Rule},
    verdict::{CallFailure, CallProblem},
};
use portolan_store::{
    ClaimRequest, Finish, StoreError,
    alert::NewAlert,
    notification::{NoticeClaim, NoticeEnd, NotificationRule},
    sealed::owner_of_notification_rule,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    rooms::Rooms,
    vault::{Secrets, Vault},
    work::{self, Work},
};

/// Notices under way at once.
const SLOTS_MAX: usize = 32;
/// Of one tenant.
const PER_TENANT_MAX: usize = 4;
/// Of one rule: its receiver gets them one after the other.
const PER_RULE_MAX: usize = 1;
/// How long a receiver may take.
const TIMEOUT_MS: u64 = 10_000;
/// The name of a rule's secret.
pub const SIGNING_SECRET: &str = "signing_secret";
/// The alert that a notice was given up.
pub const FAILED: &str = "notification-failed";

/// What notices leave by.
#[derive(Debug, Clone)]
pub struct Mailroom {
    vault: Arc<Vault>,
    registry: Arc<Registry>,
    outbound: Outbound,
    mailer: Option<Mailer>,
}

impl Mailroom {
    /// Without a mail server.
    #[must_use]
    pub const fn new(vault: Arc<Vault>, registry: Arc<Registry>, outbound: Outbound) -> Self {
        Self { vault, registry, outbound, mailer: None }
    }

    /// With the operator's mail server.
    #[must_use]
    pub fn with_mailer(mut self, mailer: Option<Mailer>) -> Self {
        self.mailer = mailer;
        self
    }

    /// Checks that notices can be sent where a rule says, with this secret. Nothing is sent.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self, rule: &Rule, secret: Option<&Secret>) -> Result<(), String> {
        rule.check()?;
        match &rule.to {
            Receiver::Webhook { url } => {
                let secret = secret.ok_or("secret: webhooks are signed with one (whsec_…)")?;
                self.connect(url, secret).map(drop).map_err(|problem| problem.message)
            }
            Receiver::Email { to } => {
                if self.mailer.is_none() {
                    return Err("to/email: this host has no mail server; its operator sets one (mail.host)"
                        .to_owned());
                }
                to.iter()
                    .try_for_each(|to| check_address(to))
                    .map_err(|error| format!("to/email/to: {error}"))
            }
        }
    }

    fn connect(
        &self,
        url: &str,
        secret: &Secret,
    ) -> Result<Arc<dyn portolan_connectors::Connection>, CallProblem> {
        let problem = |message: String| CallProblem::new("rule-unusable", message);
        let connector = self.registry.get("http").ok_or_else(|| problem("no connector http".to_owned()))?;
        let settings = json!({ "base_url": url, "signing": "standard-webhooks", "timeout_ms": TIMEOUT_MS });
        let secrets = Secrets::from([(SIGNING_SECRET.to_owned(), secret.clone())]);
        connector
            .connect(&ConnectionConfig { settings, secrets }, &self.outbound)
            .map_err(|error| problem(format!("to/webhook: {error}")))
    }

    /// Sends once, now.
    ///
    /// # Errors
    /// How it failed.
    pub async fn send(
        &self,
        rule: &NotificationRule,
        (id, attempt): (&NoticeId, u32),
        news: &News,
        now: Timestamp,
    ) -> Result<(), CallFailure> {
        match &rule.rule.to {
            Receiver::Webhook { url } => {
                let owner = owner_of_notification_rule(&rule.scope, &rule.id);
                let sealed = |_| CallFailure::permanent("rule-unusable", "the rule's secret does not open");
                let secrets = self.vault.open(&owner, &rule.sealed_secrets).map_err(sealed)?;
                let none = || CallFailure::permanent("rule-unusable", "the rule has no signing secret");
                let secret = secrets.get(SIGNING_SECRET).ok_or_else(none)?;
                let connection =
                    self.connect(url, secret).map_err(|problem| CallFailure::Permanent { problem })?;
                let context = CallContext {
                    call_id: id.as_str().to_owned(),
                    attempt,
                    timeout: Duration::from_millis(TIMEOUT_MS),
                    now_seconds: now.as_seconds(),
                    traceparent: None,
                };
                let body = json!({ "path": "", "body": as_webhook(rule, news) });
                connection.write("request.post", &body, &context).await.map(drop)
            }
            Receiver::Email { to } => {
                let none =
                    || CallFailure::retryable("no-mail-server", "this host has no mail server (mail.host)");
                let mailer = self.mailer.as_ref().ok_or_else(none)?;
                let (to, id) = (to.clone(), id.as_str().to_owned());
                mailer.send(&Mail { id, to, subject: subject(news), text: as_mail(rule, news) }).await
            }
        }
    }
}

/// `type`, `timestamp` and `data`, as Standard Webhooks has it.
fn as_webhook(rule: &NotificationRule, news: &News) -> Value {
    let mut data = news.data.clone();
    if let Some(data) = data.as_object_mut() {
        data.insert("rule".to_owned(), json!(rule.id));
    }
    json!({ "type": news.kind, "timestamp": news.timestamp.to_string(), "data": data })
}

fn subject(news: &News) -> String {
    format!("[portolan] {} {}: {}", news.severity.as_str(), news.kind, news.title)
}

/// What a person needs to go and look: no payload, no module's detail.
fn as_mail(rule: &NotificationRule, news: &News) -> String {
    let mut text = format!(
        "{}\n\n{}  {}\nseverity     {}\nwhen         {}\nenvironment  {}\n",
        news.title,
        "what        ",
        news.kind,
        news.severity.as_str(),
        news.timestamp,
        news.scope
    );
    for name in ["code", "alert", "event", "delivery", "operation", "connection", "count"] {
        match news.data.get(name) {
            Some(Value::String(value)) => text.push_str(&format!("{name:<12} {value}\n")),
            Some(Value::Number(value)) => text.push_str(&format!("{name:<12} {value}\n")),
            Some(_) | None => {}
        }
    }
    for (name, count) in news.data.get("counts").and_then(Value::as_object).into_iter().flatten() {
        text.push_str(&format!("{count:>12} × {name}\n"));
    }
    for reference in news.data.get("references").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        text.push_str(&format!("document     {} {}\n", of("system"), of("id")));
    }
    if let Some(event) = news.data.get("event").and_then(Value::as_str) {
        text.push_str(&format!("\nThe whole story: portolan event show {event}\n"));
    }
    text.push_str(&format!("\nThe notification rule {:?} ({}) wanted you to know.\n", rule.name, rule.id));
    text
}

/// The loop that sends.
#[derive(Debug)]
pub(crate) struct Notifier {
    shared: Shared,
    nudge: Nudge,
    rules: Rooms,
    tenants: Rooms,
}

impl Notifier {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared, nudge: Nudge::default(), rules: Rooms::default(), tenants: Rooms::default() }
    }

    /// Works until `stopped` turns true, then waits for what is under way.
    pub(crate) async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    fn end(&self, claim: &NoticeClaim, sent: Result<(), CallFailure>) -> NoticeEnd {
        let Err(failure) = sent else { return NoticeEnd::Sent };
        let reason = json!(failure.problem());
        let policy = self.shared.settings.notice_retry;
        match policy.delay(claim.attempt, rand::random()).filter(|_| !is_hopeless(&failure)) {
            Some(pause) => {
                let pause = pause.max(failure.after().unwrap_or_default());
                NoticeEnd::Retry { due_at: self.shared.steady().plus(pause), reason }
            }
            None => {
                let at = self.shared.clock.now();
                let alert = NewAlert {
                    id: AlertId::generate(at),
                    severity: Severity::Warning,
                    code: FAILED.to_owned(),
                    title: format!("notification rule {:?} cannot tell its receiver", claim.rule.name),
                    detail: json!({ "rule": claim.rule.id, "notice": claim.id, "problem": failure.problem() }),
                    at,
                };
                NoticeEnd::Failed { reason, alerts: vec![alert] }
            }
        }
    }
}

/// Whether it would fail again just so. A receiver that refuses may have been put up wrong for an hour: it is asked again.
fn is_hopeless(failure: &CallFailure) -> bool {
    let CallFailure::Permanent { problem } = failure else { return false };
    let gone = problem.detail.get("status").and_then(Value::as_u64) == Some(410);
    gone || matches!(
        problem.code.as_str(),
        "address-refused" | "mail-refused" | "mail-unusable" | "rule-unusable"
    )
}

impl Work for Notifier {
    type Claim = NoticeClaim;
    const NAME: &'static str = "the notifier";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn nudge(&self) -> &Nudge {
        &self.nudge
    }

    fn lane(claim: &NoticeClaim) -> &str {
        claim.rule.scope.tenant.as_str()
    }

    fn slots_max(&self) -> usize {
        SLOTS_MAX
    }

    async fn claim(&self, slots: usize) -> Result<Vec<NoticeClaim>, StoreError> {
        let request = ClaimRequest {
            owner: self.shared.owner.to_string(),
            now: self.shared.steady(),
            lease_ms: self.shared.settings.lease_ms,
            rows_max: slots,
            room: self.rules.left(|_| PER_RULE_MAX),
            lane_room: PER_RULE_MAX,
            tenant_room: self.tenants.left(|_| PER_TENANT_MAX),
            tenant_room_max: PER_TENANT_MAX,
        };
        self.shared.store.notice_claim(request).await
    }

    async fn next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.shared.store.notice_next_due().await
    }

    async fn carry_out(&self, claim: NoticeClaim) {
        let _of_rule = self.rules.enter(claim.rule.id.as_str());
        let _of_tenant = self.tenants.enter(claim.rule.scope.tenant.as_str());
        let (clock, started) = (&self.shared.clock, self.shared.clock.monotonic());
        let sending =
            self.shared.mailroom.send(&claim.rule, (&claim.id, claim.attempt), &claim.news, clock.now());
        let sent = AssertUnwindSafe(sending).catch_unwind().await;
        let sent = sent.unwrap_or_else(|_| Err(CallFailure::retryable("host-panic", "the host panicked")));
        let took = clock.monotonic().saturating_sub(started);
        let code = sent.as_ref().err().map(|failure| failure.problem().code.clone());
        let end = self.end(&claim, sent);
        let verdict = match &end {
            NoticeEnd::Sent => "sent",
            NoticeEnd::Retry { .. } => "retry",
            NoticeEnd::Failed { .. } => "failed",
        };
        let channel = claim.rule.rule.to.channel();
        metrics::counter!("portolan_notices_total", "channel" => channel, "verdict" => verdict).increment(1);
        tracing::info!(
            notice.id = %claim.id, notice.kind = claim.news.kind, notice.verdict = verdict, notice.channel = channel,
            rule.id = %claim.rule.id, attempt.number = claim.attempt, problem.code = code,
            tenant.id = %claim.rule.scope.tenant, environment = %claim.rule.scope.environment,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "notice"
        );
        let now = self.shared.steady();
        match work::store_end(|| self.shared.store.notice_finish(&claim, end.clone(), now)).await {
            Ok(Finish::Done) => {}
            Ok(Finish::LeaseLost) => {
                tracing::warn!(notice.id = %claim.id, "another owner has the notice by now; it is sent twice");
            }
            Err(error) => {
                tracing::error!(notice.id = %claim.id, error = &error as &dyn std::error::Error, "a notice's end could not be stored");
            }
        }
    }
}
