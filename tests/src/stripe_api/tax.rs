//! What Stripe Tax knows of an account: settings, registrations and tax ids.

use serde_json::{Value, json};

use super::{
    errors::ApiError,
    pages,
    routes::Work,
    server::StandIn,
    state::{PLATFORM, State},
};

/// The settings of an account that has none: pending, with nothing set.
fn unset(state: &State) -> Value {
    json!({
        "id": "settings",
        "object": "tax.settings",
        "defaults": { "provider": "stripe", "tax_behavior": null, "tax_code": null },
        "head_office": null,
        "livemode": state.options.livemode,
        "status": "pending",
        "status_details": { "pending": { "missing_fields": ["head_office"] } },
    })
}

fn current(state: &State, scope: &str) -> Value {
    let kept = state.get(scope, "tax.settings", "settings").cloned();
    kept.unwrap_or_else(|| unset(state))
}

/// `GET /v1/tax/settings`.
pub(super) fn settings(work: &mut Work<'_>) -> Result<Value, ApiError> {
    Ok(shown(current(work.state, &work.scope)))
}

/// The settings without the name under which they are kept.
fn shown(mut settings: Value) -> Value {
    if let Some(settings) = settings.as_object_mut() {
        settings.remove("id");
    }
    settings
}

/// `GET /v1/tax/registrations`.
pub(super) fn registrations(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let wanted = work.text("status").unwrap_or("all");
    let all = work.state.newest_first(&work.scope, "tax.registration");
    let of_status = all.filter(|one| wanted == "all" || one["status"] == wanted);
    let of_status = of_status.cloned().collect();
    pages::v1(work, of_status)
}

/// `GET /v1/tax_ids`.
pub(super) fn ids(work: &mut Work<'_>) -> Result<Value, ApiError> {
    let ids = work.state.newest_first(&work.scope, "tax_id");
    let ids = ids.cloned().collect();
    pages::v1(work, ids)
}

impl StandIn {
    /// Sets where an account's head office is, which makes its tax settings active;
    /// `None` makes them pending again.
    pub fn set_head_office(&self, account: &str, country: Option<&str>) {
        let mut state = self.shared.state();
        let mut settings = unset(&state);
        if let Some(country) = country {
            let address = json!({
                "city": "Barcelona", "country": country, "line1": "Sample street 1",
                "line2": null, "postal_code": "08001", "state": null,
            });
            settings["head_office"] = json!({ "address": address });
            settings["status"] = "active".into();
            settings["status_details"] = json!({ "active": {} });
            settings["defaults"]["tax_behavior"] = "exclusive".into();
        }
        state.put(account, "tax.settings", settings.clone());
        state.emit(account, "tax.settings.updated", &shown(settings));
    }

    /// Registers an account in a country, with the status `active`, `scheduled` or
    /// `expired`, and gives the registration's id.
    #[must_use]
    pub fn register_for_tax(&self, account: &str, country: &str, status: &str) -> String {
        let mut state = self.shared.state();
        let id = state.new_id("taxreg");
        let now = state.now();
        let lower = country.to_ascii_lowercase();
        let day = 86_400;
        let registration = json!({
            "id": id,
            "object": "tax.registration",
            "active_from": if status == "scheduled" { now + day } else { now - 2 * day },
            "country": country,
            "country_options": { lower: { "standard": { "place_of_supply_scheme": "standard" }, "type": "standard" } },
            "created": now,
            "expires_at": (status == "expired").then_some(now - day),
            "livemode": state.options.livemode,
            "status": status,
        });
        state.put(account, "tax.registration", registration);
        id
    }

    /// Gives an account a tax id, such as `eu_vat`, which its invoices may show, and
    /// gives the tax id's id. Where `by_default`, the account's settings name it.
    #[must_use]
    pub fn add_tax_id(&self, account: &str, kind: &str, value: &str, by_default: bool) -> String {
        let mut state = self.shared.state();
        let id = state.new_id("txi");
        let tax_id = json!({
            "id": id,
            "object": "tax_id",
            "country": value.get(..2),
            "created": state.now(),
            "customer": null,
            "customer_account": null,
            "livemode": state.options.livemode,
            "owner": { "customer_account": null, "type": "self" },
            "type": kind,
            "value": value,
            "verification": null,
        });
        state.put(account, "tax_id", tax_id);
        if by_default && account != PLATFORM {
            state.change_account(account, |account| {
                account["settings"]["invoices"]["default_account_tax_ids"] = json!([id]);
            });
        }
        id
    }
}
