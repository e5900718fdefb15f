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

use crate::text::Field;

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
/// E-mail address: a memo field, bounded here by what Stripe sends.
pub const EMAIL: Field = Field::new("Email", 512);
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
