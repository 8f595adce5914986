//! What the targets share.

pub mod decision;
pub mod history;
pub mod pairs;
pub mod storable;

/// The same tables as the worker's own model tests have.
#[path = "../../worker/tests/it/support/memory/mod.rs"]
pub mod memory;

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}
