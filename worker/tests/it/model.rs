//! The rules alone, some hundred thousand histories a minute: the worker's
//! decisions and rows, on tables in memory, are those of the plain reference
//! after every step. `order.rs` does the same on Postgres.

/// The parts of the support that know no server.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
mod support {
    pub(crate) mod histories;
    pub(crate) mod memory;
}

use std::collections::{BTreeMap, BTreeSet};

use event::Mode;
use harness::reference::{self, Said};
use proptest::{prelude::*, test_runner::TestCaseError};
use crate::support::{
    histories::{Arrival, Step, sayings, signs, try_all},
    memory::{Memory, Took},
};
use worker::{
    events::{self, Event, Rules, account::Standing, fields::moment, onboarding::onboarding},
    store::app::Shown,
};

/// Says how many histories each test tries; a few where it is not set.
const HISTORIES: &str = "MODEL_HISTORIES";
const USUAL: u32 = 1_500;

fn read(body: &[u8]) -> Event {
    let rules = Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
    };
    events::read(body, &rules).unwrap()
}

/// A worker, and what it was told so far.
struct Model<'a> {
    said: &'a [Said],
    events: Vec<Event>,
    memory: Memory,
    taken: BTreeSet<usize>,
}

impl Model<'_> {
    fn step(&mut self, arrival: &Arrival, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Take(range) => self.take(&arrival.order[range.clone()])?,
            Step::Replay(range) => {
                let again: BTreeSet<usize> = arrival.order[range.clone()].iter().copied().collect();
                let again: Vec<&Event> = again.iter().map(|place| &self.events[*place]).collect();
                self.memory.judge_again(&again);
            }
            // Without a table of bookings there is nothing to make one in.
            Step::Book(_) if self.memory.bookings.is_none() => {}
            Step::Book(booking) => self.memory.book(*booking),
        }
        self.check()
    }

    fn take(&mut self, unit: &[usize]) -> Result<(), TestCaseError> {
        let events: Vec<&Event> = unit.iter().map(|place| &self.events[*place]).collect();
        let took = self.memory.take(&events);
        let fresh: Vec<bool> = unit.iter().map(|place| self.taken.insert(*place)).collect();
        let owners = reference::owners(&self.told());
        for ((place, fresh), took) in unit.iter().zip(fresh).zip(took) {
            let said = &self.said[*place];
            let foreign = |booking: i32| owners[&booking] != said.account;
            let expected = match fresh {
                false => Took::Duplicate,
                true if said.booking.is_some_and(foreign) => Took::Refused,
                true => Took::New,
            };
            prop_assert_eq!(took, expected, "{}", said.id);
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
        let expected: BTreeMap<i32, Shown> = reference::shown(&told, self.memory.bookings.as_ref())
            .into_iter()
            .map(
                |(booking_id, invoice, status, minor, currency, pdf_url, made)| {
                    let row = Shown {
                        booking_id,
                        stripe_invoice_id: invoice,
                        pdf_url,
                        amount: reference::major(minor, &currency),
                        currency,
                        status: status.into(),
                        created_at: moment(made).naive_utc(),
                    };
                    (booking_id, row)
                },
            )
            .collect();
        prop_assert_eq!(&self.memory.shown, &expected);
        prop_assert_eq!(self.memory.sessions(), reference::sessions(&told));
        Ok(())
    }
}

#[test]
fn invoices_and_sessions_are_as_the_reference_says_after_every_step() {
    try_all(HISTORIES, USUAL, sayings(), |said, arrivals| {
        let events: Vec<Event> = said
            .iter()
            .map(|said| read(&said.event().bytes()))
            .collect();
        let mut ends: Vec<Memory> = Vec::new();
        for (index, arrival) in arrivals.iter().enumerate() {
            let mut model = Model {
                said,
                events: events.clone(),
                memory: Memory::default(),
                taken: BTreeSet::new(),
            };
            // Every other time there are bookings, and they come one by one.
            model.memory.bookings = (index % 2 == 1).then(BTreeSet::new);
            for step in &arrival.steps {
                model.step(arrival, step)?;
            }
            if model.memory.bookings.is_some() {
                for booking in 1..=3 {
                    model.step(arrival, &Step::Book(booking))?;
                }
            }
            let end = Memory {
                bookings: None,
                ..model.memory
            };
            prop_assert_eq!(&end, ends.first().unwrap_or(&end));
            ends.push(end);
        }
        Ok(())
    });
}

#[test]
fn hosts_are_as_the_reference_says_after_every_step() {
    try_all(HISTORIES, USUAL, signs(), |signs, arrivals| {
        let events: Vec<Event> = signs
            .iter()
            .map(|sign| read(&sign.event("acct_a").bytes()))
            .collect();
        for arrival in arrivals {
            let (mut memory, mut taken) = (Memory::default(), BTreeSet::<usize>::new());
            for unit in arrival.units() {
                taken.extend(unit);
                let unit: Vec<&Event> = unit.iter().map(|place| &events[*place]).collect();
                memory.take(&unit);
                let told: Vec<_> = taken.iter().map(|place| signs[*place].clone()).collect();
                prop_assert_eq!(host(&memory), reference::host(&told));
            }
        }
        Ok(())
    });
}

/// The status of the one account, whether it can sell, and the winning event.
fn host(memory: &Memory) -> (String, bool, Option<String>) {
    let account = memory.accounts["acct_a"].account().unwrap();
    let winner = account.standing.as_ref().and_then(Standing::winner);
    let snapshot = winner.as_ref().map(|winner| winner.snapshot.clone());
    let shown = onboarding(&account, &snapshot.unwrap_or_default());
    let event = winner.map(|winner| winner.event_id.to_owned());
    (shown.status.as_str().into(), shown.can_sell, event)
}
