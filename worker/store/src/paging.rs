//! Pages: a part of a table that a person or a loop can hold.

use chrono::{DateTime, Utc};

/// The order of a page's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// For people.
    NewestFirst,
    /// For replays: events are sent again in the order in which they failed.
    OldestFirst,
}

/// Where a page ends: the next one begins behind it.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The time of its last row.
    pub at: DateTime<Utc>,
    /// The id of that row.
    pub id: String,
}

/// Narrows a query to one page of a table, by a column of times and then by the id.
macro_rules! page {
    ($query:expr, $table:ident.$at:ident, $order:expr, $after:expr) => {{
        use diesel::{BoolExpressionMethods as _, ExpressionMethods as _, QueryDsl as _};
        use $crate::paging::{Cursor, Order};

        let query = match $order {
            Order::NewestFirst => $query.order(($table::$at.desc(), $table::id.desc())),
            Order::OldestFirst => $query.order(($table::$at, $table::id)),
        };
        // The first condition is for the index, the second for rows of the same time.
        match ($order, $after.cloned()) {
            (_, None) => query,
            (Order::NewestFirst, Some(Cursor { at, id })) => query
                .filter($table::$at.le(at))
                .filter($table::$at.lt(at).or($table::id.lt(id))),
            (Order::OldestFirst, Some(Cursor { at, id })) => query
                .filter($table::$at.ge(at))
                .filter($table::$at.gt(at).or($table::id.gt(id))),
        }
    }};
}

pub(crate) use page;

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
