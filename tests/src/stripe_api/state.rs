//! What the stand-in holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    events::{History, QueuedEvent},
    faults::Fault,
    idempotency::Keys,
    options::Options,
    recorded::Recorded,
};
use crate::{random, stripe};

/// The platform's own scope: objects that belong to no connected account.
pub(super) const PLATFORM: &str = "";
/// The platform's application.
pub(super) const APPLICATION: &str = "ca_DialoomSamplePlatform";

/// Objects of one kind in one account, by id. An id holds a serial number, so that
/// their order is the order in which they were made.
type Table = BTreeMap<String, Value>;

/// Everything that stays between two requests.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    tables: HashMap<(String, &'static str), Table>,
    /// What an account has in the second version of the API and not in the first.
    pub(super) v2: HashMap<String, Value>,
    /// Accounts that have left the platform.
    pub(super) gone: HashSet<String>,
    /// Why an account's invoices cannot be finalized.
    pub(super) finalization_errors: HashMap<String, String>,
    pub(super) keys: Keys,
    pub(super) faults: Vec<Fault>,
    pub(super) requests: Vec<Recorded>,
    /// Events that were not delivered yet.
    pub(super) queued: Vec<QueuedEvent>,
    pub(super) history: History,
    /// How many invoices and credit notes an account has numbered.
    numbers: HashMap<(String, &'static str), u32>,
    /// The request that changes something now: its id and its idempotency key.
    pub(super) cause: Option<(String, Option<String>)>,
    serial: u64,
    /// Tells the ids of one stand-in from those of another.
    run: String,
    /// How many seconds the clock was put forward.
    pub(super) skew: i64,
}

impl State {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            tables: HashMap::new(),
            v2: HashMap::new(),
            gone: HashSet::new(),
            finalization_errors: HashMap::new(),
            keys: Keys::default(),
            faults: Vec::new(),
            requests: Vec::new(),
            queued: Vec::new(),
            history: History::default(),
            numbers: HashMap::new(),
            cause: None,
            serial: 0,
            run: random::hex(4),
            skew: 0,
        }
    }

    /// The time now, in seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        stripe::now() + self.skew
    }

    /// A new id, such as `acct_1...`.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix}_1{}{:09}", self.run, self.serial)
    }

    /// The next number of a kind of document in an account.
    pub(super) fn next_number(&mut self, scope: &str, kind: &'static str) -> u32 {
        let number = self.numbers.entry((scope.to_owned(), kind)).or_default();
        *number += 1;
        *number
    }

    /// Keeps a new object, or a new state of it.
    pub(super) fn put(&mut self, scope: &str, kind: &'static str, object: Value) {
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        self.tables
            .entry((scope.to_owned(), kind))
            .or_default()
            .insert(id, object);
    }

    pub(super) fn get(&self, scope: &str, kind: &'static str, id: &str) -> Option<&Value> {
        self.tables.get(&(scope.to_owned(), kind))?.get(id)
    }

    /// All objects of a kind, the newest first.
    pub(super) fn newest_first(
        &self,
        scope: &str,
        kind: &'static str,
    ) -> impl Iterator<Item = &Value> {
        let table = self.tables.get(&(scope.to_owned(), kind));
        table.into_iter().flat_map(|table| table.values().rev())
    }

    /// The account that has this object, with the object.
    pub(super) fn find(&self, kind: &'static str, id: &str) -> Option<(String, Value)> {
        self.tables.iter().find_map(|((scope, other), table)| {
            let object = (*other == kind).then(|| table.get(id)).flatten()?;
            Some((scope.clone(), object.clone()))
        })
    }

    /// All accounts of a kind of object.
    pub(super) fn scopes(&self, kind: &'static str) -> Vec<String> {
        let of_kind = self.tables.keys().filter(|(_, other)| *other == kind);
        of_kind.map(|(scope, _)| scope.clone()).collect()
    }

    /// An account in its first version.
    pub(super) fn account(&self, id: &str) -> Option<&Value> {
        self.get(PLATFORM, "account", id)
    }

    /// Adds to what is kept of a request.
    pub(super) fn note(&mut self, request_id: &str, add: impl FnOnce(&mut Recorded)) {
        let mut requests = self.requests.iter_mut().rev();
        if let Some(recorded) = requests.find(|one| one.request_id == request_id) {
            add(recorded);
        }
    }

    /// Replaces an id by its object, as `expand` asks.
    pub(super) fn expand(&self, scope: &str, object: &mut Value, path: &str) {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        if first == "data" && !rest.is_empty() {
            for one in object["data"].as_array_mut().into_iter().flatten() {
                self.expand(scope, one, rest);
            }
            return;
        }
        let Some(inner) = object.get_mut(first) else {
            return;
        };
        if let Some(found) = inner.as_str().and_then(|id| self.by_id(scope, id)) {
            *inner = found;
        }
        if !rest.is_empty() {
            self.expand(scope, inner, rest);
        }
    }

    fn by_id(&self, scope: &str, id: &str) -> Option<Value> {
        let mut tables = self.tables.iter();
        tables.find_map(|((other, _), table)| {
            (other == scope || other == PLATFORM)
                .then(|| table.get(id).cloned())
                .flatten()
        })
    }
}

/// A list as it stands in an object.
pub(super) fn list(url: &str, data: Vec<Value>) -> Value {
    json!({ "object": "list", "data": data, "has_more": false, "url": url })
}

/// One object of several: the literal of a large one is written in parts.
pub(super) fn joined(parts: impl IntoIterator<Item = Value>) -> Value {
    let mut whole = serde_json::Map::new();
    for part in parts {
        if let Value::Object(part) = part {
            whole.extend(part);
        }
    }
    whole.into()
}
