//! A payment intent, as far as it leads to its charge.

use serde::Deserialize;

use super::{Id, List, or_default};

/// A payment intent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PaymentIntent {
    /// `pi_…`
    pub id: String,
    /// `succeeded`, and what is before it.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// The charge of the last try, since 2022-11-15.
    latest_charge: Option<Id>,
    /// All of them, before, the newest first.
    #[serde(default, deserialize_with = "or_default")]
    charges: List<Id>,
}

impl PaymentIntent {
    /// The charge of the last try, whichever shape names it.
    #[must_use]
    pub fn charge(&self) -> Option<&str> {
        self.latest_charge.as_deref().or_else(|| self.charges.data.first().map(|charge| &**charge))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_lead_to_the_charge() {
        for shape in [
            json!({"id": "pi_1", "latest_charge": "ch_1"}),
            json!({"id": "pi_1", "latest_charge": {"id": "ch_1", "object": "charge"}}),
            json!({"id": "pi_1", "charges": {"data": [{"id": "ch_1"}, {"id": "ch_0"}]}}),
        ] {
            assert_eq!(serde_json::from_value::<PaymentIntent>(shape).unwrap().charge(), Some("ch_1"));
        }
    }
}
