//! Links and sessions for hosts: account links, account sessions, login links.

use serde_json::{Map, Value, json};

use super::{accounts, errors::ApiError, parameters, routes::Work, state::State};
use crate::{random, stripe::text_time};

/// How long an account link can be opened.
const LINK_LIFE: i64 = 300;
/// How long an account session can be used.
const SESSION_LIFE: i64 = 3600;

/// An account that a link can be made for.
fn linkable(state: &State, id: &str, param: &str) -> Result<Value, ApiError> {
    let account = state.account(id).filter(|_| !state.gone.contains(id));
    let account = account.ok_or_else(|| ApiError::no_such_param("account", id, param))?;
    let reason = account["requirements"]["disabled_reason"]
        .as_str()
        .unwrap_or_default();
    if reason.starts_with("rejected.") {
        let message = format!("The account '{id}' has been rejected: no link can be made for it.");
        return Err(ApiError::invalid(message).param(param).begun());
    }
    Ok(account.clone())
}

/// Refuses an address that is none, and in live mode one without encryption.
pub(super) fn check_url(state: &State, url: &str, param: &str) -> Result<(), ApiError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("https") => Ok(()),
        Some("http") if !state.options.livemode => Ok(()),
        Some("http") => {
            let message = "Livemode requests must always be redirected via HTTPS.";
            Err(ApiError::invalid(message).param(param))
        }
        _ => Err(ApiError::invalid("Not a valid URL")
            .code("url_invalid")
            .param(param)),
    }
}

/// An address that nobody can guess.
fn address(kind: &str, account: &str) -> String {
    let token = random::hex(16);
    format!("https://connect.stripe.com/{kind}/{account}/{token}")
}

/// `POST /v1/account_links`.
pub(super) fn v1(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let id = work.text("account").unwrap_or_default().to_owned();
    let account = linkable(work.state, &id, "account")?;
    for name in ["refresh_url", "return_url"] {
        let url = work.text(name).ok_or_else(|| ApiError::missing(name))?;
        check_url(work.state, url, name)?;
    }
    if work.text("type") == Some("account_update") {
        let collection = &account["controller"]["requirement_collection"];
        if *collection != "application" {
            let message = "Account links of type account_update are for accounts whose \
                           requirements the application collects.";
            return Err(ApiError::invalid(message).param("type"));
        }
    }
    let now = work.state.now();
    Ok(json!({
        "object": "account_link",
        "created": now,
        "expires_at": now + LINK_LIFE,
        "url": address("setup/e", &id),
    }))
}

/// `POST /v2/core/account_links`.
pub(super) fn v2(work: &mut Work<'_>) -> Result<Value, ApiError> {
    accounts::v2::check_access(work.state)?;
    let id = work.text("account").unwrap_or_default().to_owned();
    linkable(work.state, &id, "account")?;
    let use_case = work.params["use_case"].clone();
    let kind = use_case["type"].as_str().unwrap_or_default();
    let param = format!("use_case.{kind}");
    let case = use_case
        .get(kind)
        .ok_or_else(|| ApiError::missing(&param))?;
    for name in ["refresh_url", "return_url"] {
        if let Some(url) = case[name].as_str() {
            check_url(work.state, url, &format!("{param}.{name}"))?;
        }
    }
    let now = work.state.now();
    Ok(json!({
        "object": "v2.core.account_link",
        "account": id,
        "created": text_time(now),
        "expires_at": text_time(now + LINK_LIFE),
        "livemode": work.state.options.livemode,
        "url": address("setup/e", &id),
        "use_case": use_case,
    }))
}

/// `POST /v1/account_sessions`.
pub(super) fn session(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let id = work.text("account").unwrap_or_default().to_owned();
    linkable(work.state, &id, "account")?;
    let given = &work.params["components"];
    if given.as_object().is_none_or(Map::is_empty) {
        return Err(ApiError::missing("components"));
    }
    // The answer shows all components, each with all of its features.
    let mut components = Map::new();
    for (name, kind) in parameters::fields_of("POST /v1/account_sessions", "components") {
        let asked = &given[&name];
        let has = |feature: &str| Value::from(asked["features"][feature] == true);
        let features = kind["features"].as_object().into_iter().flatten();
        let features: Map<String, Value> = features
            .map(|(feature, _)| (feature.clone(), has(feature)))
            .collect();
        let enabled = asked["enabled"] == true;
        components.insert(name, json!({ "enabled": enabled, "features": features }));
    }
    Ok(json!({
        "object": "account_session",
        "account": id,
        "client_secret": format!("accs_secret__{}", random::hex(24)),
        "components": components,
        "expires_at": work.state.now() + SESSION_LIFE,
        "livemode": work.state.options.livemode,
    }))
}

/// `POST /v1/accounts/{id}/login_links`.
pub(super) fn login(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let account = work.state.account(&work.id);
    let account = account.filter(|_| !work.state.gone.contains(&work.id));
    let account = account.ok_or_else(|| ApiError::no_such("account", &work.id, "account"))?;
    if account["controller"]["stripe_dashboard"]["type"] != "express" {
        let message =
            "Cannot create a login link for an account that does not have the Express dashboard.";
        return Err(ApiError::invalid(message).begun());
    }
    if account["details_submitted"] != true {
        let message =
            "Cannot create a login link for an account that has not completed onboarding.";
        return Err(ApiError::invalid(message).begun());
    }
    Ok(json!({
        "object": "login_link",
        "created": work.state.now(),
        "url": address("express", &work.id),
    }))
}
