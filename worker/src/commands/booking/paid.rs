//! A booking that something else has paid than the session that a command made for it: by that
//! session a guest could pay once more.

use domain::ids::BookingId;
use serde_json::json;
use shared::clock;
use store::{
    booking_query::{self, KnownSession, Progress},
    command::Record,
};

use super::session;
use crate::{
    commands::{error::CommandError, service::CommandService},
    stripe::client::Client,
};

impl CommandService {
    /// Whether the booking of this session is paid by something else, or is being paid by a
    /// method that takes days.
    pub(in crate::commands) async fn is_paid_by_other(
        &self,
        booking: BookingId,
        record: &Record,
    ) -> Result<bool, CommandError> {
        let owner = self.configured_owner(booking).await?;
        let accounts = self.accounts_of_session(owner.as_ref(), record).await?;
        let known = self.known_of(booking, owner.as_ref(), &accounts).await?;
        let own = record.object_id.as_deref();
        Ok(super::made_by_app::payment(&known, &accounts, own).is_some())
    }

    /// Ends the session, where a guest can pay by it as far as is known. It sends no read: one
    /// that Stripe refuses to end is over already, or out of reach.
    pub(in crate::commands) async fn end_of_paid(
        &self,
        client: &Client,
        booking: BookingId,
        record: &Record,
    ) -> Result<(), CommandError> {
        let Some(id) = record.object_id.as_deref() else {
            return Ok(());
        };
        let kept = {
            let conn = self.connection().await?;
            booking_query::session(&conn, session::account(record).as_str(), id).await?
        };
        let progress = kept.as_ref().map(KnownSession::progress);
        let is_old = record
            .finished_at
            .is_some_and(|made| clock::now_utc() - made > session::MAY_BE_OPEN);
        if is_old || progress.is_some_and(|progress| progress != Progress::Open) {
            return Ok(());
        }
        let session = json!({ "id": id });
        self.expire(client, booking, &session, record).await
    }
}
