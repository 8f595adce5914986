//! The signature check. The signatures were made with another implementation of
//! HMAC-SHA256 than the one under test.

use crate::vectors::{BODIES, Expected, NOW, REFUSED_SECRETS, SECRET, VECTORS};
use bytes::Bytes;
use harness::stripe::sign;
use ingest::signature::{Refusal, Secrets, SecretsError, TOLERANCE_SECONDS, verify};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest,
};

fn check(header: &[u8], body: &[u8], now: i64, secrets: &str) -> Result<usize, Refusal> {
    let secrets = Secrets::parse(secrets).unwrap();
    let body = Bytes::copy_from_slice(body);
    let verified = verify([header], body.clone(), now, &secrets)?;
    assert_eq!(verified.body(), &body);
    Ok(verified.secret())
}

#[test]
fn every_vector_gives_the_expected_result() {
    for vector in VECTORS {
        let body = BODIES[vector.body];
        let result = check(vector.header.as_bytes(), body, NOW, SECRET);
        match vector.expected {
            Expected::Accept => assert_eq!(result, Ok(0), "{}", vector.name),
            Expected::Reject(why) => assert_eq!(result, Err(why), "{}", vector.name),
        }
    }
}

#[test]
fn empty_and_blank_secrets_are_refused_at_start() {
    for secret in REFUSED_SECRETS {
        assert_eq!(Secrets::parse(secret).unwrap_err(), SecretsError::Blank(1));
    }
}

#[test]
fn there_must_be_exactly_one_header_line() {
    let secrets = Secrets::parse(SECRET).unwrap();
    let body = Bytes::from_static(BODIES[0]);
    let header = sign(SECRET, NOW, &body);
    let line = header.as_bytes();
    let none = verify([], body.clone(), NOW, &secrets).unwrap_err();
    assert_eq!(none, Refusal::NoHeader);
    let two = verify([line, line], body.clone(), NOW, &secrets).unwrap_err();
    assert_eq!(two, Refusal::SeveralHeaders);
    let split: [&[u8]; 2] = [&line[..12], &line[13..]];
    assert_eq!(
        verify(split, body, NOW, &secrets).unwrap_err(),
        Refusal::SeveralHeaders
    );
}

#[test]
fn age_is_accepted_up_to_the_boundary_either_way() {
    let tolerance = i64::try_from(TOLERANCE_SECONDS).unwrap();
    for (age, fresh) in [
        (0, true),
        (tolerance, true),
        (tolerance + 1, false),
        (-tolerance, true),
        (-tolerance - 1, false),
    ] {
        let header = sign(SECRET, NOW - age, BODIES[0]);
        let result = check(header.as_bytes(), BODIES[0], NOW, SECRET);
        assert_eq!(result.is_ok(), fresh, "{age} s");
    }
}

#[test]
fn times_that_no_clock_shows_are_refused_without_overflow() {
    for time in [
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "0",
        "00",
    ] {
        let header = format!("t={time},v1={}", "0".repeat(64));
        for now in [NOW, i64::MAX, i64::MIN, 0] {
            assert!(check(header.as_bytes(), BODIES[0], now, SECRET).is_err());
        }
    }
}

#[test]
fn the_name_of_the_secret_that_fits_is_known() {
    let secrets = "connect=whsec_a,platform=whsec_b,old=whsec_c";
    for (place, secret) in ["whsec_a", "whsec_b", "whsec_c"].iter().enumerate() {
        let header = sign(secret, NOW, BODIES[0]);
        assert_eq!(check(header.as_bytes(), BODIES[0], NOW, secrets), Ok(place));
    }
    let header = sign("whsec_d", NOW, BODIES[0]);
    assert_eq!(
        check(header.as_bytes(), BODIES[0], NOW, secrets),
        Err(Refusal::Mismatch)
    );
}

#[test]
fn a_long_header_is_refused_unread() {
    let mut header = sign(SECRET, NOW, BODIES[0]);
    while header.len() <= 4096 {
        header.push_str(",v0=x");
    }
    let result = check(header.as_bytes(), BODIES[0], NOW, SECRET);
    assert_eq!(result, Err(Refusal::LongHeader));
    // Exactly 4 KiB are allowed.
    let mut header = sign(SECRET, NOW, BODIES[0]) + ",v0=";
    header.push_str(&"x".repeat(4096 - header.len()));
    let result = check(header.as_bytes(), BODIES[0], NOW, SECRET);
    assert_eq!(result, Ok(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_signed_body_is_accepted(body: Vec<u8>, age in -300..=300_i64, secret in "whsec_[a-zA-Z0-9]{1,64}") {
        let header = sign(&secret, NOW - age, &body);
        prop_assert_eq!(check(header.as_bytes(), &body, NOW, &secret), Ok(0));
    }

    #[test]
    fn one_changed_byte_of_the_body_is_refused(
        (body, place) in proptest::collection::vec(any::<u8>(), 1..400)
            .prop_flat_map(|body| { let places = 0..body.len(); (Just(body), places) }),
        change in 1..=255_u8,
    ) {
        let header = sign(SECRET, NOW, &body);
        let mut changed = body.clone();
        changed[place] ^= change;
        prop_assert_eq!(check(header.as_bytes(), &changed, NOW, SECRET), Err(Refusal::Mismatch));
    }

    #[test]
    fn one_byte_more_or_less_is_refused(body in proptest::collection::vec(any::<u8>(), 1..400), byte: u8) {
        let header = sign(SECRET, NOW, &body);
        let mut longer = body.clone();
        longer.push(byte);
        prop_assert!(check(header.as_bytes(), &longer, NOW, SECRET).is_err());
        prop_assert!(check(header.as_bytes(), &body[1..], NOW, SECRET).is_err());
    }

    /// The changed byte may be anywhere in the header, which is 80 bytes long.
    #[test]
    fn one_changed_byte_of_the_header_is_refused(place in 0..80_usize, change in 1..=255_u8) {
        let mut header = sign(SECRET, NOW, BODIES[0]).into_bytes();
        prop_assert_eq!(header.len(), 80);
        header[place] ^= change;
        prop_assert!(check(&header, BODIES[0], NOW, SECRET).is_err());
    }

    #[test]
    fn no_header_makes_it_panic(header: Vec<u8>, now: i64) {
        prop_assert!(check(&header, BODIES[0], now, SECRET).is_err());
    }

    #[test]
    fn no_list_of_header_parts_makes_it_panic(
        parts in proptest::collection::vec("(t|v1|v0|)=?([0-9a-f]{0,70}|1760000000)", 0..6),
    ) {
        prop_assert!(check(parts.join(",").as_bytes(), BODIES[0], NOW, SECRET).is_err());
    }
}
