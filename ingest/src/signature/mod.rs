//! The signature check. Pure: no I/O, no clock, no log.
//!
//! Stripe signs `<t>.<body>` with HMAC-SHA256 and sends
//! `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>...]`. The header is read
//! as bytes and nothing in it is trimmed: a space anywhere makes it fail.

mod secrets;

pub use secrets::{EXPECTED as EXPECTED_SECRETS, Secrets, SecretsError};

use bytes::Bytes;
use hmac::digest::CtOutput;
use hmac::{Hmac, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// How old, or how far in the future, a signature may be: 300 s, Stripe's own
/// default. The boundary is included.
pub const TOLERANCE_SECONDS: u64 = 300;

/// The longest header that is looked at, in bytes. One with a signature for
/// each of a dozen secrets is under 1,000; the rest keeps the number of
/// comparisons small.
const MAX_HEADER: usize = 4096;

/// A body whose signature was checked. Only [`verify`] makes one, and only
/// such a body can be published.
#[derive(Debug, Clone)]
pub struct Verified {
    body: Bytes,
    secret: usize,
}

impl Verified {
    /// The exact bytes that were signed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Which secret matched: its place in [`Secrets::names`].
    #[must_use]
    pub fn secret(&self) -> usize {
        self.secret
    }
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no header line.
    NoHeader,
    /// There are several header lines.
    SeveralHeaders,
    /// The header is longer than 4 KiB.
    LongHeader,
    /// There is not exactly one `t`, or it is not a number as Stripe writes it.
    BadTimestamp,
    /// There is no `v1`.
    NoSignature,
    /// Signed too long ago, or too far in the future.
    Stale,
    /// No `v1` fits any secret.
    Mismatch,
}

/// Checks `body` against the `Stripe-Signature` header lines of its request.
/// `now` is in seconds since 1970.
///
/// # Errors
/// Why the body is not authentic.
pub fn verify<'a>(
    header_lines: impl IntoIterator<Item = &'a [u8]>,
    body: Bytes,
    now: i64,
    secrets: &Secrets,
) -> Result<Verified, Refusal> {
    let mut lines = header_lines.into_iter();
    let header = lines.next().ok_or(Refusal::NoHeader)?;
    if lines.next().is_some() {
        return Err(Refusal::SeveralHeaders);
    }
    if header.len() > MAX_HEADER {
        return Err(Refusal::LongHeader);
    }
    let timestamp = timestamp(header)?;
    if values(header, b"v1").next().is_none() {
        return Err(Refusal::NoSignature);
    }
    if timestamp.seconds.abs_diff(now) > TOLERANCE_SECONDS {
        return Err(Refusal::Stale);
    }
    let secret = matching(header, timestamp.text, &body, secrets).ok_or(Refusal::Mismatch)?;
    Ok(Verified { body, secret })
}

/// The first secret that one of the signatures fits. Every signature is
/// compared with every secret, in constant time, whatever has matched before.
fn matching(header: &[u8], timestamp: &[u8], body: &[u8], secrets: &Secrets) -> Option<usize> {
    let mut matched = None;
    for (index, keyed) in secrets.keyed().enumerate() {
        let mut mac: HmacSha256 = keyed.clone();
        mac.update(timestamp);
        mac.update(b".");
        mac.update(body);
        let expected = mac.finalize();
        for given in values(header, b"v1").filter_map(hex) {
            let fits = CtOutput::<HmacSha256>::new(given.into()) == expected;
            if fits && matched.is_none() {
                matched = Some(index);
            }
        }
    }
    matched
}

struct Timestamp<'a> {
    seconds: i64,
    text: &'a [u8],
}

fn timestamp(header: &[u8]) -> Result<Timestamp<'_>, Refusal> {
    let mut found = values(header, b"t");
    let (Some(text), None) = (found.next(), found.next()) else {
        return Err(Refusal::BadTimestamp);
    };
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit) && text[0] != b'0';
    let number = std::str::from_utf8(text).ok().filter(|_| digits);
    let seconds = number.and_then(|number| number.parse().ok());
    let seconds = seconds.ok_or(Refusal::BadTimestamp)?;
    Ok(Timestamp { seconds, text })
}

/// The values of all `key=value` segments with this key.
fn values<'a>(header: &'a [u8], key: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let segments = header.split(|byte| *byte == b',');
    segments.filter_map(move |segment| segment.strip_prefix(key)?.strip_prefix(b"="))
}

/// 32 bytes from 64 lowercase hexadecimal digits, and from nothing else.
fn hex(text: &[u8]) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}
