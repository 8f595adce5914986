//! What a guest can be charged, and the platform's share of it.

use crate::money::{AmountError, exponent, major, minor};

/// The least that Stripe charges in a currency, in minor units. Of other currencies Stripe
/// converts to that of the account, and says so itself.
const LEAST: [(&str, i64); 25] = [
    ("aed", 200),
    ("aud", 50),
    ("bgn", 100),
    ("brl", 50),
    ("cad", 50),
    ("chf", 50),
    ("czk", 1500),
    ("dkk", 250),
    ("eur", 50),
    ("gbp", 30),
    ("hkd", 400),
    ("huf", 17500),
    ("inr", 50),
    ("jpy", 50),
    ("mxn", 1000),
    ("myr", 200),
    ("nok", 300),
    ("nzd", 50),
    ("pln", 200),
    ("ron", 200),
    ("sek", 300),
    ("sgd", 50),
    ("thb", 1000),
    ("usd", 50),
    ("cop", 200_000),
];
/// The most that is asked of Stripe, in minor units: twelve digits, which it takes of its
/// smallest currency. Of most currencies it takes eight, and says so itself.
const MOST: i64 = 999_999_999_999;
/// Currencies that have no decimals any more, and two at Stripe: they have to be zero.
const WITHOUT_DECIMALS: [&str; 2] = ["isk", "ugx"];

/// A share of an amount, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// A tenth.
    pub const TENTH: Self = Self(100_000);

    /// Reads a percentage, such as `10` or `12.5`: 0 to 100, with four decimals at most.
    pub fn percent(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 4 {
            return None;
        }
        let millionths: u32 = format!("{whole}{part:0<4}").parse().ok()?;
        (millionths <= 1_000_000).then_some(Self(millionths))
    }

    /// This share of an amount in minor units, half a unit rounded up: half of the smallest
    /// amount that can be charged in the currency.
    pub fn of(self, amount: i64, currency: &str) -> i64 {
        let step = i128::from(smallest(currency));
        let millionths = i128::from(amount) * i128::from(self.0);
        let steps = (millionths + step * 500_000) / (step * 1_000_000);
        // A share of at most the whole fits.
        i64::try_from(steps * step).unwrap_or(amount).min(amount)
    }
}

/// The smallest amount of a currency, in minor units: all amounts are multiples of it.
fn smallest(currency: &str) -> i64 {
    match exponent(currency) {
        // Cards cannot be charged the third decimal.
        3 => 10,
        _ if WITHOUT_DECIMALS.contains(&currency) => 100,
        _ => 1,
    }
}

/// Reads what a guest is charged, in major units, and checks it. Gives it back in minor
/// units.
///
/// # Errors
/// What is wrong with it, in words.
pub fn amount(text: &str, currency: &str) -> Result<i64, String> {
    let amount = minor(text, currency).map_err(|error| match error {
        AmountError::NoNumber => "is no amount, such as 45.99".to_owned(),
        AmountError::TooManyDecimals => {
            format!(
                "has more than the {} decimals of {currency}",
                exponent(currency)
            )
        }
        AmountError::TooLarge => format!("is more than {}", major(MOST, currency)),
    })?;
    if amount > MOST {
        return Err(format!("is more than {}", major(MOST, currency)));
    }
    if amount == 0 {
        return Err("is zero".into());
    }
    let least = LEAST.iter().find(|(known, _)| *known == currency);
    if let Some((_, least)) = least
        && amount < *least
    {
        let least = major(*least, currency);
        return Err(format!(
            "is less than {least} {currency}, the least that Stripe charges"
        ));
    }
    match smallest(currency) {
        step if amount % step == 0 => Ok(amount),
        100 => Err(format!("has decimals, which {currency} has not")),
        _ => Err("has a last decimal that is not zero, which cards cannot be charged".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_half_up_and_never_more_than_the_whole() {
        let share = |percent, amount| Share::percent(percent).unwrap().of(amount, "eur");
        assert_eq!(Share::TENTH, Share::percent("10").unwrap());
        for (percent, amount, expected) in [
            ("10", 4599, 460),
            ("10", 4594, 459),
            ("10", 4595, 460),
            ("10", 4, 0),
            ("10", 5, 1),
            ("12.5", 100, 13),
            ("0", 4599, 0),
            ("100", 4599, 4599),
            ("0.0001", 99_999_999, 100),
        ] {
            assert_eq!(share(percent, amount), expected, "{percent} of {amount}");
        }
        for (amount, currency, expected) in [
            // 10 % is 50.50, 49.50 and 49.40 of a currency without decimals.
            (50_500, "isk", 5_100),
            (49_500, "ugx", 5_000),
            (49_400, "ugx", 4_900),
            (400, "isk", 0),
            (500, "isk", 100),
            // HUF and TWD have decimals, and dinars a third one that has to be zero.
            (17_550, "huf", 1_755),
            (3_005, "twd", 301),
            (1_050, "kwd", 110),
            (1_040, "kwd", 100),
            (505, "jpy", 51),
        ] {
            let share = Share::TENTH.of(amount, currency);
            assert_eq!(share, expected, "{amount} {currency}");
        }
        let whole = Share::percent("100").unwrap();
        assert_eq!(whole.of(50_500, "ugx"), 50_500);
        for wrong in ["", "-1", "100.1", "101", "1.00001", "ten", "1e1", ".5"] {
            assert_eq!(Share::percent(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_that_stripe_would_refuse_are_refused() {
        assert_eq!(amount("45.99", "eur"), Ok(4599));
        assert_eq!(amount("0.50", "eur"), Ok(50));
        assert_eq!(amount("50", "jpy"), Ok(50));
        assert_eq!(amount("500", "isk"), Ok(50_000));
        assert_eq!(amount("1.230", "kwd"), Ok(1230));
        assert_eq!(amount("175", "huf"), Ok(17_500));
        assert_eq!(amount("175.50", "huf"), Ok(17_550));
        assert_eq!(amount("30.05", "twd"), Ok(3_005));
        assert_eq!(amount("2000", "ugx"), Ok(200_000));
        for (text, currency, said) in [
            ("0.49", "eur", "less than 0.5 eur"),
            ("49", "jpy", "less than 50 jpy"),
            ("0", "ars", "zero"),
            ("10000000000", "usd", "more than 9999999999.99"),
            ("99999999999999999999", "usd", "more than 9999999999.99"),
            ("500.50", "isk", "decimals"),
            ("2000.50", "ugx", "decimals"),
            ("174.99", "huf", "less than 175 huf"),
            ("30.005", "twd", "2 decimals"),
            ("1.234", "kwd", "last decimal"),
            ("45.999", "eur", "2 decimals"),
            ("x", "eur", "no amount"),
        ] {
            let error = amount(text, currency).unwrap_err();
            assert!(error.contains(said), "{text} {currency}: {error}");
        }
    }
}
