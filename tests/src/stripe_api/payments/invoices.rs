//! `/v1/invoices`: what a host issues to a guest who has paid.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{APPLICATION, Parties, list as list_of, retrieve as retrieve_kind};
use crate::stripe_api::{
    accounts::difference, errors::ApiError, pages, routes::Work, server::StandIn, state::State,
};

/// The kind under which invoices are kept.
pub(super) const INVOICE: &str = "invoice";

/// `GET /v1/invoices`.
pub(in crate::stripe_api) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let names = ["collection_method", "customer", "status", "subscription"];
    let all = work.state.newest_first(&work.scope, INVOICE);
    let wanted = all.filter(|invoice| {
        pages::has(work, invoice, &names)
            && pages::in_range(
                work.params.get("created"),
                invoice["created"].as_i64().unwrap_or(0),
            )
    });
    let wanted = wanted.cloned().collect();
    pages::v1(work, wanted)
}

/// `GET /v1/invoices/{id}`.
pub(in crate::stripe_api) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve_kind(work, INVOICE, "invoice")
}

/// Makes the invoice of a paid session: a draft, which becomes final and is paid.
pub(in crate::stripe_api) fn create(
    state: &mut State,
    parties: &Parties,
    session: &Value,
    items: &[Value],
) -> Value {
    let id = state.new_id("in");
    let invoice = draft(state, &id, parties, session, items);
    state.put(&parties.account, INVOICE, invoice.clone());
    state.emit(&parties.account, "invoice.created", &invoice);
    finalize(state, &parties.account, invoice)
}

/// Makes a draft final, unless the account's invoices cannot be.
fn finalize(state: &mut State, account: &str, mut invoice: Value) -> Value {
    let now = state.now();
    if let Some(reason) = state.finalization_errors.get(account).cloned() {
        invoice["last_finalization_error"] = json!({
            "code": reason,
            "doc_url": format!("https://stripe.com/docs/error-codes/{reason}"),
            "message": "The invoice cannot be finalized.",
            "type": "invalid_request_error",
        });
        if reason == "customer_tax_location_invalid" {
            invoice["automatic_tax"]["status"] = "requires_location_inputs".into();
        }
        state.put(account, INVOICE, invoice.clone());
        state.emit(account, "invoice.finalization_failed", &invoice);
        return invoice;
    }
    let count = state
        .newest_first(account, INVOICE)
        .filter(|one| !one["number"].is_null())
        .count();
    let token = invoice["id"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("in_")
        .to_owned();
    let prefix = account
        .get(account.len().saturating_sub(6)..)
        .unwrap_or("SAMPLE");
    invoice["number"] = format!("{}-{:04}", prefix.to_uppercase(), count + 1).into();
    invoice["status"] = "open".into();
    invoice["auto_advance"] = false.into();
    invoice["automatically_finalizes_at"] = Value::Null;
    invoice["last_finalization_error"] = Value::Null;
    invoice["effective_at"] = now.into();
    invoice["ending_balance"] = 0.into();
    invoice["status_transitions"]["finalized_at"] = now.into();
    invoice["webhooks_delivered_at"] = now.into();
    invoice["hosted_invoice_url"] =
        format!("https://invoice.stripe.com/i/{account}/test_{token}").into();
    invoice["invoice_pdf"] =
        format!("https://pay.stripe.com/invoice/{account}/test_{token}/pdf").into();
    state.put(account, INVOICE, invoice.clone());
    state.emit(account, "invoice.finalized", &invoice);
    paid(state, account, invoice)
}

fn paid(state: &mut State, account: &str, mut invoice: Value) -> Value {
    let before = invoice.clone();
    let now = state.now();
    invoice["status"] = "paid".into();
    invoice["attempted"] = true.into();
    invoice["amount_paid"] = invoice["amount_due"].clone();
    invoice["amount_remaining"] = 0.into();
    invoice["status_transitions"]["paid_at"] = now.into();
    let payment = &mut invoice["payments"]["data"][0];
    payment["status"] = "paid".into();
    payment["amount_paid"] = payment["amount_requested"].clone();
    payment["status_transitions"]["paid_at"] = now.into();
    let payment = payment.clone();
    state.put(account, INVOICE, invoice.clone());
    let previous = difference(&before, &invoice);
    state.emit_update(account, "invoice.updated", &invoice, Some(previous));
    state.emit(account, "invoice.paid", &invoice);
    state.emit(account, "invoice.payment_succeeded", &invoice);
    state.emit(account, "invoice_payment.paid", &payment);
    invoice
}

impl StandIn {
    /// From now on the account's invoices cannot be finalized for this reason, such as
    /// `customer_tax_location_invalid`; `None` ends that.
    pub fn finalization_fails(&self, account: &str, reason: Option<&str>) {
        let mut state = self.shared.state();
        match reason {
            Some(reason) => state
                .finalization_errors
                .insert(account.to_owned(), reason.to_owned()),
            None => state.finalization_errors.remove(account),
        };
    }

    /// Tries to make a draft final once more, as Stripe does.
    ///
    /// # Errors
    /// When there is no such invoice, or it is no draft.
    pub fn finalize(&self, invoice: &str) -> Result<Value> {
        let mut state = self.shared.state();
        let found = state.find(INVOICE, invoice);
        let (account, invoice) = found.with_context(|| format!("there is no invoice {invoice}"))?;
        ensure!(
            invoice["status"] == "draft",
            "the invoice is {}",
            invoice["status"]
        );
        Ok(finalize(&mut state, &account, invoice))
    }

    /// Changes an object of a kind such as `invoice`, and makes this event about it,
    /// which says what it was before.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn change_object(
        &self,
        kind: &'static str,
        id: &str,
        event: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value> {
        let mut state = self.shared.state();
        let found = state.find(kind, id);
        let (account, before) = found.with_context(|| format!("there is no {kind} {id}"))?;
        let mut after = before.clone();
        change(&mut after);
        let previous = difference(&before, &after);
        state.put(&account, kind, after.clone());
        state.emit_update(&account, event, &after, Some(previous));
        Ok(after)
    }
}

fn draft(
    state: &mut State,
    id: &str,
    parties: &Parties,
    session: &Value,
    items: &[Value],
) -> Value {
    let account = state.account(&parties.account).cloned().unwrap_or_default();
    let data = &session["invoice_creation"]["invoice_data"];
    let (subtotal, total) = (&session["amount_subtotal"], &session["amount_total"]);
    let tax = session["total_details"]["amount_tax"].as_i64().unwrap_or(0);
    let payment = payment(state, id, session);
    let intent = session["payment_intent"].as_str().unwrap_or_default();
    let intent = state.get(&parties.account, "payment_intent", intent);
    // Versions before basil show it; the later ones do not.
    let charge = intent.map(|intent| intent["latest_charge"].clone());
    let now = state.now();
    let lines: Vec<Value> = items.iter().map(|item| line(state, id, item)).collect();
    let ids = &account["settings"]["invoices"]["default_account_tax_ids"];
    let taxes = json!({
        "amount": tax, "tax_behavior": "exclusive", "tax_rate_details": { "tax_rate": "txr_sample" },
        "taxability_reason": "standard_rated", "taxable_amount": subtotal, "type": "tax_rate_details",
    });
    json!({
        "id": id,
        "object": "invoice",
        "account_country": account["country"],
        "account_name": account["business_profile"]["name"],
        "account_tax_ids": if data["account_tax_ids"].is_null() { ids } else { &data["account_tax_ids"] },
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": APPLICATION,
        "attempt_count": 0,
        "attempted": false,
        "auto_advance": true,
        "automatic_tax": {
            "disabled_reason": null,
            "enabled": session["automatic_tax"]["enabled"],
            "liability": session["automatic_tax"]["liability"],
            "provider": session["automatic_tax"]["provider"],
            "status": session["automatic_tax"]["status"],
        },
        "automatically_finalizes_at": now + 3600,
        "billing_reason": "manual",
        "charge": charge,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": session["currency"],
        "custom_fields": data["custom_fields"],
        "customer": parties.customer,
        "customer_account": null,
        "customer_address": parties.details["address"],
        "customer_email": parties.details["email"],
        "customer_name": parties.details["name"],
        "customer_phone": null,
        "customer_shipping": null,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": data["description"],
        "discounts": [],
        "due_date": null,
        "effective_at": null,
        "ending_balance": null,
        "footer": data["footer"],
        "from_invoice": null,
        "hosted_invoice_url": null,
        "invoice_pdf": null,
        "issuer": { "type": "self" },
        "last_finalization_error": null,
        "latest_revision": null,
        "lines": list_of(&format!("/v1/invoices/{id}/lines"), lines),
        "livemode": state.options.livemode,
        "metadata": data["metadata"],
        "next_payment_attempt": null,
        "number": null,
        "on_behalf_of": null,
        "parent": null,
        "payment_settings": {
            "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
        },
        "payments": list_of("/v1/invoice_payments", vec![payment]),
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": null,
        "rendering": null,
        "shipping_cost": null,
        "shipping_details": null,
        "starting_balance": 0,
        "statement_descriptor": null,
        "status": "draft",
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
        },
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "test_clock": null,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": subtotal,
        "total_pretax_credit_amounts": [],
        "total_taxes": if tax > 0 { json!([taxes]) } else { json!([]) },
        "webhooks_delivered_at": null,
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
