//! Connected accounts: which snapshot stands, and whether the host is still
//! connected.
//!
//! An account goes back and forth, so its snapshots have no rank. The one with
//! the greatest `created` stands. Stripe's times are whole seconds, so several
//! can share it: then B comes after A if laying B's `previous_attributes` over
//! B's object gives A. All snapshots of the standing second are kept, so that
//! the answer does not depend on which of them came first.

use std::collections::BTreeMap;

use event::EventType;
use serde::{Deserialize, Serialize};

use crate::{
    fields,
    rejection::Rejection,
    snapshot::{AccountPatch, Snapshot},
    version::{Change, earliest},
};

/// The most snapshots kept of one second. Stripe sends a handful at worst; the
/// greatest event ids stay, which is the same set in every order.
const MAX_TIED: usize = 64;

/// One snapshot of the standing second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The account after the event.
    pub after: Snapshot,
    /// The account before the event, where the event says it.
    pub before: Option<Snapshot>,
}

/// The snapshots of the greatest second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The events' `created`, in Unix seconds.
    pub created: i64,
    /// By event id.
    pub candidates: BTreeMap<String, Candidate>,
    /// What the API said when the order within the second was asked for.
    pub settled: Option<Snapshot>,
}

/// What is known of a connected account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The snapshots that stand; `None` where only the connection is known.
    pub standing: Option<Standing>,
    /// The newest deauthorisation, in Unix seconds.
    pub deauthorized: Option<i64>,
    /// The newest other sign of connection, in Unix seconds.
    pub connected: Option<i64>,
    /// The oldest event taken in, in Unix seconds.
    pub first_event: Option<i64>,
}

/// What one event says of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The host has cut the connection.
    Deauthorized,
    /// The host has connected.
    Authorized,
    /// The account has changed.
    Updated(Box<Candidate>),
}

/// What one event says of which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFact {
    /// The account's id.
    pub id: String,
    /// What is said.
    pub sign: Sign,
}

/// Which snapshot stands, and whether its second is undecided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner<'a> {
    /// The event of the snapshot.
    pub event_id: &'a str,
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// Several snapshots could be the last of their second and differ: only
    /// the API can tell.
    pub undecided: bool,
}

impl Account {
    /// Takes in what one event says.
    pub fn join(&mut self, created: i64, event_id: &str, sign: &Sign) -> Change {
        let mut change = keep_oldest(&mut self.first_event, created);
        let register = match sign {
            Sign::Deauthorized => &mut self.deauthorized,
            Sign::Authorized | Sign::Updated(_) => &mut self.connected,
        };
        change = change.or(keep_newest(register, created));
        if let Sign::Updated(candidate) = sign {
            change = change.or(self.join_snapshot(created, event_id, candidate));
        }
        change
    }

    fn join_snapshot(&mut self, created: i64, event_id: &str, candidate: &Candidate) -> Change {
        match &mut self.standing {
            Some(standing) if standing.created > created => Change::Unchanged,
            Some(standing) if standing.created == created => standing.join(event_id, candidate),
            older_or_none => {
                *older_or_none = Some(Standing {
                    created,
                    candidates: BTreeMap::from([(event_id.to_owned(), candidate.clone())]),
                    settled: None,
                });
                Change::Changed
            }
        }
    }

    /// Whether the host has cut the connection, at or after every other sign.
    pub fn is_disconnected(&self) -> bool {
        self.deauthorized
            .is_some_and(|cut| self.connected.is_none_or(|sign| cut >= sign))
    }

    /// The newest event taken in, in Unix seconds.
    pub fn last_event(&self) -> Option<i64> {
        self.deauthorized.max(self.connected)
    }
}

impl Standing {
    fn join(&mut self, event_id: &str, candidate: &Candidate) -> Change {
        if self.candidates.get(event_id) == Some(candidate) {
            return Change::Unchanged;
        }
        self.candidates
            .insert(event_id.to_owned(), candidate.clone());
        let dropped = (self.candidates.len() > MAX_TIED)
            .then(|| self.candidates.pop_first())
            .flatten();
        if dropped.is_some_and(|(id, _)| id == event_id) {
            return Change::Unchanged;
        }
        // What the API said was said before this snapshot was known.
        self.settled = None;
        Change::Changed
    }

    /// The last snapshot of the second: the one that no other comes after. If
    /// that decides nothing, the greatest event id.
    pub fn winner(&self) -> Option<Winner<'_>> {
        let mut last: Vec<(&String, &Candidate)> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| !self.is_followed(candidate))
            .collect();
        if last.is_empty() {
            last = self.candidates.iter().collect();
        }
        let (event_id, candidate) = *last.last()?;
        let undecided = last.iter().any(|(_, other)| other.after != candidate.after);
        Some(Winner {
            event_id,
            snapshot: self.settled.as_ref().unwrap_or(&candidate.after),
            undecided: undecided && self.settled.is_none(),
        })
    }

    fn is_followed(&self, candidate: &Candidate) -> bool {
        self.candidates.values().any(|other| {
            other.after != candidate.after && other.before.as_ref() == Some(&candidate.after)
        })
    }
}

fn keep_newest(register: &mut Option<i64>, at: i64) -> Change {
    if register.is_some_and(|known| known >= at) {
        return Change::Unchanged;
    }
    *register = Some(at);
    Change::Changed
}

fn keep_oldest(register: &mut Option<i64>, at: i64) -> Change {
    if register.is_some_and(|known| earliest(known) <= earliest(at)) {
        return Change::Unchanged;
    }
    *register = Some(at);
    Change::Changed
}

/// Reads what an event of type `account.*` says.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept, or is of another
/// account than the event.
pub fn read(
    body: &[u8],
    event_type: EventType,
    account: Option<&str>,
) -> Result<AccountFact, Rejection> {
    let connection = match event_type {
        // The object is the application, so the account stands in the event.
        EventType::AccountApplicationDeauthorized => Some(Sign::Deauthorized),
        EventType::AccountApplicationAuthorized => Some(Sign::Authorized),
        _ => None,
    };
    if let Some(sign) = connection {
        return Ok(AccountFact {
            id: account.ok_or(Rejection::MissingAccount)?.to_owned(),
            sign,
        });
    }
    let data = fields::data::<AccountPatch>(body)?;
    fields::kind(data.object.object.as_deref(), "account")?;
    let id = data
        .object
        .id
        .clone()
        .ok_or(Rejection::UnreadableObject { column: 0 })?;
    if account.is_some_and(|account| account != id) {
        return Err(Rejection::AccountMismatch);
    }
    // It only tells the order within one second: where it cannot be read or kept,
    // the event says nothing of what was before.
    let before = data
        .previous_attributes
        .and_then(|previous| serde_json::from_str(previous.get()).ok())
        .and_then(|previous| data.object.clone().overlaid(previous).into_snapshot().ok());
    Ok(AccountFact {
        id: fields::id(id, "account.id")?,
        sign: Sign::Updated(Box::new(Candidate {
            after: data.object.into_snapshot()?,
            before,
        })),
    })
}

#[cfg(test)]
mod tests;
