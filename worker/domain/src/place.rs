//! Where invoices belong: each one's booking or why it waits, and of a booking's
//! invoices the best.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    booking::Kind,
    claim::{BookingId, Claimed, Join, Owners, Standing},
    invoice::Invoice,
    rejection::CLAIMED_BY_OTHER_ACCOUNT,
    version::{Version, value},
    world::World,
};

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
            Self::ClaimedByOtherAccount => CLAIMED_BY_OTHER_ACCOUNT,
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

impl World {
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

/// What an object waits for. Only an invoice does, and a session of the same id is
/// another object.
pub fn waits_for(placed: &BTreeMap<&str, Placed>, kind: Kind, id: &str) -> Option<Waiting> {
    match kind {
        Kind::Invoice => placed.get(id)?.waiting,
        Kind::Session => None,
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
