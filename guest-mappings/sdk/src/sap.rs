//! Formats of SAP ECC: ALPHA and NUMC padding, DATS, amounts, the fields of the BAPIs with their lengths.
//!
//! ```
//! use portolan_sdk::{date, money::{Currency, Money}, sap};
//!
//! assert_eq!(sap::CUSTOMER.alpha("4711")?, "0000004711");
//! assert_eq!(sap::CUSTOMER.alpha("c-17")?, "C-17");
//! assert_eq!(sap::ITM_NUMBER.numc(10)?, "000010");
//! assert_eq!(sap::dats(date::in_zone(1_795_217_400, "Europe/Berlin").unwrap()), "20261121");
//! let yen = Money::new(5000, Currency::parse("jpy").unwrap());
//! assert_eq!(sap::amount(yen, &Default::default()).unwrap().to_string(), "5000");
//! # Ok::<(), portolan_sdk::text::Refused>(())
//! ```

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::{
    money::{Money, MoneyError},
    text::{Field, Refused},
};

/// Customer number, KUNNR.
pub const CUSTOMER: Field = Field::new("CUSTOMER", 10);
/// G/L account, HKONT.
pub const GL_ACCOUNT: Field = Field::new("GL_ACCOUNT", 10);
/// Partner number of an order.
pub const PARTN_NUMB: Field = Field::new("PARTN_NUMB", 10);
/// Material number of ECC.
pub const MATERIAL: Field = Field::new("MATERIAL", 18);
/// Item number of an order, in steps of 10.
pub const ITM_NUMBER: Field = Field::new("ITM_NUMBER", 6);
/// Schedule line number.
pub const SCHED_LINE: Field = Field::new("SCHED_LINE", 4);
/// Item number of an accounting document.
pub const ITEMNO_ACC: Field = Field::new("ITEMNO_ACC", 10);
/// Item text of an order.
pub const SHORT_TEXT: Field = Field::new("SHORT_TEXT", 40);
/// The customer's order number: holds a Stripe id.
pub const PURCH_NO_C: Field = Field::new("PURCH_NO_C", 35);
/// Item text of an accounting document: holds a Stripe id.
pub const ITEM_TEXT: Field = Field::new("ITEM_TEXT", 50);
/// Header text of an accounting document.
pub const HEADER_TXT: Field = Field::new("HEADER_TXT", 25);
/// Reference of an accounting document, BKPF-XBLNR: holds a short reference.
pub const REF_DOC_NO: Field = Field::new("REF_DOC_NO", 16);
/// Company code.
pub const COMP_CODE: Field = Field::new("COMP_CODE", 4);
/// Name lines of an address, four of them.
pub const NAME: Field = Field::new("NAME", 35);
/// Street of an address.
pub const STREET: Field = Field::new("STREET", 35);
/// City of an address.
pub const CITY: Field = Field::new("CITY", 35);
/// Postal code of an address.
pub const POSTL_CODE: Field = Field::new("POSTL_CODE", 10);
/// Country of an address.
pub const COUNTRY: Field = Field::new("COUNTRY", 3);

impl Field {
    /// With the ALPHA conversion: all digits are padded with zeros, anything else stands left in upper-case.
    ///
    /// # Errors
    /// [`Refused`], when it is empty or does not fit.
    pub fn alpha(self, value: &str) -> Result<String, Refused> {
        let value = self.required(value.trim())?;
        if value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(format!("{value:0>width$}", width = self.chars_max()));
        }
        self.text(&value.to_uppercase())
    }

    /// As NUMC: digits, padded with zeros.
    ///
    /// # Errors
    /// [`Refused`], when it has more digits than the field.
    pub fn numc(self, value: u64) -> Result<String, Refused> {
        self.text(&format!("{value:0>width$}", width = self.chars_max()))
    }
}

/// A date as DATS: `YYYYMMDD`.
#[must_use]
pub fn dats(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
}

/// An amount as BAPIs take it: the natural one, with the decimals that this SAP system keeps for the currency.
/// They are those of ISO 4217 unless the system's TCURX differs, which `decimals` tells by currency code.
///
/// # Errors
/// [`MoneyError::LostDigits`], when the system keeps fewer than the amount has.
pub fn amount(money: Money, decimals: &BTreeMap<String, u32>) -> Result<Decimal, MoneyError> {
    let own = decimals.get(money.currency.code()).copied();
    money.decimal_with(own.unwrap_or(money.currency.decimals()))
}

/// A name over the four lines of an address, broken between words.
///
/// # Errors
/// [`Refused`], when it does not fit four lines.
pub fn name_lines(name: &str) -> Result<Vec<String>, Refused> {
    const LINES_MAX: usize = 4;
    let mut lines: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        let word = NAME.text(word)?;
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= NAME.chars_max() => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    if lines.len() > LINES_MAX {
        return Err(NAME.refuse(name, format!("needs {} lines, the address has {LINES_MAX}", lines.len())));
    }
    Ok(lines)
}

/// The fiscal year of a posting date. `first_month` is the month in which it begins; a year that does not begin
/// in January is named after the calendar year in which it ends.
#[must_use]
pub fn fiscal_year(date: Date, first_month: i8) -> i16 {
    if first_month > 1 && date.month() >= first_month { date.year().saturating_add(1) } else { date.year() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    fn day(year: i16, month: i8, day: i8) -> Date {
        Date::new(year, month, day).unwrap()
    }

    #[test]
    fn digits_are_padded_and_letters_are_not() {
        assert_eq!(CUSTOMER.alpha("4711").unwrap(), "0000004711");
        assert_eq!(CUSTOMER.alpha("0000004711").unwrap(), "0000004711");
        assert_eq!(CUSTOMER.alpha("c-17").unwrap(), "C-17");
        assert_eq!(MATERIAL.alpha("4711").unwrap(), "000000000000004711");
        assert!(CUSTOMER.alpha("12345678901").is_err());
        assert!(CUSTOMER.alpha(" ").is_err());
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert_eq!(ITEMNO_ACC.numc(3).unwrap(), "0000000003");
        assert!(SCHED_LINE.numc(12_345).is_err());
    }

    #[test]
    fn amounts_are_natural_in_the_systems_decimals() {
        let money = |minor, code| Money::new(minor, Currency::parse(code).unwrap());
        let (iso, own) = (BTreeMap::new(), BTreeMap::from([("HUF".to_owned(), 0)]));
        assert_eq!(amount(money(1234, "usd"), &iso).unwrap().to_string(), "12.34");
        assert_eq!(amount(money(100, "jpy"), &iso).unwrap().to_string(), "100");
        assert_eq!(amount(money(100_000, "kwd"), &iso).unwrap().to_string(), "100.000");
        assert_eq!(amount(money(100_000, "huf"), &own).unwrap().to_string(), "1000");
        assert!(amount(money(100_050, "huf"), &own).is_err());
    }

    #[test]
    fn a_long_name_takes_several_lines() {
        let lines = name_lines("Donaudampfschifffahrtsgesellschaft mit beschränkter Haftung").unwrap();
        assert_eq!(lines, ["Donaudampfschifffahrtsgesellschaft", "mit beschränkter Haftung"]);
        assert!(name_lines(&"x ".repeat(200)).is_err());
        assert!(name_lines(&"x".repeat(36)).is_err());
    }

    #[test]
    fn a_fiscal_year_is_named_after_its_end() {
        assert_eq!(fiscal_year(day(2026, 11, 20), 1), 2026);
        assert_eq!(fiscal_year(day(2026, 11, 20), 10), 2027);
        assert_eq!(fiscal_year(day(2026, 9, 30), 10), 2026);
        assert_eq!(dats(day(2026, 3, 4)), "20260304");
    }
}
