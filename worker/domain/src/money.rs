//! Amounts: Stripe's minor units to the main app's major units.

/// Currencies without a minor unit, as Stripe counts them.
const ZERO_DECIMAL: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];

/// Currencies with three decimals.
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// The number of decimals of a currency at Stripe. ISK, UGX, HUF and TWD have
/// two there, whatever ISO 4217 says.
pub fn exponent(currency: &str) -> u32 {
    let currency = currency.to_ascii_lowercase();
    if ZERO_DECIMAL.contains(&currency.as_str()) {
        0
    } else if THREE_DECIMAL.contains(&currency.as_str()) {
        3
    } else {
        2
    }
}

/// An amount in major units, as the shortest decimal text: `minor /
/// 10^exponent` without loss and without trailing zeros.
pub fn major(minor: i64, currency: &str) -> String {
    let exponent = exponent(currency);
    if exponent == 0 {
        return minor.to_string();
    }
    let unit = 10_u64.pow(exponent);
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, part) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    let text = format!("{sign}{whole}.{part:0width$}", width = exponent as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Why a decimal text is no amount of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// It is no decimal number without a sign, such as `45.99`.
    NoNumber,
    /// It has more decimals than the currency.
    TooManyDecimals,
    /// It is more than an amount can be.
    TooLarge,
}

/// An amount in minor units, from a decimal text in major units, without loss.
pub fn minor(major: &str, currency: &str) -> Result<i64, AmountError> {
    let exponent = exponent(currency) as usize;
    let (whole, part) = major.split_once('.').unwrap_or((major, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_dot = major.ends_with('.');
    if whole.is_empty() || !is_number(whole) || !is_number(part) || ends_in_dot {
        return Err(AmountError::NoNumber);
    }
    let part = part.trim_end_matches('0');
    if part.len() > exponent {
        return Err(AmountError::TooManyDecimals);
    }
    let digits = format!("{whole}{part:0<exponent$}");
    digits.parse().map_err(|_| AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_has_stripes_decimals() {
        for (minor, currency, expected) in [
            (4500, "eur", "45"),
            (4500, "jpy", "4500"),
            (4500, "kwd", "4.5"),
            (4500, "isk", "45"),
            (4500, "ugx", "45"),
            (4500, "huf", "45"),
            (4500, "twd", "45"),
            (5, "usd", "0.05"),
            (-5, "usd", "-0.05"),
            (0, "bhd", "0"),
            (-1000, "jpy", "-1000"),
            (123_456, "bhd", "123.456"),
            (i64::MIN, "usd", "-92233720368547758.08"),
            (i64::MAX, "xof", "9223372036854775807"),
            (4500, "JPY", "4500"),
        ] {
            assert_eq!(major(minor, currency), expected, "{currency}");
        }
    }

    #[test]
    fn minor_units_come_out_of_decimals_without_loss() {
        for (text, currency, expected) in [
            ("45.99", "eur", Ok(4599)),
            ("45.9", "eur", Ok(4590)),
            ("45", "eur", Ok(4500)),
            ("45.990", "eur", Ok(4599)),
            ("0.05", "usd", Ok(5)),
            ("4500", "jpy", Ok(4500)),
            ("4500.0", "jpy", Ok(4500)),
            ("1.234", "kwd", Ok(1234)),
            ("45.999", "eur", Err(AmountError::TooManyDecimals)),
            ("1.5", "jpy", Err(AmountError::TooManyDecimals)),
            ("99999999999999999999", "eur", Err(AmountError::TooLarge)),
            ("-1", "eur", Err(AmountError::NoNumber)),
            ("1e2", "eur", Err(AmountError::NoNumber)),
            ("", "eur", Err(AmountError::NoNumber)),
            (".5", "eur", Err(AmountError::NoNumber)),
            ("5.", "eur", Err(AmountError::NoNumber)),
            ("1,5", "eur", Err(AmountError::NoNumber)),
            ("1.2.3", "eur", Err(AmountError::NoNumber)),
        ] {
            assert_eq!(minor(text, currency), expected, "{text} {currency}");
        }
    }
}
