//! Payments: customers, payment intents, charges and the platform's fees.

pub(super) mod credit_notes;
mod invoice_shape;
pub(super) mod invoices;
pub(super) mod refunds;
mod shapes;

use serde_json::{Map, Value, json};

use super::{
    checkout::Payment,
    errors::ApiError,
    routes::Work,
    state::{APPLICATION, PLATFORM, State, list},
};

/// The tax of hosts with an active registration, in percent: Spain's.
const TAX_PERCENT: i64 = 21;

/// Who pays whom.
pub(super) struct Parties {
    /// The host's account.
    pub(super) account: String,
    /// The guest's customer, where there is one.
    pub(super) customer: Value,
    /// What the guest typed.
    pub(super) details: Value,
}

/// The metadata that a request gives, as text.
pub(super) fn metadata_of(params: &Value) -> Value {
    let mut metadata = Map::new();
    for (name, value) in params["metadata"].as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        metadata.insert(name.clone(), text.into());
    }
    metadata.into()
}

/// Whether Stripe Tax can calculate for an account.
pub(super) fn tax_is_set_up(state: &State, scope: &str) -> bool {
    let settings = state.get(scope, "tax.settings", "settings");
    settings.is_some_and(|settings| settings["status"] == "active")
}

/// The tax on an amount: zero without an active registration, and nobody is told.
pub(super) fn tax_on(state: &State, scope: &str, amount: i64) -> i64 {
    let mut registrations = state.newest_first(scope, "tax.registration");
    if registrations.any(|one| one["status"] == "active") {
        (amount * TAX_PERCENT + 50) / 100
    } else {
        0
    }
}

/// Makes a customer, and gives its id.
pub(super) fn customer(state: &mut State, scope: &str, details: &Value) -> Value {
    let id = state.new_id("cus");
    let customer = shapes::customer(state, &id, details);
    state.put(scope, "customer", customer.clone());
    state.emit(scope, "customer.created", &customer);
    id.into()
}

/// Makes the payment intent of a session, with its charge where the money is on its way.
pub(super) fn begin(
    state: &mut State,
    parties: &Parties,
    session: &Value,
    params: &Value,
    payment: Payment,
) -> Value {
    let (id, charge) = (state.new_id("pi"), state.new_id("py"));
    let data = &params["payment_intent_data"];
    let mut intent = shapes::intent(state, &id, parties, session, data);
    let method = if payment == Payment::Card {
        "card"
    } else {
        "sepa_debit"
    };
    state.put(&parties.account, "payment_intent", intent.clone());
    state.emit(&parties.account, "payment_intent.created", &intent);
    let method_id = state.new_id("pm");
    intent["payment_method"] = method_id.into();
    intent["latest_charge"] = charge.as_str().into();
    intent["status"] = "processing".into();
    let charge = shapes::charge(state, &charge, parties, &intent, method);
    state.put(&parties.account, "charge", charge.clone());
    state.put(&parties.account, "payment_intent", intent.clone());
    if payment == Payment::Delayed {
        state.emit(&parties.account, "payment_intent.processing", &intent);
        state.emit(&parties.account, "charge.pending", &charge);
    }
    intent
}

fn charge_of(state: &State, parties: &Parties, intent: &Value) -> Value {
    let id = intent["latest_charge"].as_str().unwrap_or_default();
    state
        .get(&parties.account, "charge", id)
        .cloned()
        .unwrap_or_default()
}

/// The money has arrived: the host's charge, and the platform's fee.
pub(super) fn succeed(state: &mut State, parties: &Parties, intent: &Value) {
    let mut intent = intent.clone();
    let mut charge = charge_of(state, parties, &intent);
    intent["status"] = "succeeded".into();
    intent["amount_received"] = intent["amount"].clone();
    charge["status"] = "succeeded".into();
    charge["paid"] = true.into();
    charge["captured"] = true.into();
    charge["amount_captured"] = charge["amount"].clone();
    charge["balance_transaction"] = state.new_id("txn").into();
    if charge["application_fee_amount"].as_i64().is_some() {
        let id = state.new_id("fee");
        let fee = shapes::fee(state, &id, &parties.account, &charge);
        charge["application_fee"] = id.into();
        state.put(PLATFORM, "application_fee", fee.clone());
        state.emit(PLATFORM, "application_fee.created", &fee);
    }
    state.put(&parties.account, "charge", charge.clone());
    state.put(&parties.account, "payment_intent", intent.clone());
    state.emit(&parties.account, "charge.succeeded", &charge);
    state.emit(&parties.account, "payment_intent.succeeded", &intent);
}

/// The money did not arrive.
pub(super) fn fail(state: &mut State, parties: &Parties, intent: &Value) {
    let mut intent = intent.clone();
    let mut charge = charge_of(state, parties, &intent);
    charge["status"] = "failed".into();
    charge["failure_code"] = "insufficient_funds".into();
    charge["failure_message"] = "The account has insufficient funds.".into();
    intent["status"] = "requires_payment_method".into();
    intent["payment_method"] = Value::Null;
    intent["last_payment_error"] = json!({
        "charge": charge["id"], "code": "payment_intent_payment_attempt_failed",
        "message": "The payment failed.", "type": "card_error",
    });
    state.put(&parties.account, "charge", charge.clone());
    state.put(&parties.account, "payment_intent", intent.clone());
    state.emit(&parties.account, "charge.failed", &charge);
    state.emit(&parties.account, "payment_intent.payment_failed", &intent);
}

/// `GET /v1/payment_intents/{id}`.
pub(super) fn retrieve_intent(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve(work, "payment_intent", "intent")
}

/// `GET /v1/charges/{id}`.
pub(super) fn retrieve_charge(work: &mut Work<'_>) -> Result<Value, ApiError> {
    retrieve(work, "charge", "id")
}

/// An object of the account by its id.
fn retrieve(work: &mut Work<'_>, kind: &'static str, param: &str) -> Result<Value, ApiError> {
    let found = work.state.get(&work.scope, kind, &work.id).cloned();
    found.ok_or_else(|| ApiError::no_such(kind, &work.id, param))
}
