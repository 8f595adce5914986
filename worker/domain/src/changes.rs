//! What a batch changed of its working set: the rows to save.

use std::collections::BTreeSet;

use crate::{
    account::Account,
    by_claim::ByClaim,
    charge::{Charge, ChargeKey},
    checkout_session::CheckoutSession,
    credit_note::{CreditNote, CreditNoteKey},
    ids::{AccountId, CheckoutSessionId, InvoiceId, ObjectId},
    invoice::Invoice,
    main_app::{AppChanges, Pending, Target},
    merge::Change,
    objects::Objects,
    ownership::{ClaimKey, StoredClaim},
    projection::{InvoiceProjection, Projection},
    rows::HostRow,
    working_set::WorkingSet,
};

/// An invoice to save.
#[derive(Clone, Copy, Debug)]
pub struct ChangedInvoice<'a> {
    /// Its id.
    pub id: &'a InvoiceId,
    /// What its events said.
    pub by_claim: &'a ByClaim<Invoice>,
    /// Its row.
    pub projection: &'a InvoiceProjection,
}

/// A Checkout Session to save.
#[derive(Clone, Copy, Debug)]
pub struct ChangedCheckoutSession<'a> {
    /// Its id.
    pub id: &'a CheckoutSessionId,
    /// What its events said.
    pub by_claim: &'a ByClaim<CheckoutSession>,
    /// Whether it names a booking whose owner nobody knows yet.
    pub is_undecided: bool,
}

/// A claim to save: it is new, an earlier event of it came, or it was taken back or is
/// active again.
#[derive(Clone, Debug)]
pub struct ChangedClaim<'a> {
    /// The object.
    pub object: &'a ObjectId,
    /// The account and the booking.
    pub key: &'a ClaimKey,
    /// What is to be kept.
    pub claim: StoredClaim,
}

/// The rows to save. A new object is one more field, and the compiler asks every storage
/// for its writer.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Invoices.
    pub invoices: Vec<ChangedInvoice<'a>>,
    /// Checkout Sessions.
    pub checkout_sessions: Vec<ChangedCheckoutSession<'a>>,
    /// Claims on bookings.
    pub claims: Vec<ChangedClaim<'a>>,
    /// Connected accounts.
    pub accounts: Vec<(&'a AccountId, &'a Account)>,
    /// Charges.
    pub charges: Vec<(&'a ChargeKey, &'a Charge)>,
    /// Credit notes.
    pub credit_notes: Vec<(&'a CreditNoteKey, &'a CreditNote)>,
    /// The main app's rows.
    pub app: AppChanges,
}

/// The objects that a merge changed.
fn changed<K: Ord + Clone, S: Default>(objects: &Objects<K, S>) -> Vec<(&K, &S)> {
    let changed = objects
        .iter_changes()
        .filter(|(.., change)| *change == Change::Changed);
    changed.map(|(key, state, _)| (key, state)).collect()
}

impl WorkingSet {
    /// What has to be saved. The accounts in `rewrite` are saved although nothing changed:
    /// their rows may be gone, or of an older rule.
    pub fn changes<'a>(
        &'a self,
        projection: &'a Projection<'_>,
        rewrite: &BTreeSet<&AccountId>,
    ) -> Changes<'a> {
        let accounts = self.changed_accounts(rewrite);
        let mut app = self.invoice_row_changes(projection);
        self.change_hosts(&mut app, &accounts);
        Changes {
            invoices: self.changed_invoices(projection),
            checkout_sessions: self.changed_checkout_sessions(projection),
            claims: self.changed_claims(),
            accounts,
            charges: changed(&self.charges),
            credit_notes: changed(&self.credit_notes),
            app,
        }
    }

    /// Adds the rows of accounts that changed, and of those that are computed anew.
    fn change_hosts(&self, app: &mut AppChanges, changed: &[(&AccountId, &Account)]) {
        let changed: BTreeSet<&AccountId> = changed.iter().map(|(id, _)| *id).collect();
        for (id, account) in self.accounts.iter() {
            let target = Target::Host(id.clone());
            let is_known = account.is_known();
            let is_wanted = changed.contains(id) || self.is_target_rechecked(&target);
            match self.pending(&target) {
                // Its job writes the row as it is then.
                Pending::Later => continue,
                Pending::Due => drop(app.was_pending.insert(target)),
                Pending::No if !is_wanted => continue,
                Pending::No => {}
            }
            // The row of an account of which nothing is known shows nothing.
            if is_known {
                app.hosts.push(HostRow::new(id, account));
            }
        }
    }

    fn changed_invoices<'a>(&'a self, projection: &'a Projection<'_>) -> Vec<ChangedInvoice<'a>> {
        let invoices = self.invoices.iter_changes();
        let changed = invoices.filter_map(|(id, known, change)| {
            let projection = projection.invoices.get(id)?;
            let is_changed =
                change == Change::Changed || known.projection.as_ref() != Some(&projection.stored);
            is_changed.then_some(ChangedInvoice {
                id,
                by_claim: &known.by_claim,
                projection,
            })
        });
        changed.collect()
    }

    fn changed_checkout_sessions(
        &self,
        projection: &Projection<'_>,
    ) -> Vec<ChangedCheckoutSession<'_>> {
        let sessions = self.checkout_sessions.iter_changes();
        let changed = sessions.filter_map(|(id, known, change)| {
            let is_undecided = known.by_claim.is_undecided(&projection.holders.owners);
            let is_changed = change == Change::Changed || known.is_undecided != is_undecided;
            is_changed.then_some(ChangedCheckoutSession {
                id,
                by_claim: &known.by_claim,
                is_undecided,
            })
        });
        changed.collect()
    }

    fn changed_claims(&self) -> Vec<ChangedClaim<'_>> {
        let mut changed = Vec::new();
        for (object, claims) in self.claims.iter() {
            let of_object = claims.changed(&self.active(object)).into_iter();
            changed.extend(of_object.map(|(key, claim)| ChangedClaim { object, key, claim }));
        }
        changed
    }

    fn changed_accounts(&self, rewrite: &BTreeSet<&AccountId>) -> Vec<(&AccountId, &Account)> {
        let accounts = self.accounts.iter_changes();
        accounts
            .filter(|(id, _, change)| *change == Change::Changed || rewrite.contains(id))
            .map(|(id, account, _)| (id, account))
            .collect()
    }
}
