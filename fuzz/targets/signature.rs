//! The signature header, against a second reading of it.
//!
//! Input: two bytes that say how far our clock is from the sample's time, then
//! the header. A capital letter in the header stands for a signature, since no
//! fuzzer guesses one: `A` and `B` with our two secrets, `C` with a stranger's.
#![no_main]

use bytes::Bytes;
use fuzz::hex;
use hmac::{Hmac, KeyInit, Mac};
use ingest::signature::{Refusal, Secrets, TOLERANCE_SECONDS, verify};
use libfuzzer_sys::{Corpus, fuzz_target};
use sha2::Sha256;
use std::sync::LazyLock;

const TIME: i64 = 1_760_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;
const SECRETS: [&str; 3] = ["whsec_first", "whsec_second", "whsec_stranger"];

static OURS: LazyLock<Secrets> =
    LazyLock::new(|| Secrets::parse("a=whsec_first,b=whsec_second").unwrap());
static OTHER: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse("whsec_other").unwrap());

fn mac(secret: &str, timestamp: &[u8], body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(timestamp);
    mac.update(b".");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

/// The values of a key, found by going through the header byte by byte.
fn values(header: &[u8], wanted: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut key) = (Vec::new(), Vec::new());
    let mut value: Option<Vec<u8>> = None;
    for byte in header.iter().chain(b",") {
        match (byte, &mut value) {
            (b',', _) => {
                if let Some(value) = value.take()
                    && key == wanted
                {
                    all.push(value);
                }
                key.clear();
            }
            (byte, Some(value)) => value.push(*byte),
            (b'=', none) => *none = Some(Vec::new()),
            (byte, None) => key.push(*byte),
        }
    }
    all
}

/// Which of our secrets fits, by the letter of the rules.
fn expected(header: &[u8], now: i64) -> Result<usize, Refusal> {
    if header.len() > 4096 {
        return Err(Refusal::LongHeader);
    }
    let [timestamp] = &values(header, b"t")[..] else {
        return Err(Refusal::BadTimestamp);
    };
    let text = String::from_utf8_lossy(timestamp);
    let seconds: i64 = text.parse().map_err(|_| Refusal::BadTimestamp)?;
    if seconds <= 0 || seconds.to_string() != text {
        return Err(Refusal::BadTimestamp);
    }
    let signatures = values(header, b"v1");
    if signatures.is_empty() {
        return Err(Refusal::NoSignature);
    }
    if (i128::from(seconds) - i128::from(now)).unsigned_abs() > u128::from(TOLERANCE_SECONDS) {
        return Err(Refusal::Stale);
    }
    let fits = |secret: &&str| {
        let right = mac(secret, timestamp, BODY);
        signatures.iter().any(|given| *given == right)
    };
    SECRETS[..2]
        .iter()
        .position(|secret| fits(&secret))
        .ok_or(Refusal::Mismatch)
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(([high, low], template)) = input.split_first_chunk() else {
        return Corpus::Reject;
    };
    let now = TIME + i64::from(i16::from_be_bytes([*high, *low]));
    let signed = values(template, b"t").first().cloned().unwrap_or_default();
    let mut header = Vec::new();
    for byte in template {
        match byte {
            b'A'..=b'C' => {
                let secret = SECRETS[usize::from(byte - b'A')];
                header.extend(mac(secret, &signed, BODY));
            }
            byte => header.push(*byte),
        }
    }
    let check = |header: &[u8], body: &'static [u8], now, secrets: &Secrets| {
        let verified = verify([header], Bytes::from_static(body), now, secrets)?;
        assert_eq!(verified.body(), body);
        Ok::<_, Refusal>(verified.secret())
    };
    let answer = check(&header, BODY, now, &OURS);
    assert_eq!(answer, expected(&header, now));

    // What is accepted is accepted for that secret, body and time alone.
    if answer.is_ok() {
        assert_eq!(check(&header, BODY, now, &OTHER), Err(Refusal::Mismatch));
        assert_eq!(
            check(&header, &BODY[1..], now, &OURS),
            Err(Refusal::Mismatch)
        );
        for now in [now - 601, now + 601] {
            assert_eq!(check(&header, BODY, now, &OURS), Err(Refusal::Stale));
        }
        let twice = verify([&header[..]; 2], Bytes::from_static(BODY), now, &OURS);
        assert_eq!(twice.unwrap_err(), Refusal::SeveralHeaders);
    }
    Corpus::Keep
});
