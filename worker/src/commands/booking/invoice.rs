//! `booking.invoice`: the invoice of a booking, or why there is none yet.

use domain::{
    ids::{AccountId, BookingId},
    invoice::Status,
    invoice_words::tax_words,
    main_app::ObstacleReason,
    money,
    ownership::Owner,
    rows::{RowStatus, WaitingFor},
};
use serde_json::{Value, json};
use store::{
    booking_query::{self, KnownOfBooking, KnownSession, Progress},
    command,
    invoice_query::KnownInvoice,
    main_app::booking,
    pending_projection,
};

use super::{key, session};
use crate::commands::{error::CommandError, service::CommandService, wire::time};

const NOT_BEGUN: &str = "Nobody has begun to pay for the booking.";

impl CommandService {
    /// Answers the invoice that `"Invoice"` has, or will have once the booking's row is there,
    /// and in words how things are.
    pub(in crate::commands) async fn booking_invoice(
        &self,
        booking: BookingId,
    ) -> Result<Value, CommandError> {
        let owner = self.configured_owner(booking).await?;
        let mut known = self.known_of(booking, owner.as_ref(), &[]).await?;
        if let Some(last) = self.last_session(booking).await? {
            if owner.is_none() && !known.is_claimed {
                known.owner = Some(AccountId::from(last.account.as_str()));
            }
            known.sessions.push(last);
        }
        let pending = {
            let conn = self.connection().await?;
            pending_projection::of_booking(&conn, booking).await?
        };
        let current = current(&known, booking);
        let mut words = words(&known, booking, current);
        words.extend(pending.map(pending_words));
        Ok(json!({
            "bookingId": booking.0,
            "invoice": current.map(shown),
            "words": words,
        }))
    }

    /// What is known of the booking, whose it is by the deployment's query, and what these
    /// accounts say of it.
    pub(super) async fn known_of(
        &self,
        booking: BookingId,
        owner: Option<&Owner>,
        accounts: &[AccountId],
    ) -> Result<KnownOfBooking, CommandError> {
        let conn = self.connection().await?;
        Ok(booking_query::of_booking(&conn, booking.0, owner, accounts).await?)
    }

    /// The session that a command made last. It claims its booking no more where it has
    /// expired or its payment failed, so that it is not found by its claim.
    async fn last_session(&self, booking: BookingId) -> Result<Option<KnownSession>, CommandError> {
        let conn = self.connection().await?;
        let record = command::find(&conn, &key(booking)).await?;
        let Some((record, id)) = record.and_then(|record| {
            let id = record.object_id.clone()?;
            Some((record, id))
        }) else {
            return Ok(None);
        };
        let account = session::account(&record);
        Ok(booking_query::session(&conn, account.as_str(), &id).await?)
    }

    /// Whose the booking is by the deployment's query; `None` where there is none.
    pub(super) async fn configured_owner(
        &self,
        booking: BookingId,
    ) -> Result<Option<Owner>, CommandError> {
        let Some(query) = self.owner_query.as_deref() else {
            return Ok(None);
        };
        let conn = self.connection().await?;
        let owner = booking::owners(&conn, Some(query), &[booking.0]).await?;
        let owner = owner.into_values().next();
        Ok(Some(owner.unwrap_or(Owner::Unknown)))
    }
}

/// The booking's invoice, as `"Invoice"` chooses it.
fn current(known: &KnownOfBooking, booking: BookingId) -> Option<&KnownInvoice> {
    let its = known
        .invoices
        .iter()
        .filter(|invoice| is_of(invoice, booking));
    let ranked = its.filter_map(|invoice| {
        let row = RowStatus::of(status(invoice)?)?;
        let is_to_pay = invoice.total.is_some_and(|total| total > 0);
        Some(((row, is_to_pay, invoice.created, &invoice.id), invoice))
    });
    let best = ranked.max_by(|(a, _), (b, _)| a.cmp(b));
    best.map(|(_, invoice)| invoice)
}

/// Whether the invoice is the booking's: nothing but the booking's row may be missing.
fn is_of(invoice: &KnownInvoice, booking: BookingId) -> bool {
    let is_joined = matches!(waiting(invoice), None | Some(WaitingFor::BookingRow));
    invoice.booking_id == Some(booking.0) && is_joined
}

/// Whether a guest has paid the invoice.
pub(super) fn is_paid(invoice: &KnownInvoice) -> bool {
    let is_to_pay = invoice.total.is_none_or(|total| total > 0);
    status(invoice) == Some(Status::Paid) && is_to_pay
}

fn status(invoice: &KnownInvoice) -> Option<Status> {
    Status::parse(&invoice.status)
}

fn waiting(invoice: &KnownInvoice) -> Option<WaitingFor> {
    invoice.waiting.as_deref().and_then(WaitingFor::parse)
}

/// An invoice as answers show it.
pub(super) fn shown(invoice: &KnownInvoice) -> Value {
    let status =
        status(invoice).map(|status| RowStatus::of(status).map_or("VOID", RowStatus::as_str));
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

/// How things are with the booking's invoice.
fn words(
    known: &KnownOfBooking,
    booking: BookingId,
    current: Option<&KnownInvoice>,
) -> Vec<String> {
    let Some(invoice) = current else {
        return vec![why_none(known, booking)];
    };
    let mut said = vec![match (status(invoice), invoice.created) {
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
    let error = invoice.finalization_error();
    said.extend(error.map(|error| format!("It {}.", error.words())));
    let tax = invoice.automatic_tax_status.as_deref();
    let tax = tax.filter(|status| *status != "complete");
    said.extend(tax.map(|status| format!("Tax: {}.", tax_words(status))));
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

/// The main app reads something else than this answer until the row is written.
fn pending_words(reason: ObstacleReason) -> String {
    let why = match reason {
        ObstacleReason::Locked => "the main app has locked it".to_owned(),
        ObstacleReason::NotTried => "it was not tried yet".to_owned(),
        ObstacleReason::Permission => "the worker's role lacks a right".to_owned(),
        ObstacleReason::ForeignKey
        | ObstacleReason::Check
        | ObstacleReason::NotNull
        | ObstacleReason::Unique
        | ObstacleReason::RowLevelSecurity
        | ObstacleReason::SessionEnded
        | ObstacleReason::Refused => {
            format!("the database refuses it ({})", reason.as_str())
        }
    };
    format!(
        "The booking's row in \"Invoice\" is not written yet, and is as it was before: {why}. It \
         is tried again."
    )
}

/// Why the booking has no invoice. Only what its owner's objects say counts: anybody's may name
/// the booking.
fn why_none(known: &KnownOfBooking, booking: BookingId) -> String {
    let Some(owner) = &known.owner else {
        let said = match known.is_claimed {
            true => {
                "What names the booking waits: BOOKING_OWNER_QUERY does not know whose the \
                 booking is."
            }
            false => NOT_BEGUN,
        };
        return said.to_owned();
    };
    let invoices = known.invoices.iter();
    let its: Vec<&KnownInvoice> = invoices
        .filter(|invoice| invoice.account == owner.as_str())
        .collect();
    if let Some(waiting) = its.iter().find_map(|invoice| waiting(invoice)) {
        let why = match waiting {
            WaitingFor::Owner => "BOOKING_OWNER_QUERY does not know whose the booking is",
            WaitingFor::Claim => "the booking is another account's",
            WaitingFor::Amount => "no event gave a total and a currency",
            WaitingFor::OneBooking => "it has named more bookings than an invoice may",
            WaitingFor::Turn => "more invoices and sessions name the booking than may",
            WaitingFor::Booking | WaitingFor::BookingRow => "nothing names its booking yet",
        };
        return format!("An invoice that names the booking waits: {why}.");
    }
    let voided: Vec<&str> = its
        .iter()
        .filter(|invoice| is_of(invoice, booking) && is_void(invoice))
        .map(|invoice| invoice.id.as_str())
        .collect();
    let is_voided = |session: &&KnownSession| {
        let invoice = session.invoice_id.as_deref();
        invoice.is_some_and(|invoice| voided.contains(&invoice))
    };
    let sessions = known.sessions.iter();
    let furthest = sessions
        .filter(|session| session.account == owner.as_str() && !is_voided(session))
        .map(KnownSession::progress)
        .max();
    let said = match furthest {
        Some(Progress::Paid) => "The guest has paid, and no event of the invoice has come yet.",
        Some(Progress::Processing) => {
            "The guest has paid by a method that takes days, and the money is not there."
        }
        Some(Progress::Open) => "The guest has not paid yet: the checkout is open.",
        _ if !voided.is_empty() => "The booking's invoice is void, and there is no other one.",
        Some(Progress::PaymentFailed) => {
            "The guest has not paid: a payment by a method that takes days has failed."
        }
        Some(Progress::Expired) => "The guest has not paid: the checkout has expired.",
        None => NOT_BEGUN,
    };
    said.to_owned()
}

fn is_void(invoice: &KnownInvoice) -> bool {
    matches!(status(invoice), Some(Status::Void | Status::Deleted))
}
