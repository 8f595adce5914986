//! `booking.invoice`: the invoice of a booking, or why there is none yet.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    ids::{AccountId, BookingId},
    invoice::Status,
    money,
    ownership::Owner,
};
use serde_json::{Value, json};
use store::{
    booking_query::{self, KnownInvoice, KnownOfBooking},
    main_app::booking,
};

use crate::commands::{error::CommandError, service::CommandService};

impl CommandService {
    /// Answers the invoice that `"Invoice"` has, or will have once the booking's row is there,
    /// and in words how things are.
    pub(in crate::commands) async fn booking_invoice(
        &self,
        booking: BookingId,
    ) -> Result<Value, CommandError> {
        let known = self.known_of(booking).await?;
        let current = current(&known, booking);
        Ok(json!({
            "bookingId": booking.0,
            "invoice": current.map(shown),
            "words": words(&known, current),
        }))
    }

    /// What is known of the booking.
    pub(super) async fn known_of(
        &self,
        booking: BookingId,
    ) -> Result<KnownOfBooking, CommandError> {
        let conn = self.connection().await?;
        Ok(booking_query::of_booking(&conn, booking.0).await?)
    }

    /// Whose the booking is by the deployment's query; `None` where there is none, or it does
    /// not know the booking yet.
    pub(super) async fn owner(
        &self,
        booking: BookingId,
    ) -> Result<Option<AccountId>, CommandError> {
        let query = self.executor.owner_query.as_deref();
        let conn = self.connection().await?;
        let owners = booking::owners(&conn, query, &[booking.0]).await?;
        Ok(owners.into_values().find_map(|owner| match owner {
            Owner::Account(account) => Some(account),
            Owner::Unknown => None,
        }))
    }
}

/// The booking's invoice by the order of precedence of `"Invoice"`.
fn current(known: &KnownOfBooking, booking: BookingId) -> Option<&KnownInvoice> {
    let its = known
        .invoices
        .iter()
        .filter(|invoice| invoice.booking_id == Some(booking.0) && invoice.is_joined());
    its.filter_map(|invoice| {
        let precedence = match invoice.status()? {
            Status::Draft => 0,
            Status::Open | Status::Uncollectible => 1,
            Status::Paid => 2,
            Status::Void | Status::Deleted => return None,
        };
        let is_to_pay = invoice.total.is_some_and(|total| total > 0);
        Some((
            (precedence, is_to_pay, invoice.created, &invoice.id),
            invoice,
        ))
    })
    .max_by(|(a, _), (b, _)| a.cmp(b))
    .map(|(_, invoice)| invoice)
}

/// An invoice as answers show it.
pub(super) fn shown(invoice: &KnownInvoice) -> Value {
    let status = invoice.status().map(|status| match status {
        Status::Draft => "DRAFT",
        Status::Open | Status::Uncollectible => "SENT",
        Status::Paid => "PAID",
        Status::Void | Status::Deleted => "VOID",
    });
    let currency = invoice.currency.as_deref().unwrap_or_default();
    json!({
        "stripeInvoiceId": invoice.id,
        "stripeAccountId": invoice.account,
        "bookingId": invoice.booking_id,
        "status": status,
        "amount": invoice.total.map(|total| money::major(total, currency)),
        "currency": invoice.currency,
        "amountRefunded": money::major(invoice.amount_refunded, currency),
        "amountCredited": money::major(invoice.amount_credited, currency),
        "number": invoice.number,
        "pdfUrl": invoice.invoice_pdf.as_deref().unwrap_or_default(),
        "hostedInvoiceUrl": invoice.hosted_invoice_url,
        "createdAt": invoice.created.map(time),
    })
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How things are with the booking's invoice.
fn words(known: &KnownOfBooking, current: Option<&KnownInvoice>) -> Vec<String> {
    let Some(invoice) = current else {
        return vec![why_none(known)];
    };
    let mut said = vec![match (invoice.status(), invoice.created) {
        (Some(Status::Draft), Some(at)) => format!(
            "The invoice has been a draft since {}: Stripe finalises it about an hour later.",
            time(at)
        ),
        (Some(Status::Draft), None) => "The invoice is a draft.".to_owned(),
        (Some(Status::Uncollectible), _) => {
            "The invoice was given up as uncollectible; it can still be paid.".to_owned()
        }
        (Some(Status::Paid), _) => "The invoice is paid.".to_owned(),
        _ => "The invoice is issued and not paid.".to_owned(),
    }];
    let error = invoice.finalization_error_code.as_deref();
    if let Some(reason) = error.or(invoice.finalization_error_type.as_deref()) {
        said.push(match reason {
            "customer_tax_location_invalid" => {
                "Stripe could not finalise it: the guest's address for the tax is missing or \
                 wrong."
                    .to_owned()
            }
            reason => format!("Stripe could not finalise it: {reason}."),
        });
    }
    let currency = invoice.currency.as_deref().unwrap_or_default();
    let given_back = [
        ("refunded", invoice.amount_refunded),
        ("credited", invoice.amount_credited),
    ];
    for (what, amount) in given_back.into_iter().filter(|(_, amount)| *amount > 0) {
        let amount = money::major(amount, currency);
        said.push(format!("{amount} {currency} of it was {what}."));
    }
    if invoice.waiting.is_some() {
        said.push("It waits for the booking's row in the main app's table.".to_owned());
    }
    said
}

fn why_none(known: &KnownOfBooking) -> String {
    let waiting = known.invoices.iter().find_map(|one| one.waiting.as_deref());
    if let Some(waiting) = waiting {
        let why = match waiting {
            "owner_unknown" => "BOOKING_OWNER_QUERY does not know whose the booking is",
            "booking_claimed_by_other_account" => "the booking is another account's",
            "amount_unknown" => "no event gave a total and a currency",
            "too_many_bookings" => "it has named more bookings than an invoice may",
            "too_many_objects" => "more invoices and sessions name the booking than may",
            _ => "nothing names its booking yet",
        };
        return format!("An invoice that names the booking waits: {why}.");
    }
    let paid = |status: Option<&str>| matches!(status, Some("paid" | "no_payment_required"));
    let is = |session: &booking_query::KnownSession, status: &str| {
        session.status.as_deref() == Some(status)
    };
    let sessions = &known.sessions;
    if sessions
        .iter()
        .any(|one| paid(one.payment_status.as_deref()))
    {
        return "The guest has paid, and no event of the invoice has come yet.".into();
    }
    if sessions.iter().any(|one| is(one, "complete")) {
        return "The guest has paid by a method that takes days, and the money is not there."
            .into();
    }
    if sessions.iter().any(|one| is(one, "open")) {
        return "The guest has not paid yet: the checkout is open.".into();
    }
    if !sessions.is_empty() {
        return "The guest has not paid: the checkout has expired.".into();
    }
    "Nobody has begun to pay for the booking.".into()
}
