//! Sums of amounts that never lose a digit, however many there are and however different they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::Amount;

/// An amount has at most 28 significant digits, and at most 28 behind the point.
const DIGITS: u32 = 28;
const ONE: i128 = 10_i128.pow(DIGITS);

/// A sum of at least 10⁹ amounts, exact: whole units, and parts of 10⁻²⁸, each in an integer of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sum {
    whole: i128,
    part: i128,
    /// Digits behind the point that are written: the most of any amount.
    scale: u32,
}

impl Sum {
    /// Adds an amount.
    pub fn add(&mut self, amount: Amount) {
        let (mantissa, scale) = (amount.decimal().mantissa(), amount.decimal().scale().min(DIGITS));
        let unit = 10_i128.pow(scale);
        self.plus(Self {
            whole: mantissa / unit,
            part: (mantissa % unit).saturating_mul(10_i128.pow(DIGITS - scale)),
            scale,
        });
    }

    /// Adds another sum.
    pub fn plus(&mut self, other: Self) {
        self.whole = self.whole.saturating_add(other.whole);
        self.part = self.part.saturating_add(other.part);
        self.scale = self.scale.max(other.scale);
        // So that the parts never outgrow their integer.
        self.whole = self.whole.saturating_add(self.part / ONE);
        self.part %= ONE;
    }

    /// This sum less another.
    #[must_use]
    pub fn less(mut self, other: Self) -> Self {
        self.plus(Self { whole: -other.whole, part: -other.part, scale: other.scale });
        self
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        let Self { whole, part, scale: _ } = self.settled();
        whole == 0 && part == 0
    }

    /// Whole and part with one sign.
    const fn settled(self) -> Self {
        let Self { mut whole, mut part, scale } = self;
        if whole > 0 && part < 0 {
            whole -= 1;
            part += ONE;
        } else if whole < 0 && part > 0 {
            whole += 1;
            part -= ONE;
        }
        Self { whole, part, scale }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole, part, scale } = self.settled();
        let sign = if whole < 0 || part < 0 { "-" } else { "" };
        write!(f, "{sign}{}", whole.unsigned_abs())?;
        if scale == 0 {
            return Ok(());
        }
        let parts = format!("{:028}", part.unsigned_abs());
        let digits = usize::try_from(scale).unwrap_or_default();
        write!(f, ".{}", parts.get(..digits).unwrap_or(&parts))
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> String {
        sum.to_string()
    }
}

/// A text that is no sum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sum of amounts: {0:?}")]
pub struct TooLong(String);

impl TryFrom<String> for Sum {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        let refuse = || TooLong(text.chars().take(80).collect());
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let scale = u32::try_from(part.len()).ok().filter(|scale| *scale <= DIGITS).ok_or_else(refuse)?;
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(part) {
            return Err(refuse());
        }
        let whole: i128 = whole.parse().map_err(|_| refuse())?;
        let part: i128 = if part.is_empty() { 0 } else { part.parse().map_err(|_| refuse())? };
        let part = part * 10_i128.pow(DIGITS - scale);
        let sum = Self { whole, part, scale };
        Ok(if text.starts_with('-') { Self { scale, ..Self::default() }.less(sum) } else { sum })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(texts: &[&str]) -> Sum {
        let mut sum = Sum::default();
        texts.iter().for_each(|text| sum.add(text.parse().unwrap()));
        sum
    }

    #[test]
    fn no_digit_is_lost() {
        let huge = "9999999999999999999999999999";
        assert_eq!(
            sum(&[huge, "0.0000000000000000000000000001"]).to_string(),
            format!("{huge}.0000000000000000000000000001")
        );
        assert_eq!(sum(&["0.10", "0.20"]).to_string(), "0.30");
        assert_eq!(sum(&["1", "-1.05"]).to_string(), "-0.05");
        assert_eq!(sum(&["0.995", "0.005"]).to_string(), "1.000");
        assert!(sum(&["5", "-5.00"]).is_zero());
        assert!(!sum(&["5", "-5.01"]).is_zero());
    }

    proptest! {
        #[test]
        fn a_sum_is_what_integers_say(cents in prop::collection::vec(-1_000_000_000_000i64..1_000_000_000_000, 0..60)) {
            let mut total = Sum::default();
            let mut expected = 0i128;
            for one in &cents {
                let sign = if *one < 0 { "-" } else { "" };
                let text = format!("{sign}{}.{:02}", one.unsigned_abs() / 100, one.unsigned_abs() % 100);
                total.add(text.parse().unwrap());
                expected += i128::from(*one);
            }
            let text = total.to_string().replace('.', "");
            prop_assert_eq!(text.parse::<i128>().unwrap(), expected);
            prop_assert_eq!(total.is_zero(), expected == 0);
            let read = Sum::try_from(total.to_string()).unwrap();
            prop_assert!(read.less(total).is_zero());
            prop_assert_eq!(read.to_string(), total.to_string());
        }

        #[test]
        fn the_order_of_adding_does_not_matter(mut texts in prop::collection::vec("-?[0-9]{1,14}(\\.[0-9]{1,14})?", 0..20)) {
            let forward = sum(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            texts.reverse();
            let backward = sum(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(forward.to_string(), backward.to_string());
        }
    }
}
