//! All that a set of events touches, in memory.
//!
//! The caller fills the world with what is [`World::missing`], lets the events
//! [`World::join`], fills in what turned out to be missing as well, and reads
//! off the rows as they have to be. Nothing here depends on the order in which
//! events came.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Event, Fact,
    account::Account,
    booking::{Booking, Claimant, FirstClaim, Kind},
    claim::{BookingId, Claimed, Owner, Owners},
    invoice::Invoice,
    rejection::Rejection,
    session::Session,
    snapshot::Snapshot,
    version::{Change, value},
};

/// The keys of what has to be loaded before a step can be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Invoices, and the sessions that name them.
    pub invoices: Vec<String>,
    /// Sessions.
    pub sessions: Vec<String>,
    /// Accounts.
    pub accounts: Vec<String>,
    /// Bookings.
    pub bookings: Vec<BookingId>,
}

impl Missing {
    /// Whether all is there.
    pub fn is_empty(&self) -> bool {
        self.invoices.is_empty()
            && self.sessions.is_empty()
            && self.accounts.is_empty()
            && self.bookings.is_empty()
    }
}

/// Objects whose missing part may be there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Ids of invoices.
    pub invoices: BTreeSet<String>,
    /// Ids of sessions.
    pub sessions: BTreeSet<String>,
}

impl Again {
    /// How many objects that are.
    pub fn len(&self) -> usize {
        self.invoices.len() + self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of all of them.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let all = self.invoices.iter().chain(&self.sessions);
        all.map(String::as_str)
    }

    /// Each alone.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let invoices = self.invoices.iter().map(|id| Self {
            invoices: BTreeSet::from([id.clone()]),
            ..Self::default()
        });
        let sessions = self.sessions.iter().map(|id| Self {
            sessions: BTreeSet::from([id.clone()]),
            ..Self::default()
        });
        invoices.chain(sessions)
    }

    /// Leaves out those that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.invoices.retain(|id| keep(id));
        self.sessions.retain(|id| keep(id));
    }

    /// Takes these as well.
    pub fn extend(&mut self, others: Self) {
        self.invoices.extend(others.invoices);
        self.sessions.extend(others.sessions);
    }
}

/// All that a set of events touches.
#[derive(Debug, Default)]
pub struct World {
    /// By invoice id; empty where there is none yet.
    pub invoices: BTreeMap<String, Claimed<Invoice>>,
    /// By session id; empty where there is none yet.
    pub sessions: BTreeMap<String, Claimed<Session>>,
    /// By account id; default where there is none yet.
    pub accounts: BTreeMap<String, Account>,
    /// By booking id.
    pub bookings: BTreeMap<BookingId, Booking>,
    again: Again,
    wanted_invoices: BTreeSet<String>,
    wanted_sessions: BTreeSet<String>,
    wanted_accounts: BTreeSet<String>,
    wanted_bookings: BTreeSet<BookingId>,
}

impl World {
    /// The world of a set of events and of objects to look at again.
    pub fn around<'a>(events: impl Iterator<Item = &'a Event>, again: &Again) -> Self {
        let mut world = Self {
            again: again.clone(),
            wanted_invoices: again.invoices.clone(),
            wanted_sessions: again.sessions.clone(),
            ..Self::default()
        };
        for event in events {
            match &event.fact {
                Fact::Invoice(fact) => {
                    world.wanted_invoices.insert(fact.id.clone());
                    world.wanted_bookings.extend(fact.booking);
                }
                Fact::Session(fact) => {
                    world.wanted_sessions.insert(fact.id.clone());
                    world
                        .wanted_invoices
                        .extend(value(&fact.session.invoice).cloned());
                    world.wanted_bookings.extend(fact.booking);
                }
                Fact::Account(fact) => {
                    world.wanted_accounts.insert(fact.id.clone());
                }
                Fact::Ignored(_) => {}
            }
        }
        world
    }

    /// The world of one account.
    pub fn of_account(id: &str) -> Self {
        let mut world = Self::default();
        world.wanted_accounts.insert(id.to_owned());
        world
    }

    /// Takes what the API said of an account, if its snapshots are still those
    /// of `before`, when the API was asked.
    pub fn settle_account(&mut self, id: &str, before: &Self, said: Snapshot) {
        let asked = before.accounts.get(id).map(|account| &account.standing);
        if let Some(account) = self.accounts.get_mut(id)
            && asked == Some(&account.standing)
            && let Some(standing) = &mut account.standing
        {
            standing.settled = Some(said);
        }
    }

    /// What has to be loaded before the next step.
    pub fn missing(&mut self) -> Missing {
        self.want_what_is_referred_to();
        Missing {
            invoices: not_in(&self.wanted_invoices, &self.invoices),
            sessions: not_in(&self.wanted_sessions, &self.sessions),
            accounts: not_in(&self.wanted_accounts, &self.accounts),
            bookings: not_in(&self.wanted_bookings, &self.bookings),
        }
    }

    fn want_what_is_referred_to(&mut self) {
        for invoice in self.invoices.values() {
            self.wanted_bookings.extend(invoice.bookings());
        }
        for session in self.sessions.values() {
            self.wanted_bookings.extend(session.bookings());
            for (_, part) in session.parts() {
                self.wanted_invoices.extend(value(&part.invoice).cloned());
            }
        }
        for booking in self.bookings.values() {
            let owner = booking.owner();
            let owners = |claimant: &&Claimant| match &owner {
                Some(Owner::Account(account)) => claimant.account == *account,
                Some(Owner::Unknown) | None => true,
            };
            // What others claim is not shown, whatever it is. An owner that
            // changes was loaded as the owner before.
            for claimant in booking.claims.keys().filter(owners) {
                match claimant.kind {
                    Kind::Invoice => self.wanted_invoices.insert(claimant.object.clone()),
                    Kind::Session => self.wanted_sessions.insert(claimant.object.clone()),
                };
            }
        }
    }

    /// Whether the object by which a booking is claimed is looked at again.
    pub(crate) fn is_seen_again(&self, claimant: &Claimant) -> bool {
        match claimant.kind {
            Kind::Invoice => self.again.invoices.contains(&claimant.object),
            Kind::Session => self.again.sessions.contains(&claimant.object),
        }
    }

    /// Whether what is known of the object by which a booking is claimed was loaded.
    pub(crate) fn is_at_hand(&self, claimant: &Claimant) -> bool {
        match claimant.kind {
            Kind::Invoice => self.invoices.contains_key(&claimant.object),
            Kind::Session => self.sessions.contains_key(&claimant.object),
        }
    }

    /// Has this invoice loaded as well: a row of the main app's shows it.
    pub fn want_invoice(&mut self, id: &str) {
        if !self.wanted_invoices.contains(id) {
            self.wanted_invoices.insert(id.to_owned());
        }
    }

    /// Whether an event of this invoice was ever taken in.
    pub fn knows_invoice(&self, id: &str) -> bool {
        let known = self.invoices.get(id);
        known.is_some_and(|claimed| !claimed.is_empty())
    }

    /// Takes in what an event says. What it needs must have been loaded.
    ///
    /// # Errors
    /// [`Rejection::TooManyClaims`]; nothing was taken in.
    pub fn join(&mut self, event: &Event) -> Result<Change, Rejection> {
        let noted = self.note_claim(event)?;
        let change = match (&event.fact, event.claim()) {
            (Fact::Invoice(fact), Some(claim)) => {
                let known = self.invoices.entry(fact.id.clone()).or_default();
                known.join(claim, fact.invoice.clone())
            }
            (Fact::Session(fact), Some(claim)) => {
                let known = self.sessions.entry(fact.id.clone()).or_default();
                known.join(claim, fact.session.clone())
            }
            (Fact::Account(fact), _) => self.accounts.entry(fact.id.clone()).or_default().join(
                event.header.created,
                &event.header.id,
                &fact.sign,
            ),
            (Fact::Invoice(_) | Fact::Session(_) | Fact::Ignored(_), _) => Change::Unchanged,
        };
        Ok(noted.or(change))
    }

    fn note_claim(&mut self, event: &Event) -> Result<Change, Rejection> {
        let (Some(claim), Some(kind), Some(object)) =
            (event.claim(), event.kind(), event.object_id())
        else {
            return Ok(Change::Unchanged);
        };
        let Some(id) = claim.booking else {
            return Ok(Change::Unchanged);
        };
        let first = FirstClaim {
            created: event.header.created,
            event_id: event.header.id.clone(),
        };
        let claimant = Claimant {
            account: claim.account,
            kind,
            object: object.to_owned(),
        };
        let booking = self.bookings.entry(id).or_default();
        if booking.is_full(&claimant) {
            return Err(Rejection::TooManyClaims { booking: id });
        }
        match booking.claims.get_mut(&claimant) {
            Some(known) if *known <= first => Ok(Change::Unchanged),
            Some(known) => {
                *known = first;
                Ok(Change::Changed)
            }
            None => {
                booking.claims.insert(claimant, first);
                Ok(Change::Changed)
            }
        }
    }

    /// Whose each booking is.
    pub fn owners(&self) -> Owners {
        self.bookings
            .iter()
            .filter_map(|(id, booking)| Some((*id, booking.owner()?)))
            .collect()
    }
}

fn not_in<K: Ord + Clone, V>(wanted: &BTreeSet<K>, loaded: &BTreeMap<K, V>) -> Vec<K> {
    wanted
        .iter()
        .filter(|key| !loaded.contains_key(*key))
        .cloned()
        .collect()
}
