//! How far what is loaded is from what a batch touches.
//!
//! A booking's objects name other bookings, whose objects name others, and so on: a host can make
//! a chain of any length. But an event changes little of it. It can change whose a booking is and
//! which objects count for it, so the bookings that those objects name besides can get or lose an
//! invoice. Whose these bookings are follows from the claims on them, which stay as they were.
//!
//! - At distance 0 are the objects and bookings that the events name.
//! - At distance 1 are the objects of these bookings' owners, and the other bookings that they
//!   name. Their rows can change.
//! - At distance 2 are the objects of those bookings' owners, and the other bookings that these
//!   name. All that is stored of them stays as it is, and nothing further is loaded.

use std::collections::BTreeMap;

use crate::{
    ids::{BookingId, CheckoutSessionId, InvoiceId},
    objects::Objects,
};

/// The distance at which nothing changes.
const UNCHANGED: u8 = 2;

/// The distances of what is not at distance 0.
#[derive(Debug, Default)]
pub(super) struct Distances {
    pub(super) invoices: Distance<InvoiceId>,
    pub(super) checkout_sessions: Distance<CheckoutSessionId>,
    pub(super) bookings: Distance<BookingId>,
    /// Whether something that was loaded turned out to be nearer.
    pub(super) is_any_nearer: bool,
}

/// The distances of things of one kind that are not at distance 0.
#[derive(Debug)]
pub(super) struct Distance<K>(BTreeMap<K, u8>);

impl<K> Default for Distance<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Distance<K> {
    pub(super) fn of(&self, key: &K) -> u8 {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Whether it is so far that nothing of it changes.
    pub(super) fn is_unchanged(&self, key: &K) -> bool {
        self.of(key) >= UNCHANGED
    }

    /// Wants something at this distance. Returns whether it was known and farther.
    pub(super) fn want<S: Default>(
        &mut self,
        objects: &mut Objects<K, S>,
        key: &K,
        distance: u8,
    ) -> bool {
        let was_wanted = objects.is_wanted(key);
        if !was_wanted {
            objects.want(key);
            if distance > 0 {
                self.0.insert(key.clone(), distance);
            }
            // It may have come with another object.
            return objects.get(key).is_some();
        }
        match self.0.get_mut(key) {
            Some(known) if *known > distance => {
                match distance {
                    0 => drop(self.0.remove(key)),
                    nearer => *known = nearer,
                }
                true
            }
            Some(_) | None => false,
        }
    }
}
