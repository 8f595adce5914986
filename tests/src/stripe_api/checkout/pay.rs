//! A guest pays.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{PARAMS, SESSION};
use crate::stripe_api::{
    payments::{self, Parties, invoices},
    server::StandIn,
    state::State,
};

/// How a guest pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// At once.
    Card,
    /// By a method that takes days: [`StandIn::settle`] says how it ends.
    Delayed,
}

impl StandIn {
    /// The guest pays a session.
    ///
    /// # Errors
    /// When there is no such session, or it is not open.
    pub fn pay(&self, session: &str, payment: Payment) -> Result<Value> {
        let mut state = self.shared.state();
        let (scope, mut session) = found(&state, session)?;
        if state.is_over(&session) {
            session = state.expire_session(&scope, session);
        }
        ensure!(
            session["status"] == "open",
            "the session is {}",
            session["status"]
        );
        let params = params_of(&state, &scope, &session);
        let parties = guest(&mut state, &scope, &mut session);
        calculate_tax(&state, &scope, &mut session);
        let intent = payments::begin(&mut state, &parties, &session, &params, payment);
        session["payment_intent"] = intent["id"].clone();
        session["status"] = "complete".into();
        session["url"] = Value::Null;
        if payment == Payment::Card {
            session["payment_status"] = "paid".into();
            payments::succeed(&mut state, &parties, &intent);
            make_invoice(&mut state, &parties, &mut session);
        }
        state.put(&scope, SESSION, session.clone());
        state.emit(&scope, "checkout.session.completed", &session);
        Ok(session)
    }

    /// A delayed payment ends.
    ///
    /// # Errors
    /// When there is no such session, or it waits for no payment.
    pub fn settle(&self, session: &str, succeeded: bool) -> Result<Value> {
        let mut state = self.shared.state();
        let (scope, mut session) = found(&state, session)?;
        let id = session["payment_intent"].as_str().unwrap_or_default();
        let intent = state.get(&scope, "payment_intent", id).cloned();
        let intent = intent.context("the session was not paid")?;
        ensure!(
            intent["status"] == "processing",
            "the payment is {}",
            intent["status"]
        );
        let parties = parties(&scope, &session);
        let kind = if succeeded {
            session["payment_status"] = "paid".into();
            payments::succeed(&mut state, &parties, &intent);
            make_invoice(&mut state, &parties, &mut session);
            "checkout.session.async_payment_succeeded"
        } else {
            payments::fail(&mut state, &parties, &intent);
            "checkout.session.async_payment_failed"
        };
        state.put(&scope, SESSION, session.clone());
        state.emit(&scope, kind, &session);
        Ok(session)
    }

    /// A session, whosever it is.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<Value> {
        let found = self.shared.state().find(SESSION, id);
        found.map(|(_, session)| session)
    }
}

fn found(state: &State, id: &str) -> Result<(String, Value)> {
    let found = state.find(SESSION, id);
    found.with_context(|| format!("there is no session {id}"))
}

fn params_of(state: &State, scope: &str, session: &Value) -> Value {
    let id = session["id"].as_str().unwrap_or_default();
    let kept = state.get(scope, PARAMS, id);
    kept.map(|kept| kept["params"].clone()).unwrap_or_default()
}

/// Fills in what the guest types, and makes a customer where one is needed.
fn guest(state: &mut State, scope: &str, session: &mut Value) -> Parties {
    let email = session["customer_email"]
        .as_str()
        .unwrap_or("guest@dialoom.example");
    session["customer_details"] = json!({
        "address": {
            "city": null, "country": "ES", "line1": null, "line2": null, "postal_code": null,
            "state": null,
        },
        "business_name": null, "email": email, "individual_name": null, "name": "Sample guest",
        "phone": null, "tax_exempt": "none", "tax_ids": [],
    });
    let needed = session["customer_creation"] == "always" || invoices(session);
    if session["customer"].is_null() && needed {
        session["customer"] = payments::customer(state, scope, &session["customer_details"]);
    }
    parties(scope, session)
}

fn invoices(session: &Value) -> bool {
    session["invoice_creation"]["enabled"] == true
}

fn parties(scope: &str, session: &Value) -> Parties {
    Parties {
        account: scope.to_owned(),
        customer: session["customer"].clone(),
        details: session["customer_details"].clone(),
    }
}

/// Adds the tax, which is known once the guest's address is.
fn calculate_tax(state: &State, scope: &str, session: &mut Value) {
    if session["automatic_tax"]["enabled"] != true {
        return;
    }
    let subtotal = session["amount_subtotal"].as_i64().unwrap_or(0);
    let tax = payments::tax_on(state, scope, subtotal);
    session["automatic_tax"]["status"] = "complete".into();
    session["total_details"]["amount_tax"] = tax.into();
    session["amount_total"] = (subtotal + tax).into();
}

/// Makes the invoice that the session asks for.
fn make_invoice(state: &mut State, parties: &Parties, session: &mut Value) {
    if !invoices(session) {
        return;
    }
    let id = session["id"].as_str().unwrap_or_default();
    let kept = state.get(&parties.account, PARAMS, id);
    let items = kept.and_then(|kept| kept["items"].as_array().cloned());
    let invoice = invoices::create(state, parties, session, &items.unwrap_or_default());
    session["invoice"] = invoice["id"].clone();
}
