//! `/v2/core/accounts`.

use serde_json::{Value, json};

use super::{check_country, v1, v2_view::view};
use crate::stripe_api::{
    errors::ApiError,
    pages,
    routes::Work,
    state::{PLATFORM, State},
};

/// Refuses everything where the platform has no access.
pub(in crate::stripe_api) fn check_access(state: &State) -> Result<(), ApiError> {
    if state.options.v2_enabled {
        return Ok(());
    }
    let message = "Accounts v2 is not enabled for your platform. If you're interested in using \
                   this API with your integration, please visit the settings of your platform.";
    Err(ApiError::invalid(message).code("accounts_v2_access_blocked"))
}

/// `POST /v2/core/accounts`.
pub(in crate::stripe_api) fn create(work: &mut Work<'_>) -> Result<Value, ApiError> {
    check_access(work.state)?;
    let params = work.params.clone();
    check(&params)?;
    let country = params["identity"]["country"]
        .as_str()
        .unwrap_or("US")
        .to_ascii_uppercase();
    let account = first_version(work.state, &country, &params);
    let id = account["id"].as_str().unwrap_or_default().to_owned();
    work.state.v2.insert(id.clone(), extras(&params));
    work.state.put(PLATFORM, "account", account);
    work.state.emit_thin(&id, "v2.core.account.created", None);
    view(work.state, &id, &included(&params)).ok_or_else(|| no_such(&id))
}

/// Refuses what Stripe refuses.
fn check(params: &Value) -> Result<(), ApiError> {
    if let Some(country) = params["identity"]["country"].as_str() {
        check_country(country, "identity.country")?;
    }
    let configuration = &params["configuration"];
    let sells = !configuration["merchant"].is_null() || !configuration["recipient"].is_null();
    if sells {
        for (part, name) in [
            (&params["identity"]["country"], "identity.country"),
            (&params["contact_email"], "contact_email"),
            (
                &params["defaults"]["responsibilities"],
                "defaults.responsibilities",
            ),
        ] {
            if part.is_null() {
                return Err(ApiError::missing(name));
            }
        }
    }
    let losses = &params["defaults"]["responsibilities"]["losses_collector"];
    if params["dashboard"] == "express" && *losses == "stripe" {
        let message = "An account with the express dashboard must have the application as its \
                       losses_collector.";
        let param = "defaults.responsibilities.losses_collector";
        return Err(ApiError::invalid(message).param(param));
    }
    Ok(())
}

/// The account as the first version shows it.
fn first_version(state: &mut State, country: &str, params: &Value) -> Value {
    let dashboard = params["dashboard"].as_str().unwrap_or("none");
    let responsibilities = &params["defaults"]["responsibilities"];
    let payer = match responsibilities["fees_collector"].as_str() {
        Some("stripe") | None => "account",
        Some(collector) => collector,
    };
    let controller = json!({
        "fees": { "payer": payer },
        "is_controller": true,
        "losses": { "payments": responsibilities["losses_collector"].as_str().unwrap_or("stripe") },
        "requirement_collection": "stripe",
        "stripe_dashboard": { "type": dashboard },
        "type": "application",
    });
    let mut account = v1::new(state, country, "none", controller);
    account["email"] = params["contact_email"].clone();
    account["settings"]["dashboard"]["display_name"] = params["display_name"].clone();
    if let Some(currency) = params["defaults"].get("currency") {
        account["default_currency"] = currency.clone();
    }
    if let Some(entity) = params["identity"].get("entity_type") {
        account["business_type"] = entity.clone();
    }
    for (name, value) in params["metadata"].as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        account["metadata"][name] = text.into();
    }
    let merchant = params["configuration"]["merchant"]["capabilities"].as_object();
    for (name, wanted) in merchant.into_iter().flatten() {
        if wanted["requested"] == true {
            v1::request(&mut account, name);
        }
    }
    let recipient = &params["configuration"]["recipient"]["capabilities"];
    if recipient["stripe_balance"]["stripe_transfers"]["requested"] == true {
        v1::request(&mut account, "transfers");
    }
    account
}

/// What the first version does not show.
fn extras(params: &Value) -> Value {
    let mut configuration = params["configuration"].clone();
    for (_, one) in configuration.as_object_mut().into_iter().flatten() {
        if let Some(one) = one.as_object_mut() {
            one.remove("capabilities");
        }
    }
    let responsibilities = &params["defaults"]["responsibilities"];
    let mut defaults = params["defaults"].clone();
    if let Some(defaults) = defaults.as_object_mut() {
        defaults.remove("responsibilities");
    }
    json!({
        "made": true,
        "dashboard": params["dashboard"],
        "contact_phone": params["contact_phone"],
        "configuration": configuration,
        "responsibilities": {
            "fees_collector": responsibilities["fees_collector"],
            "losses_collector": responsibilities["losses_collector"],
            "requirements_collector": "stripe",
        },
        "identity": params["identity"],
        "defaults": defaults,
    })
}

fn included(params: &Value) -> Vec<String> {
    let names = params["include"].as_array();
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such("account", id, "id").code("not_found")
}

/// `GET /v2/core/accounts/{id}`.
pub(in crate::stripe_api) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    check_access(work.state)?;
    if work.state.gone.contains(&work.id) {
        return Err(no_such(&work.id));
    }
    view(work.state, &work.id, &included(&work.params)).ok_or_else(|| no_such(&work.id))
}

/// `GET /v2/core/accounts`.
pub(in crate::stripe_api) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    check_access(work.state)?;
    let wanted = work.params["applied_configurations"].as_array().cloned();
    let wanted = wanted.unwrap_or_default();
    let closed = work.params["closed"] == true;
    let ids = work.state.newest_first(PLATFORM, "account");
    let ids = ids.filter_map(|account| account["id"].as_str());
    let ids = ids.filter(|id| !closed && !work.state.gone.contains(*id));
    let accounts = ids
        .filter_map(|id| view(work.state, id, &[]))
        .filter(|account| {
            let applied = account["applied_configurations"].as_array();
            applied.is_some_and(|applied| wanted.iter().all(|one| applied.contains(one)))
        });
    let accounts = accounts.collect();
    pages::v2(work, accounts)
}
