//! Ids of Stripe's shape.
//!
//! `evt_1Pgc76B7WZ01zgkWwyRHS12y` of account `acct_1PgafTB7WZ01zgkW`: a digit,
//! five characters of time, ten of the account, eight at random. Ids of one
//! account's objects therefore grow with time, and those of many accounts nearly
//! so; an index over them grows mostly at its right edge. Sessions' ids are
//! random from the first character on.

/// In the order that the database sorts them in.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// As many base-62 digits as a random number of 64 bits has for certain.
const DIGITS_A_WORD: usize = 10;

/// Appends `length` characters that look random and are a function of `seed`.
pub(crate) fn write_random(out: &mut Vec<u8>, seed: u64, length: usize) {
    let mut state = seed;
    for place in 0..length {
        if place % DIGITS_A_WORD == 0 {
            state = mix(seed.wrapping_add(u64::try_from(place).unwrap_or(0)));
        }
        out.push(digit(state % 62));
        state /= 62;
    }
}

/// Appends `length` characters that sort as the number does.
pub(crate) fn write_sorted(out: &mut Vec<u8>, number: u64, length: usize) {
    let start = out.len();
    let mut rest = number;
    for _ in 0..length {
        out.push(digit(rest % 62));
        rest /= 62;
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

fn digit(value: u64) -> u8 {
    usize::try_from(value)
        .ok()
        .and_then(|value| DIGITS.get(value))
        .copied()
        .unwrap_or(b'0')
}

/// Sebastiano Vigna's SplitMix64.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
