//! The session that a booking has now, as Stripe says.

use chrono::TimeDelta;
use domain::{checkout_session::Status, ids::BookingId, outcome::Decision};
use serde_json::{Value, json};
use shared::clock;
use store::{
    booking_query::{self, KnownSession, Progress},
    command::{Record, State},
};

use super::{
    key,
    session::{self, Money, SessionMaker},
};
use crate::{
    commands::{attempts::OUTLIVED, error::CommandError, service::CommandService, wire},
    jobs::read_accounts,
    stripe::{
        client::Client,
        error::{ApiError, Refusal},
    },
};

/// A session is open for a day at most, since it was made.
const SESSION_LASTS: TimeDelta = TimeDelta::hours(24);
/// After so long a payment by a method that takes days has come or failed.
pub(super) const PAYMENT_LASTS: TimeDelta = TimeDelta::days(30);

/// The session that a booking has now.
pub(in crate::commands) enum Current {
    /// A guest can pay by it.
    Open { session: Value, record: Box<Record> },
    /// The guest has paid by a method that takes days.
    Processing,
    /// It is paid.
    Paid,
    /// Nobody can pay by it any more. Another attempt may begin behind this one.
    Over { attempt: i32 },
}

impl CommandService {
    /// The session that commands made last for the booking; `None` where they made none. An
    /// attempt in progress is finished first: it may have made one.
    pub(in crate::commands) async fn current(
        &self,
        client: &Client,
        booking: BookingId,
    ) -> Result<Option<Current>, CommandError> {
        let maker = SessionMaker {
            client,
            booking,
            booking_key: &self.decoder.rules.booking_key,
        };
        let Some(record) = self.settled(&key(booking), &maker).await? else {
            return Ok(None);
        };
        match record.state() {
            State::InProgress => Err(CommandError::in_progress()),
            State::Failed => Ok(None),
            State::Done => self.look_at(client, booking, record).await.map(Some),
        }
    }

    async fn look_at(
        &self,
        client: &Client,
        booking: BookingId,
        record: Record,
    ) -> Result<Current, CommandError> {
        let account = session::account(&record);
        let id = record.object_id.clone().unwrap_or_default();
        let session = match client.session(&account, &id).await {
            Ok(session) => session,
            Err(ApiError::Refused(refusal)) if matches!(refusal.status, 403 | 404) => {
                return self.out_of_reach(booking, &record, refusal).await;
            }
            Err(error) => return Err(error.into()),
        };
        let taken = self.tell(booking, &session, &record).await?;
        let status = session["status"].as_str().unwrap_or_default();
        if status == "open" && matches!(taken, Decision::Dead(_)) {
            // Whose the booking is was decided meanwhile: nobody is to pay this account.
            self.expire(client, booking, &session, &record).await?;
            return Err(other_host());
        }
        let is_paid = session["payment_status"] != "unpaid";
        let attempt = record.attempt;
        Ok(match status {
            "open" => Current::Open {
                session,
                record: Box::new(record),
            },
            "complete" if is_paid => Current::Paid,
            "complete" => self.unpaid(client, booking, &record, &session).await?,
            "expired" => Current::Over { attempt },
            _ => return Err(CommandError::stripe_unavailable()),
        })
    }

    /// A session that Stripe does not show: the host has left with it, or the API key is
    /// another one or lacks a right. A guest may have paid by it, or can.
    async fn out_of_reach(
        &self,
        booking: BookingId,
        record: &Record,
        refusal: Refusal,
    ) -> Result<Current, CommandError> {
        let account = session::account(record);
        let id = record.object_id.as_deref().unwrap_or_default();
        let (kept, known) = {
            let conn = self.connection().await?;
            (
                booking_query::session(&conn, account.as_str(), id).await?,
                read_accounts::load(&conn, &account).await?,
            )
        };
        let made = record.finished_at.unwrap_or(record.attempted_at);
        let age = clock::now_utc() - made;
        let attempt = record.attempt;
        let progress = kept.as_ref().map(KnownSession::progress);
        match progress {
            Some(Progress::Paid) => return Ok(Current::Paid),
            Some(Progress::Expired | Progress::PaymentFailed) => {
                return Ok(Current::Over { attempt });
            }
            Some(Progress::Processing) if age < PAYMENT_LASTS => return Ok(Current::Processing),
            Some(Progress::Processing | Progress::Open) | None => {}
        }
        let is_processing = progress == Some(Progress::Processing);
        let is_gone = refusal.status == 404 || known.is_disconnected();
        // Events may not have told that the host has left. Another platform's key is refused
        // in the same way, but for so long nobody works with one.
        let is_lost =
            refusal.has_code("account_invalid") && age.to_std().is_ok_and(|age| age > OUTLIVED);
        if is_processing || (is_gone && age > SESSION_LASTS) || is_lost {
            // No event of its end will come. It claims its booking no more; where it was paid
            // after all, that is newer.
            let status = match is_processing {
                true => Status::PaymentFailed,
                false => Status::Expired,
            };
            let ended = json!({
                "id": id,
                "status": status.as_str(),
                "payment_status": "unpaid",
            });
            let _ = self.tell(booking, &ended, record).await?;
            return Ok(Current::Over { attempt });
        }
        if known.is_disconnected() {
            let until = wire::time(made + SESSION_LASTS);
            return Err(CommandError::passing(
                "earlier_checkout",
                format!(
                    "an earlier checkout of the booking is on an account that has cut the \
                     connection; a guest may be able to pay by it until {until}"
                ),
            )
            .at("bookingId"));
        }
        Err(ApiError::Refused(refusal).into())
    }

    /// A session that the guest went through, and that is not paid: the money is on its way,
    /// or did not come.
    async fn unpaid(
        &self,
        client: &Client,
        booking: BookingId,
        record: &Record,
        session: &Value,
    ) -> Result<Current, CommandError> {
        let money = session::money(client, &session::account(record), session).await?;
        Ok(match money {
            Money::Came => Current::Paid,
            Money::DidNotCome => {
                // It claims its booking no more, also where Stripe's event of it does not come.
                let mut failed = session.clone();
                failed["status"] = Status::PaymentFailed.as_str().into();
                let _ = self.tell(booking, &failed, record).await?;
                Current::Over {
                    attempt: record.attempt,
                }
            }
            Money::OnItsWay => Current::Processing,
        })
    }

    /// Ends an open session. Where a guest was faster, the next look says so.
    pub(in crate::commands) async fn expire(
        &self,
        client: &Client,
        booking: BookingId,
        session: &Value,
        record: &Record,
    ) -> Result<(), CommandError> {
        let account = session::account(record);
        let id = session["id"].as_str().unwrap_or_default();
        match client.expire_session(&account, id).await {
            Ok(session) => self.tell(booking, &session, record).await.map(drop),
            Err(ApiError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The booking is another account's.
pub(super) fn other_host() -> CommandError {
    CommandError::new(
        "booking_of_other_host",
        "the booking is another account's (BOOKING_OWNER_QUERY)",
    )
    .at("bookingId")
}
