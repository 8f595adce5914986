//! What Postgres can keep.

use serde_json::Value;

/// A text without NUL that fits into an index.
pub fn text(text: &str, limit: usize) {
    assert!(!text.contains('\0') && text.len() <= limit, "{text:?}");
}

/// A time that both Postgres and people can read.
pub fn time(at: chrono::DateTime<chrono::Utc>) {
    assert!((0..253_402_300_800).contains(&at.timestamp()), "{at}");
}

/// JSON that `jsonb` keeps, and that is read back: serde_json stops at a depth
/// of 128.
pub fn json(value: &Value) {
    let written = value.to_string();
    assert!(!written.contains("\\u0000"));
    assert_eq!(
        serde_json::from_str::<Value>(&written).ok().as_ref(),
        Some(value)
    );
}
