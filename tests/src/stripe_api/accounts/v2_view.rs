//! An account as the second version of the API shows it.

use serde_json::{Map, Value, json};

use super::v1;
use crate::{stripe::text_time, stripe_api::state::State};

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
