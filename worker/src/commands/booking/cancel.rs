//! `booking.cancel`: nobody can pay for the booking any more.

use domain::ids::BookingId;
use serde_json::{Value, json};

use super::current::Current;
use crate::{
    commands::{error::CommandError, service::CommandService},
    stripe::client::Client,
};

/// Looks at a session before the command gives up: a guest pays, or a caller makes another
/// one, in between.
const MOST_LOOKS: u32 = 4;

impl CommandService {
    /// Ends the booking's open session. One that is paid stays so, and is an error.
    pub(in crate::commands) async fn cancel(
        &self,
        client: &Client,
        booking: BookingId,
    ) -> Result<Value, CommandError> {
        let mut ended = Value::Null;
        for _ in 0..MOST_LOOKS {
            match self.current(client, booking).await? {
                None | Some(Current::Over { .. }) => {
                    return Ok(json!({ "canceled": true, "sessionId": ended }));
                }
                Some(Current::Open { session, record }) => {
                    self.expire(client, &session, &record).await?;
                    ended = session["id"].clone();
                }
                Some(Current::Processing) => {
                    return Err(CommandError::new(
                        "processing",
                        "the guest has paid by a method that takes days: refund the payment once \
                         it is there",
                    )
                    .at("bookingId"));
                }
                Some(Current::Paid) => return Err(self.paid(booking).await?),
            }
        }
        Err(CommandError::in_progress())
    }
}
