//! The news of bookings: what their rows show anew, and what was given back of the invoices that
//! they show.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::{
    given_back::GivenBack,
    ids::{BookingId, InvoiceId},
    invoice::Status,
    main_app::{AppChanges, Pending, Target},
    money,
    news::{BookingNews, News, NewsKind, Refund},
    projection::Projection,
    rows::{InvoiceRow, RowStatus},
    working_set::WorkingSet,
};

impl WorkingSet {
    /// The news of the bookings whose rows change, and of those whose invoices were given back
    /// in part or whole.
    pub fn booking_news(
        &self,
        projection: &Projection<'_>,
        app: &AppChanges,
    ) -> BTreeMap<BookingId, BookingNews> {
        let mut news: BTreeMap<BookingId, BookingNews> = BTreeMap::new();
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
                news.entry(row.booking_id).or_default().row = told;
            }
        }
        for (booking, _) in &app.delete {
            if let Some(row) = self.shown(*booking) {
                let voided = of_row(projection, row, NewsKind::Voided);
                news.entry(*booking).or_default().row = vec![voided];
            }
        }
        for (booking, refund) in self.refunds_shown(projection, app) {
            news.entry(booking).or_default().refund = Some(refund);
        }
        news
    }

    /// The row of `"Invoice"` that the main app reads until this batch is committed.
    fn shown(&self, booking: BookingId) -> Option<&InvoiceRow> {
        self.bookings.get(&booking)?.app.as_ref()?.row.as_ref()
    }

    /// What was given back of the invoices that bookings show after this batch, where that may
    /// be news.
    fn refunds_shown(
        &self,
        projection: &Projection<'_>,
        app: &AppChanges,
    ) -> BTreeMap<BookingId, Refund> {
        let written = app.insert.iter().chain(&app.update);
        let written: BTreeMap<BookingId, &InvoiceRow> =
            written.map(|row| (row.booking_id, row)).collect();
        let deleted: BTreeSet<BookingId> = app.delete.iter().map(|(id, _)| *id).collect();
        let mut refunds = BTreeMap::new();
        for (booking, _) in self.bookings.iter() {
            let target = Target::Booking(*booking);
            let pending = self.pending(&target);
            // The job that writes the row later tells what is to be told then.
            let is_left = self.is_unchanged(booking)
                || pending == Pending::Later && !app.was_pending.contains(&target);
            if is_left || deleted.contains(booking) {
                continue;
            }
            let row = written
                .get(booking)
                .copied()
                .or_else(|| self.shown(*booking));
            let Some(row) = row else { continue };
            let is_computed_anew = pending != Pending::No || self.is_target_rechecked(&target);
            if is_computed_anew || self.was_given_back(projection, &row.stripe_invoice_id) {
                let refund = refund_of(projection, row);
                refunds.extend(refund.map(|refund| (*booking, refund)));
            }
        }
        refunds
    }

    /// Whether anything is given back of the invoice, or was before this batch.
    fn was_given_back(&self, projection: &Projection<'_>, id: &InvoiceId) -> bool {
        let before = self
            .invoices
            .get(id)
            .and_then(|one| one.projection.as_ref());
        let before = before.map(|stored| stored.given_back);
        let after = given_back(projection, id);
        [before, after]
            .into_iter()
            .flatten()
            .any(|amounts| amounts != GivenBack::default())
    }
}

fn is_void(projection: &Projection<'_>, invoice: &InvoiceId) -> bool {
    let known = projection.invoices.get(invoice);
    known.is_some_and(|known| matches!(known.invoice.status.value, Status::Void | Status::Deleted))
}

fn given_back(projection: &Projection<'_>, invoice: &InvoiceId) -> Option<GivenBack> {
    let known = projection.invoices.get(invoice)?;
    Some(known.stored.given_back)
}

/// `None` for an invoice that no event told of.
fn refund_of(projection: &Projection<'_>, row: &InvoiceRow) -> Option<Refund> {
    Some(Refund {
        invoice: row.stripe_invoice_id.clone(),
        given_back: given_back(projection, &row.stripe_invoice_id)?,
        facts: of_row(projection, row, NewsKind::Refunded).facts,
    })
}

fn of_row(projection: &Projection<'_>, row: &InvoiceRow, kind: NewsKind) -> News {
    let known = projection.invoices.get(&row.stripe_invoice_id);
    let account = known.map(|known| known.stored.account.as_str());
    let given_back = given_back(projection, &row.stripe_invoice_id).unwrap_or_default();
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
            "amountRefunded": money::major(given_back.refunded, &row.currency),
            "amountCredited": money::major(given_back.credited, &row.currency),
            "hasPdf": !row.pdf_url.is_empty(),
            // The platform's own account has no id here.
            "stripeAccountId": account.filter(|account| !account.is_empty()),
        }),
    }
}
