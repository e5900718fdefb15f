//! Formats of Epicor ERP 10 and Kinetic: dates and the fields with their lengths.
//!
//! ```
//! use portolan_sdk::{date, epicor};
//!
//! assert_eq!(epicor::date(date::in_zone(1_795_217_400, "UTC").unwrap()), "2026-11-20T00:00:00");
//! assert!(epicor::CUST_ID.text("S0000000042").is_err());
//! ```

use jiff::civil::Date;

use crate::text::Field;

/// A customer's unique id, chosen by us.
pub const CUST_ID: Field = Field::new("CustID", 10);
/// A customer's name.
pub const NAME: Field = Field::new("Name", 50);
/// First line of an address.
pub const ADDRESS_1: Field = Field::new("Address1", 50);
/// Second line of an address.
pub const ADDRESS_2: Field = Field::new("Address2", 50);
/// City.
pub const CITY: Field = Field::new("City", 50);
/// State.
pub const STATE: Field = Field::new("State", 50);
/// Postal code.
pub const ZIP: Field = Field::new("Zip", 10);
/// Country, as text.
pub const COUNTRY: Field = Field::new("Country", 50);
/// Telephone number.
pub const PHONE_NUM: Field = Field::new("PhoneNum", 20);
/// E-mail address. Stripe's may be longer.
pub const E_MAIL_ADDRESS: Field = Field::new("EMailAddress", 50);
/// Where another system's id of the customer is kept: holds a Stripe id.
pub const CRM_CUSTOMER_ID: Field = Field::new("ExternalCRMCustomerID", 50);
/// The customer's order number: holds a Stripe id.
pub const PO_NUM: Field = Field::new("PONum", 50);
/// Part number.
pub const PART_NUM: Field = Field::new("PartNum", 50);
/// Description of an order line.
pub const LINE_DESC: Field = Field::new("LineDesc", 1000);
/// Cash group.
pub const GROUP_ID: Field = Field::new("GroupID", 9);
/// Reference of a cash receipt. Its length differs between releases: a short reference fits all.
pub const CHECK_REF: Field = Field::new("CheckRef", 20);
/// Free text of a cash receipt: holds a Stripe id.
pub const REFERENCE: Field = Field::new("Reference", 50);
/// Bank account of cash receipts.
pub const BANK_ACCT_ID: Field = Field::new("BankAcctID", 10);
/// Another system's id of an invoice: holds a Stripe id.
pub const EXTERNAL_ID: Field = Field::new("ExternalID", 50);
/// Reason of a credit memo, of type A.
pub const REASON_CODE: Field = Field::new("ReasonCode", 8);
/// General ledger account, its segments joined.
pub const GL_ACCOUNT: Field = Field::new("GLAccount", 200);
/// Text of a journal and of each of its lines.
pub const JOURNAL_TEXT: Field = Field::new("Description", 50);

/// A group of its own for a document: a letter and eight characters of its short reference. A shared group is locked
/// by whoever works in it, and posting it would post what others have put in.
#[must_use]
pub fn group_id(letter: char, of: &str) -> String {
    format!("{letter}{}", crate::short::prefix(of, 8))
}

/// A date as Epicor's REST services write it.
#[must_use]
pub fn date(date: Date) -> String {
    format!("{date}T00:00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_a_midnight() {
        assert_eq!(date(Date::new(2026, 3, 4).unwrap()), "2026-03-04T00:00:00");
    }
}
