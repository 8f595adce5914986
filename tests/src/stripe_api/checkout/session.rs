//! The shape of a session and of its items.

use serde_json::{Value, json};

use crate::stripe_api::{
    errors::ApiError,
    payments::metadata_of,
    state::{State, joined},
};

/// How long a session lives where the request does not say.
const DEFAULT_LIFE: i64 = 86_400;

/// The items of a session.
pub(super) fn items(state: &mut State, params: &Value) -> Result<Vec<Value>, ApiError> {
    let given = params["line_items"].as_array().cloned().unwrap_or_default();
    if given.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    let mut items = Vec::new();
    for (at, item) in given.iter().enumerate() {
        let price = &item["price_data"];
        if let Some(id) = item["price"].as_str() {
            return Err(ApiError::no_such_param(
                "price",
                id,
                &format!("line_items[{at}][price]"),
            ));
        }
        let Some(unit) = price["unit_amount"].as_i64() else {
            return Err(ApiError::missing(&format!(
                "line_items[{at}][price_data][unit_amount]"
            )));
        };
        let Some(name) = price["product_data"]["name"].as_str() else {
            return Err(ApiError::missing(&format!(
                "line_items[{at}][price_data][product_data]"
            )));
        };
        let Some(quantity) = item["quantity"].as_i64() else {
            return Err(ApiError::missing(&format!("line_items[{at}][quantity]")));
        };
        let currency = price["currency"]
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase();
        items.push(self::item(state, name, unit, quantity, &currency));
    }
    if items
        .iter()
        .any(|item| item["currency"] != items[0]["currency"])
    {
        let message = "All line items must have the same currency.";
        return Err(ApiError::invalid(message).param("line_items"));
    }
    Ok(items)
}

fn item(state: &mut State, name: &str, unit: i64, quantity: i64, currency: &str) -> Value {
    let (id, price, product) = (
        state.new_id("li"),
        state.new_id("price"),
        state.new_id("prod"),
    );
    let amount = unit * quantity;
    json!({
        "id": id,
        "object": "item",
        "adjustable_quantity": null,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": currency,
        "description": name,
        "metadata": {},
        "price": {
            "id": price, "object": "price", "active": false, "billing_scheme": "per_unit",
            "created": state.now(), "currency": currency, "custom_unit_amount": null,
            "livemode": state.options.livemode, "lookup_key": null, "metadata": {},
            "nickname": null, "product": product, "recurring": null, "tax_behavior": "exclusive",
            "tiers_mode": null, "transform_quantity": null, "type": "one_time",
            "unit_amount": unit, "unit_amount_decimal": unit.to_string(),
        },
        "quantity": quantity,
    })
}

/// A session that is open.
pub(super) fn new(
    state: &mut State,
    scope: &str,
    params: &Value,
    subtotal: i64,
    currency: &str,
) -> Value {
    let livemode = state.options.livemode;
    let id = state.new_id(if livemode { "cs_live" } else { "cs_test" });
    let now = state.now();
    let country = state
        .account(scope)
        .map(|account| account["country"].clone());
    let own = json!({
        "id": id,
        "object": "checkout.session",
        "amount_subtotal": subtotal,
        "amount_total": subtotal,
        "created": now,
        "currency": currency,
        "customer_details": details(params),
        "expires_at": params["expires_at"].as_i64().unwrap_or(now + DEFAULT_LIFE),
        "invoice_creation": invoice_creation(params),
        "livemode": livemode,
        "metadata": metadata_of(params),
        "payment_method_types": methods(country.as_ref()),
        "payment_status": "unpaid",
        "status": "open",
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "url": format!("https://checkout.stripe.com/c/pay/{id}"),
    });
    joined([empty(), settings(params), given(params), own])
}

/// Fields that stay as they are in every session of this stand-in.
fn empty() -> Value {
    let nulls = [
        "after_expiration",
        "client_secret",
        "collected_information",
        "consent",
        "consent_collection",
        "currency_conversion",
        "customer_account",
        "discounts",
        "invoice",
        "managed_payments",
        "origin_context",
        "payment_intent",
        "payment_link",
        "payment_method_configuration_details",
        "permissions",
        "recovered_from",
        "saved_payment_method_options",
        "setup_intent",
        "shipping_address_collection",
        "shipping_cost",
        "subscription",
        "wallet_options",
    ];
    let nulls = nulls.map(|name| (name.to_owned(), Value::Null));
    let rest = json!({
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null,
            "terms_of_service_acceptance": null,
        },
        "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "shipping_options": [],
    });
    joined([Value::Object(nulls.into_iter().collect()), rest])
}

/// Settings with what they are where the request does not say.
fn settings(params: &Value) -> Value {
    let taxed = params["automatic_tax"]["enabled"] == true;
    let adapted = params["adaptive_pricing"]["enabled"].as_bool();
    let tax_ids = &params["tax_id_collection"];
    json!({
        "adaptive_pricing": { "enabled": adapted.unwrap_or(true) },
        "automatic_tax": {
            "enabled": taxed,
            "liability": taxed.then(|| json!({ "type": "self" })),
            "provider": taxed.then_some("stripe"),
            "status": taxed.then_some("requires_location_inputs"),
        },
        "customer_creation": params["customer_creation"].as_str().unwrap_or("if_required"),
        "phone_number_collection": { "enabled": params["phone_number_collection"]["enabled"] == true },
        "tax_id_collection": {
            "enabled": tax_ids["enabled"] == true,
            "required": tax_ids["required"].as_str().unwrap_or("never"),
        },
        "ui_mode": params["ui_mode"].as_str().unwrap_or("hosted_page"),
    })
}

/// What the request says, or null.
fn given(params: &Value) -> Value {
    let names = [
        "allow_promotion_codes",
        "allowed_payment_method_types",
        "billing_address_collection",
        "cancel_url",
        "client_reference_id",
        "customer",
        "customer_email",
        "integration_identifier",
        "locale",
        "submit_type",
        "success_url",
    ];
    let given = names.map(|name| (name.to_owned(), params[name].clone()));
    Value::Object(given.into_iter().collect())
}

/// Card everywhere, and a delayed method where there is one.
fn methods(country: Option<&Value>) -> Value {
    match country.and_then(Value::as_str) {
        Some("US") => json!(["card", "us_bank_account"]),
        _ => json!(["card", "sepa_debit"]),
    }
}

fn details(params: &Value) -> Value {
    let Some(email) = params["customer_email"].as_str() else {
        return Value::Null;
    };
    json!({
        "address": null, "business_name": null, "email": email, "individual_name": null,
        "name": null, "phone": null, "tax_exempt": "none", "tax_ids": null,
    })
}

fn invoice_creation(params: &Value) -> Value {
    let given = &params["invoice_creation"];
    let data = &given["invoice_data"];
    json!({
        "enabled": given["enabled"] == true,
        "invoice_data": {
            "account_tax_ids": data["account_tax_ids"],
            "custom_fields": data["custom_fields"],
            "description": data["description"],
            "footer": data["footer"],
            "issuer": data["issuer"],
            "metadata": metadata_of(data),
            "rendering_options": null,
        },
    })
}
