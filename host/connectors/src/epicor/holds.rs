//! Orders that are held, and released again. Epicor has one flag for all reasons, so each hold leaves its name in the
//! order's comment: a release lifts its own hold only, and the order stays held while another is there, or when a
//! person had held it before.

use portolan_domain::verdict::CallFailure;
use serde_json::{Value, json};

use super::{
    Kinetic, is_true, problem,
    rest::{Question, pick},
    whole,
};
use crate::{
    call::Call,
    parameters::{invalid, object_of, text, whole_number},
};

const ORDER: &str = "Erp.BO.SalesOrderSvc";
const FIELDS: &[&str] = &["OrderNum", "CustNum", "PONum", "OrderHeld", "OrderComment", "SysRevID"];
/// Stands for the hold of a person, who left no name.
const BEFORE: &str = "[held before]";
/// How often a change is made again that others got in before.
const REPEATS_MAX: u32 = 1;

/// What becomes of an order's flag and comment.
type Change = dyn Fn(bool, &str) -> Option<(bool, String)> + Send + Sync;

impl Kinetic {
    async fn order_by_number(&self, number: u64, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let (filter, select) = (format!("OrderNum eq {number}"), FIELDS.join(","));
        let question =
            Question { service: ORDER, set: "SalesOrders", filter: &filter, select: &select, expand: None };
        self.rest.row(&question, call).await
    }

    pub(super) async fn hold_order(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["OrderNum", "Hold", "Reason"])?;
        let (mark, reason) = (mark(text(fields, "Hold")?)?, text(fields, "Reason")?.to_owned());
        let change = move |held: bool, comment: &str| held_comment(held, comment, &mark, &reason);
        self.change_order(whole_number(fields, "OrderNum")?, &change, call).await
    }

    pub(super) async fn release_order(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(body, &["OrderNum", "Hold"])?;
        let mark = mark(text(fields, "Hold")?)?;
        let change = move |_: bool, comment: &str| released_comment(comment, &mark);
        self.change_order(whole_number(fields, "OrderNum")?, &change, call).await
    }

    async fn change_order(
        &self,
        number: u64,
        change: &Change,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let mut repeats = 0;
        loop {
            let order = self.order_by_number(number, call).await?;
            let order =
                order.ok_or_else(|| problem("order-missing", format!("there is no order {number}")))?;
            let comment = order.get("OrderComment").and_then(Value::as_str).unwrap_or_default();
            let Some((held, comment)) = change(is_true(&order, "OrderHeld"), comment) else {
                return Ok(pick(&order, &["OrderNum", "CustNum", "PONum", "OrderHeld"]));
            };
            let fields =
                json!({"OrderHeld": held, "OrderComment": comment, "SysRevID": whole(&order, "SysRevID")});
            match self.rest.change(ORDER, "SalesOrders", &number.to_string(), (&fields, call)).await {
                Err(failure) if repeats < REPEATS_MAX && failure.problem().code == "record-modified" => {
                    repeats += 1;
                }
                Err(failure) => return Err(failure),
                Ok(()) => {
                    let mut answer = pick(&order, &["OrderNum", "CustNum", "PONum"]);
                    if let Some(fields) = answer.as_object_mut() {
                        fields.insert("OrderHeld".to_owned(), json!(held));
                    }
                    return Ok(answer);
                }
            }
        }
    }
}

/// How a hold is found in a comment.
pub(super) fn mark(hold: &str) -> Result<String, CallFailure> {
    if hold.contains(['[', ']', '\n']) || hold.len() > 100 {
        return Err(invalid("/Hold", "must be a name of at most 100 characters, without brackets"));
    }
    Ok(format!("[hold {hold}]"))
}

fn held_comment(held: bool, comment: &str, mark: &str, reason: &str) -> Option<(bool, String)> {
    if held && comment.contains(mark) {
        return None;
    }
    let ours = comment.lines().any(is_mark);
    let mut lines: Vec<String> = comment.lines().map(str::to_owned).collect();
    if held && !ours {
        lines.push(BEFORE.to_owned());
    }
    lines.push(format!("{mark} {reason}"));
    Some((true, lines.join("\n")))
}

/// Nothing, when the hold is not there: it is not ours to lift what we did not set.
fn released_comment(comment: &str, mark: &str) -> Option<(bool, String)> {
    if !comment.lines().any(|line| line.starts_with(mark)) {
        return None;
    }
    let kept: Vec<&str> = comment.lines().filter(|line| !line.starts_with(mark)).collect();
    let others = kept.iter().any(|line| line.starts_with("[hold "));
    let before = kept.contains(&BEFORE);
    // The last of ours takes the note on the person's hold with it.
    let kept = kept.into_iter().filter(|line| others || *line != BEFORE);
    Some((others || before, kept.collect::<Vec<_>>().join("\n")))
}

fn is_mark(line: &str) -> bool {
    line.starts_with("[hold ") || line == BEFORE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_lifted_by_its_own_release_only() {
        let (held, one) = held_comment(false, "Gift", "[hold prv_1]", "a review").unwrap();
        assert!(held);
        assert_eq!(one, "Gift\n[hold prv_1] a review");
        assert_eq!(held_comment(true, &one, "[hold prv_1]", "a review"), None);
        let (_, two) = held_comment(true, &one, "[hold issfr_1]", "a warning").unwrap();
        assert_eq!(released_comment(&two, "[hold prv_2]"), None);
        let (held, left) = released_comment(&two, "[hold prv_1]").unwrap();
        assert!(held, "the warning still stands");
        assert_eq!(released_comment(&left, "[hold issfr_1]").unwrap(), (false, "Gift".to_owned()));
    }

    #[test]
    fn what_a_person_held_stays_held() {
        let (_, comment) = held_comment(true, "", "[hold prv_1]", "a review").unwrap();
        assert_eq!(released_comment(&comment, "[hold prv_1]").unwrap(), (true, String::new()));
    }
}
