//! Pages: a part of a table that a person or a loop can hold.

/// The order of a page's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// For people.
    NewestFirst,
    /// For replays: events are sent again in the order in which they failed.
    OldestFirst,
}

/// The `LIKE` pattern of a type such as `invoice.*`; `None` if it names one type.
pub fn is_like(event_type: &str) -> Option<String> {
    let stem = event_type.strip_suffix('*')?;
    let escaped = stem.replace('\\', "\\\\").replace('%', "\\%");
    Some(format!("{}%", escaped.replace('_', "\\_")))
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_at_the_end_matches_all_that_begin_so() {
        assert_eq!(is_like("invoice.*").as_deref(), Some("invoice.%"));
        assert_eq!(
            is_like("invoice.payment_*").as_deref(),
            Some("invoice.payment\\_%")
        );
        assert_eq!(is_like("invoice.paid"), None);
    }
}
