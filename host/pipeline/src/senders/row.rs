//! Rows of a table that changed, as JSON: what a BPM directive of Epicor or a gateway of Sage Pro sends. Epicor has no
//! webhooks of its own, so the form of a directive's call is ours:
//! `{eventId, company, table, sysRowId, sysRevId, operation, row}`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{EventHead, NotAnEvent};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directive<'a> {
    event_id: String,
    table: String,
    sys_row_id: String,
    operation: String,
    /// Only looked at from outside: a million elements must not become so many values.
    #[serde(borrow)]
    row: &'a RawValue,
}

/// Reads the call of a BPM directive.
pub(super) fn read_directive(body: &Bytes) -> Result<EventHead, NotAnEvent> {
    let malformed = |why: String| NotAnEvent::Malformed { what: "a directive's call", why };
    let call: Directive<'_> = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if !call.row.get().starts_with('{') {
        return Err(malformed("its `row` is no object".to_owned()));
    }
    Ok(EventHead {
        idempotency_key: call.event_id,
        kind: format!("{}.{}", call.table, call.operation),
        occurred_at: None,
        object_id: Some(call.sys_row_id),
        livemode: None,
        account: None,
        payload: body.clone(),
    })
}

/// Reads a customer row of Sage Pro. It has no id of its own as an event: the same row again is the same event.
pub(super) fn read_customer(body: &Bytes) -> Result<EventHead, NotAnEvent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        cust_no: String,
    }
    let malformed =
        |error: serde_json::Error| NotAnEvent::Malformed { what: "a customer row", why: error.to_string() };
    let row: Row = serde_json::from_slice(body).map_err(malformed)?;
    Ok(EventHead {
        idempotency_key: format!("{}:sha256:{}", row.cust_no.trim(), hex::encode(Sha256::digest(body))),
        kind: "customer.changed".to_owned(),
        occurred_at: None,
        object_id: Some(row.cust_no.trim().to_owned()),
        livemode: None,
        account: None,
        payload: body.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directives_call_says_what_happened_to_which_row() {
        let body = br#"{"eventId":"e-1","company":"EPIC06","table":"Customer","sysRowId":"g-1","sysRevId":7,
            "operation":"Update","row":{"CustNum":812}}"#;
        let head = read_directive(&Bytes::from_static(body)).unwrap();
        assert_eq!((head.idempotency_key.as_str(), head.kind.as_str()), ("e-1", "Customer.Update"));
        assert_eq!(head.object_id.as_deref(), Some("g-1"));
        for bad in
            [&b"{}"[..], b"[]", br#"{"eventId":"e","table":"t","sysRowId":"s","operation":"o","row":1}"#]
        {
            assert!(read_directive(&Bytes::from_static(bad)).is_err());
        }
    }
}
