//! News: what the main app is told of a change of one of its rows.
//!
//! News is about what a row shows: an invoice and its status, or a host's status and whether
//! it may sell. A change of anything else in the row, such as a host's requirements, is no
//! news. It holds ids and facts and nothing personal.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    ids::{BookingId, InvoiceId},
    invoice::Status,
    main_app::{AppChanges, Target},
    projection::Projection,
    rows::{HostRow, InvoiceRow, RowStatus},
    text_enum,
    working_set::WorkingSet,
};

text_enum! {
    /// What happened. A kind more, such as that of a refund, is a variant here and a function
    /// that makes it.
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
        /// A host's status changed, or whether the host may sell.
        HostStatus = "host.status.changed",
    }
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What happened.
    pub kind: NewsKind,
    /// The row that changed.
    pub target: Target,
    /// What the message says of it: a JSON object.
    pub facts: Value,
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
    (!shows_the_same).then(|| News {
        kind: NewsKind::HostStatus,
        target: Target::Host(row.account.clone()),
        facts: json!({
            "stripeAccountId": row.account.as_str(),
            "hostId": row.host_id,
            "from": from,
            "to": to,
            "why": row.requirements.disabled_reason,
            "canSell": row.can_sell,
        }),
    })
}

impl WorkingSet {
    /// The news of the bookings whose rows change, in the order in which it is told.
    pub fn booking_news(
        &self,
        projection: &Projection<'_>,
        app: &AppChanges,
    ) -> BTreeMap<BookingId, Vec<News>> {
        let mut news = BTreeMap::new();
        for row in app.insert.iter().chain(&app.update) {
            let before = self.shown(row.booking_id);
            let other = before.filter(|before| before.stripe_invoice_id != row.stripe_invoice_id);
            let voided = other.filter(|before| is_void(projection, &before.stripe_invoice_id));
            let is_new = other.is_some() || before.is_none_or(|before| before.status != row.status);
            let mut told = Vec::new();
            told.extend(voided.map(|before| of_row(projection, before, NewsKind::Voided)));
            let kind = row.status.filter(|_| is_new).map(NewsKind::of_status);
            told.extend(kind.map(|kind| of_row(projection, row, kind)));
            if !told.is_empty() {
                news.insert(row.booking_id, told);
            }
        }
        for (booking, _) in &app.delete {
            let before = self.shown(*booking);
            let voided = before.map(|row| of_row(projection, row, NewsKind::Voided));
            news.extend(voided.map(|voided| (*booking, vec![voided])));
        }
        news
    }

    /// The row of `"Invoice"` that the main app reads until this batch is committed.
    fn shown(&self, booking: BookingId) -> Option<&InvoiceRow> {
        self.bookings.get(&booking)?.app.as_ref()?.row.as_ref()
    }
}

impl NewsKind {
    fn of_status(status: RowStatus) -> Self {
        match status {
            RowStatus::Draft => Self::Draft,
            RowStatus::Sent => Self::Sent,
            RowStatus::Paid => Self::Paid,
        }
    }
}

fn is_void(projection: &Projection<'_>, invoice: &InvoiceId) -> bool {
    let known = projection.invoices.get(invoice);
    known.is_some_and(|known| matches!(known.invoice.status.value, Status::Void | Status::Deleted))
}

fn of_row(projection: &Projection<'_>, row: &InvoiceRow, kind: NewsKind) -> News {
    let known = projection.invoices.get(&row.stripe_invoice_id);
    let account = known.map(|known| known.stored.account.as_str());
    // A row that went shows nothing any more.
    let status = row.status.filter(|_| kind != NewsKind::Voided);
    News {
        kind,
        target: Target::Booking(row.booking_id),
        facts: json!({
            "bookingId": row.booking_id.0,
            "stripeInvoiceId": row.stripe_invoice_id.as_str(),
            "status": status.map(RowStatus::as_str),
            "amount": row.amount,
            "currency": row.currency,
            "hasPdf": !row.pdf_url.is_empty(),
            // The platform's own account has no id here.
            "stripeAccountId": account.filter(|account| !account.is_empty()),
        }),
    }
}
