//! A function's parameters: what it takes, and how XML text becomes ABAP values.
//!
//! Stricter than the kernel in one point, on purpose: text that does not fit its field is a fault here, where
//! some kernels cut it. A stand-in that cut a reference would hide the caller's mistake.

use std::collections::BTreeMap;

use crate::clock::is_date;
use crate::money;
use crate::sap::xml::Element;

/// A field's type.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Text of so many characters.
    C(usize),
    /// Digits, kept with leading zeros.
    N(usize),
    /// `YYYYMMDD`; empty when initial.
    D,
    /// Packed decimal: digits in all, and after the point.
    P(usize, usize),
}

/// Fields of a structure or row. Fields that are not listed are taken as text.
pub(crate) type Fields = &'static [(&'static str, Kind)];

/// What a parameter looks like.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Scalar(Kind),
    Structure(Fields),
    Table(Fields),
}

/// What a function takes. Unknown parameters are a fault; all are optional on the wire.
pub(crate) type Interface = &'static [(&'static str, Shape)];

/// A structure or row, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fieldset(BTreeMap<String, String>);

impl Fieldset {
    /// Whether all fields are initial.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(String::is_empty)
    }

    /// A field's value; empty when initial.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// All parameters of a call.
#[derive(Default)]
pub(crate) struct Parameters {
    scalars: BTreeMap<&'static str, String>,
    structures: BTreeMap<&'static str, Fieldset>,
    tables: BTreeMap<&'static str, Vec<Fieldset>>,
}

/// Why parameters cannot be read: the fault's type and message.
pub(crate) type Unreadable = (&'static str, String);

impl Parameters {
    /// Reads the function's element.
    ///
    /// # Errors
    /// A parameter that the function does not have, or a value that is not of its type.
    pub(crate) fn read(interface: Interface, function: &Element) -> Result<Self, Unreadable> {
        Self::read_as(interface, function, false)
    }

    /// As [`Self::read`]; web services take dates in ISO form only.
    pub(crate) fn read_as(
        interface: Interface,
        function: &Element,
        iso_dates: bool,
    ) -> Result<Self, Unreadable> {
        let mut parameters = Self::default();
        for element in &function.children {
            let Some((name, shape)) = interface.iter().find(|(name, _)| *name == element.name) else {
                return Err((
                    "RFC_INVALID_PARAMETER",
                    format!("{} is not a parameter of {}", element.name, function.name),
                ));
            };
            match shape {
                Shape::Scalar(kind) => {
                    parameters.scalars.insert(name, convert(name, &element.text, *kind, iso_dates)?);
                }
                Shape::Structure(fields) => {
                    parameters.structures.insert(name, fieldset(fields, element, iso_dates)?);
                }
                Shape::Table(fields) => {
                    let rows = element.children.iter().map(|row| match row.name.as_str() {
                        "item" => fieldset(fields, row, iso_dates),
                        other => {
                            Err(("RFC_INVALID_TABLE", format!("{name}: rows are called item, not {other}")))
                        }
                    });
                    parameters.tables.insert(name, rows.collect::<Result<_, _>>()?);
                }
            }
        }
        Ok(parameters)
    }

    pub(crate) fn scalar(&self, name: &str) -> &str {
        self.scalars.get(name).map_or("", String::as_str)
    }

    pub(crate) fn structure(&self, name: &str) -> Fieldset {
        self.structures.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn table(&self, name: &str) -> &[Fieldset] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the request named the table, even empty: only then is it answered.
    pub(crate) fn names_table(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }
}

fn fieldset(fields: Fields, element: &Element, iso_dates: bool) -> Result<Fieldset, Unreadable> {
    let mut set = BTreeMap::new();
    for child in &element.children {
        let kind =
            fields.iter().find(|(name, _)| *name == child.name).map_or(Kind::C(255), |(_, kind)| *kind);
        set.insert(child.name.clone(), convert(&child.name, &child.text, kind, iso_dates)?);
    }
    Ok(Fieldset(set))
}

fn convert(name: &str, text: &str, kind: Kind, iso_dates: bool) -> Result<String, Unreadable> {
    let unfit = |why: &str| Err(("RFC_CONVERSION_FIELD", format!("{name}: '{text}' {why}")));
    match kind {
        Kind::C(length) => {
            let text = text.trim_end();
            if text.chars().count() > length {
                unfit(&format!("is longer than {length}"))
            } else {
                Ok(text.to_owned())
            }
        }
        Kind::N(length) => {
            let digits = text.trim();
            if digits.len() > length || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                unfit(&format!("is not a number of at most {length} digits"))
            } else {
                Ok(format!("{digits:0>length$}"))
            }
        }
        Kind::D => {
            let digits = text.trim().replace('-', "");
            if iso_dates && !digits.is_empty() && text.trim().len() != 10 {
                return unfit("is not a date10");
            }
            if digits.is_empty() || digits == "00000000" {
                Ok(String::new())
            } else if is_date(&digits) {
                Ok(digits)
            } else {
                unfit("is not a date")
            }
        }
        Kind::P(digits, places) => {
            if text.trim().is_empty() {
                return Ok("0".to_owned());
            }
            let Some(amount) = money::parse(text) else { return unfit("is not a decimal number") };
            let amount = amount.normalize();
            let length = amount.mantissa().unsigned_abs().to_string().len();
            let whole = length.saturating_sub(usize::try_from(amount.scale()).unwrap_or(0));
            if usize::try_from(amount.scale()).is_ok_and(|scale| scale > places) || whole > digits - places {
                unfit(&format!("does not fit {digits} digits with {places} decimals"))
            } else {
                Ok(amount.to_string())
            }
        }
    }
}

/// The ALPHA conversion: all-digit keys get leading zeros, others are upper-case and left-justified.
pub(crate) fn alpha(key: &str, length: usize) -> String {
    let key = key.trim();
    if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{key:0>length$}")
    } else {
        key.to_uppercase()
    }
}

/// The way back: without leading zeros, as messages show keys.
pub(crate) fn alpha_out(key: &str) -> &str {
    if key.bytes().all(|byte| byte.is_ascii_digit()) { key.trim_start_matches('0') } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_and_letters_are_not() {
        assert_eq!(alpha("4711", 10), "0000004711");
        assert_eq!(alpha("0000004711", 10), "0000004711");
        assert_eq!(alpha("cpd-us", 10), "CPD-US");
        assert_eq!(alpha_out("0000004711"), "4711");
    }

    #[test]
    fn values_are_of_their_type_or_a_fault() {
        let ok = |text, kind| convert("F", text, kind, false).unwrap();
        assert_eq!(ok("10", Kind::N(6)), "000010");
        assert_eq!(ok("2026-11-20", Kind::D), "20261120");
        assert_eq!(ok("00000000", Kind::D), "");
        assert!(convert("F", "20261120", Kind::D, true).is_err());
        assert_eq!(ok("49.98-", Kind::P(23, 4)), "-49.98");
        for (text, kind) in [
            ("20261131", Kind::D),
            ("ABCDE", Kind::C(4)),
            ("1e5", Kind::P(23, 4)),
            ("1.00001", Kind::P(23, 4)),
            ("1234567", Kind::N(6)),
        ] {
            assert!(convert("F", text, kind, false).is_err(), "{text}");
        }
    }
}
