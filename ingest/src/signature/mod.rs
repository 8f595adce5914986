//! Checks Stripe's signatures. Pure: no I/O, no clock, no log.
//!
//! Stripe signs `<t>.<body>` with HMAC-SHA256 and sends
//! `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>...]`. The header is read as
//! bytes and not trimmed: a space next to a value that counts makes the check fail.

mod secrets;

pub use secrets::{EXPECTED as EXPECTED_SECRETS, Secrets, SecretsError};

use bytes::Bytes;
use hmac::Mac;
use hmac::digest::CtOutput;
use secrets::HmacSha256;

/// How many seconds old, or in the future, a signature may be: Stripe's own
/// default. The boundary is included.
pub const TOLERANCE_SECONDS: u64 = 300;

/// The longest header that is read, in bytes. A header with a signature for each
/// of a dozen secrets has under 1,000. The bound keeps the number of comparisons
/// small.
const MAX_HEADER: usize = 4096;

/// A body whose signature is valid. Only [`verify`] makes one, and only such a
/// body can be published.
#[derive(Debug, Clone)]
pub struct Verified {
    body: Bytes,
    secret: usize,
}

impl Verified {
    /// Returns the exact bytes that were signed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the index in [`Secrets::names`] of the secret that matched.
    #[must_use]
    pub fn secret(&self) -> usize {
        self.secret
    }
}

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request has no signature header.
    NoHeader,
    /// The request has several signature headers.
    SeveralHeaders,
    /// The header is longer than 4 KiB.
    LongHeader,
    /// The header has not exactly one `t`, or its value is not a number as Stripe
    /// writes it.
    BadTimestamp,
    /// The header has no `v1`.
    NoSignature,
    /// The signature is too old, or too far in the future.
    Stale,
    /// No `v1` matches any secret.
    Mismatch,
}

/// Checks `body` against the values of its request's `Stripe-Signature` headers.
/// `now` is in seconds since 1970.
///
/// # Errors
/// The headers are malformed, the signature is too old or too far in the future,
/// or it matches no secret. See [`Refusal`].
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

/// Returns the index of the first secret that one of the signatures matches.
/// Every signature is compared with every secret in constant time, even after a
/// match, so that the duration does not tell which secret matched.
fn matching(header: &[u8], timestamp: &[u8], body: &[u8], secrets: &Secrets) -> Option<usize> {
    let mut matched = None;
    for (index, keyed) in secrets.keyed().enumerate() {
        let mut mac: HmacSha256 = keyed.clone();
        mac.update(timestamp);
        mac.update(b".");
        mac.update(body);
        let expected = mac.finalize();
        for given in values(header, b"v1").filter_map(hex) {
            let matches = CtOutput::<HmacSha256>::new(given.into()) == expected;
            if matches && matched.is_none() {
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

/// Returns the values of all `key=value` segments with this key.
fn values<'a>(header: &'a [u8], key: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let segments = header.split(|byte| *byte == b',');
    segments.filter_map(move |segment| segment.strip_prefix(key)?.strip_prefix(b"="))
}

/// Decodes exactly 64 lowercase hexadecimal digits.
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
