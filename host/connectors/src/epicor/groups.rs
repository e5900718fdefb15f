//! Groups: receipts, invoices and journals are entered into one and posted by it. Making one that is there already
//! is harmless.

use std::time::Duration;

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Kinetic,
    rest::{Question, dataset, literal, new_row},
};
use crate::{
    call::{Call, Doing, in_doubt},
    parameters::{object_of, text},
};

const CASH: &str = "Erp.BO.CashGrpSvc";
/// How often a document is looked at after its group was posted, and the pause between two looks.
const POSTED_LOOKS_MAX: u32 = 4;
const POSTED_PAUSE: Duration = Duration::from_millis(300);

/// A kind of group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupKind {
    pub(super) service: &'static str,
    /// The entity set that is asked whether a group is there.
    pub(super) set: &'static str,
    pub(super) table: &'static str,
    /// The method that gives a blank row.
    pub(super) new: &'static str,
}

const CASH_GROUP: GroupKind =
    GroupKind { service: CASH, set: "CashGrps", table: "CashGrp", new: "GetNewCashGrpNoLock" };

impl Kinetic {
    pub(super) async fn find_cash_group(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let group = text(object_of(parameters, &["GroupID"])?, "GroupID")?;
        let exists = self.cash_group_exists(group, call).await?;
        Ok(exists.then(|| json!({"GroupID": group})))
    }

    async fn cash_group_exists(&self, group: &str, call: &Call<'_>) -> Result<bool, CallFailure> {
        let parameters = json!({"ipGroupID": group});
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, CASH, "ReceiptGroupExists", &parameters).await?;
        answer.get("returnObj").and_then(Value::as_bool).ok_or_else(|| {
            let problem =
                CallProblem::new("unreadable-answer", "ReceiptGroupExists answered neither yes nor no");
            Doing::Asking.unclear(problem.with_detail(answer))
        })
    }

    pub(super) async fn ensure_cash_group(
        &self,
        body: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["GroupID", "TranDate", "BankAcctID"])?;
        self.ensure_group(CASH_GROUP, fields, call).await
    }

    async fn group_exists(&self, kind: GroupKind, group: &str, call: &Call<'_>) -> Result<bool, CallFailure> {
        if kind.service == CASH {
            return self.cash_group_exists(group, call).await;
        }
        let filter = format!("GroupID eq {}", literal(group));
        let (service, set) = (kind.service, kind.set);
        let question = Question { service, set, filter: &filter, select: "GroupID", expand: None };
        Ok(self.rest.row(&question, call).await?.is_some())
    }

    /// Makes the group whose row these fields are, unless it is there.
    pub(super) async fn ensure_group(
        &self,
        kind: GroupKind,
        fields: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let group = text(fields, "GroupID")?;
        if self.group_exists(kind, group, call).await? {
            return Ok(json!({"GroupID": group}));
        }
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, kind.service, kind.new, &json!({"ds": {}})).await?;
        let mut dataset = dataset(Doing::Asking, &answer)?;
        let row = new_row(&mut dataset, kind.table)?;
        row.extend(fields.clone());
        row.insert("Company".to_owned(), json!(self.rest.address.company));
        row.insert("RowMod".to_owned(), json!("A"));
        let changing = (Doing::Changing, call);
        match self.rest.method(changing, kind.service, "Update", &json!({"ds": dataset})).await {
            Ok(_) => Ok(json!({"GroupID": group})),
            // Somebody else was quicker.
            Err(CallFailure::Permanent { problem }) if self.group_exists(kind, group, call).await? => {
                tracing::debug!(problem.code, "the group was made meanwhile");
                Ok(json!({"GroupID": group}))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Runs the posting process of a group. That it answers says little: the document tells whether it is posted.
    pub(super) async fn run_posting(
        &self,
        process: &str,
        group: &str,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, process, "GetNewParameters", &json!({})).await?;
        let mut dataset = dataset(Doing::Asking, &answer)?;
        set_group(&mut dataset, group)?;
        let changing = (Doing::Changing, call);
        self.rest.method(changing, process, "RunDirect", &json!({"ds": dataset})).await
    }
}

/// Looks at a document until it is posted.
pub(super) async fn await_posted<F>(
    call: &Call<'_>,
    answer: &Value,
    look: impl Fn() -> F,
) -> Result<Value, CallFailure>
where
    F: Future<Output = Result<Option<Value>, CallFailure>>,
{
    for looked in 1..=POSTED_LOOKS_MAX {
        if let Some(posted) = look().await.map_err(in_doubt)? {
            return Ok(posted);
        }
        if looked < POSTED_LOOKS_MAX && !call.pause(POSTED_PAUSE).await {
            break;
        }
    }
    let text = "the group was posted, but the document is not marked as posted";
    let problem = CallProblem::new("not-posted", text).with_detail(answer.clone());
    Err(Doing::Changing.unclear(problem))
}

/// The posting parameters are the dataset's only filled table, whatever the release calls it.
fn set_group(dataset: &mut Value, group: &str) -> Result<(), CallFailure> {
    let tables = dataset.as_object_mut().into_iter().flat_map(|tables| tables.values_mut());
    let row = tables.filter_map(Value::as_array_mut).find_map(|rows| rows.first_mut()?.as_object_mut());
    let Some(row) = row else {
        let problem = CallProblem::new("unreadable-answer", "GetNewParameters gave no row to fill in");
        return Err(Doing::Asking.unclear(problem));
    };
    row.insert("GroupID".to_owned(), json!(group));
    Ok(())
}
