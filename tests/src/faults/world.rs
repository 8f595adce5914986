//! The events of a run: seeded, several to an object, many in one second, and
//! some that must end dead or are for nobody.

use fastrand::Rng;
use serde_json::json;

use super::story;
use crate::{
    reference::{Said, Sign},
    stripe::{Event, Invoice},
};

/// When the stories begin, in seconds since 1970.
pub(super) const START: i64 = 1_760_000_000;

/// All events of a run.
#[derive(Debug)]
pub struct World {
    /// In the order of their stories.
    pub tales: Vec<Tale>,
    /// The main app's bookings are numbered from 1 to this.
    pub bookings: i32,
}

/// One event.
#[derive(Clone, Debug)]
pub enum Tale {
    /// About an invoice or a session.
    Object(Said),
    /// About an account.
    Account {
        /// The account.
        account: String,
        /// What is said of it.
        sign: Sign,
    },
    /// It cannot be applied.
    Flawed {
        /// The event's id.
        id: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// It is taken and leaves no row.
    Unwanted {
        /// The event's id.
        id: String,
        /// Whether it is of the other mode; else its type is not handled.
        live: bool,
    },
}

/// What keeps an event from being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A status that Stripe does not have.
    Status,
    /// A NUL in a text.
    Nul,
    /// A booking's id that is not a number.
    Booking,
    /// Another kind of object.
    Object,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Status, Self::Nul, Self::Booking, Self::Object];

    /// The reason that its dead letter must have.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Status => "unknown_status",
            Self::Nul => "nul_in_text",
            Self::Booking => "invalid_booking_id",
            Self::Object => "other_object",
        }
    }
}

impl World {
    /// A world of about `count` events.
    #[must_use]
    pub fn make(rng: &mut Rng, count: usize) -> Self {
        story::tell(rng, count, false)
    }

    /// As [`World::make`]; half of the events are of a host that writes into the metadata of its
    /// own invoices whatever costs the worker most.
    #[must_use]
    pub fn with_hostile_host(rng: &mut Rng, count: usize) -> Self {
        story::tell(rng, count, true)
    }

    /// The bytes of an event. `delivery` makes two deliveries of it differ, as
    /// Stripe's do.
    #[must_use]
    pub fn body(&self, index: usize, delivery: u32) -> Vec<u8> {
        let mut event = self.tales[index].event();
        event.pending_webhooks = delivery;
        event.value().to_string().into_bytes()
    }

    /// In which order events are delivered, by their numbers: shuffled within
    /// some hundred, a few of them much later, and one in twenty twice.
    #[must_use]
    pub fn deliveries(&self, rng: &mut Rng) -> Vec<usize> {
        const NEAR: usize = 300;
        const FAR: usize = 5_000;
        let mut order = Vec::with_capacity(self.tales.len() * 21 / 20);
        for index in 0..self.tales.len() {
            let reach = if rng.u8(..100) == 0 { FAR } else { NEAR };
            order.push((index + rng.usize(..reach), index));
            if rng.u8(..20) == 0 {
                order.push((index + rng.usize(..FAR), index));
            }
        }
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index).collect()
    }
}

impl Tale {
    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Object(said) => &said.id,
            Self::Account { sign, .. } => &sign.id,
            Self::Flawed { id, .. } | Self::Unwanted { id, .. } => id,
        }
    }

    fn event(&self) -> Event {
        match self {
            Self::Object(said) => said.event(),
            Self::Account { account, sign } => sign.event(account),
            Self::Flawed { id, flaw } => flawed(id, *flaw),
            Self::Unwanted { id, live } => {
                let kind = if *live {
                    "invoice.paid"
                } else {
                    "invoice.upcoming"
                };
                let mut event = Event::new(id, kind, invoice_of(id));
                event.livemode = *live;
                event.of_account("acct_Elsewhere")
            }
        }
    }
}

fn invoice_of(event: &str) -> serde_json::Value {
    Invoice {
        id: event.replacen("evt_", "in_", 1),
        booking: None,
        ..Invoice::default()
    }
    .value()
}

fn flawed(id: &str, flaw: Flaw) -> Event {
    let mut object = invoice_of(id);
    match flaw {
        Flaw::Status => object["status"] = json!("lost"),
        Flaw::Nul => object["number"] = json!("A\0B"),
        Flaw::Booking => object["metadata"] = json!({ "dialoomBookingId": "seven" }),
        Flaw::Object => object["object"] = json!("charge"),
    }
    Event::new(id, "invoice.updated", object)
        .of_account("acct_Flawed")
        .at(START)
}
