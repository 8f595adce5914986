//! What `/readyz` says.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the worker can do its work right now.
#[derive(Clone, Debug, Default)]
pub struct Health {
    consuming: Arc<AtomicBool>,
}

impl Health {
    /// Notes whether the queue is being consumed.
    pub fn consuming(&self, yes: bool) {
        self.consuming.store(yes, Ordering::Relaxed);
    }

    /// Whether the queue is being consumed.
    pub fn is_consuming(&self) -> bool {
        self.consuming.load(Ordering::Relaxed)
    }
}
