//! The WHERE clause that `RFC_READ_TABLE` takes in pieces: comparisons joined by AND, OR and brackets.
//!
//! Only what the kernel would accept: anything else is `OPTION_NOT_VALID`.

/// Conditions of one clause.
const CONDITIONS_MAX: usize = 200;

/// A clause.
#[derive(Debug)]
pub(crate) enum Clause {
    All,
    Compare { field: String, operator: Operator, value: String },
    And(Box<Clause>, Box<Clause>),
    Or(Box<Clause>, Box<Clause>),
    Not(Box<Clause>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

impl Clause {
    /// Reads the rows of OPTIONS; a row break separates tokens.
    pub(crate) fn parse(rows: &[&str]) -> Option<Self> {
        let tokens = tokens(&rows.join(" "))?;
        if tokens.is_empty() {
            return Some(Self::All);
        }
        let mut reader = TokenReader { tokens: &tokens, at: 0, conditions: 0 };
        let clause = reader.any()?;
        (reader.at == tokens.len()).then_some(clause)
    }

    /// Whether a row fits; `None` when the clause names a field that the table does not have.
    pub(crate) fn holds(&self, value_of: &dyn Fn(&str) -> Option<String>) -> Option<bool> {
        Some(match self {
            Self::All => true,
            Self::And(left, right) => left.holds(value_of)? & right.holds(value_of)?,
            Self::Or(left, right) => left.holds(value_of)? | right.holds(value_of)?,
            Self::Not(inner) => !inner.holds(value_of)?,
            Self::Compare { field, operator, value } => {
                let actual = value_of(field)?;
                compare(actual.trim_end(), *operator, value.trim_end())
            }
        })
    }

    /// The value that a field must equal, where every row that fits must have it.
    pub(crate) fn must_equal(&self, name: &str) -> Option<&str> {
        match self {
            Self::Compare { field, operator: Operator::Equal, value } if field == name => Some(value),
            Self::And(left, right) => left.must_equal(name).or_else(|| right.must_equal(name)),
            Self::All | Self::Compare { .. } | Self::Or(..) | Self::Not(_) => None,
        }
    }
}

fn compare(actual: &str, operator: Operator, value: &str) -> bool {
    match operator {
        Operator::Equal => actual == value,
        Operator::NotEqual => actual != value,
        Operator::Less => actual < value,
        Operator::LessOrEqual => actual <= value,
        Operator::Greater => actual > value,
        Operator::GreaterOrEqual => actual >= value,
        Operator::Like => like(actual, value),
    }
}

/// `%` is any text; `_` any character.
fn like(actual: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => actual.is_empty(),
        Some('%') => {
            let rest = rest.as_str();
            std::iter::successors(Some(actual), |text| {
                let mut text = text.chars();
                text.next().map(|_| text.as_str())
            })
            .any(|tail| like(tail, rest))
        }
        Some(expected) => {
            let mut text = actual.chars();
            text.next().is_some_and(|first| expected == '_' || first == expected)
                && like(text.as_str(), rest.as_str())
        }
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
}

fn tokens(clause: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = clause.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            continue;
        }
        if character != '\'' {
            let mut word = character.to_string();
            while let Some(next) = characters.next_if(|next| !next.is_whitespace() && *next != '\'') {
                word.push(next);
            }
            tokens.push(Token::Word(word));
            continue;
        }
        let mut text = String::new();
        loop {
            match characters.next()? {
                '\'' if characters.next_if_eq(&'\'').is_some() => text.push('\''),
                '\'' => break,
                other => text.push(other),
            }
        }
        tokens.push(Token::Text(text));
    }
    Some(tokens)
}

struct TokenReader<'a> {
    tokens: &'a [Token],
    at: usize,
    conditions: usize,
}

impl TokenReader<'_> {
    fn word(&mut self, expected: &str) -> bool {
        let hit = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(expected));
        self.at += usize::from(hit);
        hit
    }

    fn any(&mut self) -> Option<Clause> {
        let mut clause = self.all()?;
        while self.word("OR") {
            clause = Clause::Or(Box::new(clause), Box::new(self.all()?));
        }
        Some(clause)
    }

    fn all(&mut self) -> Option<Clause> {
        let mut clause = self.one()?;
        while self.word("AND") {
            clause = Clause::And(Box::new(clause), Box::new(self.one()?));
        }
        Some(clause)
    }

    fn one(&mut self) -> Option<Clause> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return None;
        }
        if self.word("NOT") {
            return Some(Clause::Not(Box::new(self.one()?)));
        }
        if self.word("(") {
            let clause = self.any()?;
            return self.word(")").then_some(clause);
        }
        let Some(Token::Word(field)) = self.tokens.get(self.at) else { return None };
        let Some(Token::Word(operator)) = self.tokens.get(self.at + 1) else { return None };
        let operator = match operator.to_uppercase().as_str() {
            "=" | "EQ" => Operator::Equal,
            "<>" | "NE" => Operator::NotEqual,
            "<" | "LT" => Operator::Less,
            "<=" | "LE" => Operator::LessOrEqual,
            ">" | "GT" => Operator::Greater,
            ">=" | "GE" => Operator::GreaterOrEqual,
            "LIKE" => Operator::Like,
            _ => return None,
        };
        let value = match self.tokens.get(self.at + 2)? {
            Token::Text(text) => text.clone(),
            // A number without quotes is accepted; a bare word would be a field or an injection.
            Token::Word(word) if word.bytes().all(|byte| byte.is_ascii_digit()) => word.clone(),
            Token::Word(_) => return None,
        };
        self.at += 3;
        Some(Clause::Compare { field: field.to_uppercase(), operator, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(rows: &[&str]) -> Option<bool> {
        let row = |field: &str| match field {
            "BUKRS" => Some("1000".to_owned()),
            "XBLNR" => Some("R144'X".to_owned()),
            "STBLG" => Some(String::new()),
            _ => None,
        };
        Clause::parse(rows)?.holds(&row)
    }

    #[test]
    fn clauses_read_as_abap_reads_them() {
        assert_eq!(holds(&["BUKRS = '1000'", "AND XBLNR EQ 'R144''X' AND STBLG = ' '"]), Some(true));
        assert_eq!(holds(&["( BUKRS = '2000' OR XBLNR LIKE 'R1%' ) AND NOT BUKRS <> '1000'"]), Some(true));
        assert_eq!(holds(&["BUKRS = '1'", "OR BUKRS = '2'"]), Some(false));
        assert_eq!(holds(&[]), Some(true));
    }

    #[test]
    fn what_is_not_a_clause_is_refused() {
        for clause in
            ["BUKRS = 1000 OR 1 = 1 )", "BUKRS='1000'", "BUKRS = '1000", "BUKRS = XBLNR", "AND", "NIX = 'a'"]
        {
            assert_eq!(holds(&[clause]), None, "{clause}");
        }
    }
}
