//! The news of bookings: what their rows show anew.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    ids::{BookingId, InvoiceId},
    invoice::Status,
    main_app::AppChanges,
    news::{News, NewsKind},
    projection::Projection,
    rows::{InvoiceRow, RowStatus},
    working_set::WorkingSet,
};

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
