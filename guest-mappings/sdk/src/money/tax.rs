//! Gross, net, tax and fee: sums of one currency, and taxes that are found again.

use super::{Decimal, Money, MoneyError};

impl Money {
    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// Different currencies, or more than is counted exactly.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::DifferentCurrencies(self, other));
        }
        let minor = self.minor.checked_add(other.minor);
        let minor = minor.ok_or_else(|| MoneyError::TooLarge(format!("{self} and {other}")))?;
        Ok(Self::new(minor, self.currency))
    }

    /// The rest after taking something off: gross less tax, gross less fee.
    ///
    /// # Errors
    /// Different currencies, or more than is counted exactly.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        let minor = other.minor.checked_neg().ok_or_else(|| MoneyError::TooLarge(other.to_string()))?;
        self.plus(Self::new(minor, other.currency))
    }

    /// The tax within a gross amount, at a rate in percent, rounded half away from zero to what the currency can be
    /// paid in.
    ///
    /// # Errors
    /// A rate that is none, an amount that the currency cannot be paid in.
    pub fn tax_within(self, percent: Decimal) -> Result<Self, MoneyError> {
        let (rate, hundred) = rate(percent)?;
        self.portion(rate, hundred + rate)
    }

    /// The tax on a net amount, at a rate in percent, rounded as [`Self::tax_within`]: which finds the same tax in
    /// net and tax together.
    ///
    /// # Errors
    /// A rate that is none, an amount that the currency cannot be paid in, or more than is counted exactly.
    pub fn tax_on(self, percent: Decimal) -> Result<Self, MoneyError> {
        let (rate, hundred) = rate(percent)?;
        self.portion(rate, hundred)
    }

    /// `part` of `whole` of it, rounded half away from zero.
    fn portion(self, part: i128, whole: i128) -> Result<Self, MoneyError> {
        let decimals = self.currency.decimals();
        let step = 10_i64.pow(self.currency.minor_decimals().saturating_sub(decimals));
        let exact = i128::from(self.units(decimals)?) * part;
        let rounded = (exact.abs() + whole / 2) / whole * exact.signum();
        let minor = i64::try_from(rounded).ok().and_then(|units| units.checked_mul(step));
        let minor = minor.ok_or_else(|| MoneyError::TooLarge(self.to_string()))?;
        Ok(Self::new(minor, self.currency))
    }
}

/// A rate in percent as a fraction: so many of so many hundredths. The denominator is even, so that a half is whole.
fn rate(percent: Decimal) -> Result<(i128, i128), MoneyError> {
    let normal = percent.normalize();
    let in_range = normal >= Decimal::ZERO && normal <= Decimal::ONE_THOUSAND && normal.scale() <= 6;
    if !in_range {
        return Err(MoneyError::NotARate(percent));
    }
    Ok((2 * normal.mantissa(), 200 * 10_i128.pow(normal.scale())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;

    #[test]
    fn taxes_and_what_is_no_rate() {
        let euro = |minor| Money::new(minor, Currency::parse("eur").unwrap());
        let nineteen = Decimal::from(19);
        assert_eq!(euro(11_900).tax_within(nineteen), Ok(euro(1_900)));
        assert_eq!(euro(10_000).tax_on(nineteen), Ok(euro(1_900)));
        assert_eq!(euro(-10).tax_on(Decimal::from(5)), Ok(euro(-1)));
        assert_eq!(euro(100).tax_within(Decimal::ZERO), Ok(euro(0)));
        for bad in [Decimal::from(-1), Decimal::from(1001), Decimal::new(1, 7)] {
            assert_eq!(euro(1).tax_on(bad), Err(MoneyError::NotARate(bad)));
        }
        let yen = Money::new(1, Currency::parse("jpy").unwrap());
        assert!(matches!(euro(1).plus(yen), Err(MoneyError::DifferentCurrencies(..))));
        assert!(matches!(euro(i64::MAX).plus(euro(1)), Err(MoneyError::TooLarge(_))));
        assert!(matches!(euro(1).minus(euro(i64::MIN)), Err(MoneyError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn the_tax_on_net_is_the_tax_within_gross(
            units in -1_000_000_000i64..1_000_000_000, rate in 0u32..1_000_000, code in prop::sample::select(vec!["usd", "jpy", "kwd", "isk"]),
        ) {
            let currency = Currency::parse(code).unwrap();
            let net = Money::new(units * if code == "isk" { 100 } else { 1 }, currency);
            let percent = Decimal::new(i64::from(rate), 4);
            let tax = net.tax_on(percent).unwrap();
            let gross = net.plus(tax).unwrap();
            prop_assert_eq!(gross.tax_within(percent).unwrap(), tax);
            prop_assert_eq!(gross.minus(tax).unwrap(), net);
            prop_assert!(gross.decimal().is_ok());
            // Half a unit off at most.
            let exact = net.decimal().unwrap() * percent / Decimal::ONE_HUNDRED;
            let off = (tax.decimal().unwrap() - exact).abs() * Decimal::from(10_i64.pow(currency.decimals()));
            prop_assert!(off <= Decimal::new(5, 1), "{off}");
        }
    }
}
