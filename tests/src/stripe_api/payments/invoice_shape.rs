//! The shape of invoices, their lines and their payments.

use serde_json::{Value, json};

use super::{APPLICATION, Parties, list as list_of};
use crate::stripe_api::state::{State, joined};

/// An invoice as it is when it was just made. What only a final one has is null.
pub(super) fn draft(
    state: &mut State,
    id: &str,
    parties: &Parties,
    session: &Value,
    items: &[Value],
) -> Value {
    let payment = payment(state, id, session);
    let intent = session["payment_intent"].as_str().unwrap_or_default();
    let intent = state.get(&parties.account, "payment_intent", intent);
    // Versions before basil show it; the later ones do not.
    let charge = intent.map(|intent| intent["latest_charge"].clone());
    let now = state.now();
    let lines: Vec<Value> = items.iter().map(|item| line(state, id, item)).collect();
    let tax = &session["automatic_tax"];
    let own = json!({
        "id": id,
        "object": "invoice",
        "automatic_tax": {
            "disabled_reason": null, "enabled": tax["enabled"], "liability": tax["liability"],
            "provider": tax["provider"], "status": tax["status"],
        },
        "automatically_finalizes_at": now + 3600,
        "charge": charge,
        "created": now,
        "currency": session["currency"],
        "lines": list_of(&format!("/v1/invoices/{id}/lines"), lines),
        "livemode": state.options.livemode,
        "payments": list_of("/v1/invoice_payments", vec![payment]),
        "period_end": now,
        "period_start": now,
    });
    joined([
        empty(),
        of_parties(state, parties, session),
        amounts(session),
        own,
    ])
}

/// Fields that are the same in every draft of this stand-in.
fn empty() -> Value {
    let nulls = [
        "customer_account",
        "customer_phone",
        "customer_shipping",
        "default_payment_method",
        "default_source",
        "due_date",
        "effective_at",
        "ending_balance",
        "from_invoice",
        "hosted_invoice_url",
        "invoice_pdf",
        "last_finalization_error",
        "latest_revision",
        "next_payment_attempt",
        "number",
        "on_behalf_of",
        "parent",
        "receipt_number",
        "rendering",
        "shipping_cost",
        "shipping_details",
        "statement_descriptor",
        "test_clock",
        "webhooks_delivered_at",
    ];
    let nulls = nulls.map(|name| (name.to_owned(), Value::Null));
    let rest = json!({
        "application": APPLICATION,
        "attempt_count": 0,
        "attempted": false,
        "auto_advance": true,
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": { "type": "self" },
        "payment_settings": {
            "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
        },
        "status": "draft",
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
        },
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
    });
    joined([Value::Object(nulls.into_iter().collect()), rest])
}

/// Who issues it to whom, with what the session says of it.
fn of_parties(state: &State, parties: &Parties, session: &Value) -> Value {
    let account = state.account(&parties.account).cloned().unwrap_or_default();
    let data = &session["invoice_creation"]["invoice_data"];
    let ids = match &data["account_tax_ids"] {
        Value::Null => &account["settings"]["invoices"]["default_account_tax_ids"],
        ids => ids,
    };
    json!({
        "account_country": account["country"],
        "account_name": account["business_profile"]["name"],
        "account_tax_ids": ids,
        "custom_fields": data["custom_fields"],
        "customer": parties.customer,
        "customer_address": parties.details["address"],
        "customer_email": parties.details["email"],
        "customer_name": parties.details["name"],
        "description": data["description"],
        "footer": data["footer"],
        "metadata": data["metadata"],
    })
}

fn amounts(session: &Value) -> Value {
    let (subtotal, total) = (&session["amount_subtotal"], &session["amount_total"]);
    let tax = session["total_details"]["amount_tax"].as_i64().unwrap_or(0);
    let taxes = json!({
        "amount": tax, "tax_behavior": "exclusive", "tax_rate_details": { "tax_rate": "txr_sample" },
        "taxability_reason": "standard_rated", "taxable_amount": subtotal, "type": "tax_rate_details",
    });
    json!({
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": subtotal,
        "total_taxes": if tax > 0 { json!([taxes]) } else { json!([]) },
    })
}

fn payment(state: &mut State, invoice: &str, session: &Value) -> Value {
    let id = state.new_id("inpay");
    json!({
        "id": id,
        "object": "invoice_payment",
        "amount_paid": null,
        "amount_requested": session["amount_total"],
        "created": state.now(),
        "currency": session["currency"],
        "invoice": invoice,
        "is_default": true,
        "livemode": state.options.livemode,
        "payment": { "payment_intent": session["payment_intent"], "type": "payment_intent" },
        "status": "open",
        "status_transitions": { "canceled_at": null, "paid_at": null },
    })
}

fn line(state: &mut State, invoice: &str, item: &Value) -> Value {
    let (id, invoice_item) = (state.new_id("il"), state.new_id("ii"));
    let now = state.now();
    json!({
        "id": id,
        "object": "line_item",
        "amount": item["amount_subtotal"],
        "currency": item["currency"],
        "description": item["description"],
        "discount_amounts": [],
        "discountable": true,
        "discounts": [],
        "invoice": invoice,
        "livemode": state.options.livemode,
        "metadata": {},
        "parent": {
            "invoice_item_details": {
                "invoice_item": invoice_item, "proration": false,
                "proration_details": { "credited_items": null }, "subscription": null,
            },
            "subscription_item_details": null,
            "type": "invoice_item_details",
        },
        "period": { "end": now, "start": now },
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": { "price": item["price"]["id"], "product": item["price"]["product"] },
            "type": "price_details",
            "unit_amount_decimal": item["price"]["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "quantity_decimal": item["quantity"].to_string(),
        "subscription": null,
        "subtotal": item["amount_subtotal"],
        "taxes": [],
    })
}
