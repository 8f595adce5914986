//! From the working set to the rows that the main app reads: which booking each
//! invoice is of or what it waits for, which of a booking's invoices is the current
//! one, and how a host's row looks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use crate::{
    by_claim::{Naming, Resolved},
    given_back::GivenBack,
    holders::Holders,
    ids::{AccountId, BookingId, InvoiceId, ObjectId},
    invoice::Invoice,
    main_app::{AppChanges, Pending, Target},
    merge::{EventOrder, value},
    money,
    ownership::{Claim, ClaimStatus, Owners},
    rows::{InvoiceRow, RowStatus, StoredProjection, WaitingFor},
    source::StoredInvoice,
    working_set::WorkingSet,
};

/// An invoice under the owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceProjection {
    /// Its row.
    pub stored: StoredProjection,
    /// The accepted parts merged, or the latest part where none is accepted.
    pub invoice: Invoice,
}

/// The invoices of a working set under the owners of their bookings.
#[derive(Debug)]
pub struct Projection<'a> {
    /// Who has each booking.
    pub holders: Holders,
    /// Each invoice of which an event was taken.
    pub invoices: BTreeMap<&'a InvoiceId, InvoiceProjection>,
}

/// A session that names an invoice, and so gives it its booking.
#[derive(Debug)]
struct SessionLink {
    /// The event that named the invoice.
    order: EventOrder,
    booking: BookingId,
    /// The account for which a command made the session: the booking is proven then, whatever the
    /// account's events of the invoice name.
    proven_for: Option<AccountId>,
}

impl SessionLink {
    /// Whether this one counts and not `other`: one that is proven, then the first one.
    fn precedes(&self, other: &Self) -> bool {
        let key = |one: &Self| one.proven_for.is_none();
        match key(self) == key(other) {
            true => self.order.is_before(&other.order),
            false => self.proven_for.is_some(),
        }
    }

    /// What the account's events say of the invoice, where its booking is proven.
    fn proven(&self, known: &StoredInvoice) -> Option<Proven> {
        let account = self.proven_for.as_ref()?;
        Some(Proven {
            account: account.clone(),
            booking: self.booking,
            invoice: known.by_claim.of_account(account)?,
        })
    }
}

/// An invoice whose booking is proven. Its own metadata claims bookings as those of any object
/// do, and these claims are decided; they do not say whose the invoice is.
#[derive(Debug)]
struct Proven {
    account: AccountId,
    booking: BookingId,
    invoice: Invoice,
}

/// What others say of an invoice: sessions, and the other objects of its booking.
#[derive(Debug, Default)]
struct Link {
    /// Its booking where that is proven.
    proven: Option<Proven>,
    /// The booking that they give it.
    booking: Option<BookingId>,
    /// Whether one of them may give it a booking later.
    is_undecided: bool,
    /// Whether the booking that it names itself has too many objects before it.
    is_crowded_out: bool,
}

impl WorkingSet {
    /// Projects each invoice.
    pub fn project(&self) -> Projection<'_> {
        let holders = self.holders();
        let linked = self.linked_bookings(&holders);
        let undecided = self.undecided_links(&holders.owners);
        let refunds = self.refunds();
        let mut invoices = BTreeMap::new();
        for (id, known) in self.invoices.iter() {
            let own = known.by_claim.resolve(&holders.owners);
            let session = linked.get(id);
            let proven = session.and_then(|session| session.proven(known));
            if self.is_invoice_unchanged(id)
                && let Some(stored) = &known.projection
            {
                let latest = || known.by_claim.latest().map(|(_, part)| part.clone());
                let proven = proven.map(|proven| proven.invoice);
                if let Some(invoice) = proven.or(own.state).or_else(latest) {
                    let stored = stored.clone();
                    invoices.insert(id, InvoiceProjection { stored, invoice });
                }
                continue;
            }
            let object = ObjectId::Invoice(id.clone());
            let is_crowded_out = |booking| holders.is_crowded_out(&object, booking);
            let link = Link {
                proven,
                booking: session.map(|session| session.booking),
                is_undecided: undecided.contains(id),
                is_crowded_out: own.booking.is_some_and(is_crowded_out),
            };
            if let Some(mut projection) = self.project_invoice(known, own, link) {
                let stored = &mut projection.stored;
                let before = known.projection.as_ref().map(|stored| stored.given_back);
                let given_back = self.given_back(&refunds, &stored.account, id);
                stored.given_back = given_back.or(before).unwrap_or_default();
                invoices.insert(id, projection);
            }
        }
        Projection { holders, invoices }
    }

    /// The invoices that a session names whose own claim nobody can decide yet.
    fn undecided_links(&self, owners: &Owners) -> BTreeSet<&InvoiceId> {
        let sessions = self.checkout_sessions.iter();
        let undecided = sessions.filter(|(_, session)| session.by_claim.is_undecided(owners));
        undecided
            .flat_map(|(_, session)| session.by_claim.parts())
            .filter_map(|(_, part)| value(&part.invoice))
            .collect()
    }

    /// The bookings that sessions give to invoices; of several sessions one that a command made
    /// counts, else the first one that names the invoice.
    fn linked_bookings(&self, holders: &Holders) -> BTreeMap<InvoiceId, SessionLink> {
        let mut links: BTreeMap<InvoiceId, SessionLink> = BTreeMap::new();
        for (id, session) in self.checkout_sessions.iter() {
            let resolved = session.by_claim.resolve(&holders.owners);
            let (Some(state), Some(booking)) = (resolved.state, resolved.booking) else {
                continue;
            };
            if holders.is_crowded_out(&ObjectId::CheckoutSession(id.clone()), booking) {
                continue;
            }
            let Some(invoice) = state.invoice else {
                continue;
            };
            let is_proof = |claim: &&Claim| {
                claim.booking == Some(booking)
                    && claim.status(&holders.owners) == ClaimStatus::Accepted
            };
            let proof = session.by_claim.proofs().find(is_proof);
            let link = SessionLink {
                order: invoice.order,
                booking,
                proven_for: proof.map(|claim| claim.account.clone()),
            };
            let known = links.get(&invoice.value);
            if known.is_none_or(|known| link.precedes(known)) {
                links.insert(invoice.value, link);
            }
        }
        links
    }

    fn project_invoice(
        &self,
        known: &StoredInvoice,
        own: Resolved<'_, Invoice>,
        link: Link,
    ) -> Option<InvoiceProjection> {
        let (latest_claim, latest) = known.by_claim.latest()?;
        if let Some(proven) = link.proven {
            let Proven {
                account,
                booking,
                invoice,
            } = proven;
            let stored = StoredProjection {
                account,
                booking: Some(booking),
                waiting: self.waiting_for(&invoice, Some(booking), WaitingFor::Booking),
                is_undecided: own.is_undecided,
                columns: invoice.columns(),
                given_back: GivenBack::default(),
            };
            return Some(InvoiceProjection { stored, invoice });
        }
        let account = &own.latest.unwrap_or(latest_claim).account;
        let booking = own
            .booking
            .filter(|_| !link.is_crowded_out)
            .or(link.booking);
        let why_none = if link.is_crowded_out {
            WaitingFor::Turn
        } else if known.by_claim.names_too_many() {
            WaitingFor::OneBooking
        } else {
            match own.least_certain {
                ClaimStatus::Refused => WaitingFor::Claim,
                ClaimStatus::Undecided => WaitingFor::Owner,
                ClaimStatus::Accepted if link.is_undecided => WaitingFor::Owner,
                ClaimStatus::Accepted => WaitingFor::Booking,
            }
        };
        let is_accepted = own.state.is_some();
        let invoice = own.state.unwrap_or_else(|| latest.clone());
        let waiting = match is_accepted {
            true => self.waiting_for(&invoice, booking, why_none),
            false if own.least_certain == ClaimStatus::Refused => Some(WaitingFor::Claim),
            false => Some(WaitingFor::Owner),
        };
        let stored = StoredProjection {
            account: account.clone(),
            booking: booking.filter(|_| is_accepted),
            waiting,
            is_undecided: own.is_undecided,
            columns: invoice.columns(),
            given_back: GivenBack::default(),
        };
        Some(InvoiceProjection { stored, invoice })
    }

    /// What an invoice of an accepted claim waits for.
    fn waiting_for(
        &self,
        invoice: &Invoice,
        booking: Option<BookingId>,
        why_none: WaitingFor,
    ) -> Option<WaitingFor> {
        // A void or deleted invoice is nobody's, and waits for nothing.
        RowStatus::of(invoice.status.value)?;
        let Some(booking) = booking else {
            return Some(why_none);
        };
        let app = self.bookings.get(&booking);
        let app = app.and_then(|known| known.app.as_ref());
        // Whether one that cannot be read exists is not known: its projection is pending.
        let is_missing = app.is_none_or(|app| !app.exists && app.obstacle.is_none());
        if is_missing {
            Some(WaitingFor::BookingRow)
        } else if invoice.total.is_none() || invoice.currency.is_none() {
            Some(WaitingFor::Amount)
        } else {
            None
        }
    }

    /// What has to change in the main app's `"Invoice"`.
    pub fn invoice_row_changes(&self, projection: &Projection<'_>) -> AppChanges {
        let current = projection.current_invoices();
        let mut of_bookings: BTreeMap<BookingId, &InvoiceId> = BTreeMap::new();
        for (id, invoice) in &projection.invoices {
            of_bookings.extend(invoice.stored.booking.map(|booking| (booking, *id)));
        }
        // The main app may have made a row of an invoice that no event told of. It
        // stays until an invoice of the booking is known.
        let is_ours = |row: &InvoiceRow| {
            of_bookings.contains_key(&row.booking_id) || self.knows_invoice(&row.stripe_invoice_id)
        };
        let mut changes = AppChanges::default();
        for (id, booking) in self.bookings.iter() {
            if self.is_unchanged(id) {
                continue;
            }
            let app = booking.app.as_ref();
            if let Some(obstacle) = app.and_then(|app| app.obstacle.clone()) {
                let invoice = of_bookings.get(id).map(|id| (*id).clone());
                changes.unreadable.push((*id, invoice, obstacle));
                continue;
            }
            let wanted = current.get(id);
            let wanted = wanted.and_then(|(invoice, one)| InvoiceRow::new(*id, invoice, one));
            let row = app.and_then(|app| app.row.as_ref());
            let target = Target::Booking(*id);
            let is_changed = match (row, &wanted) {
                (Some(known), Some(row)) => known != row,
                (Some(known), None) => is_ours(known),
                (None, wanted) => wanted.is_some(),
            };
            match self.pending(&target) {
                Pending::Later if is_changed => continue,
                Pending::Later | Pending::Due => drop(changes.was_pending.insert(target)),
                Pending::No => {}
            }
            match (row, wanted) {
                (None, Some(row)) => changes.insert.push(row),
                (Some(_), Some(row)) if is_changed => changes.update.push(row),
                (Some(known), None) if is_changed => {
                    let invoice = known.stripe_invoice_id.clone();
                    changes.delete.push((*id, invoice));
                }
                (Some(_), _) | (None, None) => {}
            }
        }
        changes
    }
}

impl Projection<'_> {
    /// The current invoice of each booking: paid, then open, then draft; one with a total
    /// above zero, since a credit does not displace the payment; then the newest; then the
    /// greatest id. Void and deleted ones are nobody's.
    pub fn current_invoices(&self) -> BTreeMap<BookingId, (&InvoiceId, &InvoiceProjection)> {
        let mut best = BTreeMap::new();
        for (id, projection) in &self.invoices {
            let status = RowStatus::of(projection.invoice.status.value);
            let (Some(booking), None, Some(status)) =
                (projection.stored.booking, projection.stored.waiting, status)
            else {
                continue;
            };
            let invoice = &projection.invoice;
            let is_to_pay = value(&invoice.total).is_some_and(|total| *total > 0);
            let created = value(&invoice.created).copied();
            let key = (status, is_to_pay, created, *id);
            let entry = best.entry(booking).or_insert((key, projection));
            if key > entry.0 {
                *entry = (key, projection);
            }
        }
        best.into_iter()
            .map(|(booking, ((_, _, _, id), projection))| (booking, (id, projection)))
            .collect()
    }
}

impl InvoiceRow {
    /// The row that shows an invoice as a booking's; `None` for one that cannot be
    /// shown.
    pub fn new(booking_id: BookingId, id: &InvoiceId, of: &InvoiceProjection) -> Option<Self> {
        let invoice = &of.invoice;
        let currency = value(&invoice.currency)?.clone();
        let created = value(&invoice.created).copied();
        let created = created.unwrap_or(invoice.status.order.created);
        Some(Self {
            booking_id,
            stripe_invoice_id: id.clone(),
            pdf_url: value(&invoice.pdf_url).cloned().unwrap_or_default(),
            amount: money::major(*value(&invoice.total)?, &currency),
            currency,
            status: Some(RowStatus::of(invoice.status.value)?),
            created_at: DateTime::from_timestamp(created, 0)?,
        })
    }
}
