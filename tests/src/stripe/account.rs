//! Connected accounts.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// A host's connected account. What is due is left empty: set it in the value,
/// as in `account["requirements"]["past_due"] = json!(["external_account"])`.
#[derive(Clone, Debug)]
pub struct Account {
    /// `id`.
    pub id: String,
    /// `type`: `express`, `standard` or `custom`.
    pub kind: String,
    /// `metadata.hostId`, where there is one.
    pub host: Option<String>,
    /// `details_submitted`.
    pub details_submitted: bool,
    /// `charges_enabled`.
    pub charges_enabled: bool,
    /// `payouts_enabled`.
    pub payouts_enabled: bool,
    /// `capabilities.card_payments`: `active`, `pending` or `inactive`.
    pub card_payments: String,
    /// `country`.
    pub country: String,
    /// `default_currency`.
    pub currency: String,
    /// `created`, in seconds since 1970.
    pub created: i64,
    /// The version whose shape it has.
    pub version: ApiVersion,
}

impl Default for Account {
    /// An Express account with nothing left to do.
    fn default() -> Self {
        Self {
            id: "acct_1SampleHost".to_owned(),
            kind: "express".to_owned(),
            host: Some("host-1".to_owned()),
            details_submitted: true,
            charges_enabled: true,
            payouts_enabled: true,
            card_payments: "active".to_owned(),
            country: "ES".to_owned(),
            currency: "eur".to_owned(),
            created: SAMPLE_TIME,
            version: ApiVersion::default(),
        }
    }
}

impl Account {
    /// An account as it is right after it was made: everything is due, and past
    /// due at the same time.
    #[must_use]
    pub fn fresh(id: &str, host: &str) -> Value {
        let account = Self {
            id: id.to_owned(),
            host: Some(host.to_owned()),
            details_submitted: false,
            charges_enabled: false,
            payouts_enabled: false,
            card_payments: "inactive".to_owned(),
            ..Self::default()
        };
        let mut value = account.value();
        let due = json!([
            "business_profile.product_description",
            "business_type",
            "external_account",
            "tos_acceptance.date",
            "tos_acceptance.ip",
        ]);
        let requirements = &mut value["requirements"];
        requirements["currently_due"] = due.clone();
        requirements["past_due"] = due.clone();
        requirements["eventually_due"] = due;
        requirements["disabled_reason"] = "requirements.past_due".into();
        value
    }

    /// The account as Stripe shows it.
    #[must_use]
    pub fn value(&self) -> Value {
        let Self {
            id,
            country,
            currency,
            ..
        } = self;
        let mut account = json!({
            "id": id,
            "object": "account",
            "business_profile": {
                "mcc": "8299", "name": "Sample host", "product_description": "Video calls by the half hour",
                "support_address": null, "support_email": null, "support_phone": null, "support_url": null,
                "url": "https://dialoom.example/hosts/1",
            },
            "business_type": "individual",
            "capabilities": { "card_payments": self.card_payments, "transfers": self.card_payments },
            "charges_enabled": self.charges_enabled,
            "country": country,
            "created": self.created,
            "default_currency": currency,
            "details_submitted": self.details_submitted,
            "email": "host@dialoom.example",
            "external_accounts": self.external_accounts(),
            "login_links": list(&format!("/v1/accounts/{id}/login_links"), &json!([])),
            "metadata": {},
            "payouts_enabled": self.payouts_enabled,
            "requirements": nothing_due(),
            "settings": {
                "branding": { "icon": null, "logo": null, "primary_color": null, "secondary_color": null },
                "card_payments": {
                    "decline_on": { "avs_failure": false, "cvc_failure": false },
                    "statement_descriptor_prefix": "DIALOOM",
                },
                "dashboard": { "display_name": "Sample host", "timezone": "Europe/Madrid" },
                "payments": {
                    "statement_descriptor": "DIALOOM.EXAMPLE",
                    "statement_descriptor_kana": null, "statement_descriptor_kanji": null,
                },
                "payouts": {
                    "debit_negative_balances": true,
                    "schedule": { "delay_days": 7, "interval": "daily" },
                    "statement_descriptor": null,
                },
                "sepa_debit_payments": {},
            },
            "tos_acceptance": { "date": self.details_submitted.then_some(self.created + 60) },
            "type": self.kind,
        });
        if let Some(host) = &self.host {
            account["metadata"]["hostId"] = host.as_str().into();
        }
        if self.version >= ApiVersion::V2022_11_15 {
            account["future_requirements"] = nothing_due();
            account["controller"] = json!({
                "fees": { "payer": "application_express" },
                "is_controller": true,
                "losses": { "payments": "application" },
                "requirement_collection": "stripe",
                "stripe_dashboard": { "type": self.kind },
                "type": "application",
            });
        }
        if self.version >= ApiVersion::V2026_10_28Endive {
            set_what_is_new(&mut account);
        }
        account
    }

    fn external_accounts(&self) -> Value {
        let Self {
            id,
            country,
            currency,
            ..
        } = self;
        let bank = json!({
            "id": id.replacen("acct_", "ba_", 1),
            "object": "bank_account",
            "account": id,
            "account_holder_name": null, "account_holder_type": null, "account_type": null,
            "available_payout_methods": ["standard"],
            "bank_name": "SAMPLE BANK",
            "country": country, "currency": currency, "default_for_currency": true,
            "fingerprint": "Sample0fingerprint", "last4": "3000", "metadata": {},
            "routing_number": null, "status": "new",
        });
        let banks = if self.details_submitted {
            json!([bank])
        } else {
            json!([])
        };
        list(&format!("/v1/accounts/{id}/external_accounts"), &banks)
    }
}

/// Sets the fields that the newest type definitions have, and takes out what they
/// do not have.
fn set_what_is_new(account: &mut Value) {
    if let Some(account) = account.as_object_mut() {
        account.remove("login_links");
    }
    if let Some(banks) = account["external_accounts"].as_object_mut() {
        banks.remove("total_count");
    }
    account["groups"] = json!({ "payments_pricing": null });
    let profile = &mut account["business_profile"];
    for name in [
        "annual_revenue",
        "estimated_worker_count",
        "minority_owned_business_designation",
        "specified_commercial_transactions_act_url",
    ] {
        profile[name] = Value::Null;
    }
    let settings = &mut account["settings"];
    settings["card_issuing"] = json!({ "tos_acceptance": { "date": null, "ip": null } });
    settings["invoices"] =
        json!({ "default_account_tax_ids": null, "hosted_payment_method_save": "offer" });
    for group in ["card_payments", "payments"] {
        settings[group]["statement_descriptor_prefix_kana"] = Value::Null;
        settings[group]["statement_descriptor_prefix_kanji"] = Value::Null;
    }
}

fn nothing_due() -> Value {
    json!({
        "alternatives": [],
        "current_deadline": null,
        "currently_due": [],
        "disabled_reason": null,
        "errors": [],
        "eventually_due": [],
        "past_due": [],
        "pending_verification": [],
    })
}

fn list(url: &str, data: &Value) -> Value {
    let count = data.as_array().map_or(0, Vec::len);
    json!({ "object": "list", "data": data, "has_more": false, "total_count": count, "url": url })
}
