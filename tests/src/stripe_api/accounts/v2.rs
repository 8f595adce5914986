//! `/v2/core/accounts`.

use serde_json::{Map, Value, json};

use super::{check_country, v1};
use crate::stripe_api::{
    errors::ApiError,
    pages,
    routes::Work,
    state::{PLATFORM, State, text_time},
};

/// Parts of an account that are shown when `include` names them.
pub(super) const PARTS: [&str; 7] = [
    "configuration.customer",
    "configuration.merchant",
    "configuration.recipient",
    "defaults",
    "future_requirements",
    "identity",
    "requirements",
];

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

/// An account as the second version shows it, with these parts.
pub(super) fn view(state: &State, id: &str, include: &[String]) -> Option<Value> {
    let account = state.account(id)?;
    let extras = state.v2.get(id)?;
    let empty = Map::new();
    let configuration = extras["configuration"].as_object().unwrap_or(&empty);
    let mut view = json!({
        "id": id,
        "object": "v2.core.account",
        "applied_configurations": configuration.keys().collect::<Vec<_>>(),
        "closed": false,
        "created": text_time(account["created"].as_i64().unwrap_or(0)),
        "livemode": state.options.livemode,
        "metadata": account["metadata"],
    });
    for (name, value) in [
        ("contact_email", &account["email"]),
        ("contact_phone", &extras["contact_phone"]),
        ("dashboard", &extras["dashboard"]),
        (
            "display_name",
            &account["settings"]["dashboard"]["display_name"],
        ),
    ] {
        if !value.is_null() {
            view[name] = value.clone();
        }
    }
    for part in PARTS
        .iter()
        .filter(|part| include.iter().any(|one| one == *part))
    {
        match part.split_once('.') {
            Some((outer, inner)) => {
                if configuration.contains_key(inner) {
                    view[outer][inner] = of_configuration(account, &configuration[inner], inner);
                }
            }
            None => view[*part] = part_of(account, extras, part),
        }
    }
    Some(view)
}

fn of_configuration(account: &Value, given: &Value, name: &str) -> Value {
    let mut configuration = given.clone();
    if !configuration.is_object() {
        configuration = json!({});
    }
    configuration["applied"] = true.into();
    let of = |capability: &str| status(account, account["capabilities"][capability].as_str());
    let payouts = account["payouts_enabled"].as_bool().unwrap_or(false);
    let payouts = status(account, Some(if payouts { "active" } else { "inactive" }));
    match name {
        "merchant" => {
            let mut capabilities = Map::new();
            for capability in account["capabilities"].as_object().into_iter().flatten() {
                if capability.0 != "transfers" {
                    capabilities.insert(capability.0.clone(), of(capability.0));
                }
            }
            capabilities.insert("stripe_balance".to_owned(), json!({ "payouts": payouts }));
            configuration["capabilities"] = capabilities.into();
        }
        "recipient" if !account["capabilities"]["transfers"].is_null() => {
            let balance = json!({ "payouts": payouts, "stripe_transfers": of("transfers") });
            configuration["capabilities"] = json!({ "stripe_balance": balance });
        }
        _ => {}
    }
    configuration
}

/// The status of a capability in the second version's words.
fn status(account: &Value, status: Option<&str>) -> Value {
    let detail = |code: &str, resolution: &str| json!([{ "code": code, "resolution": resolution }]);
    let reason = account["requirements"]["disabled_reason"]
        .as_str()
        .unwrap_or_default();
    match status {
        Some("active") => json!({ "status": "active", "status_details": [] }),
        Some("pending") => {
            let details = detail("requirements_pending_verification", "no_resolution");
            json!({ "status": "pending", "status_details": details })
        }
        _ if reason.starts_with("rejected.") => {
            let details = detail("rejected_other", "contact_stripe");
            json!({ "status": "restricted", "status_details": details })
        }
        _ => {
            let details = detail("requirements_past_due", "provide_info");
            json!({ "status": "restricted", "status_details": details })
        }
    }
}

fn part_of(account: &Value, extras: &Value, part: &str) -> Value {
    match part {
        "defaults" => {
            let mut defaults = json!({ "currency": account["default_currency"] });
            v1::merge(&mut defaults, &extras["defaults"]);
            defaults["responsibilities"] = extras["responsibilities"].clone();
            defaults
        }
        "identity" => {
            let mut identity = json!({ "country": account["country"] });
            if let Some(entity) = account["business_type"].as_str() {
                identity["entity_type"] = entity.into();
            }
            if let Some(date) = account["tos_acceptance"]["date"].as_i64() {
                let accepted = json!({ "date": text_time(date), "ip": "203.0.113.7" });
                identity["attestations"] = json!({ "terms_of_service": { "account": accepted } });
            }
            identity
        }
        "future_requirements" => json!({ "entries": [] }),
        _ => requirements(&account["requirements"]),
    }
}

/// What is due, an entry each.
fn requirements(due: &Value) -> Value {
    let names = |list: &str| -> Vec<String> {
        let names = due[list].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (past, current, pending) = (
        names("past_due"),
        names("currently_due"),
        names("pending_verification"),
    );
    let mut entries = Vec::new();
    let mut all = names("eventually_due");
    all.extend(current.iter().chain(&past).chain(&pending).cloned());
    let mut seen = std::collections::HashSet::new();
    all.retain(|name| seen.insert(name.clone()));
    for name in all {
        let status = if past.contains(&name) {
            "past_due"
        } else if current.contains(&name) {
            "currently_due"
        } else {
            "eventually_due"
        };
        entries.push(entry(&name, status, pending.contains(&name)));
    }
    let mut requirements = json!({ "entries": entries });
    let words = ["past_due", "currently_due", "eventually_due"];
    let has = |word: &str| {
        entries
            .iter()
            .any(|one| one["minimum_deadline"]["status"] == word)
    };
    if let Some(first) = words.into_iter().find(|word| has(word)) {
        let mut deadline = json!({ "status": first });
        if let Some(time) = due["current_deadline"].as_i64() {
            deadline["time"] = text_time(time).into();
        }
        requirements["summary"] = json!({ "minimum_deadline": deadline });
    }
    requirements
}

fn entry(name: &str, status: &str, pending: bool) -> Value {
    let deadline = json!({ "status": status });
    json!({
        "awaiting_action_from": if pending { "stripe" } else { "user" },
        "description": name,
        "errors": [],
        "impact": { "restricts_capabilities": [{
            "capability": "card_payments", "configuration": "merchant", "deadline": deadline,
        }] },
        "minimum_deadline": deadline,
        "requested_reasons": [{ "code": "routine_onboarding" }],
    })
}
