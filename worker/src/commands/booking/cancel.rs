//! `booking.cancel`: nobody can pay for the booking any more.

use std::collections::BTreeSet;

use domain::ids::{AccountId, BookingId};
use serde_json::{Value, json};
use store::command;

use super::{
    cancel_key, checkout::processing, current::Current, key, made_by_app::NotEnded, session,
};
use crate::{
    commands::{error::CommandError, service::CommandService},
    stripe::{client::Client, error::ApiError},
};

/// Looks at a session before the command gives up: a guest pays, or a caller makes another
/// one, in between.
const MOST_LOOKS: u32 = 4;

impl CommandService {
    /// Ends the booking's open session. One that is paid stays so, and is an error.
    ///
    /// That the booking is canceled is noted before anything is looked for. So a checkout that
    /// has begun before and makes its session only afterwards finds the note, and ends it.
    pub(in crate::commands) async fn cancel(
        &self,
        client: &Client,
        booking: BookingId,
    ) -> Result<Value, CommandError> {
        {
            let conn = self.connection().await?;
            command::cancel(&conn, &cancel_key(booking)).await?;
        }
        let mut ended = Value::Null;
        for _ in 0..MOST_LOOKS {
            match self.current(client, booking).await? {
                None | Some(Current::Over { .. }) => {
                    self.cancel_of_app(client, booking).await?;
                    return Ok(json!({ "canceled": true, "sessionId": ended }));
                }
                Some(Current::Open { session, record }) => {
                    self.expire(client, booking, &session, &record).await?;
                    ended = session["id"].clone();
                }
                Some(Current::Processing) => return Err(processing()),
                Some(Current::Paid) => return Err(self.paid(booking, None).await?),
            }
        }
        Err(CommandError::in_progress())
    }

    /// Ends what the main app has made itself, as far as it can be known: on the account of the
    /// booking's owner, and on that of the last command.
    async fn cancel_of_app(&self, client: &Client, booking: BookingId) -> Result<(), CommandError> {
        let owner = self.configured_owner(booking).await?;
        let known = self.known_of(booking, owner.as_ref(), &[]).await?;
        let record = {
            let conn = self.connection().await?;
            command::find(&conn, &key(booking)).await?
        };
        let own = record.as_ref().and_then(|record| record.object_id.clone());
        let of_owner: Vec<AccountId> = known.owner.iter().cloned().collect();
        self.refuse_paid(booking, &known, &of_owner, own.as_deref())
            .await?;
        let of_record = record.as_ref().map(session::account);
        let accounts: BTreeSet<AccountId> = of_owner.into_iter().chain(of_record).collect();
        let connected = accounts
            .iter()
            .filter(|account| !account.as_str().is_empty());
        for account in connected {
            let ending = self.end_sessions_of_app(client, account, booking, own.as_deref());
            match ending.await {
                // The account has left: how its sessions are, nobody can say any more.
                Err(NotEnded::Api(ApiError::Refused(refusal)))
                    if refusal.has_code("account_invalid") => {}
                ended => ended?,
            }
        }
        Ok(())
    }
}
