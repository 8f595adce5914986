//! Whose invoice is a booking's: all that a set of events touches, in memory.
//!
//! The caller fills the world with what is [`World::missing`], lets the events
//! [`World::join`], fills in what turned out to be missing as well, and reads
//! off the rows as they have to be. Nothing here depends on the order in which
//! events came.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Event, Fact,
    account::Account,
    claim::{BookingId, Claimed, Join, Owner, Owners, Standing},
    invoice::Invoice,
    rejection::Rejection,
    session::Session,
    snapshot::Snapshot,
    version::{Change, Version, earliest, value},
};

/// The first event by which an account claims a booking for an object.
///
/// Its order is the order of precedence: `created`, then id. An event that does
/// not say when it happened comes after all that do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstClaim {
    /// The event's `created`, in Unix seconds.
    pub created: i64,
    /// The event's id.
    pub event_id: String,
}

impl Ord for FirstClaim {
    fn cmp(&self, other: &Self) -> Ordering {
        earliest(self.created)
            .cmp(&earliest(other.created))
            .then_with(|| self.event_id.cmp(&other.event_id))
    }
}

impl PartialOrd for FirstClaim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An account and the object by which it claims a booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// The event's account.
    pub account: String,
    /// The kind of the object.
    pub kind: Kind,
    /// The object's id.
    pub object: String,
}

/// The kinds of object that can claim a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An invoice, by its metadata.
    Invoice,
    /// A Checkout Session, by its metadata or `client_reference_id`.
    Session,
}

/// The most objects by which one account may claim one booking. A booking has a
/// session and an invoice, and a few more after failed tries; all of them are
/// looked at for each event, so that a host could slow down everybody by naming
/// one booking over and over.
pub const MAX_CLAIMS: usize = 100;

/// What the store knows of one booking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// Whether the main app has the booking.
    pub exists: bool,
    /// Who claims it, each by its first event.
    pub claims: BTreeMap<Claimant, FirstClaim>,
    /// Whose it is by the deployment's own query, where there is one.
    pub decreed: Option<Owner>,
}

impl Booking {
    /// Whose the booking is: as the deployment's query says, else the account
    /// of the earliest claim.
    fn owner(&self) -> Option<Owner> {
        let first = self.claims.iter().min_by_key(|(_, first)| *first);
        let claimed = first.map(|(claimant, _)| Owner::Account(claimant.account.clone()));
        self.decreed.clone().or(claimed)
    }

    /// Whether the account has claimed the booking as often as it may.
    fn is_full(&self, claimant: &Claimant) -> bool {
        let of_account = |known: &&Claimant| known.account == claimant.account;
        !self.claims.contains_key(claimant)
            && self.claims.keys().filter(of_account).count() >= MAX_CLAIMS
    }
}

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

/// Why an invoice is not a booking's row although it could become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Neither the invoice nor a session names a booking.
    NoBooking,
    /// The main app has no such booking yet.
    BookingMissing,
    /// The deployment's owner query does not know the booking yet.
    OwnerUnknown,
    /// The booking is another account's.
    ClaimedByOtherAccount,
    /// No event gave a total and a currency.
    AmountUnknown,
}

impl Waiting {
    /// As `stripe.invoice` keeps it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoBooking => "no_booking",
            Self::BookingMissing => "booking_missing",
            Self::OwnerUnknown => "owner_unknown",
            Self::ClaimedByOtherAccount => "booking_claimed_by_other_account",
            Self::AmountUnknown => "amount_unknown",
        }
    }
}

/// An invoice as it has to be kept and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What is shown of it: its accepted parts, or the latest where there are
    /// none.
    pub shown: Invoice,
    /// The account of what is shown.
    pub account: String,
    /// The booking that it is of.
    pub booking: Option<BookingId>,
    /// Why it is not shown, where it could be.
    pub waiting: Option<Waiting>,
}

/// What sessions say of an invoice.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The booking that they give it.
    booking: Option<BookingId>,
    /// Whether one of them may give it a booking later.
    undecided: bool,
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
    wanted_invoices: BTreeSet<String>,
    wanted_sessions: BTreeSet<String>,
    wanted_accounts: BTreeSet<String>,
    wanted_bookings: BTreeSet<BookingId>,
}

impl World {
    /// The world of a set of events and of invoices to look at again.
    pub fn around<'a>(
        events: impl Iterator<Item = &'a Event>,
        invoices: impl Iterator<Item = &'a String>,
    ) -> Self {
        let mut world = Self::default();
        world.wanted_invoices.extend(invoices.cloned());
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
        let kind = match &event.fact {
            Fact::Invoice(_) => Kind::Invoice,
            Fact::Session(_) => Kind::Session,
            Fact::Account(_) | Fact::Ignored(_) => return Ok(Change::Unchanged),
        };
        let (Some(claim), Some(object)) = (event.claim(), event.object_id()) else {
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

    /// Where each invoice of the world belongs.
    pub fn place(&self, owners: &Owners) -> BTreeMap<&str, Placed> {
        let linked = self.linked_bookings(owners);
        let undecided = self.undecided_links(owners);
        self.invoices
            .iter()
            .filter_map(|(id, claimed)| {
                let link = Link {
                    booking: linked.get(id.as_str()).copied(),
                    undecided: undecided.contains(id.as_str()),
                };
                Some((id.as_str(), self.place_one(claimed, link, owners)?))
            })
            .collect()
    }

    /// The invoices that a session names whose own claim nobody can decide yet.
    fn undecided_links(&self, owners: &Owners) -> BTreeSet<&str> {
        let parts = self.sessions.values().flat_map(Claimed::parts);
        parts
            .filter(|(claim, _)| claim.standing(owners) == Standing::Undecided)
            .filter_map(|(_, part)| value(&part.invoice).map(String::as_str))
            .collect()
    }

    /// The bookings that sessions give to invoices; of several sessions the
    /// first one counts.
    fn linked_bookings(&self, owners: &Owners) -> BTreeMap<String, BookingId> {
        let mut links: BTreeMap<String, (Version, BookingId)> = BTreeMap::new();
        for session in self.sessions.values() {
            let resolved = session.resolve(owners);
            let (Some(state), Some(booking)) = (resolved.state, resolved.booking) else {
                continue;
            };
            if let Some(link) = state.invoice
                && links
                    .get(&link.value)
                    .is_none_or(|(version, _)| link.version.is_before(version))
            {
                links.insert(link.value, (link.version, booking));
            }
        }
        links
            .into_iter()
            .map(|(invoice, (_, booking))| (invoice, booking))
            .collect()
    }

    fn place_one(&self, claimed: &Claimed<Invoice>, link: Link, owners: &Owners) -> Option<Placed> {
        let (claim, latest) = claimed.latest()?;
        let resolved = claimed.resolve(owners);
        let account = claimed
            .parts()
            .filter(|(claim, _)| claim.standing(owners) == Standing::Accepted)
            .max_by(|(_, a), (_, b)| a.version().cmp(b.version()))
            .map_or(&claim.account, |(claim, _)| &claim.account);
        let booking = resolved.booking.or(link.booking);
        let worst = match resolved.worst {
            Standing::Accepted if link.undecided => Standing::Undecided,
            worst => worst,
        };
        let accepted = resolved.state.is_some();
        let shown = resolved.state.unwrap_or_else(|| latest.clone());
        let waiting = self.waiting(&shown, booking, accepted, worst);
        Some(Placed {
            account: account.clone(),
            booking: booking.filter(|_| accepted),
            waiting,
            shown,
        })
    }

    fn waiting(
        &self,
        shown: &Invoice,
        booking: Option<BookingId>,
        accepted: bool,
        worst: Standing,
    ) -> Option<Waiting> {
        let gone = shown.status.value.merit().is_none();
        let missing = |id: BookingId| self.bookings.get(&id).is_none_or(|known| !known.exists);
        match (booking, worst) {
            _ if !accepted && worst == Standing::Refused => Some(Waiting::ClaimedByOtherAccount),
            _ if !accepted => Some(Waiting::OwnerUnknown),
            _ if gone => None,
            (None, Standing::Refused) => Some(Waiting::ClaimedByOtherAccount),
            (None, Standing::Undecided) => Some(Waiting::OwnerUnknown),
            (None, Standing::Accepted) => Some(Waiting::NoBooking),
            (Some(id), _) if missing(id) => Some(Waiting::BookingMissing),
            (Some(_), _) if shown.total.is_none() || shown.currency.is_none() => {
                Some(Waiting::AmountUnknown)
            }
            (Some(_), _) => None,
        }
    }
}

/// The best invoice of each booking: paid, then open, then draft; then the
/// newest; then the greatest id. Void and deleted ones are not its invoices.
pub fn best_of_each<'a>(
    placed: &'a BTreeMap<&'a str, Placed>,
) -> BTreeMap<BookingId, (&'a str, &'a Placed)> {
    let mut best = BTreeMap::new();
    for (id, invoice) in placed {
        let merit = invoice.shown.status.value.merit();
        let (Some(booking), None, Some(merit)) = (invoice.booking, invoice.waiting, merit) else {
            continue;
        };
        let key = (merit, value(&invoice.shown.created).copied(), *id);
        let entry = best.entry(booking).or_insert((key, invoice));
        if key > entry.0 {
            *entry = (key, invoice);
        }
    }
    best.into_iter()
        .map(|(booking, ((_, _, id), invoice))| (booking, (id, invoice)))
        .collect()
}

fn not_in<K: Ord + Clone, V>(wanted: &BTreeSet<K>, loaded: &BTreeMap<K, V>) -> Vec<K> {
    wanted
        .iter()
        .filter(|key| !loaded.contains_key(*key))
        .cloned()
        .collect()
}
