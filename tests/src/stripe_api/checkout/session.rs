//! The shape of a session and of its items.

use serde_json::{Value, json};

use crate::stripe_api::{errors::ApiError, payments::metadata_of, state::State};

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
    let or = |name: &str, default: Value| params.get(name).cloned().unwrap_or(default);
    let or_null = |name: &str| or(name, Value::Null);
    let taxed = params["automatic_tax"]["enabled"] == true;
    let country = state
        .account(scope)
        .map(|account| account["country"].clone());
    json!({
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": { "enabled": params["adaptive_pricing"]["enabled"].as_bool().unwrap_or(true) },
        "after_expiration": null,
        "allow_promotion_codes": or_null("allow_promotion_codes"),
        "allowed_payment_method_types": or_null("allowed_payment_method_types"),
        "amount_subtotal": subtotal,
        "amount_total": subtotal,
        "automatic_tax": {
            "enabled": taxed,
            "liability": taxed.then(|| json!({ "type": "self" })),
            "provider": taxed.then_some("stripe"),
            "status": taxed.then_some("requires_location_inputs"),
        },
        "billing_address_collection": or_null("billing_address_collection"),
        "cancel_url": or_null("cancel_url"),
        "client_reference_id": or_null("client_reference_id"),
        "client_secret": null,
        "collected_information": null,
        "consent": null,
        "consent_collection": null,
        "created": now,
        "currency": currency,
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null,
            "terms_of_service_acceptance": null,
        },
        "customer": or_null("customer"),
        "customer_account": null,
        "customer_creation": or("customer_creation", "if_required".into()),
        "customer_details": details(params),
        "customer_email": or_null("customer_email"),
        "discounts": null,
        "expires_at": params["expires_at"].as_i64().unwrap_or(now + DEFAULT_LIFE),
        "integration_identifier": or_null("integration_identifier"),
        "invoice": null,
        "invoice_creation": invoice_creation(params),
        "livemode": livemode,
        "locale": or_null("locale"),
        "managed_payments": null,
        "metadata": metadata_of(params),
        "mode": "payment",
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "payment_method_types": methods(country.as_ref()),
        "payment_status": "unpaid",
        "permissions": null,
        "phone_number_collection": { "enabled": params["phone_number_collection"]["enabled"] == true },
        "recovered_from": null,
        "saved_payment_method_options": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": or_null("submit_type"),
        "subscription": null,
        "success_url": or_null("success_url"),
        "tax_id_collection": {
            "enabled": params["tax_id_collection"]["enabled"] == true,
            "required": params["tax_id_collection"]["required"].as_str().unwrap_or("never"),
        },
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": or("ui_mode", "hosted_page".into()),
        "url": format!("https://checkout.stripe.com/c/pay/{id}"),
        "wallet_options": null,
    })
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
