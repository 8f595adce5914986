//! Which charges and credit notes are of which invoice, and what they come to.
//!
//! A credit note names its invoice. A charge names it in old API versions; else the Checkout
//! Session does that names the charge's payment intent. Only what is of the invoice's own
//! account counts.
//!
//! What was refunded of an invoice can change only when something new comes: an event of one of
//! its charges or notes, a session that links a charge to it, or the invoice itself. Only then
//! are its charges and notes loaded; else its row keeps what it says.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    charge::Charge,
    checkout_session::CheckoutSession,
    given_back::{GivenBack, MAX_COUNTED, RefundKey},
    ids::{AccountId, CheckoutSessionId, InvoiceId, ObjectId, PaymentIntentId},
    source::StoredInvoice,
    working_set::WorkingSet,
};

/// The charges and notes of a working set, by what gives them to invoices.
#[derive(Debug, Default)]
pub(crate) struct Refunds<'a> {
    /// Those of which an event came.
    in_hand: BTreeMap<RefundKey, BTreeMap<&'a str, i64>>,
    /// The payment intents of the sessions that name an invoice, by account.
    payments: BTreeMap<(&'a AccountId, &'a InvoiceId), BTreeSet<&'a PaymentIntentId>>,
}

/// What an account's events say of a session: its payment intent and its invoice.
type Link<'a> = (&'a AccountId, &'a PaymentIntentId, &'a InvoiceId);

impl Charge {
    /// What gives it to an invoice, where anything does.
    fn key(&self, account: &AccountId) -> Option<RefundKey> {
        let account = account.clone();
        match (&self.invoice, &self.payment_intent) {
            (Some(invoice), _) => Some(RefundKey::OfInvoice(account, invoice.clone())),
            (None, Some(intent)) => Some(RefundKey::OfPaymentIntent(account, intent.clone())),
            (None, None) => None,
        }
    }
}

impl WorkingSet {
    /// The links that the sessions make, each with the session.
    fn payment_links(&self) -> Vec<(&CheckoutSessionId, Link<'_>)> {
        let mut links = Vec::new();
        for (id, session) in self.checkout_sessions.iter() {
            let parts = session.by_claim.parts();
            let mut parts: Vec<(&AccountId, &CheckoutSession)> =
                parts.map(|(claim, part)| (&claim.account, part)).collect();
            // The parts of an account stand side by side.
            while let Some((account, _)) = parts.last().copied() {
                let of_account = parts.partition_point(|(one, _)| *one < account);
                let said = parts.split_off(of_account);
                let invoices = said.iter().filter_map(|(_, part)| part.invoice.as_ref());
                let invoice = invoices.min_by_key(|one| one.order.first_key());
                let intents = said
                    .iter()
                    .filter_map(|(_, part)| part.payment_intent.as_ref());
                let intent = intents.min_by_key(|one| one.order.first_key());
                if let (Some(invoice), Some(intent)) = (invoice, intent) {
                    links.push((id, (account, &intent.value, &invoice.value)));
                }
            }
        }
        links
    }

    /// The charges and notes in hand, and the payments of each invoice.
    pub(crate) fn refunds(&self) -> Refunds<'_> {
        let mut refunds = Refunds::default();
        for ((account, id), charge) in self.charges.iter() {
            if let Some(key) = charge.key(account) {
                let of_key = refunds.in_hand.entry(key).or_default();
                of_key.insert(id, charge.amount_refunded());
            }
        }
        for ((account, id), note) in self.credit_notes.iter() {
            if let (Some(invoice), Some(amount)) = (&note.invoice, note.amount()) {
                let key = RefundKey::NotesOf(account.clone(), invoice.clone());
                refunds.in_hand.entry(key).or_default().insert(id, amount);
            }
        }
        for (_, (account, intent, invoice)) in self.payment_links() {
            let of_invoice = refunds.payments.entry((account, invoice)).or_default();
            of_invoice.insert(intent);
        }
        refunds
    }

    /// What has to be loaded to say what was given back of the invoices for which that may have
    /// changed.
    pub(crate) fn refund_keys(&self) -> Vec<RefundKey> {
        let links = self.payment_links();
        let touched = self.touched_by_refunds(&links);
        let mut payments: BTreeMap<(&AccountId, &InvoiceId), Vec<&PaymentIntentId>> =
            BTreeMap::new();
        for (_, (account, intent, invoice)) in links {
            let of_invoice = payments.entry((account, invoice)).or_default();
            of_invoice.push(intent);
        }
        let mut keys = Vec::new();
        for (id, known) in self.invoices.iter() {
            let accounts: BTreeSet<&AccountId> = known
                .by_claim
                .parts()
                .map(|(claim, _)| &claim.account)
                .collect();
            // Whose of several accounts it is may change with the claims.
            let is_new = self.is_unprojected(id, known) || accounts.len() > 1;
            for account in accounts {
                if !is_new && !touched.contains(&(account, id)) {
                    continue;
                }
                keys.push(RefundKey::NotesOf(account.clone(), id.clone()));
                keys.push(RefundKey::OfInvoice(account.clone(), id.clone()));
                let intents = payments.get(&(account, id)).into_iter().flatten();
                keys.extend(
                    intents.map(|intent| {
                        RefundKey::OfPaymentIntent(account.clone(), (*intent).clone())
                    }),
                );
            }
        }
        keys
    }

    /// Whether what its row says of refunds is missing, or is computed anew.
    fn is_unprojected(&self, id: &InvoiceId, known: &StoredInvoice) -> bool {
        known.projection.is_none() || self.is_rechecked(&ObjectId::Invoice(id.clone()))
    }

    /// The invoices that a charge, a note or a session in hand is of.
    fn touched_by_refunds<'a>(
        &'a self,
        links: &[(&'a CheckoutSessionId, Link<'a>)],
    ) -> BTreeSet<(&'a AccountId, &'a InvoiceId)> {
        let mut touched = BTreeSet::new();
        let mut paid: BTreeSet<(&AccountId, &PaymentIntentId)> = BTreeSet::new();
        for ((account, _), charge) in self.charges.iter() {
            touched.extend(charge.invoice.as_ref().map(|invoice| (account, invoice)));
            paid.extend(
                charge
                    .payment_intent
                    .as_ref()
                    .map(|intent| (account, intent)),
            );
        }
        for ((account, _), note) in self.credit_notes.iter() {
            touched.extend(note.invoice.as_ref().map(|invoice| (account, invoice)));
        }
        for (id, (account, intent, invoice)) in links {
            let is_in_hand = || {
                let session = ObjectId::CheckoutSession((*id).clone());
                self.claims.is_wanted(&session)
            };
            if paid.contains(&(*account, *intent)) || is_in_hand() {
                touched.insert((*account, *invoice));
            }
        }
        touched
    }

    /// What was given back of an invoice of this account; `None` where nothing can have changed
    /// and it was not loaded.
    pub(crate) fn given_back(
        &self,
        refunds: &Refunds<'_>,
        account: &AccountId,
        id: &InvoiceId,
    ) -> Option<GivenBack> {
        let notes = RefundKey::NotesOf(account.clone(), id.clone());
        let mut keys = vec![RefundKey::OfInvoice(account.clone(), id.clone())];
        let intents = refunds.payments.get(&(account, id)).into_iter().flatten();
        keys.extend(
            intents.map(|intent| RefundKey::OfPaymentIntent(account.clone(), (*intent).clone())),
        );
        Some(GivenBack {
            refunded: self.sum(refunds, &keys)?,
            credited: self.sum(refunds, &[notes])?,
        })
    }

    /// The sum of the first [`MAX_COUNTED`] by id.
    fn sum(&self, refunds: &Refunds<'_>, keys: &[RefundKey]) -> Option<i64> {
        let mut amounts: BTreeMap<&str, i64> = BTreeMap::new();
        for key in keys {
            let elsewhere = self.refunds_elsewhere.get(key)?.iter();
            amounts.extend(elsewhere.map(|(id, amount)| (id.as_str(), *amount)));
            amounts.extend(refunds.in_hand.get(key).into_iter().flatten());
        }
        let counted = amounts.into_values().take(MAX_COUNTED);
        Some(counted.fold(0, i64::saturating_add))
    }

    /// Wants what an event may bring together that names an invoice, and a payment intent where
    /// it is of one: so early that it comes with the first that is loaded.
    pub(crate) fn want_refunds(
        &mut self,
        account: &AccountId,
        invoice: Option<&InvoiceId>,
        intent: Option<&PaymentIntentId>,
    ) {
        let Some(invoice) = invoice else { return };
        for key in [RefundKey::NotesOf, RefundKey::OfInvoice] {
            let key = key(account.clone(), invoice.clone());
            self.refunds_elsewhere.want(&key);
        }
        if let Some(intent) = intent {
            let key = RefundKey::OfPaymentIntent(account.clone(), intent.clone());
            self.refunds_elsewhere.want(&key);
        }
    }

    /// The invoices that the charges and notes in hand name.
    pub(crate) fn invoices_given_back(&self) -> Vec<InvoiceId> {
        let charges = self.charges.iter().map(|(_, charge)| &charge.invoice);
        let notes = self.credit_notes.iter().map(|(_, note)| &note.invoice);
        charges.chain(notes).flatten().cloned().collect()
    }

    /// The payment intents of the charges in hand that name no invoice.
    pub(crate) fn payment_intents_given_back(&self) -> Vec<PaymentIntentId> {
        let charges = self.charges.iter();
        let unnamed = charges.filter(|(_, charge)| charge.invoice.is_none());
        unnamed
            .filter_map(|(_, charge)| charge.payment_intent.clone())
            .collect()
    }
}
