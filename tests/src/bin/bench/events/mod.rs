//! The events that are sent: an endless stream in which each has its number, so
//! that every process of a run knows what the others mean by it.
//!
//! Bookings come in blocks. Each is told by four events (invoice created, session
//! completed, invoice finalised, invoice paid) some hundred events apart, as at
//! the peak of a busy day, so that a batch rarely holds two events of one object.
//! One booking in sixteen has an event out of order. Every tenth event is about
//! one of 5,000 hosts.

mod samples;
mod template;
mod token;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::{
    samples::Samples,
    template::{Field, Template, write_number},
    token::{mix, write_random, write_sorted},
};

/// Bookings in a block.
const BOOKINGS: u64 = 7_200;
/// Events of a booking.
const LANES: u64 = 4;
/// Events in a block: those of its bookings, and a tenth about hosts.
const BLOCK: u64 = BOOKINGS * LANES * 10 / 9;
/// How many bookings later the next event of a booking comes.
const LAG: u64 = 150;
/// Connected accounts.
const HOSTS: u64 = 5_000;
/// Events in one second of Stripe's time.
const A_SECOND: u64 = 10_000;

/// Some events of the stream, for another process.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Events {
    /// Tells the ids of this run from those of others.
    pub(crate) run: u64,
    /// When the stream began, in seconds since 1970.
    pub(crate) start: u64,
    /// The numbers of the events.
    pub(crate) range: Range<u64>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    InvoiceCreated,
    SessionCompleted,
    InvoiceFinalized,
    InvoicePaid,
    AccountUpdated,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::InvoiceCreated,
        Self::SessionCompleted,
        Self::InvoiceFinalized,
        Self::InvoicePaid,
        Self::AccountUpdated,
    ];

    /// The event's type, and routing key.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvoiceCreated => "invoice.created",
            Self::SessionCompleted => "checkout.session.completed",
            Self::InvoiceFinalized => "invoice.finalized",
            Self::InvoicePaid => "invoice.paid",
            Self::AccountUpdated => "account.updated",
        }
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Stream {
    run: u64,
    start: u64,
    samples: Samples,
}

/// One event of the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// The booking's number, or that of the host's update.
    subject: u64,
    host: u64,
    /// When it happened, in seconds since the stream began.
    second: u64,
}

impl Stream {
    pub(crate) fn of(events: &Events) -> Self {
        Self {
            run: events.run,
            start: events.start,
            samples: Samples::new(),
        }
    }

    /// The event of this number.
    pub(crate) fn event(&self, number: u64) -> Event {
        let (block, place) = (number / BLOCK, number % BLOCK);
        if place % 10 == 9 {
            let update = number / 10;
            return Event {
                number,
                kind: Kind::AccountUpdated,
                subject: update / HOSTS,
                host: update % HOSTS,
                second: number / A_SECOND,
            };
        }
        let place = place - place / 10;
        let lane = place % LANES;
        let booking = (place / LANES + BOOKINGS - lane * LAG) % BOOKINGS;
        let subject = block * BOOKINGS + booking;
        Event {
            number,
            kind: match lane {
                0 => Kind::InvoiceCreated,
                1 => Kind::SessionCompleted,
                2 => Kind::InvoiceFinalized,
                _ => Kind::InvoicePaid,
            },
            subject,
            host: subject % HOSTS,
            second: subject * LANES / A_SECOND + lane,
        }
    }

    /// The event's id.
    pub(crate) fn id(&self, event: &Event) -> String {
        let mut id = b"evt_".to_vec();
        self.write(event, Field::Event, &mut id);
        text(id)
    }

    /// The event's account.
    pub(crate) fn account(&self, event: &Event) -> String {
        let mut id = b"acct_".to_vec();
        self.write(event, Field::Account, &mut id);
        text(id)
    }

    /// The id of the object that the event is about.
    pub(crate) fn object(&self, event: &Event) -> String {
        let (prefix, field) = match event.kind {
            Kind::AccountUpdated => return self.account(event),
            Kind::SessionCompleted => ("cs_test_", Field::Session),
            Kind::InvoiceCreated | Kind::InvoiceFinalized | Kind::InvoicePaid => {
                ("in_", Field::Invoice)
            }
        };
        let mut id = prefix.as_bytes().to_vec();
        self.write(event, field, &mut id);
        text(id)
    }

    /// Appends the event's body.
    pub(crate) fn write_body(&self, event: &Event, out: &mut Vec<u8>) {
        let fill = |field, out: &mut Vec<u8>| self.write(event, field, out);
        self.template(event).write(out, fill);
    }

    fn template(&self, event: &Event) -> &Template {
        match event.kind {
            Kind::InvoiceCreated => &self.samples.invoice_created,
            Kind::SessionCompleted => &self.samples.session_completed,
            Kind::InvoiceFinalized => &self.samples.invoice_finalized,
            Kind::InvoicePaid => &self.samples.invoice_paid,
            Kind::AccountUpdated if event.subject.is_multiple_of(2) => &self.samples.account_due,
            Kind::AccountUpdated => &self.samples.account_done,
        }
    }

    fn write(&self, event: &Event, field: Field, out: &mut Vec<u8>) {
        let seed = |field: Field, of: u64| mix(self.run ^ mix(of) ^ mix(field as u64));
        let host = seed(Field::Account, event.host);
        let made = self.start + event.subject * LANES / A_SECOND;
        match field {
            Field::Event => {
                let at = self.start + event.second;
                write_token(out, at, host, seed(field, event.number));
            }
            Field::Invoice => write_token(out, made, host, seed(field, event.subject)),
            Field::Account => {
                out.push(b'1');
                write_sorted(out, self.start % 100_000 + event.host, 5);
                write_random(out, host, 10);
            }
            Field::Session => {
                out.extend_from_slice(b"a1");
                write_random(out, seed(field, event.subject), 56);
            }
            Field::Booking => write_number(out, event.subject + 1),
            Field::Host => write_number(out, event.host),
            Field::Created => write_number(out, self.start + event.second),
            Field::Made if event.kind == Kind::AccountUpdated => write_number(out, self.start),
            Field::Made => write_number(out, made),
            Field::Total => write_number(out, 1_000 + mix(event.subject) % 20_000),
        }
    }
}

/// Stripe's time counts from 2011.
const EPOCH: u64 = 1_293_840_000;

fn write_token(out: &mut Vec<u8>, at: u64, host: u64, seed: u64) {
    out.push(b'1');
    write_sorted(out, at.saturating_sub(EPOCH), 5);
    write_random(out, host, 10);
    write_random(out, seed, 8);
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}
