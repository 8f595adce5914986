//! What batches read of the tables in memory.

use std::{collections::BTreeMap, convert::Infallible};

use domain::{
    checkout_session::CheckoutSession,
    given_back::{Amounts, MAX_COUNTED, RefundKey},
    ids::{BookingId, InvoiceId},
    main_app::AppBooking,
    ownership::{MAX_OBJECTS, ObjectClaims},
    source::{Booking, Loaded, Missing, Source},
};

use super::{Memory, Tables};

impl Source for Memory {
    type Error = Infallible;

    async fn load(&self, missing: &Missing) -> Result<Loaded, Infallible> {
        let Missing {
            invoices,
            checkout_sessions,
            accounts,
            bookings,
            claims,
            claimants,
            in_hand,
            charges,
            credit_notes,
            payment_intents,
            refunds,
            charges_in_hand: _,
            credit_notes_in_hand: _,
        } = missing;
        let tables = self.tables();
        let mut loaded = Loaded::default();
        for id in invoices {
            let stored = tables.invoices.get(id).cloned();
            loaded.invoices.extend(stored.map(|one| (id.clone(), one)));
        }
        for (id, session) in &tables.checkout_sessions {
            let names = |whole| {
                let pays = |one: &CheckoutSession| {
                    let intent = one.payment_intent.as_ref();
                    intent.is_some_and(|intent| payment_intents.contains(&intent.value))
                };
                tables.names(&whole, invoices) || pays(&whole)
            };
            if checkout_sessions.contains(id) || session.by_claim.whole().is_some_and(names) {
                loaded.checkout_sessions.insert(id.clone(), session.clone());
            }
        }
        for id in accounts {
            let stored = tables.accounts.get(id).cloned();
            loaded.accounts.extend(stored.map(|one| (id.clone(), one)));
        }
        for id in bookings {
            let booking = Booking {
                first_elsewhere: tables.elsewhere(*id, in_hand).into_iter().next(),
                ..Booking::default()
            };
            loaded.bookings.insert(*id, booking);
        }
        for object in claims {
            let of_object = tables.claims.iter().filter(|((of, _), _)| of == object);
            let of_object = of_object.map(|((_, key), claim)| (key.clone(), claim.clone()));
            let of_object = ObjectClaims::new(of_object.collect());
            loaded.claims.insert(object.clone(), of_object);
        }
        for (booking, account) in claimants {
            let mut claims = tables.elsewhere(*booking, in_hand);
            claims.retain(|claim| claim.by.account == *account);
            claims.truncate(MAX_OBJECTS);
            loaded.claimants.insert((*booking, account.clone()), claims);
        }
        for key in charges {
            let stored = tables.charges.get(key).cloned();
            loaded.charges.extend(stored.map(|one| (key.clone(), one)));
        }
        for key in credit_notes {
            let stored = tables.credit_notes.get(key).cloned();
            let stored = stored.map(|one| (key.clone(), one));
            loaded.credit_notes.extend(stored);
        }
        for key in refunds {
            let amounts = tables.refunds(key, missing);
            loaded.refunds.insert(key.clone(), amounts);
        }
        Ok(loaded)
    }

    fn has_owner_query(&self) -> bool {
        false
    }

    async fn load_app(
        &self,
        bookings: &[BookingId],
    ) -> Result<BTreeMap<BookingId, AppBooking>, Infallible> {
        let tables = self.tables();
        let here = tables.bookings.as_ref();
        let booking = |id: &BookingId| {
            let app = AppBooking {
                exists: here.is_none_or(|bookings| bookings.contains(id)),
                row: tables.invoice_rows.get(id).cloned(),
                ..AppBooking::default()
            };
            (*id, app)
        };
        Ok(bookings.iter().map(booking).collect())
    }
}

impl Tables {
    fn names(&self, session: &CheckoutSession, invoices: &[InvoiceId]) -> bool {
        let link = session.invoice.as_ref();
        link.is_some_and(|link| invoices.contains(&link.value))
    }

    /// The first charges or notes of a key by id, without those in hand.
    fn refunds(&self, key: &RefundKey, missing: &Missing) -> Amounts {
        let charges = self.charges.iter();
        let charges = charges.filter(|(id, _)| !missing.charges_in_hand.contains(id));
        let notes = self.credit_notes.iter();
        let notes = notes.filter(|(id, _)| !missing.credit_notes_in_hand.contains(id));
        let amounts: Amounts = match key {
            RefundKey::OfInvoice(account, invoice) => charges
                .filter(|(id, one)| id.0 == *account && one.invoice.as_ref() == Some(invoice))
                .map(|(id, one)| (id.1.to_string(), one.amount_refunded()))
                .collect(),
            RefundKey::OfPaymentIntent(account, intent) => charges
                .filter(|(id, one)| id.0 == *account && one.invoice.is_none())
                .filter(|(_, one)| one.payment_intent.as_ref() == Some(intent))
                .map(|(id, one)| (id.1.to_string(), one.amount_refunded()))
                .collect(),
            RefundKey::NotesOf(account, invoice) => notes
                .filter(|(id, one)| id.0 == *account && one.invoice.as_ref() == Some(invoice))
                .filter_map(|(id, one)| Some((id.1.to_string(), one.amount()?)))
                .collect(),
        };
        amounts.into_iter().take(MAX_COUNTED).collect()
    }
}
