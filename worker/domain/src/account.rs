//! Connected accounts: which snapshot is the latest, and whether the host is still
//! connected.
//!
//! An account goes back and forth, so its snapshots have no rank. The one with
//! the greatest `created` is the latest. Stripe's times are whole seconds, so several
//! can share it: then B comes after A if laying B's `previous_attributes` over
//! B's object gives A. All snapshots of the latest second are kept, so that the
//! answer does not depend on which of them arrived first.
//!
//! A snapshot tells of the account for as long as it stays connected. A host that was
//! disconnected and came back is unknown until a newer one comes, from an event or from
//! Stripe's API.

use std::collections::BTreeMap;

use event::EventType;
use serde::{Deserialize, Serialize};

use crate::{
    account_snapshot::{AccountPatch, AccountSnapshot},
    connections::{Connection, Connections},
    decode::{self, MAX_ID},
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
    /// The events' `created`, in Unix seconds. Where only the API gave a snapshot, the
    /// newest event that was known when it was asked.
    pub created: i64,
    /// By event id.
    pub candidates: BTreeMap<String, Candidate>,
    /// What the API said when it was asked, which is newer than the candidates.
    pub api_snapshot: Option<AccountSnapshot>,
}

/// What is known of a connected account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The latest snapshots; `None` where only the connection is known.
    pub latest: Option<LatestSnapshots>,
    /// The connections by application.
    pub connections: Connections,
    /// The oldest event taken in, in Unix seconds.
    pub first_event: Option<i64>,
    /// The newest thin event, which says that the account changed and not how.
    pub changed: Option<Changed>,
}

/// The newest thin event of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its `created`, in Unix seconds.
    pub created: i64,
    /// Whether the API was asked since.
    pub is_read: bool,
}

/// What one event changed of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// The host has cut the connection by this application, where the event names it.
    Deauthorized(Option<String>),
    /// The host has connected by this application, where the event names it.
    Authorized(Option<String>),
    /// The account has changed to what the event shows.
    Updated(Box<Candidate>),
    /// The account has changed, and only the API tells to what.
    Changed,
    /// The account was closed, for good.
    Closed,
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
    /// The event of the snapshot; `None` where only the API gave one.
    pub event_id: Option<&'a str>,
    /// The snapshot.
    pub snapshot: &'a AccountSnapshot,
    /// Several snapshots could be the last of their second and differ: only the API
    /// can tell.
    pub is_tied: bool,
}

impl Account {
    /// Takes in what one event says.
    pub fn merge(&mut self, created: i64, event_id: &str, change: &AccountChange) -> Change {
        let merged = keep_oldest(&mut self.first_event, created);
        let (application, said) = match change {
            AccountChange::Updated(candidate) => {
                return merged.or(self.merge_snapshot(created, event_id, candidate));
            }
            AccountChange::Changed => return merged.or(self.merge_changed(created)),
            AccountChange::Authorized(application) => (
                application,
                Connection {
                    authorized: Some(created),
                    ..Connection::default()
                },
            ),
            AccountChange::Deauthorized(application) => (
                application,
                Connection {
                    deauthorized: Some(created),
                    ..Connection::default()
                },
            ),
            AccountChange::Closed => (
                &None,
                Connection {
                    deauthorized: Some(created),
                    closed: true,
                    ..Connection::default()
                },
            ),
        };
        merged.or(self.connections.merge(application.as_deref(), said))
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

    fn merge_changed(&mut self, created: i64) -> Change {
        let changed = Changed {
            created,
            is_read: false,
        };
        match self.changed {
            Some(known) if known.created > created || known == changed => Change::Unchanged,
            _ => {
                self.changed = Some(changed);
                Change::Changed
            }
        }
    }

    /// Takes in what the API said of an account that needed it, if all that is known is
    /// still what was known when the API was asked (`asked`): then its answer is newer
    /// than all of it, and no event was taken in between.
    pub fn keep_api_snapshot(&mut self, asked: &Self, snapshot: AccountSnapshot) -> Change {
        if self != asked || !self.needs_api() {
            return Change::Unchanged;
        }
        if let Some(changed) = &mut self.changed {
            changed.is_read = true;
        }
        // Where there was no event at all the account was just made, and every event of it
        // is as new as its beginning.
        let newest = self.last_event().or(snapshot.created).unwrap_or_default();
        if !self.has_current_snapshot() || self.latest_created() < Some(newest) {
            self.latest = Some(LatestSnapshots {
                created: newest,
                candidates: BTreeMap::new(),
                api_snapshot: None,
            });
        }
        if let Some(latest) = &mut self.latest {
            latest.api_snapshot = Some(snapshot);
        }
        Change::Changed
    }

    /// Whether anything is known of it, from an event or from the API.
    pub fn is_known(&self) -> bool {
        self.first_event.is_some() || self.latest.is_some()
    }

    /// The latest snapshot, where there is one.
    pub fn winner(&self) -> Option<Winner<'_>> {
        self.latest.as_ref().and_then(LatestSnapshots::winner)
    }

    /// Whether the host has cut the connection; see [`Connections::are_cut`].
    pub fn is_disconnected(&self) -> bool {
        self.connections.are_cut(self.newest_sign())
    }

    fn latest_created(&self) -> Option<i64> {
        self.latest.as_ref().map(|latest| latest.created)
    }

    /// The newest event that shows the account or says that it changed: it is connected then.
    fn newest_sign(&self) -> Option<i64> {
        let changed = self.changed.map(|changed| changed.created);
        self.latest_created().max(changed)
    }

    /// Whether the latest snapshot tells of the account as it is connected now; see
    /// [`Connections::hold_since`].
    pub fn has_current_snapshot(&self) -> bool {
        let latest = self.latest.as_ref();
        latest.is_some_and(|latest| self.connections.hold_since(latest.created))
    }

    /// Whether only the API can tell how the account is. Of one that is disconnected it
    /// tells nothing.
    pub fn needs_api(&self) -> bool {
        let is_tied = self.winner().is_some_and(|winner| winner.is_tied);
        let is_behind = self.changed.is_some_and(|changed| {
            // A snapshot of a later second shows what the thin event was about.
            !changed.is_read && self.latest_created() <= Some(changed.created)
        });
        !self.is_disconnected() && (is_tied || is_behind || !self.has_current_snapshot())
    }

    /// The newest sign of connection, in Unix seconds.
    pub fn connected(&self) -> Option<i64> {
        self.connections.newest_authorized().max(self.newest_sign())
    }

    /// The newest event taken in, in Unix seconds.
    pub fn last_event(&self) -> Option<i64> {
        self.connections.newest_deauthorized().max(self.connected())
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
    /// that decides nothing, the greatest event id. What the API said comes after all.
    pub fn winner(&self) -> Option<Winner<'_>> {
        let mut last: Vec<(&String, &Candidate)> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| !self.is_followed(candidate))
            .collect();
        if last.is_empty() {
            last = self.candidates.iter().collect();
        }
        let winner = last.last().copied();
        let is_tied = last
            .iter()
            .any(|(_, other)| winner.is_some_and(|(_, candidate)| other.after != candidate.after));
        let snapshot = winner.map(|(_, candidate)| &candidate.after);
        Some(Winner {
            event_id: winner.map(|(event_id, _)| event_id.as_str()),
            snapshot: self.api_snapshot.as_ref().or(snapshot)?,
            is_tied: is_tied && self.api_snapshot.is_none(),
        })
    }

    fn is_followed(&self, candidate: &Candidate) -> bool {
        self.candidates.values().any(|other| {
            other.after != candidate.after && other.before.as_ref() == Some(&candidate.after)
        })
    }
}

fn keep_oldest(register: &mut Option<i64>, at: i64) -> Change {
    if register.is_some_and(|known| earliest(known) <= earliest(at)) {
        return Change::Unchanged;
    }
    *register = Some(at);
    Change::Changed
}

/// Decodes a thin event of an account of version 2: it names the account alone. Its `context`
/// is left aside, since an event for "your account" has none, or the platform's.
///
/// # Errors
/// A [`Rejection`] where it names no account.
fn decode_thin(body: &[u8], change: AccountChange) -> Result<AccountData, Rejection> {
    #[derive(Deserialize)]
    struct Thin {
        related_object: Related,
    }
    #[derive(Deserialize)]
    struct Related {
        id: String,
    }
    let thin: Thin = serde_json::from_slice(body).map_err(|error| Rejection::UnreadableObject {
        column: error.column(),
    })?;
    Ok(AccountData {
        id: decode::id(thin.related_object.id, "related_object.id")?.into(),
        change,
    })
}

/// Decodes the object of an event of type `account.*`, or a thin one of `v2.core.account*`.
///
/// # Errors
/// A [`Rejection`] where the object cannot be read or kept, or is of another
/// account than the event.
pub fn decode(
    body: &[u8],
    event_type: EventType,
    header: &Header,
) -> Result<AccountData, Rejection> {
    let connection: Option<fn(Option<String>) -> AccountChange> = match event_type {
        EventType::AccountApplicationDeauthorized => Some(AccountChange::Deauthorized),
        EventType::AccountApplicationAuthorized => Some(AccountChange::Authorized),
        EventType::V2AccountClosed => return decode_thin(body, AccountChange::Closed),
        // Thin ones say no more than that something changed.
        other if other.is_thin() => return decode_thin(body, AccountChange::Changed),
        // Any other one is a snapshot.
        _ => None,
    };
    if let Some(connection) = connection {
        // The object is the application, so the account stands in the event.
        let id = header.account.clone().ok_or(Rejection::MissingAccount)?;
        let change = connection(application(body)?);
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

/// The application that an event of a connection names. One that names none is of any:
/// the account counts, and test doubles leave the object empty.
fn application(body: &[u8]) -> Result<Option<String>, Rejection> {
    #[derive(Deserialize)]
    struct Application {
        id: Option<String>,
    }
    let data = decode::data::<Application>(body).ok();
    decode::optional_text(
        data.and_then(|data| data.object.id),
        "application.id",
        MAX_ID,
    )
}

#[cfg(test)]
mod tests;
