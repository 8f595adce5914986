//! Who may do what, and for which account.

use hyper::{Method, StatusCode};

use super::{
    call::Call,
    errors::{ApiError, INVALID_REQUEST},
    options::Options,
    routes::Route,
    state::{PLATFORM, State},
};

/// Whether the key is one of the platform's.
pub(super) fn authenticate(options: &Options, call: &Call) -> Result<(), ApiError> {
    let refuse = |message: String| {
        Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            INVALID_REQUEST,
            message,
        ))
    };
    let Some(secret) = &call.secret else {
        return refuse("You did not provide an API key.".to_owned());
    };
    let known = *secret == options.secret_key
        || options.restricted_keys.iter().any(|one| one.key == *secret);
    if known {
        return Ok(());
    }
    let end = secret
        .get(secret.len().saturating_sub(4)..)
        .unwrap_or_default();
    refuse(format!("Invalid API Key provided: sk_test_****{end}"))
}

/// Whether a restricted key may do this.
pub(super) fn allow(options: &Options, call: &Call, route: &Route) -> Result<(), ApiError> {
    let mut keys = options.restricted_keys.iter();
    let Some(key) = keys.find(|one| Some(&one.key) == call.secret.as_ref()) else {
        return Ok(());
    };
    if key.may(route.resource, call.method != Method::GET) {
        return Ok(());
    }
    let message = format!(
        "The provided key does not have the required permissions for this endpoint. Having the \
         permission for {} would allow this request to continue.",
        route.resource
    );
    Err(ApiError::forbidden(message).code("more_permissions_required"))
}

/// The account whose objects a request is about.
pub(super) fn scope(state: &State, call: &Call, route: &Route) -> Result<String, ApiError> {
    let Some(account) = call.account() else {
        return Ok(PLATFORM.to_owned());
    };
    if state.account(account).is_none() || state.gone.contains(account) {
        let message = format!(
            "The provided key does not have access to account '{account}' (or that account does \
             not exist). Application access may have been revoked."
        );
        return Err(ApiError::forbidden(message).code("account_invalid"));
    }
    if !route.scoped && call.is_post() {
        let message = "Only the platform itself may do this: leave the account's header out.";
        return Err(ApiError::invalid(message));
    }
    Ok(if route.scoped { account } else { PLATFORM }.to_owned())
}
