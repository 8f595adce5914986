//! `/v1/accounts`.

use serde_json::{Map, Value, json};

use super::{check_country, currency_of};
use crate::{
    stripe::{Account, ApiVersion},
    stripe_api::{
        errors::ApiError,
        pages,
        routes::Work,
        state::{PLATFORM, State},
    },
};

/// `POST /v1/accounts`.
pub(in crate::stripe_api) fn create(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let country = work.text("country").unwrap_or("US").to_ascii_uppercase();
    check_country(&country, "country")?;
    let (kind, controller) = control(&work.params)?;
    let params = work.params.clone();
    let account = new(work.state, &country, &kind, controller);
    let id = account["id"].as_str().unwrap_or_default().to_owned();
    let account = with_params(account, &params);
    let extras = extras(&account);
    work.state.v2.insert(id, extras);
    work.state.put(PLATFORM, "account", account.clone());
    Ok(account)
}

/// An account of the platform as it is right after it was made.
pub(super) fn new(state: &mut State, country: &str, kind: &str, controller: Value) -> Value {
    let id = state.new_id("acct");
    let sample = Account {
        id: id.clone(),
        kind: kind.to_owned(),
        host: None,
        details_submitted: false,
        charges_enabled: false,
        payouts_enabled: false,
        card_payments: "inactive".to_owned(),
        country: country.to_owned(),
        currency: currency_of(country).to_owned(),
        created: state.now(),
        version: ApiVersion::NEWEST,
    };
    let mut account = sample.value();
    account["controller"] = controller;
    account["requirements"] = Account::fresh(&id, "")["requirements"].clone();
    account["capabilities"] = json!({});
    account["business_type"] = Value::Null;
    account["email"] = Value::Null;
    for name in ["mcc", "name", "product_description", "url"] {
        account["business_profile"][name] = Value::Null;
    }
    for (group, name) in [
        ("dashboard", "display_name"),
        ("card_payments", "statement_descriptor_prefix"),
        ("payments", "statement_descriptor"),
    ] {
        account["settings"][group][name] = Value::Null;
    }
    account
}

/// The type of the account, and who is responsible for what.
fn control(params: &Value) -> Result<(String, Value), ApiError> {
    let given = &params["controller"];
    let of = |payer: &str, losses: &str, collection: &str, dashboard: &str| {
        json!({
            "fees": { "payer": payer },
            "is_controller": true,
            "losses": { "payments": losses },
            "requirement_collection": collection,
            "stripe_dashboard": { "type": dashboard },
            "type": "application",
        })
    };
    if let Some(kind) = params["type"].as_str() {
        if !given.is_null() {
            let message = "You may not provide the `type` parameter and `controller` parameters at the same time.";
            return Err(ApiError::invalid(message).param("controller"));
        }
        let controller = match kind {
            "express" => of("application_express", "application", "stripe", "express"),
            "custom" => of("application_custom", "application", "application", "none"),
            _ => of("account", "stripe", "stripe", "full"),
        };
        return Ok((kind.to_owned(), controller));
    }
    let or = |value: &Value, default: &'static str| value.as_str().unwrap_or(default).to_owned();
    let payer = or(&given["fees"]["payer"], "account");
    let losses = or(&given["losses"]["payments"], "stripe");
    let collection = or(&given["requirement_collection"], "stripe");
    let dashboard = or(&given["stripe_dashboard"]["type"], "full");
    if dashboard == "express" && losses == "stripe" {
        let message = "When `controller[stripe_dashboard][type]=express`, `controller[losses][payments]` must be `application`.";
        return Err(ApiError::invalid(message).param("controller[losses][payments]"));
    }
    if collection == "application" && (losses == "stripe" || dashboard != "none") {
        let message = "When `controller[requirement_collection]=application`, `controller[losses][payments]` must be `application` and `controller[stripe_dashboard][type]` must be `none`.";
        return Err(ApiError::invalid(message).param("controller[requirement_collection]"));
    }
    Ok((
        "none".to_owned(),
        of(&payer, &losses, &collection, &dashboard),
    ))
}

/// The account with what the request says of it.
fn with_params(mut account: Value, params: &Value) -> Value {
    for name in ["email", "business_type", "default_currency"] {
        if let Some(value) = params.get(name) {
            account[name] = value.clone();
        }
    }
    for name in ["business_profile", "settings", "tos_acceptance"] {
        if let Some(given) = params.get(name) {
            merge(&mut account[name], given);
        }
    }
    if let Some(given) = params["metadata"].as_object() {
        for (name, value) in given {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            account["metadata"][name] = text.into();
        }
    }
    if account["type"] == "standard" {
        request(&mut account, "card_payments");
        request(&mut account, "transfers");
    }
    for (name, wanted) in params["capabilities"].as_object().into_iter().flatten() {
        if wanted["requested"] == true {
            request(&mut account, name);
        }
    }
    account
}

/// Asks for a capability, which is not given yet.
pub(super) fn request(account: &mut Value, capability: &str) {
    if account["capabilities"][capability].is_null() {
        account["capabilities"][capability] = "inactive".into();
    }
}

/// Puts the given fields into an object, and leaves the others as they are.
pub(super) fn merge(object: &mut Value, given: &Value) {
    match (object, given) {
        (Value::Object(object), Value::Object(given)) => {
            for (name, value) in given {
                merge(object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (object, given) => *object = given.clone(),
    }
}

/// What the second version shows of an account that the first one made.
fn extras(account: &Value) -> Value {
    let controller = &account["controller"];
    let mut configuration = Map::new();
    if !account["capabilities"]["card_payments"].is_null() {
        configuration.insert("merchant".to_owned(), json!({}));
    }
    if !account["capabilities"]["transfers"].is_null() {
        configuration.insert("recipient".to_owned(), json!({}));
    }
    let payer = match controller["fees"]["payer"].as_str() {
        Some("account") | None => "stripe",
        Some(payer) => payer,
    };
    json!({
        "made": false,
        "dashboard": controller["stripe_dashboard"]["type"],
        "configuration": configuration,
        "responsibilities": {
            "fees_collector": payer,
            "losses_collector": controller["losses"]["payments"],
            "requirements_collector": controller["requirement_collection"],
        },
        "identity": {},
        "defaults": {},
    })
}

/// `POST /v1/accounts/{id}`.
pub(in crate::stripe_api) fn update(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve(work)?;
    let (id, params) = (work.id.clone(), work.params.clone());
    work.state.change_account(&id, |account| {
        *account = with_params(account.clone(), &params);
    });
    retrieve(work)
}

/// `GET /v1/accounts/{id}`.
pub(in crate::stripe_api) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let account = work.state.account(&work.id);
    let account = account
        .filter(|_| !work.state.gone.contains(&work.id))
        .cloned();
    account.ok_or_else(|| {
        let message = format!(
            "The provided key does not have access to account '{}' (or that account does not \
             exist). Application access may have been revoked.",
            work.id
        );
        ApiError::forbidden(message).code("account_invalid")
    })
}

/// `GET /v1/accounts`.
pub(in crate::stripe_api) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let all = work.state.newest_first(PLATFORM, "account");
    let wanted = all.filter(|account| {
        let id = account["id"].as_str().unwrap_or_default();
        !work.state.gone.contains(id)
            && pages::in_range(
                work.params.get("created"),
                account["created"].as_i64().unwrap_or(0),
            )
    });
    let wanted = wanted.cloned().collect();
    pages::v1(work, wanted)
}
