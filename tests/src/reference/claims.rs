//! The rules of bookings: who has which, and which events that refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::{Said, What, sessions};

/// The kinds of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Invoice,
    Session,
    Charge,
    Note,
}

/// The object of an event: its kind and its id.
pub(super) type Object<'a> = (Kind, &'a str);

/// When an event happened, and its id.
type Moment<'a> = (i64, &'a str);

/// The claims that count, by object and account: the booking, and the first event that named
/// it.
type Claims<'a> = BTreeMap<(Object<'a>, &'a str), (i32, Moment<'a>)>;

fn object(event: &Said) -> Object<'_> {
    match &event.what {
        What::Invoice { id, .. } => (Kind::Invoice, id),
        What::Session { id, .. } => (Kind::Session, id),
        What::Charge { id, .. } => (Kind::Charge, id),
        What::Note { id, .. } => (Kind::Note, id),
    }
}

/// The most bookings that an object may name, and the most objects of an account that count
/// for a booking.
const MOST_BOOKINGS: usize = 16;
const MOST_OBJECTS: usize = 50;

/// The claims that count: of each object and account the booking that its newest event
/// names, with the first event that named it. Of a session that a command made, the command
/// says the booking, and no other event of the account does. A session that expired unpaid, or
/// whose payment failed, makes none, nor does an object that named too many bookings.
fn claims(events: &[Said]) -> Claims<'_> {
    let abandoned: BTreeSet<String> = sessions(events)
        .into_iter()
        .filter(|(_, payment, status, _)| {
            let is_unpaid = payment.as_deref().is_none_or(|payment| payment == "unpaid");
            matches!(status.as_deref(), Some("expired" | "payment_failed")) && is_unpaid
        })
        .map(|(id, ..)| id)
        .collect();
    let mut of_objects: BTreeMap<Object<'_>, Vec<&Said>> = BTreeMap::new();
    for event in events {
        of_objects.entry(object(event)).or_default().push(event);
    }
    let mut claims = BTreeMap::new();
    let proven = proven(events);
    for (object, events) in of_objects {
        let is_proven = |event: &&&Said| proven.contains_key(&(object, event.account.as_str()));
        let named = events.iter().filter(|event| !is_proven(event));
        let named: BTreeSet<i32> = named.filter_map(|event| event.booking).collect();
        let is_abandoned = object.0 == Kind::Session && abandoned.contains(object.1);
        if is_abandoned {
            continue;
        }
        let names_too_many = named.len() > MOST_BOOKINGS;
        let mut accounts: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
        for event in events {
            accounts.entry(&event.account).or_default().push(event);
        }
        for (account, mut events) in accounts {
            if let Some(claim) = proven.get(&(object, account)) {
                claims.insert((object, account), *claim);
                continue;
            }
            if names_too_many {
                continue;
            }
            events.sort_by_key(|event| (event.created, &event.id));
            let Some(booking) = events[events.len() - 1].booking else {
                continue;
            };
            let first = events.iter().find(|event| event.booking == Some(booking));
            let first = first.map_or((0, ""), |event| (event.created, event.id.as_str()));
            claims.insert((object, account), (booking, first));
        }
    }
    claims
}

/// The claims of sessions that a command made, each with the first event that told of it.
fn proven(events: &[Said]) -> Claims<'_> {
    let mut proven = Claims::new();
    for event in events {
        let (What::Session { is_told: true, .. }, Some(booking)) = (&event.what, event.booking)
        else {
            continue;
        };
        let claim = (booking, (event.created, event.id.as_str()));
        let key = (object(event), event.account.as_str());
        let known = proven.entry(key).or_insert(claim);
        *known = (*known).min(claim);
    }
    proven
}

/// The account and the booking of each session that a command made and whose claim is accepted.
pub(super) fn accepted_proofs(events: &[Said]) -> BTreeMap<&str, (&str, i32)> {
    let (owners, claims) = (owners(events), claims(events));
    let proven = proven(events).into_iter();
    let accepted = proven.filter(|((object, account), (booking, _))| {
        claims.contains_key(&(*object, *account)) && owners[booking] == *account
    });
    accepted
        .map(|(((_, session), account), (booking, _))| (session, (account, booking)))
        .collect()
}

/// Whose each booking is: the account of the earliest claim that counts.
#[must_use]
pub fn owners(events: &[Said]) -> BTreeMap<i32, String> {
    let mut first: BTreeMap<i32, (Moment<'_>, &str)> = BTreeMap::new();
    for ((_, account), (booking, event)) in claims(events) {
        let known = first.entry(booking).or_insert((event, account));
        *known = (*known).min((event, account));
    }
    first
        .into_iter()
        .map(|(booking, (_, account))| (booking, account.to_owned()))
        .collect()
}

/// The booking of each object: what the newest of its claims says that are not refused, if
/// the object is among the first that name it.
pub(super) fn bookings(events: &[Said]) -> BTreeMap<Object<'_>, i32> {
    let (owners, claims) = (owners(events), claims(events));
    let mut of_bookings: BTreeMap<i32, Vec<(Moment<'_>, Object<'_>)>> = BTreeMap::new();
    for ((object, account), (booking, first)) in &claims {
        if owners[booking] == *account {
            of_bookings
                .entry(*booking)
                .or_default()
                .push((*first, *object));
        }
    }
    for objects in of_bookings.values_mut() {
        objects.sort_unstable();
        objects.truncate(MOST_OBJECTS);
    }
    let mut newest: BTreeMap<(Object<'_>, &str), &Said> = BTreeMap::new();
    for event in events {
        let known = newest
            .entry((object(event), &event.account))
            .or_insert(event);
        if (event.created, &event.id) > (known.created, &known.id) {
            *known = event;
        }
    }
    let mut last: BTreeMap<Object<'_>, (Moment<'_>, Option<i32>)> = BTreeMap::new();
    for ((object, account), event) in newest {
        let claim = claims.get(&(object, account)).map(|(booking, _)| *booking);
        if claim.is_some_and(|booking| owners[&booking] != account) {
            continue;
        }
        let new = ((event.created, event.id.as_str()), claim);
        let known = last.entry(object).or_insert(new);
        *known = (*known).max(new);
    }
    let named = last.into_iter();
    let named = named.filter_map(|(object, (_, booking))| Some((object, booking?)));
    named
        .filter(|(object, booking)| {
            of_bookings[booking]
                .iter()
                .any(|(_, counted)| counted == object)
        })
        .collect()
}

/// Whether an event is dead: its claim counts, and the booking is another account's.
#[must_use]
pub fn refused(events: &[Said]) -> BTreeSet<&str> {
    let (owners, claims) = (owners(events), claims(events));
    let is_refused = |event: &&Said| {
        let claim = claims.get(&(object(event), event.account.as_str()));
        claim.is_some_and(|(booking, _)| {
            event.booking == Some(*booking) && owners[booking] != event.account
        })
    };
    let refused = events.iter().filter(is_refused);
    refused.map(|event| event.id.as_str()).collect()
}

/// The events that no other account's claim forbids.
pub(super) fn accepted(events: &[Said]) -> Vec<&Said> {
    let refused = refused(events);
    let accepted = events.iter();
    accepted
        .filter(|event| !refused.contains(event.id.as_str()))
        .collect()
}
