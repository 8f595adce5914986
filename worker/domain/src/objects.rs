//! The objects of one kind in a working set.

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::Change;

/// The objects of one kind: which are wanted, and the state of those loaded.
#[derive(Debug)]
pub struct Objects<K, S> {
    wanted: BTreeSet<K>,
    /// Those of `wanted` that are not in `loaded`.
    missing: BTreeSet<K>,
    loaded: BTreeMap<K, Tracked<S>>,
}

#[derive(Debug)]
struct Tracked<S> {
    state: S,
    change: Change,
    /// Whether what it refers to is not wanted yet, as far as is known.
    is_new: bool,
}

impl<S> Tracked<S> {
    fn new(state: S) -> Self {
        Self {
            state,
            change: Change::Unchanged,
            is_new: true,
        }
    }
}

impl<K, S> Default for Objects<K, S> {
    fn default() -> Self {
        Self {
            wanted: BTreeSet::new(),
            missing: BTreeSet::new(),
            loaded: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, S: Default> Objects<K, S> {
    pub(crate) fn want(&mut self, key: &K) {
        if !self.wanted.contains(key) {
            self.wanted.insert(key.clone());
            if !self.loaded.contains_key(key) {
                self.missing.insert(key.clone());
            }
        }
    }

    /// The wanted objects that are not loaded.
    pub(crate) fn missing(&self) -> Vec<K> {
        self.missing.iter().cloned().collect()
    }

    /// Takes in what a source had of the keys asked for; the rest is new.
    pub(crate) fn insert(&mut self, asked: Vec<K>, mut stored: BTreeMap<K, S>) {
        for key in asked {
            let state = stored.remove(&key).unwrap_or_default();
            self.missing.remove(&key);
            self.loaded.insert(key, Tracked::new(state));
        }
        // What came unasked may be loaded, and changed, already.
        for (key, state) in stored {
            self.missing.remove(&key);
            self.loaded.entry(key).or_insert(Tracked::new(state));
        }
    }

    /// All that are wanted.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &K> {
        self.wanted.iter()
    }

    /// Whether it is wanted, loaded or not.
    pub(crate) fn is_wanted(&self, key: &K) -> bool {
        self.wanted.contains(key)
    }

    /// Adds what was loaded later to an object, which is no change of it.
    pub(crate) fn complete(&mut self, key: &K, complete: impl FnOnce(&mut S)) {
        if let Some(tracked) = self.loaded.get_mut(key) {
            complete(&mut tracked.state);
            tracked.is_new = true;
        }
    }

    /// Changes an object.
    ///
    /// # Panics
    /// The object was not loaded: its row would be overwritten.
    pub(crate) fn merge(&mut self, key: &K, merge: impl FnOnce(&mut S) -> Change) -> Change {
        let Some(tracked) = self.loaded.get_mut(key) else {
            unreachable!("an object is merged before it is loaded");
        };
        let change = merge(&mut tracked.state);
        tracked.change = tracked.change.or(change);
        tracked.is_new = true;
        change
    }

    /// The objects that were loaded, completed or merged since [`Objects::set_new`] said that
    /// none is new.
    pub(crate) fn iter_new(&self) -> impl Iterator<Item = (&K, &S)> {
        let new = self.loaded.iter().filter(|(_, one)| one.is_new);
        new.map(|(key, one)| (key, &one.state))
    }

    /// Whether it is one of [`Objects::iter_new`].
    pub(crate) fn is_new(&self, key: &K) -> bool {
        self.loaded.get(key).is_some_and(|one| one.is_new)
    }

    /// Makes all objects new, or none.
    pub(crate) fn set_new(&mut self, is_new: bool) {
        for one in self.loaded.values_mut() {
            one.is_new = is_new;
        }
    }

    /// The state of an object; `None` where it was not loaded.
    pub fn get(&self, key: &K) -> Option<&S> {
        self.loaded.get(key).map(|tracked| &tracked.state)
    }

    /// The objects that were loaded.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.loaded.iter().map(|(key, one)| (key, &one.state))
    }

    /// The objects that were loaded, each with whether a merge changed it.
    pub fn iter_changes(&self) -> impl Iterator<Item = (&K, &S, Change)> {
        let loaded = self.loaded.iter();
        loaded.map(|(key, one)| (key, &one.state, one.change))
    }
}
