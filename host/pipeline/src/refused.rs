//! The other system refuses our credentials or rights: asking again would only lock the account. The connection is
//! paused, and a person is told, whatever it was that was refused: a delivery, a fact or a poll.

use portolan_domain::{AlertId, ConnectionId, Scope, contract::Severity, verdict::CallProblem};
use portolan_store::{StoreError, alert::NewAlert, connection::PAUSED_BY_HOST, run::Decision};
use serde_json::{Value, json};

use crate::{Shared, connections::Opened};

/// The alert's code.
pub const CODE: &str = "credentials-refused";

/// The alert's title.
#[must_use]
pub fn title(connection: &ConnectionId) -> String {
    format!("{connection} refuses our credentials or rights: it is paused")
}

/// The alert.
pub(crate) fn alert(shared: &Shared, connection: &ConnectionId, detail: Value) -> NewAlert {
    let at = shared.clock.now();
    let (severity, code) = (Severity::Critical, CODE.to_owned());
    NewAlert { id: AlertId::generate(at), severity, code, title: title(connection), detail, at }
}

/// A question was refused: pauses the connection, unless it has other credentials by now.
pub(crate) async fn pause(
    shared: &Shared,
    (scope, id): (&Scope, &ConnectionId),
    opened: &Opened,
    problem: &CallProblem,
) -> Result<(), StoreError> {
    if shared.store.connection_get(scope, id).await?.revision != opened.revision {
        return Ok(());
    }
    let why = format!("{CODE}: {}", problem.message);
    let decision = Decision { by: PAUSED_BY_HOST.to_owned(), why, at: shared.clock.now() };
    let alert = alert(shared, id, json!({ "connection": id, "problem": problem }));
    // First, lest a host that dies in between leaves a pause that nobody hears of: what is paused is not asked again.
    shared.store.alert_raise(scope, alert).await?;
    shared.store.connection_pause(scope, id, decision).await?;
    Ok(())
}
