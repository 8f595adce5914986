//! Connected accounts: which snapshot is the latest, and whether the host is still
//! connected.
//!
//! An account goes back and forth, so its snapshots have no rank. The one with
//! the greatest `created` is the latest. Stripe's times are whole seconds, so several
//! can share it: then B comes after A if laying B's `previous_attributes` over
//! B's object gives A. All snapshots of the latest second are kept, so that the
//! answer does not depend on which of them arrived first.

use std::collections::BTreeMap;

use event::EventType;
use serde::{Deserialize, Serialize};

use crate::{
    account_snapshot::{AccountPatch, AccountSnapshot},
    decode,
    header::Header,
    ids::AccountId,
    merge::{Change, earliest},
    rejection::Rejection,
};

/// The most snapshots kept of one second. Stripe sends a handful at worst; the
/// greatest event ids stay, which is the same set in every order.
const MAX_TIED: usize = 64;

/// One snapshot of the latest second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The account after the event.
    pub after: AccountSnapshot,
    /// The account before the event, where the event says it.
    pub before: Option<AccountSnapshot>,
}

/// The snapshots of the latest second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestSnapshots {
    /// The events' `created`, in Unix seconds.
    pub created: i64,
    /// By event id.
    pub candidates: BTreeMap<String, Candidate>,
    /// What the API said when it was asked which snapshot of the second is the last.
    pub api_snapshot: Option<AccountSnapshot>,
}

/// What is known of a connected account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The latest snapshots; `None` where only the connection is known.
    pub latest: Option<LatestSnapshots>,
    /// The newest deauthorisation, in Unix seconds.
    pub deauthorized: Option<i64>,
    /// The newest other sign of connection, in Unix seconds.
    pub connected: Option<i64>,
    /// The oldest event taken in, in Unix seconds.
    pub first_event: Option<i64>,
}

/// What one event changed of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// The host has cut the connection.
    Deauthorized,
    /// The host has connected.
    Authorized,
    /// The account has changed.
    Updated(Box<Candidate>),
}

/// What one event says of which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountData {
    /// The account's id.
    pub id: AccountId,
    /// What changed.
    pub change: AccountChange,
}

/// The latest snapshot of an account, and whether it is tied with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner<'a> {
    /// The event of the snapshot.
    pub event_id: &'a str,
    /// The snapshot.
    pub snapshot: &'a AccountSnapshot,
    /// Several snapshots could be the last of their second and differ: only the API
    /// can tell.
    pub is_tied: bool,
}

impl Account {
    /// Takes in what one event says.
    pub fn merge(&mut self, created: i64, event_id: &str, change: &AccountChange) -> Change {
        let mut merged = keep_oldest(&mut self.first_event, created);
        let register = match change {
            AccountChange::Deauthorized => &mut self.deauthorized,
            AccountChange::Authorized | AccountChange::Updated(_) => &mut self.connected,
        };
        merged = merged.or(keep_newest(register, created));
        if let AccountChange::Updated(candidate) = change {
            merged = merged.or(self.merge_snapshot(created, event_id, candidate));
        }
        merged
    }

    fn merge_snapshot(&mut self, created: i64, event_id: &str, candidate: &Candidate) -> Change {
        match &mut self.latest {
            Some(latest) if latest.created > created => Change::Unchanged,
            Some(latest) if latest.created == created => latest.merge(event_id, candidate),
            older_or_none => {
                *older_or_none = Some(LatestSnapshots {
                    created,
                    candidates: BTreeMap::from([(event_id.to_owned(), candidate.clone())]),
                    api_snapshot: None,
                });
                Change::Changed
            }
        }
    }

    /// Takes in what the API said of a tied account, if the tied snapshots are still
    /// those of `asked`, when the API was asked: then its answer is newer than all of
    /// them, and no event was taken in between.
    pub fn resolve_tie(&mut self, asked: &Self, snapshot: AccountSnapshot) -> Change {
        match &mut self.latest {
            latest @ Some(_) if *latest != asked.latest => Change::Unchanged,
            Some(latest) => {
                latest.api_snapshot = Some(snapshot);
                Change::Changed
            }
            None => Change::Unchanged,
        }
    }

    /// The latest snapshot, where there is one.
    pub fn winner(&self) -> Option<Winner<'_>> {
        self.latest.as_ref().and_then(LatestSnapshots::winner)
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

impl LatestSnapshots {
    fn merge(&mut self, event_id: &str, candidate: &Candidate) -> Change {
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
        // The API said it before this snapshot was known.
        self.api_snapshot = None;
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
        let is_tied = last.iter().any(|(_, other)| other.after != candidate.after);
        Some(Winner {
            event_id,
            snapshot: self.api_snapshot.as_ref().unwrap_or(&candidate.after),
            is_tied: is_tied && self.api_snapshot.is_none(),
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

/// Decodes the object of an event of type `account.*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept, or is of another
/// account than the event.
pub fn decode(
    body: &[u8],
    event_type: EventType,
    header: &Header,
) -> Result<AccountData, Rejection> {
    let connection = match event_type {
        // The object is the application, so the account stands in the event.
        EventType::AccountApplicationDeauthorized => Some(AccountChange::Deauthorized),
        EventType::AccountApplicationAuthorized => Some(AccountChange::Authorized),
        _ => None,
    };
    if let Some(change) = connection {
        let id = header.account.clone().ok_or(Rejection::MissingAccount)?;
        return Ok(AccountData { id, change });
    }
    let data = decode::data::<AccountPatch>(body)?;
    decode::kind(data.object.object.as_deref(), "account")?;
    let id = data
        .object
        .id
        .clone()
        .ok_or(Rejection::UnreadableObject { column: 0 })?;
    if header
        .account
        .as_ref()
        .is_some_and(|account| *account != *id)
    {
        return Err(Rejection::AccountMismatch);
    }
    // It only tells the order within one second: where it cannot be read or kept,
    // the event says nothing of what was before.
    let before = data
        .previous_attributes
        .and_then(|previous| serde_json::from_str(previous.get()).ok())
        .and_then(|previous| data.object.clone().overlaid(previous).into_snapshot().ok());
    Ok(AccountData {
        id: decode::id(id, "account.id")?.into(),
        change: AccountChange::Updated(Box::new(Candidate {
            after: data.object.into_snapshot()?,
            before,
        })),
    })
}

#[cfg(test)]
mod tests;
