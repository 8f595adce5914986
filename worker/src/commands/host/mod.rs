//! The commands about hosts.

pub(super) mod account_maker;
mod account_request;
mod answers;
mod create;
pub mod known;
pub mod onboard;

use serde_json::Value;

use super::input;

/// Stripe's embedded components that a host can be shown, by Stripe's names.
const COMPONENTS: [&str; 7] = [
    "account_onboarding",
    "account_management",
    "notification_banner",
    "tax_settings",
    "tax_registrations",
    "documents",
    "payments",
];

/// Reads a list of components, at least one.
///
/// # Errors
/// What is wrong with it.
pub fn components(value: Value) -> Result<Vec<&'static str>, String> {
    let list = input::list(COMPONENTS.len(), input::one_of(&COMPONENTS))(value)?;
    match list.is_empty() {
        true => Err("is empty".into()),
        false => Ok(list),
    }
}
