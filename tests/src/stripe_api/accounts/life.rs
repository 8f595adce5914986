//! What happens to accounts outside of the API: hosts give their data, and Stripe
//! decides.

use serde_json::{Value, json};

use crate::{
    stripe::application,
    stripe_api::{
        server::StandIn,
        state::{PLATFORM, State},
    },
};

/// How long a host has to give what is required.
const DEADLINE: i64 = 7 * 86_400;

impl StandIn {
    /// All accounts in the shape of the first version, the newest first.
    #[must_use]
    pub fn accounts(&self) -> Vec<Value> {
        self.objects(PLATFORM, "account")
    }

    /// An account in the shape of the first version.
    #[must_use]
    pub fn account(&self, id: &str) -> Option<Value> {
        self.shared.state().account(id).cloned()
    }

    /// Changes an account (in the shape of the first version), with the events about it.
    pub fn change_account(&self, id: &str, change: impl FnOnce(&mut Value)) {
        self.shared.state().change_account(id, change);
    }

    /// The host has given everything: the account may charge and be paid.
    pub fn finish_onboarding(&self, id: &str) {
        let mut state = self.shared.state();
        let now = state.now();
        state.change_account(id, |account| enable(account, now));
    }

    /// Stripe asks for these fields within a week.
    pub fn require(&self, id: &str, fields: &[&str]) {
        let mut state = self.shared.state();
        let deadline = state.now() + DEADLINE;
        state.change_account(id, |account| {
            let due = &mut account["requirements"];
            due["currently_due"] = json!(fields);
            due["eventually_due"] = json!(fields);
            due["current_deadline"] = deadline.into();
        });
    }

    /// The time for these fields is over: the account may not charge any more.
    pub fn overdue(&self, id: &str, fields: &[&str]) {
        self.change_account(id, |account| {
            disable(account, "requirements.past_due");
            for list in ["currently_due", "eventually_due", "past_due"] {
                account["requirements"][list] = json!(fields);
            }
        });
    }

    /// Stripe rejects the account.
    pub fn reject(&self, id: &str) {
        self.change_account(id, |account| disable(account, "rejected.other"));
    }

    /// The host takes the platform's access away.
    pub fn deauthorize(&self, id: &str) {
        let mut state = self.shared.state();
        if state.account(id).is_some() && state.gone.insert(id.to_owned()) {
            state.emit(id, "account.application.deauthorized", &application());
        }
    }

    /// The account is closed, for good. Nobody reads it any more.
    pub fn close(&self, id: &str) {
        let mut state = self.shared.state();
        if state.account(id).is_some() {
            let _ = state.gone.insert(id.to_owned());
            state.emit_thin(id, "v2.core.account.closed", None);
        }
    }

    /// Makes an account of a host that may charge, without a request, and gives its id.
    #[must_use]
    pub fn enabled_account(&self, country: &str, metadata: &Value) -> String {
        let mut state = self.shared.state();
        let id = made(&mut state, country, metadata);
        let now = state.now();
        state.change_account(&id, |account| enable(account, now));
        id
    }
}

fn made(state: &mut State, country: &str, metadata: &Value) -> String {
    let params = json!({
        "type": "express", "country": country, "email": "host@dialoom.example",
        "capabilities": { "card_payments": { "requested": true }, "transfers": { "requested": true } },
        "metadata": metadata,
    });
    let mut work = crate::stripe_api::routes::Work {
        state,
        scope: PLATFORM.to_owned(),
        id: String::new(),
        params,
        path: "/v1/accounts",
    };
    let account = super::v1::create(&mut work);
    let account = account.unwrap_or_else(|error| panic!("an account in {country}: {error:?}"));
    account["id"].as_str().unwrap_or_default().to_owned()
}

fn enable(account: &mut Value, now: i64) {
    for name in ["charges_enabled", "payouts_enabled", "details_submitted"] {
        account[name] = true.into();
    }
    for (_, status) in account["capabilities"]
        .as_object_mut()
        .into_iter()
        .flatten()
    {
        *status = "active".into();
    }
    let due = &mut account["requirements"];
    for list in [
        "currently_due",
        "eventually_due",
        "past_due",
        "pending_verification",
        "errors",
    ] {
        due[list] = json!([]);
    }
    due["disabled_reason"] = Value::Null;
    due["current_deadline"] = Value::Null;
    if account["business_type"].is_null() {
        account["business_type"] = "individual".into();
    }
    let profile = &mut account["business_profile"];
    for (name, value) in [
        ("mcc", "8299"),
        ("name", "Sample host"),
        ("product_description", "Video calls by the half hour"),
        ("url", "https://dialoom.example/hosts/1"),
    ] {
        if profile[name].is_null() {
            profile[name] = value.into();
        }
    }
    account["tos_acceptance"]["date"] = now.into();
    let bank = bank(account);
    account["external_accounts"]["data"] = json!([bank]);
}

fn bank(account: &Value) -> Value {
    let id = account["id"].as_str().unwrap_or_default();
    json!({
        "id": id.replacen("acct_", "ba_", 1),
        "object": "bank_account",
        "account": id,
        "account_holder_name": null, "account_holder_type": null, "account_type": null,
        "available_payout_methods": ["standard"],
        "bank_name": "SAMPLE BANK",
        "country": account["country"], "currency": account["default_currency"],
        "default_for_currency": true, "fingerprint": "Sample0fingerprint", "last4": "3000",
        "metadata": {}, "routing_number": null, "status": "new",
    })
}

fn disable(account: &mut Value, reason: &str) {
    account["charges_enabled"] = false.into();
    account["payouts_enabled"] = false.into();
    for (_, status) in account["capabilities"]
        .as_object_mut()
        .into_iter()
        .flatten()
    {
        *status = "inactive".into();
    }
    account["requirements"]["disabled_reason"] = reason.into();
}
