//! `$filter`: comparisons with `eq ne gt ge lt le`, `and or not`, brackets, `startswith endswith contains`.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::epicor::Row;
use crate::epicor::checks::date;
use crate::epicor::errors::Error;
use crate::epicor::schema;
use crate::money;

/// Conditions of one filter.
const CONDITIONS_MAX: usize = 100;

/// A filter.
#[derive(Debug)]
pub(crate) enum Filter {
    Compare { column: String, operator: Operator, value: Value },
    Text { function: TextFunction, column: String, value: String },
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

/// A function on text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TextFunction {
    StartsWith,
    EndsWith,
    Contains,
}

impl Filter {
    /// Reads a filter on a table.
    pub(crate) fn parse(table: &str, text: &str) -> Result<Self, Error> {
        let wrong = || Error::odata(&format!("Syntax error in '$filter={text}'."));
        let tokens = tokens(text).ok_or_else(wrong)?;
        let mut reader = TokenReader { table, tokens: &tokens, at: 0, conditions: 0 };
        let filter = reader.any().map_err(|unknown| match unknown {
            Some(column) => {
                Error::odata(&format!("Could not find a property named '{column}' on type '{table}'."))
            }
            None => wrong(),
        })?;
        if reader.at == tokens.len() { Ok(filter) } else { Err(wrong()) }
    }

    pub(crate) fn holds(&self, row: &Row) -> bool {
        match self {
            Self::And(left, right) => left.holds(row) && right.holds(row),
            Self::Or(left, right) => left.holds(row) || right.holds(row),
            Self::Not(inner) => !inner.holds(row),
            Self::Text { function, column, value } => {
                // SQL Server compares without case.
                let actual = row.get(column).and_then(Value::as_str).unwrap_or_default().to_lowercase();
                let value = value.to_lowercase();
                match function {
                    TextFunction::StartsWith => actual.starts_with(&value),
                    TextFunction::EndsWith => actual.ends_with(&value),
                    TextFunction::Contains => actual.contains(&value),
                }
            }
            Self::Compare { column, operator, value } => {
                let order = row.get(column).and_then(|actual| compare(actual, value));
                match (operator, order) {
                    (Operator::Eq, order) => order == Some(Ordering::Equal),
                    (Operator::Ne, order) => order != Some(Ordering::Equal),
                    (_, None) => false,
                    (Operator::Gt, Some(order)) => order == Ordering::Greater,
                    (Operator::Ge, Some(order)) => order != Ordering::Less,
                    (Operator::Lt, Some(order)) => order == Ordering::Less,
                    (Operator::Le, Some(order)) => order != Ordering::Greater,
                }
            }
        }
    }

    /// A column with an index that every row that fits must equal.
    pub(crate) fn must_equal(&self, table: &str) -> Option<(&str, &Value)> {
        match self {
            Self::Compare { column, operator: Operator::Eq, value }
                if schema::indexed(table).contains(&column.as_str()) =>
            {
                Some((column, value))
            }
            Self::And(left, right) => left.must_equal(table).or_else(|| right.must_equal(table)),
            Self::Compare { .. } | Self::Text { .. } | Self::Or(..) | Self::Not(_) => None,
        }
    }
}

/// The order of two values of the same type.
pub(crate) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Some(money::parse(&left.to_string())?.cmp(&money::parse(&right.to_string())?))
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            ',' => tokens.push(Token::Comma),
            '\'' => {
                let mut literal = String::new();
                loop {
                    match characters.next()? {
                        '\'' if characters.next_if_eq(&'\'').is_some() => literal.push('\''),
                        '\'' => break,
                        other => literal.push(other),
                    }
                }
                tokens.push(Token::Literal(json!(literal)));
            }
            other => {
                let mut word = other.to_string();
                while let Some(next) =
                    characters.next_if(|next| !matches!(next, ' ' | '(' | ')' | ',' | '\''))
                {
                    word.push(next);
                }
                tokens.push(word_token(word));
            }
        }
    }
    Some(tokens)
}

fn word_token(word: String) -> Token {
    if let Some(amount) = money::parse(&word).filter(|_| !word.ends_with('-')) {
        return Token::Literal(crate::epicor::rows::number(amount));
    }
    match word.as_str() {
        "true" => Token::Literal(Value::Bool(true)),
        "false" => Token::Literal(Value::Bool(false)),
        "null" => Token::Literal(Value::Null),
        _ => match date(&word) {
            Some(date) => Token::Literal(json!(date)),
            None => Token::Word(word),
        },
    }
}

struct TokenReader<'a> {
    table: &'a str,
    tokens: &'a [Token],
    at: usize,
    conditions: usize,
}

/// A column that the table does not have, or nothing: a syntax error.
type Wrong = Option<String>;

impl TokenReader<'_> {
    fn next(&mut self) -> Result<&Token, Wrong> {
        self.at += 1;
        self.tokens.get(self.at - 1).ok_or(None)
    }

    fn word(&mut self, expected: &str) -> bool {
        let hit = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word == expected);
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, expected: &Token) -> Result<(), Wrong> {
        if self.next()? == expected { Ok(()) } else { Err(None) }
    }

    fn column(&mut self) -> Result<String, Wrong> {
        let Token::Word(name) = self.next()? else { return Err(None) };
        let name = name.clone();
        if schema::column(self.table, &name).is_some() { Ok(name) } else { Err(Some(name)) }
    }

    fn any(&mut self) -> Result<Filter, Wrong> {
        let mut filter = self.all()?;
        while self.word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, Wrong> {
        let mut filter = self.one()?;
        while self.word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, Wrong> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(None);
        }
        if self.word("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.tokens.get(self.at) == Some(&Token::Open) {
            self.at += 1;
            let filter = self.any()?;
            self.expect(&Token::Close)?;
            return Ok(filter);
        }
        for (name, function) in [
            ("startswith", TextFunction::StartsWith),
            ("endswith", TextFunction::EndsWith),
            ("contains", TextFunction::Contains),
        ] {
            if self.word(name) {
                self.expect(&Token::Open)?;
                let column = self.column()?;
                self.expect(&Token::Comma)?;
                let Token::Literal(Value::String(value)) = self.next()? else { return Err(None) };
                let value = value.clone();
                self.expect(&Token::Close)?;
                return Ok(Filter::Text { function, column, value });
            }
        }
        let column = self.column()?;
        let operator = match self.next()? {
            Token::Word(word) => match word.as_str() {
                "eq" => Operator::Eq,
                "ne" => Operator::Ne,
                "gt" => Operator::Gt,
                "ge" => Operator::Ge,
                "lt" => Operator::Lt,
                "le" => Operator::Le,
                _ => return Err(None),
            },
            Token::Literal(_) | Token::Open | Token::Close | Token::Comma => return Err(None),
        };
        let Token::Literal(value) = self.next()? else { return Err(None) };
        Ok(Filter::Compare { column, operator, value: value.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let row = json!({"CustID": "O'Neil", "CustNum": 812, "CreditHold": false, "CreditLimit": 10.5, "Name": "Ann"});
        Filter::parse("Customer", text).unwrap().holds(row.as_object().unwrap())
    }

    #[test]
    fn filters_read_as_odata_reads_them() {
        assert!(holds("CustID eq 'O''Neil' and CustNum eq 812"));
        assert!(holds("(CustNum lt 5 or startswith(CustID,'O')) and not CreditHold eq true"));
        assert!(holds("CreditLimit ge 10.50 and contains(Name, 'N')"));
        assert!(!holds("CustNum gt 812 or Name ne 'Ann'"));
    }

    #[test]
    fn what_is_not_a_filter_is_refused() {
        for text in
            ["CustID = 'x'", "CustID eq", "Nope eq 1", "CustID eq 'x", "(CustNum eq 1", "custid eq 'x'", ""]
        {
            assert!(Filter::parse("Customer", text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_equality_that_must_hold_is_used_as_an_index() {
        let filter = Filter::parse("OrderHed", "CustNum eq 12 and PONum eq 'ch_1'").unwrap();
        assert_eq!(filter.must_equal("OrderHed").unwrap().0, "CustNum");
        assert!(
            Filter::parse("OrderHed", "PONum eq 'a' or PONum eq 'b'")
                .unwrap()
                .must_equal("OrderHed")
                .is_none()
        );
    }
}
