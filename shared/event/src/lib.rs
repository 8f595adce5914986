//! What both services read of a Stripe event: the fields outside `data`
//! ([`envelope`]), the types that the worker handles ([`event_type`]) and
//! Stripe's two modes ([`mode`]).
//!
//! The crate is pure: it links no runtime, no broker and no database.

pub mod envelope;
pub mod event_type;
pub mod mode;

pub use envelope::Envelope;
pub use event_type::{EventType, ObjectType};
pub use mode::Mode;
