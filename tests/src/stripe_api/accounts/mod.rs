//! Connected accounts: one record, which both versions of the API show.

mod changes;
mod life;
pub(super) mod v1;
pub(super) mod v2;
mod v2_view;

pub(super) use self::changes::difference;
use super::errors::ApiError;

/// Countries in which nobody can be a host: a few of those that Stripe refuses.
const UNSUPPORTED_COUNTRIES: [&str; 6] = ["ZZ", "KP", "IR", "SY", "CU", "RU"];

/// Refuses a country that Stripe does not serve, or that is none.
fn check_country(country: &str, param: &str) -> Result<(), ApiError> {
    let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
    let upper = country.to_ascii_uppercase();
    if is_code && !UNSUPPORTED_COUNTRIES.contains(&upper.as_str()) {
        return Ok(());
    }
    let message = format!(
        "Country '{country}' is unknown. Try using a 2-character alphanumeric country code instead, such as 'US', 'EG', or 'GB'."
    );
    Err(ApiError::invalid(message)
        .code("country_unsupported")
        .param(param))
}

/// The currency of a country, for the countries that the tests use.
fn currency_of(country: &str) -> &'static str {
    match country {
        "US" => "usd",
        "GB" => "gbp",
        "CH" => "chf",
        "JP" => "jpy",
        "MX" => "mxn",
        "BR" => "brl",
        "SE" => "sek",
        "PL" => "pln",
        _ => "eur",
    }
}
