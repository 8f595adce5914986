//! The `traceparent` header of W3C Trace Context. An event keeps one trace from
//! Stripe's delivery to the database.

use hyper::HeaderMap;
use std::fmt::Write as _;

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// Returns the request's `traceparent` if it has exactly one and that is valid,
/// and a new one otherwise.
#[must_use]
pub(crate) fn from_headers(headers: &HeaderMap) -> String {
    let mut lines = headers.get_all("traceparent").iter();
    let given = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().filter(|line| is_valid(line)),
        (Some(_), Some(_)) | (None, _) => None,
    };
    given.map_or_else(generate, str::to_owned)
}

/// Starts a new, sampled trace. Its ids are no secrets, so a fast generator of
/// random numbers is enough.
fn generate() -> String {
    let mut traceparent = String::with_capacity(LENGTH);
    // Ids of zeroes only are invalid.
    let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
    let _infallible = write!(traceparent, "00-{trace:032x}-{span:016x}-01");
    traceparent
}

fn is_valid(line: &str) -> bool {
    let hex = |text: &str| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.bytes().all(digit)
    };
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
    let mut parts = line.split('-');
    let mut part = |length: usize| {
        parts
            .next()
            .filter(|part| part.len() == length && hex(part))
    };
    let (version, trace, span, flags) = (part(2), part(32), part(16), part(2));
    // Later versions may append more parts. Only version 00 is supported.
    line.len() == LENGTH
        && version == Some("00")
        && trace.is_some_and(not_zero)
        && span.is_some_and(not_zero)
        && flags.is_some()
}

#[cfg(test)]
mod tests {
    use super::{from_headers, generate, is_valid};
    use hyper::HeaderMap;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_traceparent_is_kept() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", VALID.parse().unwrap());
        assert_eq!(from_headers(&headers), VALID);
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        let mut headers = HeaderMap::new();
        assert!(is_valid(&from_headers(&headers)));
        headers.append("traceparent", VALID.parse().unwrap());
        headers.append("traceparent", VALID.parse().unwrap());
        assert_ne!(from_headers(&headers), VALID);
        let wrong = [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ];
        for line in wrong {
            assert!(!is_valid(line), "{line}");
        }
    }

    #[test]
    fn new_traces_are_valid_and_differ() {
        let (one, two) = (generate(), generate());
        assert!(is_valid(&one) && is_valid(&two));
        assert_ne!(one, two);
    }
}
