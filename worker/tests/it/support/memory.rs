//! The worker's tables in memory: the same worlds, rows and decisions as on
//! Postgres, some thousand times faster.

use std::collections::{BTreeMap, BTreeSet};

use worker::{
    events::{
        Event,
        account::Account,
        booking::{Booking, Kind},
        claim::{BookingId, Claim, Claimed, Join, Owners},
        place::{Placed, Waiting, best_of_each, waits_for},
        rejection::Rejection,
        rejudge::{Judged, Rejudged, rejudged},
        session::Session,
        verdict::{self, Judgement, Verdict, judge},
        version::{Change, Slot},
        world::{Again, World},
    },
    store::{account, app::Shown, claim::Claims, invoice, session},
};

/// The tables. Two of them are equal if the main app and the worker cannot tell
/// them apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    pub ledger: BTreeMap<String, Entry>,
    pub invoices: BTreeMap<String, invoice::Row>,
    pub sessions: BTreeMap<String, session::Row>,
    pub accounts: BTreeMap<String, account::Row>,
    pub claims: BTreeMap<BookingId, Claims>,
    pub shown: BTreeMap<BookingId, Shown>,
    /// The main app's bookings; `None` where they are not in this database.
    pub bookings: Option<BTreeSet<BookingId>>,
}

/// What the ledger says of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    kind: Kind,
    object: String,
    claim: Claim,
    said: Outcome,
}

/// What became of an event. Whether it came late does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Settled,
    Waiting(&'static str),
    Dead,
}

impl Entry {
    fn new(event: &Event, judgement: &Judgement) -> Option<Self> {
        Some(Self {
            said: match judgement {
                (Verdict::Dead(_), _) => Outcome::Dead,
                (Verdict::Settled(verdict::Outcome::Waiting), Some(why)) => Outcome::Waiting(why),
                (Verdict::Settled(_) | Verdict::Duplicate, _) => Outcome::Settled,
            },
            kind: event.kind()?,
            object: event.object_id()?.to_owned(),
            claim: event.claim()?,
        })
    }

    /// Whether it waits because nobody knows whose booking it names.
    fn is_undecided(&self) -> bool {
        self.claim.booking.is_some() && self.said == Outcome::Waiting(Waiting::OwnerUnknown.code())
    }

    fn is_of(&self, claim: &Rejudged<'_>) -> bool {
        (self.kind, self.object.as_str()) == (claim.kind, claim.object)
            && self.claim.account == claim.account
            && self.claim.booking == Some(claim.booking)
    }
}

impl Outcome {
    fn of(waiting: Option<Waiting>) -> Self {
        waiting.map_or(Self::Settled, |why| Self::Waiting(why.code()))
    }
}

/// A session, its payment status, its status and its invoice.
pub type SeenSession = (String, Option<String>, Option<String>, Option<String>);

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It was taken in.
    New,
    /// It was known.
    Duplicate,
    /// Its booking is another account's, or named too often.
    Refused,
}

impl Memory {
    /// Takes a unit of events, as one transaction.
    pub fn take(&mut self, unit: &[&Event]) -> Vec<Took> {
        let mut world = World::around(unit.iter().copied(), &Again::default());
        self.fill(&mut world);
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let joined: Vec<Option<Result<Change, Rejection>>> = unit
            .iter()
            .map(|event| {
                let id = &event.header.id;
                let is_new = seen.insert(id) && !self.ledger.contains_key(id);
                is_new.then(|| world.join(event))
            })
            .collect();
        self.fill(&mut world);
        let owners = world.owners();
        let placed = world.place(&owners);
        self.write(&world, &placed, &owners);
        let judged = joined.into_iter().zip(unit).map(|(change, event)| {
            let Some(change) = change else {
                return Took::Duplicate;
            };
            let object = event.kind().zip(event.object_id());
            let waiting = object.and_then(|(kind, id)| waits_for(&placed, kind, id));
            let judgement = judge(event, change, &owners, waiting, false);
            let took = match judgement.0 {
                Verdict::Dead(_) => Took::Refused,
                Verdict::Settled(_) | Verdict::Duplicate => Took::New,
            };
            if let Some(entry) = Entry::new(event, &judgement) {
                self.ledger.insert(event.header.id.clone(), entry);
            }
            took
        });
        judged.collect()
    }

    /// Judges events again, whatever became of them before, as a replay does.
    pub fn judge_again(&mut self, events: &[&Event]) {
        for event in events {
            self.ledger.remove(&event.header.id);
        }
        self.take(events);
    }

    /// The main app makes a booking, and the worker sees it.
    pub fn book(&mut self, booking: BookingId) {
        self.bookings.get_or_insert_default().insert(booking);
        let waiting = self.invoices.values();
        let waiting = waiting.filter(|row| row.waiting().is_some());
        let again = Again {
            invoices: waiting.map(|row| row.id().to_owned()).collect(),
            ..Again::default()
        };
        let mut world = World::around([].into_iter(), &again);
        self.fill(&mut world);
        let owners = world.owners();
        self.write(&world, &world.place(&owners), &owners);
    }

    /// Each session with its payment status, its status and its invoice.
    pub fn sessions(&self) -> Vec<SeenSession> {
        let rows = self.sessions.iter();
        let rows = rows.filter_map(|(id, row)| Some((id, whole(&row.claimed().unwrap())?)));
        let text = |slot: Slot<String>| slot.map(|said| said.value);
        rows.map(|(id, whole)| {
            let (payment, status) = (text(whole.payment_status), text(whole.status));
            (id.clone(), payment, status, text(whole.invoice))
        })
        .collect()
    }

    fn fill(&self, world: &mut World) {
        loop {
            let missing = world.missing();
            if missing.is_empty() {
                return;
            }
            for id in &missing.invoices {
                let row = self.invoices.get(id).map(|row| row.claimed().unwrap());
                world.invoices.insert(id.clone(), row.unwrap_or_default());
            }
            for (id, row) in &self.sessions {
                let claimed = row.claimed().unwrap();
                let link = whole(&claimed).and_then(|whole| whole.invoice);
                let wanted = missing.sessions.contains(id)
                    || link.is_some_and(|link| missing.invoices.contains(&link.value));
                if wanted {
                    world.sessions.entry(id.clone()).or_insert(claimed);
                }
            }
            for id in missing.sessions {
                world.sessions.entry(id).or_default();
            }
            for id in missing.accounts {
                let row = self.accounts.get(&id).map(|row| row.account().unwrap());
                world.accounts.insert(id, row.unwrap_or_default());
            }
            for id in missing.bookings {
                let booking = Booking {
                    exists: self.exists(id),
                    claims: self.claims.get(&id).cloned().unwrap_or_default(),
                    decreed: None,
                };
                world.bookings.insert(id, booking);
            }
        }
    }

    fn exists(&self, booking: BookingId) -> bool {
        let here = self.bookings.as_ref();
        here.is_none_or(|bookings| bookings.contains(&booking))
    }

    /// What is said of earlier events, before the rows are written.
    fn say(&mut self, world: &World, placed: &BTreeMap<&str, Placed>, owners: &Owners) {
        for (id, placed) in placed {
            let before = self.invoices.get(*id).map(invoice::Row::waiting);
            if before.is_none_or(|before| before == placed.waiting.map(Waiting::code)) {
                continue;
            }
            let of_it = |entry: &&mut Entry| {
                let is_moved = match entry.said {
                    Outcome::Dead => false,
                    Outcome::Settled => placed.waiting.is_some(),
                    Outcome::Waiting(_) => !entry.is_undecided(),
                };
                (entry.kind, entry.object.as_str()) == (Kind::Invoice, id) && is_moved
            };
            for entry in self.ledger.values_mut().filter(of_it) {
                entry.said = Outcome::of(placed.waiting);
            }
        }
        for claim in rejudged(world, &self.claims, placed, owners) {
            for entry in self.ledger.values_mut().filter(|entry| entry.is_of(&claim)) {
                match claim.judged {
                    Judged::Refused => entry.said = Outcome::Dead,
                    Judged::Accepted { waiting }
                        if entry.said == Outcome::Dead || entry.is_undecided() =>
                    {
                        entry.said = Outcome::of(waiting);
                    }
                    Judged::Accepted { .. } => {}
                }
            }
        }
    }

    fn write(&mut self, world: &World, placed: &BTreeMap<&str, Placed>, owners: &Owners) {
        self.say(world, placed, owners);
        for (id, placed) in placed {
            let row = invoice::Row::new(id, &world.invoices[*id], placed);
            self.invoices.insert((*id).to_owned(), row);
        }
        for (id, claimed) in &world.sessions {
            if let Some(row) = session::Row::new(id, claimed) {
                self.sessions.insert(id.clone(), row);
            }
        }
        for (id, account) in &world.accounts {
            if *account != Account::default() {
                self.accounts
                    .insert(id.clone(), account::Row::new(id, account));
            }
        }
        let best = best_of_each(placed);
        for (id, booking) in &world.bookings {
            if !booking.claims.is_empty() {
                self.claims.insert(*id, booking.claims.clone());
            }
            let row = best.get(id);
            match row.and_then(|(invoice, placed)| Shown::new(*id, invoice, placed)) {
                Some(row) => self.shown.insert(*id, row),
                None => self.shown.remove(id),
            };
        }
    }
}

/// The parts of a session joined, whoever claims its booking: its row is found
/// by the invoice of it.
fn whole(session: &Claimed<Session>) -> Option<Session> {
    let mut parts = session.parts().map(|(_, part)| part.clone());
    let mut whole = parts.next()?;
    for part in parts {
        let _ = whole.join(part);
    }
    Some(whole)
}
