//! Formats of SAP ECC: ALPHA and NUMC padding, DATS, amounts, names and streets in parts, the dates of OData, the
//! fields of the BAPIs with their lengths.
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
/// Cost centre, KOSTL.
pub const COSTCENTER: Field = Field::new("COSTCENTER", 10);
/// Profit centre, PRCTR.
pub const PROFIT_CTR: Field = Field::new("PROFIT_CTR", 10);
/// Assignment of an accounting line: holds a short reference.
pub const ALLOC_NMBR: Field = Field::new("ALLOC_NMBR", 18);
/// Key of an accounting document: number, company code, year.
pub const OBJ_KEY: Field = Field::new("OBJ_KEY", 20);
/// Sales document number, VBELN.
pub const SALESDOCUMENT: Field = Field::new("SALESDOCUMENT", 10);

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

/// Words that belong to the last name they stand before.
const PARTICLES: &[&str] = &[
    "al", "bin", "da", "de", "del", "della", "den", "der", "di", "du", "el", "la", "le", "ter", "van", "von",
    "zu",
];
/// Legal forms that are no part of a person's name, however they are written.
const LEGAL_FORMS: &[&str] = &[
    "asa",
    "aps",
    "bv",
    "corp",
    "corporation",
    "gbr",
    "gmbh",
    "inc",
    "incorporated",
    "kft",
    "kk",
    "limited",
    "llc",
    "llp",
    "ltd",
    "ltda",
    "mbh",
    "nv",
    "ohg",
    "oyj",
    "plc",
    "pte",
    "pty",
    "sarl",
    "sas",
    "sro",
    "srl",
    "zrt",
];
/// Legal forms that are names too, and count only when they are written as forms are: `AG`, `S.A.`
const SHORT_LEGAL_FORMS: &[&str] = &["AB", "AG", "AS", "CO", "EV", "KG", "OY", "SA", "SE", "SL", "SPA", "UG"];

/// Whether a name is that of a company, by its legal form. What has none is taken for a person.
#[must_use]
pub fn is_company(name: &str) -> bool {
    name.split([' ', ',']).filter(|word| !word.is_empty()).any(|word| {
        let letters = word.replace(['.', '(', ')', '/'], "");
        LEGAL_FORMS.contains(&letters.to_lowercase().as_str())
            || SHORT_LEGAL_FORMS.contains(&letters.as_str())
            || (word.contains('.') && SHORT_LEGAL_FORMS.contains(&letters.to_uppercase().as_str()))
    })
}

/// First and last name of a person: `Ludwig van Beethoven` is `Ludwig` and `van Beethoven`, `Rosen, Jenny` is
/// turned round. One word is a last name.
#[must_use]
pub fn person(name: &str) -> (String, String) {
    if let Some((last, first)) = name.split_once(',')
        && !first.trim().is_empty()
    {
        return (squeezed(first), squeezed(last));
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let mut begin = words.len().saturating_sub(1);
    let is_particle = |word: &str| PARTICLES.contains(&word.to_lowercase().as_str());
    // The first word is never part of the last name: `Al Pacino`.
    while begin > 1 && words.get(begin - 1).is_some_and(|word| is_particle(word)) {
        begin -= 1;
    }
    let (first, last) = words.split_at(begin);
    (first.join(" "), last.join(" "))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Street and house number: `Hauptstraße 12a` and `12a Main Street` both have one. Numbers of more than 10
/// characters stay in the street, and so does what only looks like one (`5th Avenue`).
#[must_use]
pub fn street(line: &str) -> (String, Option<String>) {
    const NUMBER_CHARS_MAX: usize = 10;
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_number = |word: &str| {
        let digits = word.trim_end_matches(',').trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let letters = word.trim_end_matches(',').len() - digits.len();
        let is_digits = digits.bytes().all(|byte| byte.is_ascii_digit() || b"-/".contains(&byte));
        digits.starts_with(|c: char| c.is_ascii_digit())
            && is_digits
            && letters <= 1
            && word.len() <= NUMBER_CHARS_MAX
    };
    match words.as_slice() {
        [street @ .., number] if !street.is_empty() && is_number(number) => (
            street.join(" ").trim_end_matches(',').to_owned(),
            Some((*number).trim_end_matches(',').to_owned()),
        ),
        [number, street @ ..] if !street.is_empty() && is_number(number) => {
            (street.join(" "), Some(number.trim_end_matches(',').to_owned()))
        }
        _ => (words.join(" "), None),
    }
}

/// A date as OData version 2 writes `Edm.DateTime`: milliseconds since 1970, `/Date(1763596800000)/`.
#[must_use]
pub fn odata_date(date: Date) -> String {
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_secs() / 86_400;
    format!("/Date({})/", days * 86_400_000)
}

/// The date in what OData version 2 writes for `Edm.DateTime` and `Edm.DateTimeOffset`; `None` for anything else.
/// The offset of the latter is for display: the milliseconds are UTC already.
#[must_use]
pub fn date_of_odata(text: &str) -> Option<Date> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let end = inner.find('+').or_else(|| inner.get(1..)?.find('-').map(|at| at + 1)).unwrap_or(inner.len());
    let milliseconds: i64 = inner.get(..end)?.parse().ok()?;
    crate::date::in_zone(milliseconds.div_euclid(1000), "UTC").ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn a_company_is_known_by_its_legal_form() {
        for company in
            ["Rosen GmbH", "Rosen & Co. KG", "ACME, Inc.", "Banco Azul S.A.", "Tanaka KK", "Volvo AB"]
        {
            assert!(is_company(company), "{company}");
        }
        for person in ["Jenny Rosen", "Maria de Sa", "Kim Ag", "Cher", "", "Inca Roads"] {
            assert!(!is_company(person), "{person}");
        }
    }

    #[test]
    fn a_person_has_a_first_and_a_last_name() {
        for (name, first, last) in [
            ("Jenny Rosen", "Jenny", "Rosen"),
            ("Ludwig van  Beethoven", "Ludwig", "van Beethoven"),
            ("Ada King Lovelace", "Ada King", "Lovelace"),
            ("Rosen, Jenny", "Jenny", "Rosen"),
            ("Al Pacino", "Al", "Pacino"),
            ("Cher", "", "Cher"),
            ("", "", ""),
        ] {
            assert_eq!(person(name), (first.to_owned(), last.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_house_number_stands_before_or_behind() {
        for (line, expected, number) in [
            ("Hauptstraße 12a", "Hauptstraße", Some("12a")),
            ("510 Townsend St", "Townsend St", Some("510")),
            ("12, rue de la Paix", "rue de la Paix", Some("12")),
            ("Straße des 17. Juni 135", "Straße des 17. Juni", Some("135")),
            ("Musterweg 3-5", "Musterweg", Some("3-5")),
            ("5th Avenue", "5th Avenue", None),
            ("Schloss Neuschwanstein", "Schloss Neuschwanstein", None),
            ("42", "42", None),
        ] {
            assert_eq!(street(line), (expected.to_owned(), number.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn dates_of_odata_read_back_the_same() {
        assert_eq!(odata_date(day(2025, 11, 20)), "/Date(1763596800000)/");
        for date in [day(2026, 11, 20), day(1970, 1, 1), day(1969, 12, 31), day(2000, 2, 29)] {
            assert_eq!(date_of_odata(&odata_date(date)), Some(date));
        }
        assert_eq!(date_of_odata("/Date(1763596800000+0000)/"), Some(day(2025, 11, 20)));
        assert_eq!(date_of_odata("/Date(-86400000)/"), Some(day(1969, 12, 31)));
        assert_eq!(date_of_odata("2025-11-20"), None);
    }

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
