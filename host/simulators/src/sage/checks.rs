//! Reading bodies: names, lengths of the tables, money as text. What does not fit is refused, never cut.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::clock::is_date;
use crate::money;
use crate::sage::Problem;

/// A body or a line of one, with the path to it.
pub(crate) struct Body<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Body<'a> {
    /// The whole body, with the names that may be in it.
    pub(crate) fn new(value: &'a Value, names: &[&str]) -> Result<Self, Problem> {
        Self { value, path: String::new() }.only(names)
    }

    fn only(self, names: &[&str]) -> Result<Self, Problem> {
        let Some(fields) = self.value.as_object() else {
            return Err(Problem::invalid(self.path.trim_end_matches('.'), "An object is expected."));
        };
        match fields.keys().find(|name| !names.contains(&name.as_str())) {
            Some(unknown) => {
                Err(Problem::invalid(format!("{}{unknown}", self.path), "The field is unknown."))
            }
            None => Ok(self),
        }
    }

    pub(crate) fn field(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn present(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// Text of at most so many characters.
    pub(crate) fn text(&self, name: &str, length_max: usize) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.present(name) else { return Ok(None) };
        let Some(text) = value.as_str() else {
            return Err(Problem::invalid(self.field(name), "Text is expected."));
        };
        if text.chars().count() > length_max {
            return Err(Problem::invalid(self.field(name), format!("At most {length_max} characters.")));
        }
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    pub(crate) fn required(&self, name: &str, length_max: usize) -> Result<&'a str, Problem> {
        self.text(name, length_max)?
            .ok_or_else(|| Problem::invalid(self.field(name), "The field is required."))
    }

    /// Money: a decimal as text, with at most the four decimals of the tables and no more than the currency has.
    pub(crate) fn money(&self, name: &str, currency: &str) -> Result<Option<Decimal>, Problem> {
        let Some(value) = self.present(name) else { return Ok(None) };
        let Some(text) = value.as_str() else {
            return Err(Problem::invalid(self.field(name), "Money is decimal text."));
        };
        let amount =
            money::parse(text).filter(|_| text.bytes().all(|byte| byte != b'-') || text.starts_with('-'));
        let amount = amount.ok_or_else(|| Problem::invalid(self.field(name), "Money is decimal text."))?;
        if amount.normalize().scale() > 4 {
            return Err(Problem::invalid(self.field(name), "At most four decimals."));
        }
        if !currency.is_empty() && !money::fits(amount, currency) {
            return Err(Problem::invalid(self.field(name), format!("More decimals than {currency} has.")));
        }
        Ok(Some(amount))
    }

    pub(crate) fn money_required(&self, name: &str, currency: &str) -> Result<Decimal, Problem> {
        self.money(name, currency)?
            .ok_or_else(|| Problem::invalid(self.field(name), "The field is required."))
    }

    /// A quantity: a JSON number or decimal text, at most four decimals.
    pub(crate) fn quantity(&self, name: &str) -> Result<Decimal, Problem> {
        let text = match self.present(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(Problem::invalid(self.field(name), "A quantity is required.")),
        };
        let quantity =
            money::parse(&text).filter(|quantity| quantity.normalize().scale() <= 4 && !quantity.is_zero());
        quantity.ok_or_else(|| Problem::invalid(self.field(name), "The quantity is not usable."))
    }

    /// `YYYY-MM-DD`.
    pub(crate) fn date(&self, name: &str) -> Result<&'a str, Problem> {
        let text = self.required(name, 10)?;
        let digits = text.replace('-', "");
        if text.len() == 10 && is_date(&digits) && text.get(4..5) == Some("-") && text.get(7..8) == Some("-")
        {
            Ok(text)
        } else {
            Err(Problem::invalid(self.field(name), "A date is YYYY-MM-DD."))
        }
    }

    /// An object inside.
    pub(crate) fn object(&self, name: &str, names: &[&str]) -> Result<Option<Body<'a>>, Problem> {
        let Some(value) = self.present(name) else { return Ok(None) };
        Body { value, path: format!("{}{name}.", self.path) }.only(names).map(Some)
    }

    /// An array of objects, at least one.
    pub(crate) fn rows(&self, name: &str, names: &[&str], rows_max: usize) -> Result<Vec<Body<'a>>, Problem> {
        let rows = self.present(name).and_then(Value::as_array).filter(|rows| !rows.is_empty());
        let rows =
            rows.ok_or_else(|| Problem::invalid(self.field(name), "At least one line is required."))?;
        if rows.len() > rows_max {
            return Err(Problem::invalid(self.field(name), format!("At most {rows_max} lines.")));
        }
        let row = |(index, value)| Body { value, path: format!("{}{name}[{index}].", self.path) }.only(names);
        rows.iter().enumerate().map(row).collect()
    }
}
