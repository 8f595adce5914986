//! `POST /v1/checkout/sessions`: what is refused, and the session that is made.

use serde_json::Value;

use super::{PARAMS, SESSION, kept, session};
use crate::stripe_api::{
    errors::ApiError,
    links::check_url,
    payments,
    routes::Work,
    state::{PLATFORM, State},
};

/// The shortest and the longest life of a session, in seconds.
const LIFE: std::ops::RangeInclusive<i64> = 1800..=86_400;
/// Seconds that a request may need to arrive: Stripe does not count them.
const TOLERANCE: i64 = 60;
/// The least amount, in the smallest unit: 50 cents in most currencies.
const LEAST: i64 = 50;
/// Currencies without a smaller unit, with their least amounts.
const WITHOUT_CENTS: [(&str, i64); 3] = [("jpy", 50), ("krw", 100), ("clp", 500)];

/// `POST /v1/checkout/sessions`.
pub(in crate::stripe_api) fn create(work: &mut Work<'_>) -> Result<Value, ApiError> {
    check_form(work)?;
    let items = session::items(work.state, &work.params)?;
    let subtotal: i64 = items
        .iter()
        .filter_map(|item| item["amount_subtotal"].as_i64())
        .sum();
    let currency = items[0]["currency"].as_str().unwrap_or_default().to_owned();
    check_amount(subtotal, &currency)?;
    check_fee(work, subtotal)?;
    check_account(work)?;
    let session = session::new(work.state, &work.scope, &work.params, subtotal, &currency);
    let id = session["id"].as_str().unwrap_or_default();
    let kept = kept(id, &work.params, items);
    work.state.put(&work.scope, PARAMS, kept);
    work.state.put(&work.scope, SESSION, session.clone());
    Ok(session)
}

fn check_form(work: &Work<'_>) -> Result<(), ApiError> {
    let params = &work.params;
    match work.text("mode") {
        None => return Err(ApiError::missing("mode")),
        Some("payment") => {}
        Some(mode) => {
            let message = format!("The stand-in has no sessions with mode '{mode}'.");
            return Err(ApiError::invalid(message).param("mode"));
        }
    }
    if work
        .text("ui_mode")
        .is_none_or(|mode| mode == "hosted_page")
    {
        let url = work.text("success_url");
        check_url(
            work.state,
            url.ok_or_else(|| ApiError::missing("success_url"))?,
            "success_url",
        )?;
    }
    if let Some(url) = work.text("cancel_url") {
        check_url(work.state, url, "cancel_url")?;
    }
    if params.get("customer").is_some() {
        for name in ["customer_email", "customer_creation"] {
            if params.get(name).is_some() {
                let message =
                    format!("You may only specify one of these parameters: customer, {name}.");
                return Err(ApiError::invalid(message).param("customer"));
            }
        }
        let customer = work.text("customer").unwrap_or_default();
        if work.state.get(&work.scope, "customer", customer).is_none() {
            return Err(ApiError::no_such_param("customer", customer, "customer"));
        }
    }
    if let Some(expires_at) = params["expires_at"].as_i64() {
        let life = expires_at - work.state.now();
        if !(LIFE.start() - TOLERANCE..=LIFE.end() + TOLERANCE).contains(&life) {
            let message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from \
                           Checkout Session creation.";
            return Err(ApiError::invalid(message).param("expires_at"));
        }
    }
    Ok(())
}

fn check_amount(amount: i64, currency: &str) -> Result<(), ApiError> {
    let least = WITHOUT_CENTS.iter().find(|(one, _)| *one == currency);
    let least = least.map_or(LEAST, |(_, least)| *least);
    if amount >= least {
        return Ok(());
    }
    let message = format!(
        "The Checkout Session's total amount due must add up to at least {least} in the smallest \
         unit of {currency}."
    );
    Err(ApiError::invalid(message)
        .code("amount_too_small")
        .param("line_items"))
}

fn check_fee(work: &Work<'_>, subtotal: i64) -> Result<(), ApiError> {
    let param = "payment_intent_data[application_fee_amount]";
    let Some(fee) = work.params["payment_intent_data"]["application_fee_amount"].as_i64() else {
        return Ok(());
    };
    let refuse = |message: &str| Err(ApiError::invalid(message).param(param));
    if work.scope == PLATFORM {
        return refuse(
            "Can only apply an application_fee_amount on behalf of a connected account.",
        );
    }
    if fee <= 0 {
        return refuse("Invalid positive integer");
    }
    if fee > subtotal {
        return refuse("The application fee must be less than or equal to the amount.");
    }
    Ok(())
}

/// Refuses accounts that cannot charge, or whose tax cannot be calculated.
fn check_account(work: &Work<'_>) -> Result<(), ApiError> {
    if work.scope != PLATFORM && !may_charge(work.state, &work.scope) {
        let message = format!(
            "Your account cannot currently make charges: the account {} has requirements that are \
             due or lacks the capability card_payments.",
            work.scope
        );
        return Err(ApiError::invalid(message).begun());
    }
    let taxed = work.params["automatic_tax"]["enabled"] == true;
    if taxed && !payments::tax_is_set_up(work.state, &work.scope) {
        let message =
            "You must have a valid head office address to enable automatic tax calculation.";
        return Err(ApiError::invalid(message)
            .param("automatic_tax[enabled]")
            .begun());
    }
    Ok(())
}

fn may_charge(state: &State, account: &str) -> bool {
    state.account(account).is_some_and(|account| {
        account["charges_enabled"] == true && account["capabilities"]["card_payments"] == "active"
    })
}
