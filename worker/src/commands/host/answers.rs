//! `host.session`, `host.dashboard`, `host.status` and `host.invoicing`.

use domain::{host_words, invoicing, rows::HostRow};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::main_app::host;
use tracing::warn;

use super::known;
use crate::{
    commands::{error::CommandError, service::CommandService, wire::time},
    stripe::{client::Client, error::ApiError},
};

impl CommandService {
    /// Answers a secret for Stripe's embedded components.
    pub(in crate::commands) async fn session(
        &self,
        client: &Client,
        host: &str,
        components: &[&str],
    ) -> Result<Value, CommandError> {
        let known = self.existing(host).await?;
        let session = client.account_session(&known.id, components).await?;
        Ok(json!({
            "stripeAccountId": known.id.as_str(),
            "clientSecret": session.client_secret,
            "expiresAt": time(session.expires_at),
        }))
    }

    /// Answers the address of the host's dashboard.
    pub(in crate::commands) async fn dashboard(
        &self,
        client: &Client,
        host: &str,
    ) -> Result<Value, CommandError> {
        let known = self.existing(host).await?;
        let known = self.read_new(client, known).await?;
        let url = match known.row().account_type.as_deref() {
            Some("standard") => "https://dashboard.stripe.com/".to_owned(),
            Some("express") => client.login_link(&known.id).await?,
            // Accounts with a controller say no more than that they are none of these.
            _ => match dashboard_type(&client.account_object(&known.id).await?) {
                Some("full") => "https://dashboard.stripe.com/".to_owned(),
                Some("express") => client.login_link(&known.id).await?,
                _ => {
                    return Err(CommandError::new(
                        "no_dashboard",
                        "the host's account has no dashboard at Stripe; show it Stripe's \
                         embedded components (host.session)",
                    ));
                }
            },
        };
        Ok(json!({ "stripeAccountId": known.id.as_str(), "url": url }))
    }

    /// Answers how far the host is, with the columns of `"HostOnboarding"` and in words; also of
    /// one that has left.
    pub(in crate::commands) async fn status(&self, host: &str) -> Result<Value, CommandError> {
        let known = self.noted(host).await?;
        let row = known.ok_or_else(known::unknown)?.row();
        let written = {
            let conn = self.connection().await?;
            host::updated_at(&conn, row.account.as_str()).await
        };
        // Whatever the main app does to its table, how the host is can be told.
        let written = written.unwrap_or_else(|error| {
            warn!(reason = %store::in_log(&error), "a host's row could not be read");
            None
        });
        let mut answer = columns(&row);
        answer["updatedAt"] = written.map(time).into();
        answer["words"] = host_words::sentences(&row).into();
        Ok(answer)
    }

    /// Answers whether invoices can be issued in the host's name, and what is missing.
    pub(in crate::commands) async fn invoicing(
        &self,
        client: &Client,
        host: &str,
    ) -> Result<Value, CommandError> {
        let known = self.existing(host).await?;
        let account = read(client.account_object(&known.id).await?)?;
        let tax = match self.settings.automatic_tax {
            false => None,
            true => Some(invoicing::Tax {
                settings: read(client.tax_settings(&known.id).await?)?,
                is_registered: client.has_tax_registration(&known.id).await?,
            }),
        };
        let missing = invoicing::missing(&account, tax.as_ref());
        let listed: Vec<Value> = missing
            .iter()
            .map(|one| json!({ "field": one.field, "message": one.message, "blocks": one.blocks }))
            .collect();
        Ok(json!({
            "stripeAccountId": known.id.as_str(),
            "ready": !missing.iter().any(|one| one.blocks),
            "automaticTax": self.settings.automatic_tax,
            "missing": listed,
        }))
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, CommandError> {
    serde_json::from_value(answer)
        .map_err(|_| ApiError::Unreadable("a field has another form").into())
}

fn dashboard_type(account: &Value) -> Option<&str> {
    account["controller"]["stripe_dashboard"]["type"].as_str()
}

/// The columns of the row that the main app reads, by their names, but for the time at which it
/// was written.
fn columns(row: &HostRow) -> Value {
    let requirements = &row.requirements;
    json!({
        "stripeAccountId": row.account.as_str(),
        "hostId": row.host_id,
        "status": row.status.as_str(),
        "canSell": row.can_sell,
        "chargesEnabled": row.charges_enabled,
        "payoutsEnabled": row.payouts_enabled,
        "detailsSubmitted": row.details_submitted,
        "currentlyDue": requirements.currently_due,
        "pastDue": requirements.past_due,
        "eventuallyDue": requirements.eventually_due,
        "pendingVerification": requirements.pending_verification,
        "futureDue": row.future_due,
        "disabledReason": requirements.disabled_reason,
        "currentDeadline": row.deadline.map(time),
        "type": row.account_type,
        "country": row.country,
        "defaultCurrency": row.default_currency,
        "lastEventAt": time(row.last_event_at),
        "createdAt": time(row.created_at),
    })
}
