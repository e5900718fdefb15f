//! Holds on customers and invoices. Each is known by what it rests on, so that lifting one leaves the others; and
//! the hold that people set in Sage Pro itself is none of the gateway's.

use serde_json::{Map, Value, json};

use crate::sage::checks::Body;
use crate::sage::{Problem, SagePro, Written, customers};
use crate::stand_in::{Call, Draft, Moment};

const HOLD: &[&str] = &["ExternalRef", "Hold", "Reason"];

impl SagePro {
    /// Sets or lifts a hold. `resource` is `Customer` or `Invoice`.
    pub(crate) fn hold(
        &self,
        call: &Call,
        moment: Moment,
        (resource, number): (&'static str, &str),
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, HOLD)?;
        let reference = fields.required("ExternalRef", 64)?;
        let reason = fields.text("Reason", 254)?;
        let held = body.get("Hold").and_then(Value::as_bool);
        let held = held.ok_or_else(|| Problem::invalid("Hold", "True or false is expected."))?;
        let known = self.documents.by_number(resource, number, moment.now_ms);
        let known = known.and_then(|record| record.as_object().cloned());
        let mut record =
            known.ok_or_else(|| Problem::missing(resource, format!("There is no {resource} {number}.")))?;
        self.check_unlocked(number)?;
        let mut holds = record.get("Holds").and_then(Value::as_object).cloned().unwrap_or_default();
        let changed = match held {
            true => holds.insert(reference.to_owned(), json!(reason)).is_none(),
            false => holds.remove(reference).is_some(),
        };
        record.insert("Holds".to_owned(), Value::Object(holds));
        if resource == "Customer" && changed {
            record.insert("ModifiedAtMs".to_owned(), json!(moment.now_ms));
        }
        let answer = match resource {
            "Customer" => {
                let shown = customers::shown(&record);
                json!({"CustNo": number, "Hold": held, "CreditHold": shown.get("CreditHold")})
            }
            _ => json!({"InvNo": number, "Hold": invoice_shown(record.clone()).get("Hold")}),
        };
        let kind = if resource == "Customer" { "customer-hold-update" } else { "invoice-hold-update" };
        let draft = changed.then(|| {
            let document = json!({"record": record, "visible_at_ms": moment.now_ms});
            Draft::new(kind, number, reference, call)
                .lines(vec![json!({"hold": held, "reason": reason})])
                .document(document)
        });
        Ok(Written { status: 200, answer, draft })
    }
}

/// An invoice as it is answered.
pub(crate) fn invoice_shown(mut record: Map<String, Value>) -> Value {
    let holds = record.remove("Holds");
    let held = holds.is_some_and(|holds| holds.as_object().is_some_and(|holds| !holds.is_empty()));
    record.insert("Hold".to_owned(), json!(held));
    Value::Object(record)
}
