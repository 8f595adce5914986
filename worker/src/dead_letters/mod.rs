//! Dead letters: the record of events that could not be applied.
//!
//! The pipeline writes its own in the transaction of their batch. [`recorder`] writes
//! those that the broker gave up, [`discard`] gives them up for an operator, and
//! [`death`] says what is written.

pub mod death;
pub mod discard;
pub mod recorder;
