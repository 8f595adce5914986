//! What the main app has made for a booking itself, without a command.
//!
//! A command makes no session by which a booking can be paid a second time. Events tell how a
//! session of the app's went, and none tells that one is open, so Stripe is asked for those
//! that are.

use domain::{
    decode,
    ids::{AccountId, BookingId},
    rules::ATTEMPT_KEY,
};
use serde_json::Value;
use shared::clock;
use store::{
    booking_query::{KnownOfBooking, KnownSession, Progress},
    invoice_query::KnownInvoice,
};

use super::{
    checkout::processing,
    current::PAYMENT_LASTS,
    invoice::{is_paid, shown},
    session::{self, Money},
};
use crate::{
    commands::{error::CommandError, service::CommandService},
    stripe::{client::Client, error::ApiError},
};

/// The most sessions of the app's that one command ends.
const MOST_ENDED: usize = 10;

/// Why sessions of the app's were not ended.
pub(super) enum NotEnded {
    /// Stripe does not do it.
    Api(ApiError),
    /// A guest has paid by one of them.
    Paid(CommandError),
}

impl From<ApiError> for NotEnded {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<CommandError> for NotEnded {
    fn from(error: CommandError) -> Self {
        Self::Paid(error)
    }
}

impl From<NotEnded> for CommandError {
    fn from(error: NotEnded) -> Self {
        match error {
            NotEnded::Api(error) => error.into(),
            NotEnded::Paid(error) => error,
        }
    }
}

/// A payment for a booking.
pub(super) enum Payment<'a> {
    /// It is there, with its invoice where that is known.
    Came(Option<&'a KnownInvoice>),
    /// It takes days.
    OnItsWay,
}

/// The payment for a booking by anything of these accounts, as far as events told of it. What
/// they told last of the session `own`, which a command made, counts only where it is paid.
pub(super) fn payment<'a>(
    known: &'a KnownOfBooking,
    accounts: &[AccountId],
    own: Option<&str>,
) -> Option<Payment<'a>> {
    let is_theirs = |account: &str| accounts.iter().any(|one| one.as_str() == account);
    let invoices = &mut known.invoices.iter();
    let paid = invoices.find(|invoice| is_theirs(&invoice.account) && is_paid(invoice));
    let sessions = known.sessions.iter();
    let theirs = sessions.filter(|session| is_theirs(&session.account));
    let furthest = theirs
        .filter(|session| match session.progress() {
            Progress::Paid => true,
            // The event of its end may have been lost with the account.
            _ => {
                own != Some(session.id.as_str())
                    && clock::now_utc() - session.event_created < PAYMENT_LASTS
            }
        })
        .map(KnownSession::progress)
        .max();
    if paid.is_some() || furthest == Some(Progress::Paid) {
        return Some(Payment::Came(paid));
    }
    (furthest == Some(Progress::Processing)).then_some(Payment::OnItsWay)
}

impl CommandService {
    /// Refuses a booking that is paid, or for which a payment is under way, by anything of
    /// these accounts that events told of. How the session `own` is, which a command made,
    /// Stripe is asked.
    pub(super) async fn refuse_paid(
        &self,
        booking: BookingId,
        known: &KnownOfBooking,
        accounts: &[AccountId],
        own: Option<&str>,
    ) -> Result<(), CommandError> {
        match payment(known, accounts, own) {
            Some(Payment::Came(invoice)) => Err(self.paid(booking, invoice.map(shown)).await?),
            Some(Payment::OnItsWay) => Err(processing()),
            None => Ok(()),
        }
    }

    /// Ends the sessions of the booking on this account that no command made, and by which a
    /// guest can pay.
    ///
    /// # Errors
    /// [`NotEnded`].
    pub(super) async fn end_sessions_of_app(
        &self,
        client: &Client,
        account: &AccountId,
        booking: BookingId,
        own: Option<&str>,
    ) -> Result<(), NotEnded> {
        let since = (clock::now_utc() - session::MAY_BE_OPEN).timestamp();
        let is_it = |session: &Value| {
            self.is_of_app(session, booking) && own.is_none_or(|own| session["id"] != own)
        };
        // One more tells that there are more.
        let open = client
            .open_sessions(account, since, is_it, MOST_ENDED + 1)
            .await?;
        for id in open.iter().take(MOST_ENDED) {
            match client.expire_session(account, id).await {
                // A guest was faster.
                Err(ApiError::Refused(refusal)) if refusal.status == 400 => {
                    self.refuse_gone_through(client, account, booking, id)
                        .await?;
                }
                expired => drop(expired?),
            }
        }
        match open.len() > MOST_ENDED {
            true => Err(CommandError::in_progress().into()),
            false => Ok(()),
        }
    }

    /// Refuses where a guest went through the session, and the money is there or on its way.
    async fn refuse_gone_through(
        &self,
        client: &Client,
        account: &AccountId,
        booking: BookingId,
        id: &str,
    ) -> Result<(), NotEnded> {
        let session = client.session(account, id).await?;
        if session["status"] != "complete" {
            return Ok(());
        }
        let money = match session["payment_status"] == "unpaid" {
            true => session::money(client, account, &session).await?,
            false => Money::Came,
        };
        match money {
            Money::Came => Err(self.paid(booking, None).await?.into()),
            Money::OnItsWay => Err(processing().into()),
            Money::DidNotCome => Ok(()),
        }
    }

    /// Whether the session is of the booking, and of no command's making.
    fn is_of_app(&self, session: &Value, booking: BookingId) -> bool {
        let rules = &self.decoder.rules;
        let metadata = &session["metadata"];
        let named = match &metadata[&rules.booking_key] {
            Value::Null if rules.client_reference => &session["client_reference_id"],
            named => named,
        };
        let named = named.as_str().map(decode::booking_id);
        named == Some(Ok(booking)) && metadata[ATTEMPT_KEY].is_null()
    }
}
