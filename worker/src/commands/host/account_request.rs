//! What Stripe is asked for when a host's account is made. No I/O.

use serde_json::{Map, Value, json};

use super::onboard::Onboard;
use crate::{
    commands::error::CommandError,
    config::commands::{AccountsApi, Bearer, CommandSettings},
};

/// The capability that a sale needs.
const CARD_PAYMENTS: &str = "card_payments";
/// The capability by which the platform's fee moves.
const TRANSFERS: &str = "transfers";

/// The parameters of the account.
///
/// # Errors
/// Stripe refuses such accounts for direct charges.
pub(super) fn parameters(
    onboard: &Onboard,
    settings: &CommandSettings,
) -> Result<Value, CommandError> {
    let (fees, losses) = bearers(onboard.dashboard, settings)?;
    Ok(match settings.accounts_api {
        AccountsApi::V2 => v2(onboard, fees, losses),
        AccountsApi::V1 => {
            let controller = json!({
                "fees": { "payer": match fees {
                    Bearer::Stripe => "account",
                    Bearer::Application => "application",
                } },
                "losses": { "payments": losses.as_str() },
                "requirement_collection": "stripe",
                "stripe_dashboard": { "type": onboard.dashboard },
            });
            v1(onboard, "controller", controller)
        }
        AccountsApi::V1Type => {
            let kind = match onboard.dashboard {
                "full" => "standard",
                "none" => "custom",
                _ => "express",
            };
            v1(onboard, "type", kind.into())
        }
    })
}

/// Who collects the fees and who bears the losses: as the deployment sets it, else as fits
/// the dashboard. With the full dashboard the host is Stripe's own customer.
fn bearers(dashboard: &str, settings: &CommandSettings) -> Result<(Bearer, Bearer), CommandError> {
    let fitting = match dashboard {
        "full" => Bearer::Stripe,
        _ => Bearer::Application,
    };
    let fees = settings.fees.unwrap_or(fitting);
    let losses = settings.losses.unwrap_or(fitting);
    let refused = match (dashboard, losses) {
        ("express", Bearer::Stripe) => {
            "Stripe does not bear the losses of accounts with the Express dashboard that take \
             direct charges: ask for the dashboard full or none, or set \
             HOST_LOSSES_COLLECTOR=application"
        }
        // A custom account by its type, whose losses are always the platform's.
        ("none", Bearer::Stripe) if settings.accounts_api == AccountsApi::V1Type => {
            "Stripe does not bear the losses of accounts of the type custom: ask for the dashboard \
             full, or set HOST_LOSSES_COLLECTOR=application or STRIPE_ACCOUNTS_API=v1"
        }
        ("full", Bearer::Application) => {
            "the platform cannot bear the losses of accounts with the full dashboard: ask for \
             the dashboard express or none, or set HOST_LOSSES_COLLECTOR=stripe"
        }
        _ => return Ok((fees, losses)),
    };
    Err(CommandError::new("combination_refused", refused).at("dashboard"))
}

fn v2(onboard: &Onboard, fees: Bearer, losses: Bearer) -> Value {
    let requested = json!({ "requested": true });
    let mut merchant = Map::new();
    merchant.insert(CARD_PAYMENTS.into(), requested.clone());
    let others = onboard.capabilities.iter().filter(|one| *one != TRANSFERS);
    merchant.extend(others.map(|one| (one.clone(), requested.clone())));
    json!({
        "contact_email": onboard.email,
        "display_name": onboard.display_name.as_ref().unwrap_or(&onboard.email),
        "dashboard": onboard.dashboard,
        "identity": { "country": onboard.country, "entity_type": onboard.entity_type },
        "configuration": {
            "merchant": { "capabilities": merchant },
            "recipient": {
                "capabilities": { "stripe_balance": { "stripe_transfers": requested } },
            },
        },
        "defaults": {
            "currency": onboard.currency,
            "responsibilities": {
                "fees_collector": fees.as_str(), "losses_collector": losses.as_str(),
            },
        },
        "metadata": { "hostId": onboard.host },
        "include": [
            "configuration.merchant", "configuration.recipient", "defaults", "identity",
            "requirements",
        ],
    })
}

fn v1(onboard: &Onboard, kind: &str, value: Value) -> Value {
    let requested = json!({ "requested": true });
    let needed = [CARD_PAYMENTS, TRANSFERS].map(str::to_owned);
    let capabilities = needed.iter().chain(&onboard.capabilities);
    let capabilities: Map<String, Value> = capabilities
        .map(|one| (one.clone(), requested.clone()))
        .collect();
    let mut account = json!({
        "email": onboard.email,
        "country": onboard.country,
        "business_type": onboard.entity_type,
        "default_currency": onboard.currency,
        "capabilities": capabilities,
        "metadata": { "hostId": onboard.host },
    });
    account[kind] = value;
    account
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onboard(dashboard: &'static str) -> Onboard {
        Onboard {
            host: "42".into(),
            email: "anna@example.org".into(),
            country: "ES".into(),
            dashboard,
            ..Onboard::default()
        }
    }

    #[test]
    fn combinations_that_stripe_refuses_are_refused_before_anything_is_made() {
        let set = |losses| CommandSettings {
            losses,
            ..CommandSettings::default()
        };
        for (dashboard, losses) in [
            ("express", Some(Bearer::Stripe)),
            ("full", Some(Bearer::Application)),
        ] {
            let error = parameters(&onboard(dashboard), &set(losses)).unwrap_err();
            assert_eq!(error.code, "combination_refused");
            assert_eq!(error.field.as_deref(), Some("dashboard"));
        }
        for (dashboard, losses) in [
            ("express", None),
            ("full", None),
            ("none", None),
            ("none", Some(Bearer::Stripe)),
            ("express", Some(Bearer::Application)),
        ] {
            assert!(parameters(&onboard(dashboard), &set(losses)).is_ok());
        }
        // By their type Stripe bears the losses of no accounts but those with the full dashboard.
        for (dashboard, is_refused) in [("express", true), ("none", true), ("full", false)] {
            let settings = CommandSettings {
                accounts_api: AccountsApi::V1Type,
                ..set(Some(Bearer::Stripe))
            };
            let error = parameters(&onboard(dashboard), &settings).err();
            let code = error.map(|error| error.code);
            assert_eq!(
                code,
                is_refused.then_some("combination_refused"),
                "{dashboard}"
            );
        }
    }

    #[test]
    fn the_capabilities_of_a_sale_are_always_requested() {
        let mut onboard = onboard("express");
        onboard.capabilities = vec!["sepa_debit_payments".into(), "transfers".into()];
        let mut settings = CommandSettings::default();
        let v2 = parameters(&onboard, &settings).unwrap();
        let merchant = &v2["configuration"]["merchant"]["capabilities"];
        assert_eq!(merchant["card_payments"]["requested"], true);
        assert_eq!(merchant["sepa_debit_payments"]["requested"], true);
        assert_eq!(merchant.get("transfers"), None);
        settings.accounts_api = AccountsApi::V1Type;
        let v1 = parameters(&onboard, &settings).unwrap();
        for name in ["card_payments", "transfers", "sepa_debit_payments"] {
            assert_eq!(v1["capabilities"][name]["requested"], true, "{name}");
        }
        assert_eq!(v1["type"], "express");
        assert_eq!(v1.get("controller"), None);
    }
}
