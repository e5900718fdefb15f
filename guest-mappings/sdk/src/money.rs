//! Exact money. Stripe counts in minor units, ERPs write decimals; the way between is a table and integers,
//! never a division by 100. What would lose a digit is refused.
//!
//! ```
//! use portolan_sdk::money::{Currency, Money, split, unit_prices};
//!
//! let yen = Money::new(5000, Currency::parse("jpy")?);
//! assert_eq!(yen.decimal()?.to_string(), "5000");
//! let dinar = Money::new(12_340, Currency::parse("kwd")?);
//! assert_eq!(dinar.decimal()?.to_string(), "12.340");
//!
//! // A split conserves its total; a price that does not divide becomes two prices.
//! assert_eq!(split(1000, &[1, 1, 1]), [334, 333, 333]);
//! assert_eq!(unit_prices(1000, 3), [(2, 333), (1, 334)]);
//! # Ok::<(), portolan_sdk::money::MoneyError>(())
//! ```

mod tax;

use std::fmt;

pub use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};

use crate::stop::Stop;

/// An ISO 4217 code, upper-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// What money refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three letters.
    #[error("{0:?} is not a currency code of three letters")]
    NotACurrency(String),
    /// The currency has fewer decimals than the amount.
    #[error("{amount} {currency} has more than the {decimals} decimals of its currency")]
    LostDigits {
        /// The amount as it was.
        amount: String,
        /// Its currency.
        currency: Currency,
        /// How many decimals the currency has where it goes.
        decimals: u32,
    },
    /// Stripe does not charge such an amount.
    #[error("{amount} {currency} cannot be charged: the last of its three decimals must be 0")]
    NotChargeable {
        /// The amount.
        amount: Decimal,
        /// Its currency.
        currency: Currency,
    },
    /// Beyond what is counted exactly.
    #[error("the amount {0} is too large")]
    TooLarge(String),
    /// Apples and pears.
    #[error("{0} and {1} have different currencies")]
    DifferentCurrencies(Money, Money),
    /// A tax that nobody levies.
    #[error("{0} is not a rate in percent from 0 to 1000 with at most 6 decimals")]
    NotARate(Decimal),
}

impl From<MoneyError> for Stop {
    fn from(error: MoneyError) -> Self {
        let code = match error {
            MoneyError::NotACurrency(_) => "not-a-currency",
            MoneyError::LostDigits { .. } => "lost-digits",
            MoneyError::NotChargeable { .. } => "not-chargeable",
            MoneyError::TooLarge(_) => "amount-too-large",
            MoneyError::DifferentCurrencies(..) => "different-currencies",
            MoneyError::NotARate(_) => "not-a-rate",
        };
        Self::reject("", code, error.to_string())
    }
}

/// Currencies that Stripe counts in whole units.
const ZERO_DECIMAL: [&[u8; 3]; 15] = [
    b"BIF", b"CLP", b"DJF", b"GNF", b"JPY", b"KMF", b"KRW", b"MGA", b"PYG", b"RWF", b"VND", b"VUV", b"XAF",
    b"XOF", b"XPF",
];

/// Currencies that Stripe counts in thousandths; the last digit must be 0 when charging.
const THREE_DECIMAL: [&[u8; 3]; 5] = [b"BHD", b"JOD", b"KWD", b"OMR", b"TND"];

/// Currencies without decimals that Stripe counts in hundredths all the same: 5 ISK is `500`, and `550` is nothing.
/// (Stripe also lists UGX among the zero-decimal ones; its table of special cases says hundredths, and wins.)
const ZERO_DECIMAL_IN_HUNDREDTHS: [&[u8; 3]; 2] = [b"ISK", b"UGX"];

impl Currency {
    /// From a code in either case.
    ///
    /// # Errors
    /// [`MoneyError::NotACurrency`]
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        match *code.as_bytes() {
            [a, b, c] if code.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase(), c.to_ascii_uppercase()]))
            }
            _ => Err(MoneyError::NotACurrency(code.chars().take(16).collect())),
        }
    }

    /// The code, upper-case.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// Decimals of Stripe's minor unit: what an API amount is divided by, as a power of ten.
    #[must_use]
    pub fn minor_decimals(self) -> u32 {
        if ZERO_DECIMAL.contains(&&self.0) {
            0
        } else if THREE_DECIMAL.contains(&&self.0) {
            3
        } else {
            2
        }
    }

    /// Decimals that an amount of this currency is written with.
    #[must_use]
    pub fn decimals(self) -> u32 {
        if ZERO_DECIMAL_IN_HUNDREDTHS.contains(&&self.0) { 0 } else { self.minor_decimals() }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::parse(&code).map_err(de::Error::custom)
    }
}

/// An amount as Stripe counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// In the currency's minor unit, as in the API.
    pub minor: i64,
    /// Its currency.
    pub currency: Currency,
}

impl Money {
    /// An amount of the API.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// As a decimal, written with the currency's own decimals.
    ///
    /// # Errors
    /// [`MoneyError::LostDigits`] for 5.50 ISK and the like.
    pub fn decimal(self) -> Result<Decimal, MoneyError> {
        self.decimal_with(self.currency.decimals())
    }

    /// As a decimal with as many decimals as the receiver keeps for this currency.
    ///
    /// # Errors
    /// [`MoneyError::LostDigits`] when it keeps fewer than the amount has.
    pub fn decimal_with(self, decimals: u32) -> Result<Decimal, MoneyError> {
        let exact = Decimal::new(self.minor, self.currency.minor_decimals());
        let mut written = exact;
        written.rescale(decimals);
        if written == exact && written.scale() == decimals {
            return Ok(written);
        }
        Err(MoneyError::LostDigits { amount: exact.to_string(), currency: self.currency, decimals })
    }

    /// Splits by weights into parts that the currency can be paid in: see [`split`].
    ///
    /// # Errors
    /// [`MoneyError::LostDigits`] for 5.50 ISK and the like.
    pub fn split(self, weights: &[u64]) -> Result<Vec<Self>, MoneyError> {
        let decimals = self.currency.decimals();
        let step = 10_i64.pow(self.currency.minor_decimals().saturating_sub(decimals));
        let parts = split(self.units(decimals)?, weights).into_iter();
        Ok(parts.map(|part| Self::new(part * step, self.currency)).collect())
    }

    /// Unit prices with so many decimals under which `quantity` pieces cost exactly this: see [`unit_prices`].
    ///
    /// # Errors
    /// [`MoneyError::LostDigits`], when the amount itself has more decimals.
    pub fn unit_prices(self, quantity: u32, decimals: u32) -> Result<Vec<(u32, Decimal)>, MoneyError> {
        let prices = unit_prices(self.units(decimals)?, quantity).into_iter();
        Ok(prices.map(|(pieces, price)| (pieces, Decimal::new(price, decimals))).collect())
    }

    /// How many units of so many decimals it is.
    fn units(self, decimals: u32) -> Result<i64, MoneyError> {
        let units = self.decimal_with(decimals)?.mantissa();
        i64::try_from(units).map_err(|_| MoneyError::TooLarge(self.to_string()))
    }

    /// What Stripe is to charge for a decimal.
    ///
    /// # Errors
    /// When a digit would be lost, when it is one of Stripe's special cases, when it is too large.
    pub fn to_charge(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let money = Self::from_decimal(amount, currency)?;
        if currency.minor_decimals() == 3 && money.minor % 10 != 0 {
            return Err(MoneyError::NotChargeable { amount, currency });
        }
        Ok(money)
    }

    /// A decimal in Stripe's minor unit.
    ///
    /// # Errors
    /// When a digit would be lost or it is too large.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let lost =
            || MoneyError::LostDigits { amount: amount.to_string(), currency, decimals: currency.decimals() };
        let normal = amount.normalize();
        if normal.scale() > currency.decimals() {
            return Err(lost());
        }
        let factor = Decimal::from(10_i64.pow(currency.minor_decimals()));
        let minor = normal.checked_mul(factor).and_then(|minor| i64::try_from(minor).ok());
        minor.map(|minor| Self { minor, currency }).ok_or_else(|| MoneyError::TooLarge(amount.to_string()))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Decimal::new(self.minor, self.currency.minor_decimals()), self.currency)
    }
}

/// Splits a total by weights: parts are whole minor units, add up to the total, and are each less than one unit
/// from their exact share. What rounding leaves over goes to the largest remainders, the first of equals first.
/// Weights that are all zero share equally; no weights, no parts.
#[must_use]
pub fn split(total: i64, weights: &[u64]) -> Vec<i64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        return if weights.is_empty() { Vec::new() } else { split(total, &vec![1; weights.len()]) };
    }
    let magnitude = u128::from(total.unsigned_abs());
    let exact = |weight: u64| magnitude * u128::from(weight);
    let mut parts: Vec<u128> = weights.iter().map(|&weight| exact(weight) / sum).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder
        .sort_by_key(|&index| std::cmp::Reverse(weights.get(index).map(|&weight| exact(weight) % sum)));
    let left_over = magnitude - parts.iter().sum::<u128>();
    // Fewer units are left over than there are parts: each remainder is less than one unit.
    for (_, index) in (0..left_over).zip(by_remainder) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    let signed = |part: u128| {
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        if total < 0 { -part } else { part }
    };
    parts.into_iter().map(signed).collect()
}

/// Unit prices in whole minor units under which `quantity` pieces cost exactly `total`: one price, or two that
/// differ by one unit when the total does not divide. Each with the number of pieces it is for.
#[must_use]
pub fn unit_prices(total: i64, quantity: u32) -> Vec<(u32, i64)> {
    if quantity == 0 {
        return Vec::new();
    }
    let (low, dearer) = (total.div_euclid(i64::from(quantity)), total.rem_euclid(i64::from(quantity)));
    let dearer = u32::try_from(dearer).unwrap_or(0);
    let prices = [(quantity - dearer, low), (dearer, low + 1)];
    prices.into_iter().filter(|(pieces, _)| *pieces > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Stripe charges in.
    const CODES: [&str; 136] = [
        "USD", "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT",
        "BGN", "BHD", "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF",
        "CLP", "CNY", "COP", "CRC", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ETB", "EUR", "FJD",
        "FKP", "GBP", "GEL", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS",
        "INR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KRW", "KWD", "KYD", "KZT", "LAK",
        "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MUR", "MVR", "MWK",
        "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP",
        "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SEK", "SGD", "SHP",
        "SLE", "SOS", "SRD", "STD", "SZL", "THB", "TJS", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH",
        "UGX", "UYU", "UZS", "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF",
    ];

    fn decimal(minor: i64, code: &str) -> Result<String, MoneyError> {
        Ok(Money::new(minor, Currency::parse(code)?).decimal()?.to_string())
    }

    #[test]
    fn minor_units_become_decimals_by_currency() {
        for (minor, code, expected) in [
            (4998, "usd", "49.98"),
            (5, "EUR", "0.05"),
            (0, "eur", "0.00"),
            (5000, "jpy", "5000"),
            (1, "krw", "1"),
            (12_340, "kwd", "12.340"),
            (100, "bhd", "0.100"),
            (500, "isk", "5"),
            (500, "ugx", "5"),
            (123_400, "huf", "1234.00"),
            (-250, "usd", "-2.50"),
        ] {
            assert_eq!(decimal(minor, code).unwrap(), expected, "{minor} {code}");
        }
    }

    #[test]
    fn half_a_krona_is_refused() {
        assert!(matches!(decimal(550, "isk"), Err(MoneyError::LostDigits { .. })));
        let yen = Money::new(5, Currency::parse("jpy").unwrap());
        assert_eq!(yen.decimal_with(2).unwrap().to_string(), "5.00");
        let cent = Money::new(5, Currency::parse("huf").unwrap());
        assert!(matches!(cent.decimal_with(0), Err(MoneyError::LostDigits { .. })));
    }

    #[test]
    fn a_charge_in_dinars_ends_in_zero() {
        let kwd = Currency::parse("kwd").unwrap();
        let amount = |text: &str| Decimal::from_str_exact(text).unwrap();
        assert_eq!(Money::to_charge(amount("1.230"), kwd).unwrap().minor, 1230);
        assert!(matches!(Money::to_charge(amount("1.234"), kwd), Err(MoneyError::NotChargeable { .. })));
        let isk = Currency::parse("isk").unwrap();
        assert_eq!(Money::to_charge(amount("5"), isk).unwrap().minor, 500);
        assert!(matches!(Money::to_charge(amount("5.5"), isk), Err(MoneyError::LostDigits { .. })));
        let huge = amount("9999999999999999999999999999");
        assert!(matches!(Money::to_charge(huge, isk), Err(MoneyError::TooLarge(_))));
    }

    #[test]
    fn only_three_letters_are_a_currency() {
        for bad in ["", "us", "usdx", "u1d", "€", "ééé"] {
            assert!(Currency::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn left_over_units_go_to_the_largest_remainders() {
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(10, &[5, 3, 3]), [4, 3, 3]);
        assert_eq!(split(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(split(7, &[0, 0]), [4, 3]);
        assert_eq!(split(7, &[]), Vec::<i64>::new());
    }

    #[test]
    fn krona_are_split_in_whole_ones() {
        let money = Money::new(1000, Currency::parse("isk").unwrap());
        let parts: Vec<i64> = money.split(&[1, 1, 1]).unwrap().iter().map(|part| part.minor).collect();
        assert_eq!(parts, [400, 300, 300]);
        let prices = money.unit_prices(3, 0).unwrap();
        assert_eq!(prices, [(2, Decimal::from(3)), (1, Decimal::from(4))]);
        assert!(Money::new(1050, money.currency).split(&[1, 1]).is_err());
    }

    proptest! {
        #[test]
        fn a_split_conserves_its_total_and_is_fair(
            total in -1_000_000_000_000i64..1_000_000_000_000,
            weights in prop::collection::vec(0u64..1_000_000_000, 1..40),
        ) {
            let parts = split(total, &weights);
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            let sum: i128 = weights.iter().map(|&weight| i128::from(weight)).sum();
            for (&part, &weight) in parts.iter().zip(&weights).filter(|_| sum > 0) {
                let off = i128::from(part) * sum - i128::from(total) * i128::from(weight);
                prop_assert!(off.abs() < sum, "part {part} of weight {weight}");
                prop_assert!(weight > 0 || part == 0);
            }
        }

        #[test]
        fn unit_prices_add_up_to_the_total(total in -1_000_000_000i64..1_000_000_000, quantity in 1u32..5_000) {
            let prices = unit_prices(total, quantity);
            prop_assert!(prices.len() <= 2);
            prop_assert_eq!(prices.iter().map(|(pieces, _)| pieces).sum::<u32>(), quantity);
            let sum: i64 = prices.iter().map(|(pieces, price)| i64::from(*pieces) * price).sum();
            prop_assert_eq!(sum, total);
        }

        #[test]
        fn every_currency_goes_there_and_back(units in -9_999_999i64..9_999_999, code in prop::sample::select(CODES.to_vec())) {
            let currency = Currency::parse(code).unwrap();
            let step = 10_i64.pow(currency.minor_decimals() - currency.decimals());
            let money = Money::new(units * step, currency);
            let text = money.decimal().unwrap().to_string();
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, digits)| digits.len()), currency.decimals() as usize);
            let back = Decimal::from_str_exact(&text).unwrap();
            prop_assert_eq!(Money::from_decimal(back, currency).unwrap(), money);
            prop_assert_eq!(Money::from_decimal(back.normalize(), currency).unwrap(), money);
        }

        #[test]
        fn decimals_go_back_to_the_same_minor_units(
            minor in any::<i32>().prop_map(i64::from),
            code in prop::sample::select(vec!["usd", "jpy", "kwd", "eur", "tnd", "clp", "huf"]),
        ) {
            let money = Money::new(minor, Currency::parse(code).unwrap());
            prop_assert_eq!(Money::from_decimal(money.decimal().unwrap(), money.currency).unwrap(), money);
        }

        #[test]
        fn whole_krona_survive_the_round_trip(units in any::<i32>().prop_map(i64::from)) {
            let money = Money::new(units * 100, Currency::parse("isk").unwrap());
            prop_assert_eq!(Money::from_decimal(money.decimal().unwrap(), money.currency).unwrap(), money);
        }
    }
}
