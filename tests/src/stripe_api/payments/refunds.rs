//! `/v1/refunds`.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{metadata_of, retrieve as retrieve_kind};
use crate::stripe_api::{
    accounts::difference, errors::ApiError, routes::Work, server::StandIn, state::State,
};

/// `POST /v1/refunds`.
pub(in crate::stripe_api) fn create(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let charge = match (work.text("charge"), work.text("payment_intent")) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => {
            let found = work.state.get(&work.scope, "payment_intent", intent);
            let no_such = || ApiError::no_such_param("payment_intent", intent, "payment_intent");
            let found = found.ok_or_else(no_such)?;
            found["latest_charge"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        }
        (None, None) => {
            let message = "One of the following params should be provided for this request: \
                           payment_intent or charge.";
            return Err(ApiError::invalid(message).code("parameter_missing"));
        }
    };
    let params = work.params.clone();
    let scope = work.scope.clone();
    refund(work.state, &scope, &charge, &params)
}

/// `GET /v1/refunds/{id}`.
pub(in crate::stripe_api) fn retrieve(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve_kind(work, "refund", "refund")
}

/// Gives a part of a charge back, or what is left of it.
pub(super) fn refund(
    state: &mut State,
    scope: &str,
    charge: &str,
    params: &Value,
) -> Result<Value, ApiError> {
    let found = state.get(scope, "charge", charge).cloned();
    let before = found.ok_or_else(|| ApiError::no_such_param("charge", charge, "charge"))?;
    let (total, given) = (
        before["amount"].as_i64(),
        before["amount_refunded"].as_i64(),
    );
    let (total, given) = (total.unwrap_or(0), given.unwrap_or(0));
    if before["status"] != "succeeded" {
        let message = "This charge cannot be refunded: it has not succeeded.";
        return Err(ApiError::invalid(message).param("charge").begun());
    }
    if given >= total {
        let message = format!("Charge {charge} has already been refunded.");
        return Err(ApiError::invalid(message)
            .code("charge_already_refunded")
            .begun());
    }
    let amount = params["amount"].as_i64().unwrap_or(total - given);
    if !(1..=total - given).contains(&amount) {
        let message = format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({}).",
            total - given
        );
        return Err(ApiError::invalid(message).param("amount").begun());
    }
    let refund = shape(state, &before, amount, params);
    let mut after = before.clone();
    after["amount_refunded"] = (given + amount).into();
    after["refunded"] = (given + amount == total).into();
    state.put(scope, "refund", refund.clone());
    state.put(scope, "charge", after.clone());
    state.emit(scope, "refund.created", &refund);
    let previous = difference(&before, &after);
    state.emit_update(scope, "charge.refunded", &after, Some(previous));
    Ok(refund)
}

fn shape(state: &mut State, charge: &Value, amount: i64, params: &Value) -> Value {
    let (id, transaction) = (state.new_id("re"), state.new_id("txn"));
    let card = json!({
        "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund",
    });
    json!({
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": transaction,
        "charge": charge["id"],
        "created": state.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": null,
        "destination_details": { "card": card, "type": "card" },
        "metadata": metadata_of(params),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason").cloned().unwrap_or_default(),
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    })
}

impl StandIn {
    /// The host gives a part of a payment back, or all that is left of it, in the
    /// dashboard. `paid` is a charge or a session.
    ///
    /// # Errors
    /// When there is nothing of this amount to give back.
    pub fn refund(&self, paid: &str, amount: Option<i64>) -> Result<Value> {
        let mut state = self.shared.state();
        let (scope, charge) = charge_of(&state, paid)
            .ok_or_else(|| anyhow!("{paid} is neither a charge nor a paid session"))?;
        let params = amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount }));
        refund(&mut state, &scope, &charge, &params).map_err(|error| anyhow!("{}", error.message))
    }
}

fn charge_of(state: &State, paid: &str) -> Option<(String, String)> {
    if let Some((scope, charge)) = state.find("charge", paid) {
        return Some((scope, charge["id"].as_str()?.to_owned()));
    }
    let (scope, session) = state.find("checkout.session", paid)?;
    let intent = state.get(
        &scope,
        "payment_intent",
        session["payment_intent"].as_str()?,
    )?;
    Some((scope, intent["latest_charge"].as_str()?.to_owned()))
}
