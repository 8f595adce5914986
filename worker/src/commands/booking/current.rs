//! The session that a booking has now, as Stripe says.

use domain::ids::BookingId;
use serde_json::Value;
use store::command::{self, Record, State};

use super::{
    key,
    session::{self, SessionMaker},
};
use crate::{
    commands::{attempts::Failed, error::CommandError, service::CommandService},
    stripe::{client::Client, error::ApiError},
};

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
        let key = key(booking);
        let find = async || -> Result<Option<Record>, CommandError> {
            let conn = self.connection().await?;
            Ok(command::find(&conn, &key).await?)
        };
        let Some(mut record) = find().await? else {
            return Ok(None);
        };
        if record.state() == State::InProgress {
            let maker = SessionMaker {
                client,
                booking,
                booking_key: &self.decoder.rules.booking_key,
            };
            match self.go_on(&record, &maker).await {
                Ok(()) | Err(Failed::Ended(_)) => {}
                Err(Failed::Open(error)) => return Err(error),
            }
            record = find().await?.ok_or_else(CommandError::in_progress)?;
        }
        match record.state() {
            State::InProgress => Err(CommandError::in_progress()),
            State::Failed => Ok(None),
            State::Done => self.look_at(client, record).await.map(Some),
        }
    }

    async fn look_at(&self, client: &Client, record: Record) -> Result<Current, CommandError> {
        let account = session::account(&record);
        let id = record.object_id.clone().unwrap_or_default();
        let session = match client.session(&account, &id).await {
            Ok(session) => session,
            // The host has cut the connection: nobody can pay by it.
            Err(ApiError::Refused(refusal)) if matches!(refusal.status, 403 | 404) => {
                let attempt = record.attempt;
                return Ok(Current::Over { attempt });
            }
            Err(error) => return Err(error.into()),
        };
        self.tell(&session, &account).await?;
        let status = session["status"].as_str().unwrap_or_default();
        let is_paid = session["payment_status"] != "unpaid";
        let attempt = record.attempt;
        Ok(match status {
            "open" => Current::Open {
                session,
                record: Box::new(record),
            },
            "complete" if is_paid => Current::Paid,
            "complete" => self.unpaid(client, &record, &session).await?,
            _ => Current::Over { attempt },
        })
    }

    /// A session that the guest went through, and that is not paid: the money is on its way,
    /// or did not come.
    async fn unpaid(
        &self,
        client: &Client,
        record: &Record,
        session: &Value,
    ) -> Result<Current, CommandError> {
        let intent = match &session["payment_intent"] {
            Value::String(id) => id.as_str(),
            expanded => expanded["id"].as_str().unwrap_or_default(),
        };
        let account = session::account(record);
        let status = client.payment_status(&account, intent).await?;
        Ok(match status.as_str() {
            "succeeded" => Current::Paid,
            "requires_payment_method" | "canceled" => Current::Over {
                attempt: record.attempt,
            },
            _ => Current::Processing,
        })
    }

    /// Ends an open session. Where a guest was faster, the next look says so.
    pub(super) async fn expire(
        &self,
        client: &Client,
        session: &Value,
        record: &Record,
    ) -> Result<(), CommandError> {
        let account = session::account(record);
        let id = session["id"].as_str().unwrap_or_default();
        match client.expire_session(&account, id).await {
            Ok(session) => self.tell(&session, &account).await,
            Err(ApiError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
