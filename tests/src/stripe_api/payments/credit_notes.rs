//! `/v1/credit_notes`.

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use super::{invoices::INVOICE, list as list_of, metadata_of, refunds, retrieve as retrieve_kind};
use crate::stripe_api::{
    accounts::difference, errors::ApiError, pages, routes::Work, server::StandIn, state::State,
};

/// The kind under which credit notes are kept.
const CREDIT_NOTE: &str = "credit_note";

/// `POST /v1/credit_notes`.
pub(in crate::stripe_api) fn create(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let params = work.params.clone();
    let scope = work.scope.clone();
    credit(work.state, &scope, &params)
}

/// `GET /v1/credit_notes/{id}`.
pub(in crate::stripe_api) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve_kind(work, CREDIT_NOTE, "id")
}

/// `GET /v1/credit_notes`.
pub(in crate::stripe_api) fn list(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let all = work.state.newest_first(&work.scope, CREDIT_NOTE);
    let wanted = all.filter(|note| {
        pages::has(work, note, &["customer", "invoice"])
            && pages::in_range(
                work.params.get("created"),
                note["created"].as_i64().unwrap_or(0),
            )
    });
    let wanted = wanted.cloned().collect();
    pages::v1(work, wanted)
}

/// `POST /v1/credit_notes/{id}/void`.
pub(in crate::stripe_api) fn void(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let note = retrieve(work)?;
    if note["type"] != "pre_payment" || note["status"] != "issued" {
        let message = "You can only void an issued credit note on an open invoice.";
        return Err(ApiError::invalid(message).begun());
    }
    let scope = work.scope.clone();
    Ok(make_void(work.state, &scope, note))
}

fn make_void(state: &mut State, scope: &str, mut note: Value) -> Value {
    note["status"] = "void".into();
    note["voided_at"] = state.now().into();
    state.put(scope, CREDIT_NOTE, note.clone());
    let invoice = note["invoice"].as_str().unwrap_or_default().to_owned();
    let amount = note["total"].as_i64().unwrap_or(0);
    count(
        state,
        scope,
        &invoice,
        note["type"] == "post_payment",
        -amount,
    );
    state.emit(scope, "credit_note.voided", &note);
    note
}

/// Credits a part of an invoice.
fn credit(state: &mut State, scope: &str, params: &Value) -> Result<Value, ApiError> {
    let id = params["invoice"].as_str().unwrap_or_default();
    let found = state.get(scope, INVOICE, id).cloned();
    let invoice = found.ok_or_else(|| ApiError::no_such_param("invoice", id, "invoice"))?;
    let is_paid = invoice["status"] == "paid";
    if !is_paid && invoice["status"] != "open" {
        let message = "Credit notes can only be issued for invoices that are open or paid.";
        return Err(ApiError::invalid(message).param("invoice").begun());
    }
    let amount = amount_of(&invoice, params)?;
    if is_paid {
        check_parts(params, amount)?;
    }
    let mut refunded = params["refunds"].as_array().cloned().unwrap_or_default();
    if let Some(amount) = params["refund_amount"]
        .as_i64()
        .filter(|amount| *amount > 0)
    {
        let charge = charge_of(state, scope, &invoice).unwrap_or_default();
        let refund = refunds::refund(state, scope, &charge, &json!({ "amount": amount }))?;
        refunded.push(json!({ "refund": refund["id"], "amount_refunded": amount }));
    }
    let note = shape(state, scope, &invoice, params, amount, &refunded);
    state.put(scope, CREDIT_NOTE, note.clone());
    count(state, scope, id, is_paid, amount);
    state.emit(scope, "credit_note.created", &note);
    Ok(note)
}

/// The amount of a note: what the request says, and no more than is left.
fn amount_of(invoice: &Value, params: &Value) -> Result<i64, ApiError> {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let credited = number(&invoice["post_payment_credit_notes_amount"])
        + number(&invoice["pre_payment_credit_notes_amount"]);
    let left = number(&invoice["total"]) - credited;
    let lines = params["lines"].as_array().into_iter().flatten();
    let of_lines: i64 = lines.map(|line| number(&line["amount"])).sum();
    let amount = params["amount"].as_i64().unwrap_or(of_lines);
    if amount <= 0 {
        return Err(ApiError::missing("amount"));
    }
    if amount > left {
        let message = format!(
            "The credit note amount ({amount}) exceeds the amount of the invoice that can be credited ({left})."
        );
        return Err(ApiError::invalid(message).param("amount").begun());
    }
    Ok(amount)
}

/// What a paid invoice is credited with must go somewhere.
fn check_parts(params: &Value, amount: i64) -> Result<(), ApiError> {
    let names = ["credit_amount", "refund_amount", "out_of_band_amount"];
    let direct: i64 = names.iter().filter_map(|&name| params[name].as_i64()).sum();
    let refunds = params["refunds"].as_array().into_iter().flatten();
    let linked: i64 = refunds
        .filter_map(|refund| refund["amount_refunded"].as_i64())
        .sum();
    if direct + linked == amount {
        return Ok(());
    }
    let message = format!(
        "The sum of credit amount, refund amount and out of band amount ({}) must equal the \
         credit note amount ({amount}).",
        direct + linked
    );
    Err(ApiError::invalid(message))
}

fn charge_of(state: &State, scope: &str, invoice: &Value) -> Option<String> {
    let intent = invoice["payments"]["data"][0]["payment"]["payment_intent"].as_str()?;
    let intent = state.get(scope, "payment_intent", intent)?;
    Some(intent["latest_charge"].as_str()?.to_owned())
}

/// Adds to what an invoice was credited with.
fn count(state: &mut State, scope: &str, id: &str, post_payment: bool, amount: i64) {
    let Some(before) = state.get(scope, INVOICE, id).cloned() else {
        return;
    };
    let mut after = before.clone();
    let add =
        |value: &mut Value, amount: i64| *value = (value.as_i64().unwrap_or(0) + amount).into();
    if post_payment {
        add(&mut after["post_payment_credit_notes_amount"], amount);
    } else {
        add(&mut after["pre_payment_credit_notes_amount"], amount);
        add(&mut after["amount_due"], -amount);
        add(&mut after["amount_remaining"], -amount);
    }
    state.put(scope, INVOICE, after.clone());
    let previous = difference(&before, &after);
    state.emit_update(scope, "invoice.updated", &after, Some(previous));
}

fn shape(
    state: &mut State,
    scope: &str,
    invoice: &Value,
    params: &Value,
    amount: i64,
    refunded: &[Value],
) -> Value {
    let (id, line) = (state.new_id("cn"), state.new_id("cnli"));
    let is_paid = invoice["status"] == "paid";
    let number = invoice["number"].as_str().unwrap_or_default();
    let count = state.next_number(scope, CREDIT_NOTE);
    let refunds: Vec<Value> = refunded
        .iter()
        .map(|one| {
            json!({
                "amount_refunded": one["amount_refunded"], "payment_record_refund": null,
                "refund": one["refund"], "type": "refund",
            })
        })
        .collect();
    let line = json!({
        "id": line, "object": "credit_note_line_item", "amount": amount,
        "description": invoice["lines"]["data"][0]["description"], "discount_amount": 0,
        "discount_amounts": [], "invoice_line_item": invoice["lines"]["data"][0]["id"],
        "livemode": state.options.livemode, "metadata": {}, "pretax_credit_amounts": [],
        "quantity": null, "tax_rates": [], "taxes": [], "type": "invoice_line_item",
        "unit_amount": null, "unit_amount_decimal": null,
    });
    let or_null = |name: &str| params.get(name).cloned().unwrap_or_default();
    json!({
        "id": id,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": state.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": null,
        "customer_balance_transaction": null,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": state.now(),
        "invoice": invoice["id"],
        "lines": list_of(&format!("/v1/credit_notes/{id}/lines"), vec![line]),
        "livemode": state.options.livemode,
        "memo": or_null("memo"),
        "metadata": metadata_of(params),
        "number": format!("{number}-CN-{count:02}"),
        "out_of_band_amount": or_null("out_of_band_amount"),
        "pdf": format!("https://pay.stripe.com/credit_notes/{id}/pdf"),
        "post_payment_amount": if is_paid { amount } else { 0 },
        "pre_payment_amount": if is_paid { 0 } else { amount },
        "pretax_credit_amounts": [],
        "reason": or_null("reason"),
        "refunds": refunds,
        "shipping_cost": null,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": if is_paid { "post_payment" } else { "pre_payment" },
        "voided_at": null,
    })
}

impl StandIn {
    /// The host credits a part of a paid invoice out of band, in the dashboard.
    ///
    /// # Errors
    /// When there is no such invoice, or less of it is left.
    pub fn credit(&self, invoice: &str, amount: i64) -> Result<Value> {
        let mut state = self.shared.state();
        let found = state.find(INVOICE, invoice);
        let (scope, _) = found.with_context(|| format!("there is no invoice {invoice}"))?;
        let params = json!({ "invoice": invoice, "amount": amount, "out_of_band_amount": amount });
        credit(&mut state, &scope, &params).map_err(|error| anyhow!("{}", error.message))
    }

    /// A credit note becomes void.
    ///
    /// # Errors
    /// When there is no such credit note.
    pub fn void_credit_note(&self, note: &str) -> Result<Value> {
        let mut state = self.shared.state();
        let found = state.find(CREDIT_NOTE, note);
        let (scope, note) = found.with_context(|| format!("there is no credit note {note}"))?;
        Ok(make_void(&mut state, &scope, note))
    }
}
