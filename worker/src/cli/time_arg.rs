//! Moments on the command line.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use shared::clock;

/// Reads a moment: `2h` (ago; also s, m, d, w), a day, or RFC 3339.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let now = clock::now_utc();
    read(text, now).ok_or_else(|| {
        "expected 2h (ago; s, m, h, d or w), a day such as 2026-11-22 (UTC), \
         or 2026-11-22T10:00:00Z"
            .to_owned()
    })
}

fn read(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse::<u32>().ok()?.into();
    let ago = match unit {
        's' => Duration::try_seconds(count),
        'm' => Duration::try_minutes(count),
        'h' => Duration::try_hours(count),
        'd' => Duration::try_days(count),
        'w' => Duration::try_weeks(count),
        _ => None,
    };
    now.checked_sub_signed(ago?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_nonsense_is_not() {
        let now = DateTime::from_timestamp(1_760_000_000, 0).unwrap();
        let at = |text| read(text, now).map(|at| at.timestamp());
        assert_eq!(at("2h"), Some(1_760_000_000 - 7200));
        assert_eq!(at("1w"), Some(1_760_000_000 - 7 * 86_400));
        assert_eq!(at("2025-10-09"), Some(1_759_968_000));
        assert_eq!(at("2025-10-09T08:53:20Z"), Some(1_760_000_000));
        assert_eq!(at("2025-10-09T10:53:20+02:00"), Some(1_760_000_000));
        for wrong in ["", "h", "-2h", "2y", "yesterday", "4294967295w", "ü"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
