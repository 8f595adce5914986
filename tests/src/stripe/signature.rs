//! Signs deliveries as Stripe does.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::random::to_hex;

/// The value of the header `Stripe-Signature` for a body that is sent at
/// `timestamp` (seconds since 1970). The key is the whole secret as text, with
/// its `whsec_`.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn sign(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length of key is fine");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={timestamp},v1={}", to_hex(&mac.finalize().into_bytes()))
}

/// The time now, in seconds since 1970, for [`sign`].
///
/// # Panics
/// When the machine's clock stands before 1970.
#[must_use]
pub fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970");
    i64::try_from(now.as_secs()).expect("the time fits into 63 bits")
}
