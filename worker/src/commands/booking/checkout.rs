//! `booking.checkout`: one open Checkout Session for a booking, on its host's account.

use domain::{host_words, ids::BookingId, ownership::Owner, rules::ATTEMPT_KEY};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::command;
use tracing::warn;

use super::{
    cancels::{self, Fate, Sent, canceled_meanwhile},
    current::{Current, other_host},
    fields::Checkout,
    key, request,
    session::SessionMaker,
};
use crate::{
    commands::{
        attempts::{self, Wanted},
        error::CommandError,
        host::known::Known,
        service::CommandService,
    },
    stripe::{call::ApiFamily, client::Client},
};

/// Other sessions that a command meets before it gives up: each caller with another price
/// ends the one before.
const MOST_SESSIONS: u32 = 4;

impl CommandService {
    /// Answers the open session of a booking, which is made where there is none, or where
    /// the open one is for another price or host, or of before a cancel.
    pub(in crate::commands) async fn checkout(
        &self,
        client: &Client,
        checkout: &Checkout,
    ) -> Result<Value, CommandError> {
        self.check_redirects(&[
            ("successUrl", &checkout.success_url),
            ("cancelUrl", &checkout.cancel_url),
        ])?;
        let begun = self.cancels(checkout.booking).await?;
        let host = self.existing(&checkout.host).await?;
        self.check_booking(client, checkout, &host).await?;
        let terms = request::Terms::of(checkout, &self.settings);
        let hash: [u8; 32] = Sha256::digest(terms.hashed(&host.id).to_string()).into();
        for _ in 0..MOST_SESSIONS {
            let current = self.current(client, checkout.booking).await?;
            // After the look: a cancel that is noted later finds what was found here.
            let now = self.cancels(checkout.booking).await?;
            let sent = cancels::sent(self.is_redelivered, begun, now);
            let over = match current {
                None => None,
                Some(Current::Open { session, record }) => {
                    let fate = cancels::fate(sent, &record, record.payload_hash == hash, now);
                    if matches!(fate, Fate::Replaced | Fate::Ended) {
                        self.expire(client, checkout.booking, &session, &record)
                            .await?;
                    }
                    match fate {
                        Fate::Answered => return answer(&session),
                        Fate::Replaced => continue,
                        Fate::Ended | Fate::Left => return Err(canceled_meanwhile()),
                    }
                }
                Some(Current::Processing) => return Err(processing()),
                Some(Current::Paid) => return Err(self.paid(checkout.booking, None).await?),
                Some(Current::Over { attempt }) => Some(attempt),
            };
            if sent != Sent::After {
                return Err(canceled_meanwhile());
            }
            self.end_sessions_of_app(client, &host.id, checkout.booking, None)
                .await?;
            let mut request = terms.parameters(checkout, &self.decoder.rules.booking_key);
            request["metadata"][ATTEMPT_KEY] = attempts::new_mark().into();
            let wanted = Wanted {
                key: &key(checkout.booking),
                payload_hash: hash,
                family: ApiFamily::V1,
                account: Some(host.id.as_str()),
                request: &request,
                over,
                cancels: Some(begun.count),
            };
            let maker = SessionMaker {
                client,
                booking: checkout.booking,
                booking_key: &self.decoder.rules.booking_key,
            };
            // Read anew, whoever made it: it may be another caller's, at another price.
            let _ = self.make_once(&wanted, &maker).await?;
        }
        Err(CommandError::in_progress())
    }

    /// Whether the host can sell this booking.
    async fn check_booking(
        &self,
        client: &Client,
        checkout: &Checkout,
        host: &Known,
    ) -> Result<(), CommandError> {
        let row = host.row();
        if !row.can_sell {
            let words = host_words::sentences(&row).join(" ");
            return Err(CommandError::new("host_cannot_sell", words).at("hostId"));
        }
        let owner = self.configured_owner(checkout.booking).await?;
        if let Some(Owner::Account(owner)) = &owner
            && *owner != host.id
        {
            return Err(other_host());
        }
        let accounts = self.accounts_of(&checkout.host, Some(&host.id)).await?;
        let known = self
            .known_of(checkout.booking, owner.as_ref(), &accounts)
            .await?;
        let record = {
            let conn = self.connection().await?;
            command::find(&conn, &key(checkout.booking)).await?
        };
        let own = record
            .as_ref()
            .and_then(|record| record.object_id.as_deref());
        // Another account's invoice may only say that it is of this booking.
        let refused = self
            .refuse_paid(checkout.booking, &known, &accounts, own)
            .await;
        if let (Err(refusal), Some(record)) = (&refused, &record)
            && let Err(error) = self.end_of_paid(client, checkout.booking, record).await
        {
            // Why the booking is not sold is worth more; the job ends the session.
            warn!(
                refused = refusal.code,
                code = error.code,
                "the session of a booking that is paid is still open"
            );
        }
        refused
    }

    /// The refusal of a booking that is paid, with its invoice: the one that pays for it, or
    /// that of the booking.
    pub(super) async fn paid(
        &self,
        booking: BookingId,
        invoice: Option<Value>,
    ) -> Result<CommandError, CommandError> {
        let error = CommandError::new("booking_paid", "the booking is paid").at("bookingId");
        let invoice = match invoice {
            Some(invoice) => invoice,
            None => self.booking_invoice(booking).await?["invoice"].take(),
        };
        Ok(match invoice {
            Value::Null => error,
            invoice => error.with("invoice", invoice),
        })
    }
}

/// The refusal of a booking whose payment is under way.
pub(super) fn processing() -> CommandError {
    CommandError::passing(
        "processing",
        "the guest has paid by a method that takes days; whether the money comes is not known \
         yet. A payment that comes can be refunded then",
    )
    .at("bookingId")
}

fn answer(session: &Value) -> Result<Value, CommandError> {
    let url = session["url"].as_str();
    let url = url.ok_or_else(CommandError::stripe_unavailable)?;
    Ok(json!({
        "sessionId": session["id"],
        "url": url,
        "expiresAt": super::session::time(&session["expires_at"]),
    }))
}
