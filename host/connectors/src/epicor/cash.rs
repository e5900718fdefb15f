//! Cash groups and receipts. A receipt lives in a group; posting works on the whole group, after which its
//! receipts cannot change. So a post that finds the receipt posted already has nothing left to do.

use std::time::Duration;

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Value, json};

use super::{
    Kinetic, is_positive,
    numbers::with_numbers,
    rest::{Question, dataset, literal, new_row, pick},
};
use crate::{
    call::{Call, Doing, in_doubt},
    parameters::{invalid, object, object_of, text},
};

const GROUP: &str = "Erp.BO.CashGrpSvc";
const RECEIPT: &str = "Erp.BO.CashRecSvc";
const POST: &str = "Erp.PROC.CashRecPostSvc";
const RECEIPT_FIELDS: &[&str] = &["GroupID", "HeadNum", "CheckRef", "Posted"];

/// How often a receipt is looked at after its group was posted, and the pause between two looks.
const POSTED_LOOKS_MAX: u32 = 4;
const POSTED_PAUSE: Duration = Duration::from_millis(300);

impl Kinetic {
    pub(super) async fn find_group(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let group = text(object_of(parameters, &["GroupID"])?, "GroupID")?;
        let exists = self.group_exists(group, call).await?;
        Ok(exists.then(|| json!({"GroupID": group})))
    }

    async fn group_exists(&self, group: &str, call: &Call<'_>) -> Result<bool, CallFailure> {
        let parameters = json!({"ipGroupID": group});
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, GROUP, "ReceiptGroupExists", &parameters).await?;
        answer.get("returnObj").and_then(Value::as_bool).ok_or_else(|| {
            let problem =
                CallProblem::new("unreadable-answer", "ReceiptGroupExists answered neither yes nor no");
            Doing::Asking.unclear(problem.with_detail(answer))
        })
    }

    pub(super) async fn ensure_group(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["GroupID", "TranDate", "BankAcctID"])?;
        let group = text(fields, "GroupID")?;
        if self.group_exists(group, call).await? {
            return Ok(json!({"GroupID": group}));
        }
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, GROUP, "GetNewCashGrpNoLock", &json!({"ds": {}})).await?;
        let mut dataset = dataset(Doing::Asking, &answer)?;
        let row = new_row(&mut dataset, "CashGrp")?;
        row.extend(fields.clone());
        row.insert("Company".to_owned(), json!(self.rest.company));
        row.insert("RowMod".to_owned(), json!("A"));
        let changing = (Doing::Changing, call);
        match self.rest.method(changing, GROUP, "Update", &json!({"ds": dataset})).await {
            Ok(_) => Ok(json!({"GroupID": group})),
            // Somebody else was quicker.
            Err(CallFailure::Permanent { problem }) if self.group_exists(group, call).await? => {
                tracing::debug!(problem.code, "the cash group was made meanwhile");
                Ok(json!({"GroupID": group}))
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn find_receipt(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["CheckRef", "Posted"])?;
        let posted_only = match fields.get("Posted") {
            None => false,
            Some(Value::Bool(posted)) => *posted,
            Some(_) => return Err(invalid("/Posted", "must be true or false")),
        };
        let receipt = self.receipt(text(fields, "CheckRef")?, call).await?;
        Ok(receipt.filter(|receipt| !posted_only || is_posted(receipt)))
    }

    async fn receipt(&self, check: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let filter = format!("CheckRef eq {}", literal(check));
        let select = RECEIPT_FIELDS.join(",");
        let (service, set) = (RECEIPT, "CashRecs");
        let question = Question { service, set, filter: &filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| pick(&row, RECEIPT_FIELDS)))
    }

    pub(super) async fn create_receipt(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object(body)?;
        text(fields, "GroupID")?;
        text(fields, "CheckRef")?;
        let mut row = with_numbers(body)?;
        if let Some(fields) = row.as_object_mut() {
            fields.insert("Company".to_owned(), json!(self.rest.company));
            fields.entry("HeadNum").or_insert_with(|| json!(0));
        }
        let stored = self.rest.create(RECEIPT, "CashRecs", &row, call).await?;
        if !is_positive(stored.get("HeadNum")) {
            let problem = CallProblem::new("unreadable-answer", "the stored receipt has no HeadNum");
            return Err(Doing::Changing.unclear(problem));
        }
        Ok(pick(&stored, RECEIPT_FIELDS))
    }

    pub(super) async fn post_group(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["GroupID", "CheckRef"])?;
        let (group, check) = (text(fields, "GroupID")?, text(fields, "CheckRef")?);
        let receipt = self.receipt(check, call).await?;
        let receipt = receipt.ok_or_else(|| {
            CallFailure::permanent("receipt-missing", format!("there is no receipt with CheckRef {check}"))
        })?;
        if receipt.get("GroupID").and_then(Value::as_str) != Some(group) {
            let problem =
                CallProblem::new("receipt-elsewhere", format!("the receipt is not in group {group}"));
            return Err(CallFailure::Permanent { problem: problem.with_detail(receipt) });
        }
        if is_posted(&receipt) {
            return Ok(receipt);
        }
        let asking = (Doing::Asking, call);
        let answer = self.rest.method(asking, POST, "GetNewParameters", &json!({})).await?;
        let mut dataset = dataset(Doing::Asking, &answer)?;
        set_group(&mut dataset, group)?;
        let changing = (Doing::Changing, call);
        let answer = self.rest.method(changing, POST, "RunDirect", &json!({"ds": dataset})).await?;
        self.await_posted(check, &answer, call).await
    }

    /// RunDirect has answered; the receipt itself tells whether it is posted.
    async fn await_posted(&self, check: &str, answer: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        for look in 1..=POSTED_LOOKS_MAX {
            let receipt = self.receipt(check, call).await.map_err(in_doubt)?;
            if let Some(receipt) = receipt.filter(is_posted) {
                return Ok(receipt);
            }
            if look < POSTED_LOOKS_MAX && !call.pause(POSTED_PAUSE).await {
                break;
            }
        }
        let message = "the group was posted, but the receipt is not marked as posted";
        let problem = CallProblem::new("not-posted", message).with_detail(answer.clone());
        Err(Doing::Changing.unclear(problem))
    }
}

fn is_posted(receipt: &Value) -> bool {
    receipt.get("Posted").and_then(Value::as_bool).unwrap_or(false)
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
