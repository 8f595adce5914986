//! The worker's own batches on tables in memory, some hundred thousand histories a minute:
//! the decisions and rows are those of the plain reference after every step. `order.rs`
//! does the same on PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    decode::moment,
    ids::BookingId,
    outcome::Decision,
    rows::{InvoiceRow, RowStatus},
};
use harness::reference::{self, Said};
use proptest::{prelude::*, test_runner::TestCaseError};
use tokio::runtime::Runtime;
use worker::pipeline::delivery::Delivery;

use crate::support::{
    delivery,
    histories::{Arrival, Step, sayings, signs, try_all},
    memory::{Memory, Tables},
};

/// Says how many histories each test tries; a few where it is not set.
const HISTORIES: &str = "MODEL_HISTORIES";
const USUAL: u32 = 1_500;

/// What the reference expects of a delivery.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It is taken in.
    New,
    /// It is known.
    Duplicate,
    /// Its booking is another account's.
    Refused,
}

impl Taken {
    fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Dead(_) => Self::Refused,
            Decision::Duplicate => Self::Duplicate,
            Decision::Applied | Decision::Stale | Decision::Ignored(_) => Self::New,
        }
    }
}

/// A worker on tables in memory, and what it was told so far.
struct Model<'a> {
    runtime: &'a Runtime,
    said: &'a [Said],
    deliveries: &'a [Delivery],
    memory: Memory,
    taken: BTreeSet<usize>,
}

impl Model<'_> {
    fn step(&mut self, arrival: &Arrival, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Take(range) => self.take(&arrival.order[range.clone()])?,
            Step::Replay(range) => {
                let again: BTreeSet<usize> = arrival.order[range.clone()].iter().copied().collect();
                let again = again.iter().map(|place| self.deliveries[*place].clone());
                let again: Vec<Delivery> = again.collect();
                self.runtime.block_on(self.memory.decide_again(&again));
            }
            // Without a table of bookings there is nothing to make one in.
            Step::Book(_) if self.memory.tables().bookings.is_none() => {}
            Step::Book(booking) => self.runtime.block_on(self.memory.book(BookingId(*booking))),
        }
        self.check()
    }

    fn take(&mut self, batch: &[usize]) -> Result<(), TestCaseError> {
        let deliveries = batch.iter().map(|place| self.deliveries[*place].clone());
        let deliveries: Vec<Delivery> = deliveries.collect();
        let decisions = self.runtime.block_on(self.memory.take(&deliveries));
        let (known, told_before) = (self.taken.clone(), self.told());
        let refused_before = reference::refused(&told_before);
        self.taken.extend(batch);
        let told = self.told();
        let refused = reference::refused(&told);
        let mut decided = BTreeSet::new();
        for (place, decision) in batch.iter().zip(decisions) {
            let said = &self.said[*place];
            let id = said.id.as_str();
            // An event that was dead before the batch is decided again.
            let has_effect = known.contains(place) && !refused_before.contains(id);
            let expected = match decided.insert(*place) && !has_effect {
                false => Taken::Duplicate,
                true if refused.contains(id) => Taken::Refused,
                true => Taken::New,
            };
            prop_assert_eq!(Taken::of(&decision), expected, "{}", said.id);
        }
        Ok(())
    }

    fn told(&self) -> Vec<Said> {
        self.taken
            .iter()
            .map(|place| self.said[*place].clone())
            .collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let told = self.told();
        let tables = self.memory.tables().clone();
        let bookings = tables.bookings.as_ref();
        let bookings: Option<BTreeSet<i32>> =
            bookings.map(|bookings| bookings.iter().map(|booking| booking.0).collect());
        let row = |shown: reference::Shown| {
            let (booking, invoice, status, minor, currency, pdf_url, made) = shown;
            let row = InvoiceRow {
                booking_id: BookingId(booking),
                stripe_invoice_id: invoice.into(),
                pdf_url,
                amount: reference::major(minor, &currency),
                currency,
                status: RowStatus::parse(status),
                created_at: moment(made),
            };
            (row.booking_id, row)
        };
        let expected: BTreeMap<BookingId, InvoiceRow> = reference::shown(&told, bookings.as_ref())
            .into_iter()
            .map(row)
            .collect();
        prop_assert_eq!(&tables.invoice_rows, &expected);
        prop_assert_eq!(self.memory.sessions(), reference::sessions(&told));
        let given_back = reference::given_back(&told);
        prop_assert_eq!(self.memory.given_back(), given_back);
        Ok(())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

#[test]
fn invoices_and_sessions_are_as_the_reference_says_after_every_step() {
    let runtime = runtime();
    try_all(HISTORIES, USUAL, sayings(), |said, arrivals| {
        let deliveries: Vec<Delivery> = said
            .iter()
            .map(|said| delivery(&said.event().bytes()))
            .collect();
        let mut ends: Vec<Tables> = Vec::new();
        for (index, arrival) in arrivals.iter().enumerate() {
            let mut model = Model {
                runtime: &runtime,
                said,
                deliveries: &deliveries,
                // Every other time there are bookings, and they come one by one.
                memory: match index % 2 {
                    1 => Memory::with_bookings(),
                    _ => Memory::default(),
                },
                taken: BTreeSet::new(),
            };
            for step in &arrival.steps {
                model.step(arrival, step)?;
            }
            let has_bookings = model.memory.tables().bookings.is_some();
            if has_bookings {
                for booking in 1..=3 {
                    model.step(arrival, &Step::Book(booking))?;
                }
            }
            let end = Tables {
                bookings: None,
                ..model.memory.tables().clone()
            };
            prop_assert_eq!(&end, ends.first().unwrap_or(&end));
            ends.push(end);
        }
        Ok(())
    });
}

#[test]
fn hosts_are_as_the_reference_says_after_every_step() {
    let runtime = runtime();
    try_all(HISTORIES, USUAL, signs(), |signs, arrivals| {
        let deliveries: Vec<Delivery> = signs
            .iter()
            .map(|sign| delivery(&sign.event("acct_a").bytes()))
            .collect();
        for arrival in arrivals {
            let (memory, mut taken) = (Memory::default(), BTreeSet::<usize>::new());
            for batch in arrival.units() {
                taken.extend(batch);
                let batch = batch.iter().map(|place| deliveries[*place].clone());
                let batch: Vec<Delivery> = batch.collect();
                runtime.block_on(memory.take(&batch));
                let told: Vec<_> = taken.iter().map(|place| signs[*place].clone()).collect();
                prop_assert_eq!(host(&memory), reference::host(&told));
            }
        }
        Ok(())
    });
}

/// The status of the one account, whether it can sell, and the event of its latest
/// snapshot.
fn host(memory: &Memory) -> (String, bool, Option<String>) {
    let tables = memory.tables();
    let (account, host) = (&tables.accounts["acct_a"], &tables.hosts["acct_a"]);
    let event = account
        .winner()
        .and_then(|winner| winner.event_id.map(str::to_owned));
    (host.status.as_str().into(), host.can_sell, event)
}
