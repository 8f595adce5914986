//! Random names and passwords.

use std::{fmt::Write as _, fs::File, io::Read as _};

/// `bytes` random bytes from the kernel, as hex digits in lowercase (two a byte).
///
/// # Panics
/// When the kernel has no `/dev/urandom`.
#[must_use]
pub fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut buffer))
        .expect("/dev/urandom gives random bytes");
    to_hex(&buffer)
}

/// Bytes as hex digits in lowercase.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
