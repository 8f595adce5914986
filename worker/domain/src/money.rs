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
}
