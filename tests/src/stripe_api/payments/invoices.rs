//! `/v1/invoices`: what a host issues to a guest who has paid.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Parties, invoice_shape, retrieve as retrieve_kind};
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
    let invoice = invoice_shape::draft(state, &id, parties, session, items);
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
    let number = state.next_number(account, INVOICE);
    let token = invoice["id"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("in_")
        .to_owned();
    let prefix = account
        .get(account.len().saturating_sub(6)..)
        .unwrap_or("SAMPLE");
    invoice["number"] = format!("{}-{number:04}", prefix.to_uppercase()).into();
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
