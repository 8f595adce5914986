//! Keeping the bytes of applied events: compressing them, and back.

use std::{cell::RefCell, io};

use zstd::bulk::Compressor;

/// Events are a few kilobytes of JSON, and level 1 makes a third of them. Higher
/// levels take several times as long for a tenth less.
const LEVEL: i32 = 1;
/// The largest event that is read back, in bytes: the most that ingest takes.
const MAX_BODY: usize = 2 * 1024 * 1024;

thread_local! {
    /// Making a compressor costs as much as compressing an event.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Whether the bytes of applied events are kept, and how they are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// `KEEP_EVENTS_DAYS=0`.
    Never,
    /// For as long as pruning leaves them.
    Compressed,
}

impl Keep {
    /// The bytes as they are kept; `None` where they are not.
    pub fn pack(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Never => None,
            // Compressing to memory does not fail; without the bytes the event
            // could only not be replayed.
            Self::Compressed => COMPRESSOR.with_borrow_mut(|kept| {
                if kept.is_none() {
                    *kept = Compressor::new(LEVEL).ok();
                }
                kept.as_mut()?.compress(body).ok()
            }),
        }
    }
}

/// The bytes as Stripe signed them.
///
/// # Errors
/// The kept bytes are not what [`Keep::pack`] made.
pub fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(packed, MAX_BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_come_back() {
        let body = br#"{"id": "evt_1"}"#.repeat(500);
        let packed = Keep::Compressed.pack(&body).unwrap();
        assert!(packed.len() < body.len() / 3);
        assert_eq!(unpack(&packed).unwrap(), body);
        assert_eq!(Keep::Never.pack(&body), None);
        assert!(unpack(b"not zstd").is_err());
    }
}
