//! Whether the main app's rows are written.

use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

use crate::wait::{self, Seen};

/// Waits until no row of the main app's is pending, and no invoice waits for a booking
/// that is there.
///
/// # Errors
/// When something stays, or the database is away.
pub(in super::super) async fn until_projected(client: &Client, bound: Duration) -> Result<()> {
    let query = r#"
        SELECT concat_ws(' ', kind, id, reason, detail) FROM stripe.pending_projection
        UNION ALL
        SELECT concat_ws(' ', kind, id, 'late_outcome') FROM stripe.late_outcome
        UNION ALL
        SELECT concat_ws(' ', i.id, waiting) FROM stripe.invoice i
            JOIN "Booking" b ON b.id = i.booking_id WHERE waiting = 'booking_missing'
        LIMIT 3"#;
    wait::until("rows that are written", bound, async || {
        match client.query(query, &[]).await {
            Ok(rows) if rows.is_empty() => Seen::Reached(()),
            Ok(rows) => {
                let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                Seen::NotYet(format!("{rows:?}"))
            }
            Err(error) => Seen::Never(error.to_string()),
        }
    })
    .await
}
