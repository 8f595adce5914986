//! How a checkout stands to the cancels of its booking. A session of before a cancel is not to
//! be paid, and a checkout that was sent before makes none.

use domain::ids::BookingId;
use store::command::{self, Cancels, Record};

use super::cancel_key;
use crate::commands::{consumer::SENT_WITHIN, error::CommandError, service::CommandService};

/// When a checkout was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// After the last cancel.
    After,
    /// It was delivered before and the last cancel is recent, so nobody knows.
    PerhapsBefore,
    /// Before the last cancel, which came while the checkout was being done.
    Before,
}

/// What a checkout does with the open session that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is what the checkout asks for.
    Answered,
    /// It is ended, and another one is made.
    Replaced,
    /// It is ended, and the checkout is refused as canceled.
    Ended,
    /// It is of a checkout that was sent after the cancel, which refuses this one.
    Left,
}

/// Where a checkout is that found the booking canceled so often when it began, and so often now.
pub(super) fn sent(is_redelivered: bool, begun: Cancels, now: Cancels) -> Sent {
    if now.count != begun.count {
        Sent::Before
    } else if is_redelivered && begun.is_recent {
        Sent::PerhapsBefore
    } else {
        Sent::After
    }
}

/// What becomes of the open session of this record, where the booking is canceled so often now.
pub(super) fn fate(sent: Sent, record: &Record, is_wanted: bool, now: Cancels) -> Fate {
    let is_newest = record.cancels == Some(now.count);
    match sent {
        // An earlier release does not say of which cancels it knew.
        Sent::After if is_wanted && (is_newest || record.cancels.is_none()) => Fate::Answered,
        Sent::After => Fate::Replaced,
        // Whoever asked for it, this checkout's first delivery or another one, did so after the
        // cancel.
        Sent::PerhapsBefore if is_newest && is_wanted => Fate::Answered,
        Sent::PerhapsBefore | Sent::Before if is_newest => Fate::Left,
        Sent::PerhapsBefore | Sent::Before => Fate::Ended,
    }
}

/// The refusal of a checkout that `booking.cancel` overtook, or may have overtaken. It is the
/// main app's to say whether the booking is to be sold all the same.
pub(super) fn canceled_meanwhile() -> CommandError {
    CommandError::new(
        "canceled",
        "the booking was canceled after the checkout was sent, or shortly before and its worker \
         died; nobody can pay by it. Send it again to sell the booking all the same",
    )
    .at("bookingId")
}

impl CommandService {
    /// How often the booking was canceled, and whether so recently that a command that is
    /// being done may have been sent before.
    pub(in crate::commands) async fn cancels(
        &self,
        booking: BookingId,
    ) -> Result<Cancels, CommandError> {
        let conn = self.connection().await?;
        let seconds = SENT_WITHIN.as_secs_f64();
        Ok(command::cancels(&conn, &cancel_key(booking), seconds).await?)
    }
}
