//! The rows that follow from what is known: the invoice's own, and those of the main app.

use chrono::{DateTime, Utc};

use crate::{
    account::Account,
    account_snapshot::Requirements,
    decode::moment,
    given_back::GivenBack,
    ids::{AccountId, BookingId, InvoiceId},
    invoice::{InvoiceColumns, Status},
    onboarding::{self, Onboarding},
    text_enum,
};

text_enum! {
    /// What an invoice waits for before it can be its booking's row.
    pub enum WaitingFor {
        /// Neither the invoice nor a session names a booking.
        Booking = "no_booking",
        /// The main app has no such booking yet.
        BookingRow = "booking_missing",
        /// The deployment's owner query does not know the booking yet.
        Owner = "owner_unknown",
        /// The booking is another account's, unless its claim turns out to be first.
        Claim = "booking_claimed_by_other_account",
        /// No event gave a total and a currency.
        Amount = "amount_unknown",
        /// Its metadata named more bookings than an object may: it names none.
        OneBooking = "too_many_bookings",
        /// More objects name the booking than may, and it is not among the first.
        Turn = "too_many_objects",
    }
}

/// The row of an invoice, but for what its events said apart by claim. All of it depends
/// on the owners: they say which parts are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProjection {
    /// The account that issued it.
    pub account: AccountId,
    /// The booking that it is of.
    pub booking: Option<BookingId>,
    /// What it waits for; `None` where it is shown, or is no longer its booking's.
    pub waiting: Option<WaitingFor>,
    /// Whether it names a booking whose owner nobody knows yet.
    pub is_undecided: bool,
    /// The accepted parts merged, or the latest part where none is accepted.
    pub columns: InvoiceColumns,
    /// What was given back of it.
    pub given_back: GivenBack,
}

text_enum! {
    /// The main app's enum `"InvoiceStatus"`, in the order of precedence among the invoices
    /// of one booking.
    pub enum RowStatus {
        /// Not finalised.
        Draft = "DRAFT",
        /// Payable.
        Sent = "SENT",
        /// Paid.
        Paid = "PAID",
    }
}

/// A row of `"Invoice"`: a booking's current invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceRow {
    /// The booking.
    pub booking_id: BookingId,
    /// The invoice.
    pub stripe_invoice_id: InvoiceId,
    /// Its PDF; empty where there is none yet.
    pub pdf_url: String,
    /// Its total in major units, without trailing zeros.
    pub amount: String,
    /// The currency, in Stripe's lower case.
    pub currency: String,
    /// The status; `None` for a value that the main app added to its enum.
    pub status: Option<RowStatus>,
    /// When Stripe made the invoice.
    pub created_at: DateTime<Utc>,
}

/// A row of `"HostOnboarding"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// The account.
    pub account: AccountId,
    /// The host's id in the main app.
    pub host_id: Option<String>,
    /// How far the host is.
    pub status: onboarding::Status,
    /// Whether a guest can pay the host.
    pub can_sell: bool,
    /// Stripe's `charges_enabled`.
    pub charges_enabled: bool,
    /// Stripe's `payouts_enabled`.
    pub payouts_enabled: bool,
    /// Stripe's `details_submitted`.
    pub details_submitted: bool,
    /// Stripe's `requirements`.
    pub requirements: Requirements,
    /// Stripe's `future_requirements.currently_due`.
    pub future_due: Vec<String>,
    /// The deadline that counts.
    pub deadline: Option<DateTime<Utc>>,
    /// `standard`, `express`, `custom` or `none`.
    pub account_type: Option<String>,
    /// The account's country.
    pub country: Option<String>,
    /// The account's default currency.
    pub default_currency: Option<String>,
    /// The newest event of the account.
    pub last_event_at: DateTime<Utc>,
    /// When the account was made, or its first event where no snapshot says it.
    pub created_at: DateTime<Utc>,
}

impl RowStatus {
    /// The status of a row that shows an invoice; `None` for an invoice that is not
    /// shown. Of the invoices of one booking, that with the greatest is shown.
    pub fn of(status: Status) -> Option<Self> {
        match status {
            Status::Draft => Some(Self::Draft),
            Status::Open | Status::Uncollectible => Some(Self::Sent),
            Status::Paid => Some(Self::Paid),
            Status::Void | Status::Deleted => None,
        }
    }
}

impl HostRow {
    /// The row that shows an account.
    pub fn new(id: &AccountId, account: &Account) -> Self {
        let winner = account.winner();
        let snapshot = winner
            .map(|winner| winner.snapshot.clone())
            .unwrap_or_default();
        let onboarding = Onboarding::of_account(account);
        let first = account.first_event.unwrap_or_default();
        Self {
            account: id.clone(),
            status: onboarding.status,
            can_sell: onboarding.can_sell,
            deadline: onboarding.deadline.map(moment),
            charges_enabled: snapshot.charges_enabled,
            payouts_enabled: snapshot.payouts_enabled,
            details_submitted: snapshot.details_submitted,
            requirements: snapshot.requirements,
            future_due: snapshot.future_currently_due,
            host_id: snapshot.host_id,
            account_type: snapshot.account_type,
            country: snapshot.country,
            default_currency: snapshot.default_currency,
            last_event_at: moment(account.last_event().unwrap_or(first)),
            created_at: moment(snapshot.created.unwrap_or(first)),
        }
    }
}
