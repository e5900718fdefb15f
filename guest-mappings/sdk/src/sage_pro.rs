//! Formats of Sage Pro ERP behind its gateway: the widths of its tables. They differ between releases; these are
//! the narrowest core ones. The gateway refuses what is too long, and so does this crate, before it is sent.
//!
//! ```
//! use portolan_sdk::sage_pro;
//!
//! assert_eq!(sage_pro::CUST_NO.text("ROSE01")?, "ROSE01");
//! assert!(sage_pro::CUST_NO.text("ROSE001").is_err());
//! # Ok::<(), portolan_sdk::text::Refused>(())
//! ```

use crate::text::{Field, Refused};

/// Customer number.
pub const CUST_NO: Field = Field::new("CustNo", 6);
/// A customer's name.
pub const COMPANY: Field = Field::new("Company", 35);
/// A person at the customer.
pub const CONTACT: Field = Field::new("Contact", 30);
/// First line of an address.
pub const ADDRESS_1: Field = Field::new("Address1", 35);
/// Second line of an address.
pub const ADDRESS_2: Field = Field::new("Address2", 35);
/// City.
pub const CITY: Field = Field::new("City", 20);
/// State.
pub const STATE: Field = Field::new("State", 10);
/// Postal code.
pub const ZIP: Field = Field::new("Zip", 10);
/// Country.
pub const COUNTRY: Field = Field::new("Country", 15);
/// Telephone number.
pub const PHONE: Field = Field::new("Phone", 20);
/// E-mail address: a memo field, bounded by the gateway.
pub const EMAIL: Field = Field::new("Email", 254);
/// What the gateway recognises a document by: holds a Stripe id.
pub const EXTERNAL_REF: Field = Field::new("ExternalRef", 64);
/// Payment terms.
pub const TERMS: Field = Field::new("Terms", 20);
/// Currency code.
pub const CURRENCY: Field = Field::new("Currency", 3);
/// Item number.
pub const ITEM: Field = Field::new("Item", 15);
/// Description of an invoice line.
pub const DESCRIP: Field = Field::new("Descrip", 35);
/// Why a document was made, or a journal's title.
pub const REASON: Field = Field::new("Reason", 35);
/// Sales order number, ARMAST.ORNUM.
pub const ORDER: Field = Field::new("Order", 10);
/// Invoice number, and that of a credit memo.
pub const INV_NO: Field = Field::new("InvNo", 10);
/// Account of the general ledger.
pub const ACCOUNT: Field = Field::new("Account", 24);
/// Title of a journal.
pub const DESCRIPTION: Field = Field::new("Description", 35);
/// Free text of a document.
pub const NOTES: Field = Field::new("Notes", 254);
/// What a payment is called.
pub const METHOD: Field = Field::new("Method", 10);

/// The two address lines. A first line that is too long flows over into an empty second one, between words.
///
/// # Errors
/// [`Refused`], when both are full, or a word is longer than a line.
pub fn address_lines(first: &str, second: &str) -> Result<(String, String), Refused> {
    let (first, second) = (first.trim(), second.trim());
    if first.chars().count() <= ADDRESS_1.chars_max() || !second.is_empty() {
        return Ok((ADDRESS_1.text(first)?, ADDRESS_2.text(second)?));
    }
    let fits = |(at, _): &(usize, &str)| first.get(..*at).is_some_and(|line| line.chars().count() <= 35);
    let blanks = first.match_indices(' ').rfind(fits);
    match blanks.and_then(|(at, _)| first.split_at_checked(at)) {
        Some((line, rest)) => Ok((ADDRESS_1.text(line.trim())?, ADDRESS_2.text(rest.trim())?)),
        None => ADDRESS_1.text(first).map(|line| (line, String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_street_flows_into_the_second_line() {
        let long = "Kaiser-Friedrich-Promenade 127, Hinterhaus links";
        let (one, two) = address_lines(long, "").unwrap();
        assert_eq!((one.as_str(), two.as_str()), ("Kaiser-Friedrich-Promenade 127,", "Hinterhaus links"));
        assert_eq!(address_lines("1 Main St", "Flat 2").unwrap().1, "Flat 2");
        assert!(address_lines(long, "Flat 2").is_err(), "nothing is cut");
        assert!(address_lines(&"x".repeat(36), "").is_err());
        assert!(address_lines(&"word ".repeat(20), "").is_err());
    }
}
