//! Notification rules, and the notices that are to be sent because of them: an outbox like the one of deliveries. A notice
//! is stored in the transaction in which what it tells happens (S24); sending it takes its own time and holds nothing up.

use async_trait::async_trait;
use portolan_domain::{
    NoticeId, NotificationRuleId, Scope, Timestamp,
    notification::{News, Rule},
    state::NoticeState,
};
use serde_json::Value;

use crate::{ClaimRequest, Finish, Lease, Page, StoreError, alert::NewAlert};

/// Rules of one environment.
pub const RULES_MAX: usize = 50;

/// A stored notification rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRule {
    /// Its id.
    pub id: NotificationRuleId,
    /// Whose.
    pub scope: Scope,
    /// Unique in its scope.
    pub name: String,
    /// Whether it tells anything.
    pub enabled: bool,
    /// What, and where to.
    pub rule: Rule,
    /// The secret that its webhooks are signed with, sealed; nothing in it for e-mail.
    pub sealed_secrets: Vec<u8>,
    /// Rises with every change.
    pub revision: u64,
    /// Since when.
    pub created_at: Timestamp,
}

/// What to change about a rule; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChange {
    /// Whether it tells anything. When not, what it has not told yet is given up.
    pub enabled: Option<bool>,
    /// What, and where to.
    pub rule: Option<Rule>,
    /// The secrets, sealed.
    pub sealed_secrets: Option<Vec<u8>>,
}

/// A stored notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// Whose.
    pub scope: Scope,
    /// By which rule.
    pub rule: NotificationRuleId,
    /// What its receiver reads.
    pub news: News,
    /// Where it stands.
    pub state: NoticeState,
    /// How often it was tried to send it.
    pub attempts: u32,
    /// When it is due, while it is not sent.
    pub due_at: Timestamp,
    /// Why it was not sent: `{"code","message",…}`; null when there is nothing to say.
    pub reason: Value,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A notice that its claimer must now finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeClaim {
    /// Which.
    pub id: NoticeId,
    /// Proof of the lease.
    pub lease: Lease,
    /// The rule as it is now.
    pub rule: NotificationRule,
    /// What its receiver reads.
    pub news: News,
    /// This attempt's number, from 1.
    pub attempt: u32,
}

/// How an attempt to send a notice ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeEnd {
    /// Its receiver has it.
    Sent,
    /// Try again.
    Retry {
        /// When.
        due_at: Timestamp,
        /// `{"code","message",…}`
        reason: Value,
    },
    /// Given up.
    Failed {
        /// `{"code","message",…}`
        reason: Value,
        /// To be raised; the rule itself is not asked to tell it.
        alerts: Vec<NewAlert>,
    },
}

/// Which notices to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticeFilter {
    /// In this state.
    pub state: Option<NoticeState>,
    /// Of this rule.
    pub rule: Option<NotificationRuleId>,
}

/// Notification rules and their notices.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Stores a rule. `Conflict` when its name is taken in its scope, or the scope has [`RULES_MAX`].
    async fn notification_rule_create(&self, rule: NotificationRule) -> Result<(), StoreError>;
    /// One rule of a scope.
    async fn notification_rule_get(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
    ) -> Result<NotificationRule, StoreError>;
    /// The rules of a scope, newest first.
    async fn notification_rule_list(
        &self,
        scope: &Scope,
        page: Page,
    ) -> Result<Vec<NotificationRule>, StoreError>;
    /// Changes a rule, and raises its revision.
    async fn notification_rule_update(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
        change: RuleChange,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Removes a rule with all its notices: from this moment on nobody sees them, nothing of it is told, and its name is
    /// free. What is left of them is removed by [`sweep_hidden`](crate::retention::Retentions::sweep_hidden).
    async fn notification_rule_delete(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
    ) -> Result<(), StoreError>;
    /// Leases due notices (S5, S8). A lane is a rule; tenants take turns.
    async fn notice_claim(&self, request: ClaimRequest) -> Result<Vec<NoticeClaim>, StoreError>;
    /// Stores how an attempt ended.
    async fn notice_finish(
        &self,
        claim: &NoticeClaim,
        end: NoticeEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError>;
    /// The notices of a scope, newest first.
    async fn notice_list(
        &self,
        scope: &Scope,
        filter: NoticeFilter,
        page: Page,
    ) -> Result<Vec<Notice>, StoreError>;
    /// When the next notice that is not due yet becomes due, or a lease ends.
    async fn notice_next_due(&self) -> Result<Option<Timestamp>, StoreError>;
}
