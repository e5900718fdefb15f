//! Work that waits too long: an alert per environment, from one age on a warning, from another on critical; over when what
//! is oldest is young again. What waits for a person, or for what its module said has yet to arrive, does not count.

use std::{collections::HashMap, time::Duration};

use portolan_domain::{AlertId, Scope, Timestamp, contract::Severity};
use portolan_store::{
    StoreError,
    alert::NewAlert,
    backlog::{Oldest, Whose},
};
use serde_json::json;
use tokio::sync::watch;

use crate::Shared;

/// The alert's code.
pub const CODE: &str = "backlog-old";
/// Its title.
pub const TITLE: &str = "events have been waiting too long to be carried out";

/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The shortest.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// Looks until the host stops.
pub(crate) async fn watch(shared: Shared, mut stopped: watch::Receiver<bool>) {
    let settings = &shared.settings;
    if settings.backlog_warning_s == 0 {
        return;
    }
    let warning = Duration::from_secs(settings.backlog_warning_s);
    let pause = (warning / 4).clamp(PAUSE_MIN, PAUSE_MAX);
    let mut seen = HashMap::new();
    while !*stopped.borrow() {
        if let Err(error) = look(&shared, &mut seen).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the backlog's age cannot be looked at");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// When each that is oldest was first seen to be: what was redriven after a month has not waited for one.
type Seen = HashMap<String, Timestamp>;

async fn look(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    let oldest = shared.store.oldest_work(Whose::All).await?;
    let now = shared.clock.now();
    seen.retain(|subject, _| oldest.iter().any(|one| one.subject == *subject));
    for one in &oldest {
        seen.entry(one.subject.clone()).or_insert(now);
    }
    let mut late: HashMap<Scope, (Duration, &Oldest)> = HashMap::new();
    let mut eldest = Duration::ZERO;
    let (warning, critical) = (shared.settings.backlog_warning_s, shared.settings.backlog_critical_s);
    for one in &oldest {
        let age = now.since(one.since);
        eldest = eldest.max(age);
        let is_new = seen.get(&one.subject).is_none_or(|first| *first == now);
        let there = late.get(&one.scope).map_or(Duration::ZERO, |(age, _)| *age);
        if age >= Duration::from_secs(warning) && !is_new && age > there {
            late.insert(one.scope.clone(), (age, one));
        }
    }
    metrics::gauge!("portolan_backlog_age_seconds").set(eldest.as_secs_f64());
    for (scope, (age, one)) in &late {
        let is_critical = critical > 0 && *age >= Duration::from_secs(critical);
        let alert = NewAlert {
            id: AlertId::generate(now),
            severity: if is_critical { Severity::Critical } else { Severity::Warning },
            code: CODE.to_owned(),
            title: TITLE.to_owned(),
            detail: json!({ "oldest": one.subject, "event": one.event, "age_s": age.as_secs(),
                            "since": one.since.to_string() }),
            at: now,
        };
        shared.store.alert_raise(scope, alert).await?;
    }
    // Whatever was alerted before, by this host or the one before it, and is late no more.
    shared.store.alert_end_elsewhere(CODE, late.into_keys().collect(), now).await.map(drop)
}
