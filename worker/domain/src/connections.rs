//! Through which applications an account is connected, and since when.
//!
//! An account can be connected by several applications, and each is authorised and cut on
//! its own. Of each one the newest authorisation and the newest deauthorisation are kept,
//! so that the answer depends on the set of events alone. A closed account is connected by
//! none, for good.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::merge::Change;

/// The most applications that are told apart. A platform has one, or two while it moves
/// its hosts to another.
const MAX_APPLICATIONS: usize = 16;

/// The name of what names no application.
const UNNAMED: &str = "";

/// What is known of the connection by one application, in Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The newest authorisation.
    pub authorized: Option<i64>,
    /// The newest deauthorisation.
    pub deauthorized: Option<i64>,
    /// Whether the account was closed, which is also a deauthorisation. Stripe opens no closed
    /// account again, so a later event of it, such as the snapshot of its closing, connects
    /// nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// The connections of an account by application. Under the empty name are the events that
/// name none, and those of all but the smallest [`MAX_APPLICATIONS`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Connections(BTreeMap<String, Connection>);

impl Connection {
    fn merge(&mut self, other: Self) -> Change {
        let authorized = keep_newest(&mut self.authorized, other.authorized);
        let cut = keep_newest(&mut self.deauthorized, other.deauthorized);
        let closed = match other.closed && !self.closed {
            true => Change::Changed,
            false => Change::Unchanged,
        };
        self.closed |= other.closed;
        authorized.or(cut).or(closed)
    }
}

impl Connections {
    /// Whether no event of a connection was taken in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in what one event says of the connection by `application`.
    pub fn merge(&mut self, application: Option<&str>, said: Connection) -> Change {
        let name = application.filter(|name| self.is_kept(name));
        let known = self.0.entry(name.unwrap_or(UNNAMED).to_owned());
        let change = known.or_default().merge(said);
        let named = self.0.keys().filter(|name| *name != UNNAMED).count();
        if named > MAX_APPLICATIONS
            && let Some((_, last)) = self.0.pop_last()
        {
            let _ = self.0.entry(UNNAMED.to_owned()).or_default().merge(last);
        }
        change
    }

    /// Whether the application is among those with the smallest names.
    fn is_kept(&self, name: &str) -> bool {
        let named = self.0.keys().filter(|name| *name != UNNAMED);
        let smaller = named.take_while(|known| known.as_str() < name);
        smaller.count() < MAX_APPLICATIONS
    }

    /// The newest authorisation by any application, in Unix seconds.
    pub fn newest_authorized(&self) -> Option<i64> {
        self.0.values().filter_map(|one| one.authorized).max()
    }

    /// The newest deauthorisation by any application, in Unix seconds.
    pub fn newest_deauthorized(&self) -> Option<i64> {
        self.0.values().filter_map(|one| one.deauthorized).max()
    }

    /// Whether the host has cut the connection: each sign of it was followed by a
    /// deauthorisation, in the same second or later. An authorisation is followed by one
    /// of its own application. A snapshot, the newest of which is of `snapshot`, and an
    /// authorisation that names no application are followed by any, and a deauthorisation
    /// that names none follows all. What was closed is cut whatever came before or after.
    pub fn are_cut(&self, snapshot: Option<i64>) -> bool {
        if self.0.values().any(|one| one.closed) {
            return true;
        }
        let cut = self.newest_deauthorized();
        let is_snapshot_followed =
            cut.is_some_and(|cut| snapshot.is_none_or(|snapshot| cut >= snapshot));
        is_snapshot_followed && self.connected_since().next().is_none()
    }

    /// Whether a snapshot of the second `snapshot` still tells of the account: it was
    /// neither authorised nor cut since, or it is connected by an application that was
    /// authorised before the snapshot.
    pub fn hold_since(&self, snapshot: i64) -> bool {
        let authorized = self.newest_authorized().is_some_and(|at| at > snapshot);
        let cut = self.newest_deauthorized().is_some_and(|at| at >= snapshot);
        !(authorized || cut) || self.connected_since().any(|since| since <= snapshot)
    }

    /// The newest authorisation of each application that was not cut at or after it.
    fn connected_since(&self) -> impl Iterator<Item = i64> {
        let connections = self.0.iter();
        connections.filter_map(|(name, known)| {
            let authorized = known.authorized?;
            let cut = self.newest_cut(name, *known);
            cut.is_none_or(|cut| cut < authorized).then_some(authorized)
        })
    }

    /// The newest deauthorisation that can be of this application.
    fn newest_cut(&self, name: &str, known: Connection) -> Option<i64> {
        if name == UNNAMED {
            return self.newest_deauthorized();
        }
        let unnamed = self.0.get(UNNAMED);
        known
            .deauthorized
            .max(unnamed.and_then(|unnamed| unnamed.deauthorized))
    }
}

fn keep_newest(register: &mut Option<i64>, at: Option<i64>) -> Change {
    if *register >= at {
        return Change::Unchanged;
    }
    *register = at;
    Change::Changed
}

#[cfg(test)]
mod tests;
