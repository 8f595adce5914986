//! Making a booking's Checkout Session, once.

use chrono::{DateTime, TimeDelta};
use domain::{
    ids::{AccountId, BookingId},
    rules::ATTEMPT_KEY,
};
use serde_json::Value;
use store::command::Record;

use crate::{
    commands::{attempts::Maker, error::CommandError, wire},
    stripe::{
        call::IdempotencyKey,
        client::Client,
        error::{ApiError, Refusal},
    },
};

/// A session is open for a day at most since it was made, which was before its record says so, and
/// clocks differ by some minutes.
pub(in crate::commands) const MAY_BE_OPEN: TimeDelta = TimeDelta::minutes(24 * 60 + 5);

/// Makes sessions.
pub(in crate::commands) struct SessionMaker<'a> {
    pub(in crate::commands) client: &'a Client,
    pub(in crate::commands) booking: BookingId,
    /// The metadata's key that names the booking.
    pub(in crate::commands) booking_key: &'a str,
}

/// The account that a session is on.
pub(super) fn account(record: &Record) -> AccountId {
    record
        .account
        .clone()
        .map(AccountId::from)
        .unwrap_or_default()
}

impl Maker for SessionMaker<'_> {
    async fn make(
        &self,
        record: &Record,
        request: Value,
        key: IdempotencyKey,
    ) -> Result<String, ApiError> {
        self.client
            .create_session(&account(record), request, key)
            .await
    }

    async fn look(
        &self,
        record: &Record,
        mark: Option<&str>,
        since: i64,
    ) -> Result<Option<String>, ApiError> {
        let (account, booking) = (account(record), self.booking.to_string());
        let (key, value) = match mark {
            Some(mark) => (ATTEMPT_KEY, mark),
            None => (self.booking_key, &*booking),
        };
        self.client.find_session(&account, key, value, since).await
    }

    fn refused(&self, _: &Record, refusal: Refusal) -> CommandError {
        ApiError::Refused(refusal).into()
    }
}

/// What came of the money of a session that the guest went through without paying at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Money {
    /// It is there.
    Came,
    /// It did not come.
    DidNotCome,
    /// That takes days.
    OnItsWay,
}

/// Asks Stripe what came of the money of such a session.
pub(super) async fn money(
    client: &Client,
    account: &AccountId,
    session: &Value,
) -> Result<Money, ApiError> {
    let intent = match &session["payment_intent"] {
        Value::String(id) => id.as_str(),
        expanded => expanded["id"].as_str().unwrap_or_default(),
    };
    let status = client.payment_status(account, intent).await?;
    Ok(match status.as_str() {
        "succeeded" => Money::Came,
        "requires_payment_method" | "canceled" => Money::DidNotCome,
        _ => Money::OnItsWay,
    })
}

/// A time of Stripe's, as answers have it.
pub(super) fn time(seconds: &Value) -> Option<String> {
    let at = DateTime::from_timestamp(seconds.as_i64()?, 0)?;
    Some(wire::time(at))
}
