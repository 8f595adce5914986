//! News: what the main app is told of a change of one of its rows.
//!
//! News is about what a row shows: an invoice and its status, or a host's status and whether
//! it may sell. Of an invoice that is shown, what was given back of it is news as well. A change
//! of anything else in the row, such as a host's requirements, is none. News holds ids and facts
//! and nothing personal.

use serde_json::{Value, json};

use crate::{
    given_back::GivenBack,
    host_words,
    ids::InvoiceId,
    onboarding::Status,
    rows::{HostRow, RowStatus},
    text_enum,
};

text_enum! {
    /// What happened. A kind more is a variant here and a function that makes it.
    pub enum NewsKind {
        /// A booking shows a draft.
        Draft = "booking.invoice.draft",
        /// A booking shows an invoice that can be paid.
        Sent = "booking.invoice.sent",
        /// A booking shows an invoice that is paid.
        Paid = "booking.invoice.paid",
        /// A booking no longer shows the invoice that it showed: it is void or deleted, or its
        /// claim on the booking did not last.
        Voided = "booking.invoice.voided",
        /// What was refunded or credited of the invoice that a booking shows is another amount.
        Refunded = "booking.invoice.refunded",
        /// A host's status changed, or whether the host may sell.
        HostStatus = "host.status.changed",
    }
}

/// One piece of news of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What happened.
    pub kind: NewsKind,
    /// What the message says of it: a JSON object.
    pub facts: Value,
}

/// The news of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookingNews {
    /// What its row shows anew, in the order in which it is told.
    pub row: Vec<News>,
    /// What was given back of the invoice that it shows, where that may be news.
    pub refund: Option<Refund>,
}

/// What was given back of an invoice that a booking shows. Whether it is news depends on what
/// was told before, which no row of the main app's says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The invoice.
    pub invoice: InvoiceId,
    /// What was given back of it.
    pub given_back: GivenBack,
    /// What the message says: a JSON object.
    pub facts: Value,
}

impl Refund {
    /// The news of it; `None` where the booking was told the same of this invoice last, or
    /// nothing was told and nothing is given back.
    pub fn news(&self, told: Option<GivenBack>) -> Option<News> {
        (told.unwrap_or_default() != self.given_back).then(|| News {
            kind: NewsKind::Refunded,
            facts: self.facts.clone(),
        })
    }
}

/// What a row of `"HostOnboarding"` showed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostBefore {
    /// The status, as the main app's enum has it.
    pub status: String,
    /// Whether a guest could pay the host.
    pub can_sell: bool,
}

/// The news of a host's row; `None` where it shows what it showed before.
pub fn of_host(before: Option<&HostBefore>, row: &HostRow) -> Option<News> {
    let (from, to) = (before.map(|row| row.status.as_str()), row.status.as_str());
    let shows_the_same =
        before.is_some_and(|before| before.status == to && before.can_sell == row.can_sell);
    // What the latest snapshot said counts no more.
    let is_known = !matches!(row.status, Status::Disconnected | Status::Unknown);
    let reason = row.requirements.disabled_reason.as_deref();
    (!shows_the_same).then(|| News {
        kind: NewsKind::HostStatus,
        facts: json!({
            "stripeAccountId": row.account.as_str(),
            "hostId": row.host_id,
            "from": from,
            "to": to,
            "why": reason.filter(|_| is_known),
            // What is due is left out: it names persons of the account.
            "words": host_words::whether_and_why(row),
            "canSell": row.can_sell,
        }),
    })
}

impl NewsKind {
    /// The news of a row that shows an invoice of this status.
    pub(crate) fn of_status(status: RowStatus) -> Self {
        match status {
            RowStatus::Draft => Self::Draft,
            RowStatus::Sent => Self::Sent,
            RowStatus::Paid => Self::Paid,
        }
    }
}
