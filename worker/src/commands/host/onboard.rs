//! `host.onboard`: one account a host, and a link to Stripe's form.

use domain::{account::Account, onboarding::Status, rows::HostRow};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    commands::{
        error::CommandError,
        input::{self, Fields},
        service::CommandService,
        wire::time,
    },
    stripe::client::Client,
};

/// The most capabilities that a command asks for.
const MOST_CAPABILITIES: usize = 20;
const ENTITY_TYPES: [&str; 4] = ["individual", "company", "non_profit", "government_entity"];
const DASHBOARDS: [&str; 3] = ["express", "full", "none"];

/// What the command says.
#[derive(Clone, Debug, Default)]
pub struct Onboard {
    /// The host's id in the main app.
    pub host: String,
    /// The host's address, to which Stripe writes.
    pub email: String,
    /// The name by which the platform's dashboard lists the account; the address else.
    pub display_name: Option<String>,
    /// The country, which cannot be changed later.
    pub country: String,
    /// What the host is.
    pub entity_type: Option<&'static str>,
    /// Which dashboard of Stripe's the host has.
    pub dashboard: &'static str,
    /// The currency in which the host is paid out.
    pub currency: Option<String>,
    /// Where Stripe sends a host whose link was used or is too old.
    pub refresh_url: String,
    /// Where Stripe sends the host afterwards.
    pub return_url: String,
    /// Capabilities that are requested besides those that a sale needs.
    pub capabilities: Vec<String>,
}

impl Onboard {
    /// Reads the fields.
    pub fn read(fields: &mut Fields) -> Self {
        Self {
            host: fields.required("hostId", input::id),
            email: fields.required("email", input::email),
            display_name: fields.optional("displayName", input::text),
            country: fields.required("country", input::country),
            entity_type: fields.optional("entityType", input::one_of(&ENTITY_TYPES)),
            dashboard: fields
                .optional("dashboard", input::one_of(&DASHBOARDS))
                .unwrap_or("express"),
            currency: fields.optional("currency", input::currency),
            refresh_url: fields.required("refreshUrl", input::text),
            return_url: fields.required("returnUrl", input::text),
            capabilities: fields
                .optional("capabilities", input::list(MOST_CAPABILITIES, capability))
                .unwrap_or_default(),
        }
    }

    /// The hash of what makes the account what it is. The addresses are only of the link, and
    /// a host's e-mail address and name may change.
    pub(super) fn payload_hash(&self) -> [u8; 32] {
        let mut capabilities = self.capabilities.clone();
        capabilities.sort();
        let payload = json!([
            self.country,
            self.entity_type,
            self.dashboard,
            self.currency,
            capabilities
        ]);
        Sha256::digest(payload.to_string()).into()
    }
}

fn capability(value: Value) -> Result<String, String> {
    let text = input::text(value)?;
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    fits.then_some(text)
        .ok_or_else(|| "is no capability, such as sepa_debit_payments".into())
}

impl CommandService {
    /// Makes the host's account where there is none, and answers a link to Stripe's form
    /// while the host is not done with it.
    pub(in crate::commands) async fn onboard(
        &self,
        client: &Client,
        onboard: &Onboard,
    ) -> Result<Value, CommandError> {
        self.check_redirects(&[
            ("refreshUrl", &onboard.refresh_url),
            ("returnUrl", &onboard.return_url),
        ])?;
        let known = match self.known(&onboard.host).await? {
            Some(known) => known,
            None => self.create(client, onboard).await?,
        };
        let hash = known.payload_hash.as_deref();
        if hash.is_some_and(|hash| hash != onboard.payload_hash()) {
            return Err(CommandError::new(
                "host_has_other_account",
                "the host has an account that was made with another country, entityType, \
                 dashboard, currency or capabilities",
            )
            .at("hostId"));
        }
        let known = self.read_new(client, known).await?;
        let row = known.row();
        if !needs_form(&row, &known.account) {
            return Ok(answer(&row, None));
        }
        let (refresh, after) = (&onboard.refresh_url, &onboard.return_url);
        let link = client
            .account_link(known.family, &known.id, refresh, after)
            .await?;
        let until = time(link.expires_at);
        Ok(answer(&row, Some((link.url, until))))
    }
}

/// Whether the form has anything for the host.
fn needs_form(row: &HostRow, account: &Account) -> bool {
    match row.status {
        Status::Enabled => !row.can_sell,
        // Stripe gives no link for an account that it has rejected.
        Status::Rejected | Status::Disconnected => false,
        Status::Unknown
        | Status::InReview
        | Status::Paused
        | Status::Incomplete
        | Status::Restricted
        | Status::RestrictedSoon => !account.is_disconnected(),
    }
}

fn answer(row: &HostRow, link: Option<(String, String)>) -> Value {
    let (url, expires_at) = link.unzip();
    json!({
        "stripeAccountId": row.account.as_str(),
        "url": url,
        "expiresAt": expires_at,
        "status": row.status.as_str(),
    })
}
