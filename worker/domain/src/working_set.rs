//! The working set: all that a batch of events touches, in memory.
//!
//! A batch has the set loaded from a [`Source`](crate::source::Source), merges its events into it, has
//! loaded what turned out to be missing, and reads off the rows as they have to be.
//! Nothing here depends on the order in which events came.
//!
//! What it wants and how that is loaded is in [`loading`].
//!
//! An object is added as one field of [`WorkingSet`], and of what a source is asked for.

mod distance;
mod loading;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    account::Account,
    account_snapshot::AccountSnapshot,
    by_claim::{MAX_BOOKINGS, Naming},
    charge::{Charge, ChargeKey},
    credit_note::{CreditNote, CreditNoteKey},
    event::{Event, EventData},
    given_back::{Amounts, RefundKey},
    holders::{self, Claimants, Holders, InHand},
    ids::{AccountId, BookingId, CheckoutSessionId, InvoiceId, ObjectId, PaymentIntentId},
    main_app::{Pending, Target},
    merge::Change,
    objects::Objects,
    ownership::{Claim, ClaimKey, Claimant, Claimed, FirstClaim, ObjectClaims, Owners},
    source::{Booking, Recheck, StoredCheckoutSession, StoredInvoice},
    working_set::distance::Distances,
};

/// All that a batch of events touches.
#[derive(Debug, Default)]
pub struct WorkingSet {
    /// Invoices.
    pub invoices: Objects<InvoiceId, StoredInvoice>,
    /// Checkout Sessions.
    pub checkout_sessions: Objects<CheckoutSessionId, StoredCheckoutSession>,
    /// Connected accounts.
    pub accounts: Objects<AccountId, Account>,
    /// Bookings.
    pub bookings: Objects<BookingId, Booking>,
    /// The claims of the objects in hand: those of which an event came.
    pub claims: Objects<ObjectId, ObjectClaims>,
    /// The charges in hand: those of which an event came.
    pub charges: Objects<ChargeKey, Charge>,
    /// The credit notes in hand: those of which an event came.
    pub credit_notes: Objects<CreditNoteKey, CreditNote>,
    /// Payment intents whose sessions are wanted.
    payment_intents: Objects<PaymentIntentId, ()>,
    /// The charges and credit notes that are not in hand.
    pub(crate) refunds_elsewhere: Objects<RefundKey, Amounts>,
    claimants: Claimants,
    distances: Distances,
    followed: Followed,
    /// Whose each booking was before the first event was merged.
    owners_before: Option<Owners>,
    pending: BTreeMap<Target, Pending>,
    recheck: Recheck,
    has_owner_query: bool,
}

/// What was found when what is loaded was last followed to what it refers to. Each load brings
/// little that is new, so it is kept between them.
#[derive(Debug, Default)]
struct Followed {
    /// Whether `in_hand` is as the objects in hand are now.
    is_current: bool,
    in_hand: InHand,
    owners: Owners,
}

impl WorkingSet {
    /// Whether the object is computed anew although no event of it came.
    pub fn is_rechecked(&self, object: &ObjectId) -> bool {
        self.recheck.objects.contains(object)
    }

    /// The bookings of which the outcomes of all claims are written, although they may have had
    /// the same owner before.
    pub fn rechecked_owners(&self) -> &BTreeSet<BookingId> {
        &self.recheck.owners
    }

    /// Whether the row is written anew although nothing changed.
    pub fn is_target_rechecked(&self, target: &Target) -> bool {
        self.recheck.targets.contains(target)
    }

    /// Whether the booking is so far from the events that its row stays as it is.
    pub(crate) fn is_unchanged(&self, booking: &BookingId) -> bool {
        self.distances.bookings.is_unchanged(booking)
    }

    /// Whether the invoice is so far from the events that its row stays as it is.
    pub(crate) fn is_invoice_unchanged(&self, invoice: &InvoiceId) -> bool {
        self.distances.invoices.is_unchanged(invoice)
    }

    /// Whether a row of the main app's is pending.
    pub fn pending(&self, target: &Target) -> Pending {
        self.pending.get(target).copied().unwrap_or_default()
    }

    /// What an object says of bookings; `None` where it was not loaded.
    fn naming(&self, object: &ObjectId) -> Option<&dyn Naming> {
        match object {
            ObjectId::Invoice(id) => {
                let known = self.invoices.get(id)?;
                Some(&known.by_claim)
            }
            ObjectId::CheckoutSession(id) => {
                let known = self.checkout_sessions.get(id)?;
                Some(&known.by_claim)
            }
        }
    }

    /// The objects that were loaded, each with what it says of bookings.
    pub fn namings(&self) -> impl Iterator<Item = (ObjectId, &dyn Naming)> {
        let invoices = self.invoices.iter().map(|(id, known)| {
            let naming: &dyn Naming = &known.by_claim;
            (ObjectId::Invoice(id.clone()), naming)
        });
        let sessions = self.checkout_sessions.iter().map(|(id, known)| {
            let naming: &dyn Naming = &known.by_claim;
            (ObjectId::CheckoutSession(id.clone()), naming)
        });
        invoices.chain(sessions)
    }

    /// Whether the state of the object was loaded.
    pub fn is_loaded(&self, object: &ObjectId) -> bool {
        self.naming(object).is_some()
    }

    /// Whether an event of this invoice was ever taken in.
    pub fn knows_invoice(&self, id: &InvoiceId) -> bool {
        let known = self.invoices.get(id);
        known.is_some_and(|invoice| !invoice.by_claim.is_empty())
    }

    /// Takes in what an event says. What it touches must have been loaded.
    pub fn merge(&mut self, event: &Event) -> Change {
        if self.owners_before.is_none() {
            self.owners_before = Some(self.owners());
        }
        self.followed.is_current = false;
        let change = match (&event.data, event.claim()) {
            (EventData::Invoice(data), Some((_, claim))) => {
                let part = data.invoice.clone();
                let merge = |known: &mut StoredInvoice| known.by_claim.merge(claim, part);
                self.invoices.merge(&data.id, merge)
            }
            (EventData::CheckoutSession(data), Some((_, claim))) => {
                let part = data.session.clone();
                let merge = |known: &mut StoredCheckoutSession| known.by_claim.merge(claim, part);
                self.checkout_sessions.merge(&data.id, merge)
            }
            (EventData::Account(data), _) => self.accounts.merge(&data.id, |account| {
                account.merge(event.header.created, &event.header.id, &data.change)
            }),
            (EventData::Charge(data), _) => {
                let key = (event.account(), data.id.clone());
                let said = data.charge.clone();
                self.charges.merge(&key, |charge| charge.merge(said))
            }
            (EventData::CreditNote(data), _) => {
                let key = (event.account(), data.id.clone());
                let said = data.note.clone();
                self.credit_notes.merge(&key, |note| note.merge(said))
            }
            (EventData::Invoice(_) | EventData::CheckoutSession(_) | EventData::Ignored(_), _) => {
                Change::Unchanged
            }
        };
        change.or(self.merge_claim(event))
    }

    fn merge_claim(&mut self, event: &Event) -> Change {
        let Some((object, claim)) = event.claim() else {
            return Change::Unchanged;
        };
        let counts = |booking: &BookingId| {
            let Some(naming) = self.naming(&object) else {
                return true;
            };
            match naming.proof_of(&claim.account) {
                // The others are not active. A host can name thousands.
                Some(proof) if proof.booking != Some(*booking) => {
                    let key = (claim.account.clone(), *booking);
                    self.claims.get(&object).is_none_or(|claims| {
                        claims.first(&key).is_some() || claims.len() < MAX_BOOKINGS
                    })
                }
                Some(_) => true,
                None => !naming.names_too_many(),
            }
        };
        let Some(booking) = claim.booking.filter(counts) else {
            return Change::Unchanged;
        };
        let first = FirstClaim {
            created: event.header.created,
            event_id: event.header.id.clone(),
        };
        self.claims.merge(&object, |claims| {
            claims.merge((claim.account, booking), first)
        })
    }

    /// The active claims of an object.
    pub fn active(&self, object: &ObjectId) -> BTreeSet<ClaimKey> {
        let active = self.naming(object).map(Naming::active).unwrap_or_default();
        let key = |claim: &Claim| Some((claim.account.clone(), claim.booking?));
        active.into_iter().filter_map(key).collect()
    }

    /// The active claims of the objects in hand, by booking.
    fn in_hand(&self) -> Cow<'_, InHand> {
        match self.followed.is_current {
            true => Cow::Borrowed(&self.followed.in_hand),
            false => Cow::Owned(self.active_in_hand()),
        }
    }

    fn active_in_hand(&self) -> InHand {
        let mut active = InHand::new();
        for (object, claims) in self.claims.iter() {
            for key in self.active(object) {
                let Some(first) = claims.first(&key).cloned() else {
                    continue;
                };
                let (account, booking) = key;
                let object = object.clone();
                let by = Claimant { account, object };
                active
                    .entry(booking)
                    .or_default()
                    .push(Claimed { first, by });
            }
        }
        active
    }

    /// Takes in what the API said of an account; see [`Account::keep_api_snapshot`].
    pub fn keep_api_snapshot(
        &mut self,
        id: &AccountId,
        asked: &Account,
        snapshot: AccountSnapshot,
    ) -> Change {
        let keep = |account: &mut Account| account.keep_api_snapshot(asked, snapshot);
        self.accounts.merge(id, keep)
    }

    /// Whose each booking is.
    pub fn owners(&self) -> Owners {
        holders::owners(&self.bookings, &self.in_hand())
    }

    /// Who has each booking.
    pub fn holders(&self) -> Holders {
        Holders::of(&self.bookings, &self.claimants, &self.in_hand())
    }

    /// Whose each booking was before the first event was merged; `None` where none was.
    pub fn owners_before(&self) -> Option<&Owners> {
        self.owners_before.as_ref()
    }
}
