//! What happens in the demo, and how it has to end.

use std::collections::BTreeSet;

use harness::stripe::{Account, CheckoutSession, Event, Invoice, SAMPLE_TIME};
use serde_json::{Value, json};

/// Told before it begins.
pub(super) const INTRODUCTION: &str = "\
Ana and Ben want to sell video calls. Ana finishes her onboarding at Stripe, Ben does not.
Guests pay three of Ana's bookings: 45.00 euros, 60.00 euros, and 7500 yen. The invoice of
the second does not name its booking: only its checkout session does.
Stripe delivers the events in any order and more than once. Somebody who does not know the
endpoint's secret sends one more, which says that Ana's first invoice was voided.";

/// The account that sells.
const ANA: &str = "acct_1DemoAna";
/// The account that stays incomplete.
const BEN: &str = "acct_1DemoBen";
/// What Ben has not handed in.
const MISSING: &str = "individual.verification.document";

/// A booking that is paid.
struct Sale {
    booking: i32,
    total: i64,
    currency: &'static str,
    /// `total` as the main app reads it.
    amount: &'static str,
    /// When the invoice is made, in UTC.
    created: &'static str,
    /// Whether the invoice's own metadata names the booking.
    is_named: bool,
}

const SALES: [Sale; 3] = [
    Sale {
        booking: 1,
        total: 4500,
        currency: "eur",
        amount: "45",
        created: "2025-10-09 09:53:20",
        is_named: true,
    },
    Sale {
        booking: 2,
        total: 6000,
        currency: "eur",
        amount: "60",
        created: "2025-10-09 10:53:20",
        is_named: false,
    },
    Sale {
        booking: 3,
        total: 7500,
        currency: "jpy",
        amount: "7500",
        created: "2025-10-09 11:53:20",
        is_named: true,
    },
];

/// An event, and what it is about in a word.
pub(super) struct Told {
    pub(super) event: Event,
    pub(super) about: String,
}

/// The events and the rows that they have to end in.
pub(super) struct Story {
    /// In the order in which they happened.
    pub(super) events: Vec<Told>,
    /// The one that is not Stripe's.
    pub(super) forged: Told,
    /// The rows of `"Invoice"`: booking, invoice, amount, currency, status, time.
    pub(super) invoices: Vec<Vec<String>>,
    /// The rows of `"HostOnboarding"`: account, host, status, sells, currently due.
    pub(super) hosts: Vec<Vec<String>>,
}

impl Story {
    pub(super) fn new() -> Self {
        let mut events = Vec::new();
        let mut tell = |event: Event, about: String| {
            let event = Event {
                id: format!("evt_1Demo{:02}", events.len() + 1),
                ..event
            };
            events.push(Told { event, about });
        };
        for event in ana_onboards() {
            tell(event, "Ana".to_owned());
        }
        for event in ben_onboards() {
            tell(event, "Ben".to_owned());
        }
        for sale in &SALES {
            for event in sale.events() {
                tell(event, format!("booking {}", sale.booking));
            }
        }
        Self {
            events,
            forged: Told {
                event: SALES[0].void(),
                about: "booking 1".to_owned(),
            },
            invoices: SALES.iter().map(Sale::row).collect(),
            hosts: vec![
                texts([ANA, "host-ana", "ENABLED", "true", ""]),
                texts([BEN, "host-ben", "INCOMPLETE", "false", MISSING]),
            ],
        }
    }

    /// The types of all events, the forged one included.
    pub(super) fn types(&self) -> BTreeSet<&str> {
        let all = self.events.iter().chain([&self.forged]);
        all.map(|told| told.event.kind.as_str()).collect()
    }
}

fn ana_onboards() -> [Event; 2] {
    let fresh = Account::fresh(ANA, "host-ana");
    let done = Account {
        id: ANA.to_owned(),
        host: Some("host-ana".to_owned()),
        ..Account::default()
    };
    let done = done.value();
    let mut finished = updated(ANA, SAMPLE_TIME + 600, done);
    let before = |field: &str| fresh[field].clone();
    finished.previous_attributes = Some(json!({
        "details_submitted": before("details_submitted"),
        "charges_enabled": before("charges_enabled"),
        "payouts_enabled": before("payouts_enabled"),
        "capabilities": before("capabilities"),
        "requirements": before("requirements"),
    }));
    [updated(ANA, SAMPLE_TIME, fresh), finished]
}

fn ben_onboards() -> [Event; 2] {
    let fresh = Account::fresh(BEN, "host-ben");
    let mut further = fresh.clone();
    for list in ["currently_due", "past_due", "eventually_due"] {
        further["requirements"][list] = json!([MISSING]);
    }
    let mut later = updated(BEN, SAMPLE_TIME + 700, further);
    later.previous_attributes = Some(json!({ "requirements": fresh["requirements"] }));
    [updated(BEN, SAMPLE_TIME + 60, fresh), later]
}

fn updated(account: &str, created: i64, object: Value) -> Event {
    Event::new("", "account.updated", object)
        .of_account(account)
        .at(created)
}

impl Sale {
    /// When the guest pays, in seconds since 1970.
    fn time(&self) -> i64 {
        SAMPLE_TIME + 3600 * i64::from(self.booking)
    }

    fn id(&self) -> String {
        format!("in_1DemoCall{}", self.booking)
    }

    fn invoice(&self, status: &str) -> Value {
        let invoice = Invoice {
            id: self.id(),
            status: status.to_owned(),
            booking: self.is_named.then(|| self.booking.to_string()),
            total: self.total,
            currency: self.currency.to_owned(),
            created: self.time(),
            ..Invoice::default()
        };
        invoice.value()
    }

    fn events(&self) -> [Event; 4] {
        let session = CheckoutSession {
            id: format!("cs_test_1DemoCall{}", self.booking),
            booking: Some(self.booking.to_string()),
            invoice: Some(self.id()),
            total: self.total,
            currency: self.currency.to_owned(),
            created: self.time() - 120,
            ..CheckoutSession::default()
        };
        let event = |kind: &str, object: Value, seconds: i64| {
            Event::new("", kind, object)
                .of_account(ANA)
                .at(self.time() + seconds)
        };
        [
            event("invoice.created", self.invoice("draft"), 0),
            event("invoice.finalized", self.invoice("open"), 2),
            event("invoice.paid", self.invoice("paid"), 3),
            event("checkout.session.completed", session.value(), 3),
        ]
    }

    /// What the forger sends.
    fn void(&self) -> Event {
        let void = Event::new("evt_1Forged", "invoice.voided", self.invoice("void"));
        void.of_account(ANA).at(self.time() + 60)
    }

    fn row(&self) -> Vec<String> {
        let (booking, id) = (self.booking.to_string(), self.id());
        texts([
            &booking,
            &id,
            self.amount,
            self.currency,
            "PAID",
            self.created,
        ])
    }
}

fn texts<const N: usize>(fields: [&str; N]) -> Vec<String> {
    fields.map(str::to_owned).to_vec()
}
