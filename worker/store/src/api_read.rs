//! `stripe.api_read`: how many reads of Stripe's API were sent, by day.

use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// What Stripe allows a platform in 30 days, however few its transactions.
const LEAST_ALLOWANCE: i64 = 10_000;
/// What Stripe allows for each transaction of 30 days.
const READS_A_TRANSACTION: i64 = 500;

/// The reads of 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// How many were sent.
    pub sent: i64,
    /// How many Stripe allows, as far as paid invoices were counted; it may be more.
    pub allowed: i64,
}

/// Counts one read.
pub async fn count(mut conn: &Connection) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO stripe.api_read AS r (day, reads) VALUES ((now() AT TIME ZONE 'UTC')::date, 1) \
         ON CONFLICT (day) DO UPDATE SET reads = r.reads + 1",
    )
    .execute(&mut conn)
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = BigInt)]
    sent: i64,
    #[diesel(sql_type = BigInt)]
    paid: i64,
}

/// The reads of the last 30 days, and the allowance. A paid invoice counts as a transaction, by
/// the ledger, whose index ends with the newest events. No more of them are counted than it
/// takes to say that there is room.
pub async fn reads(mut conn: &Connection) -> Result<Reads> {
    let sums: Sums = diesel::sql_query(
        "WITH r AS (SELECT coalesce(sum(reads), 0)::bigint AS sent FROM stripe.api_read \
                    WHERE day > (now() AT TIME ZONE 'UTC')::date - 30) \
         SELECT r.sent, CASE WHEN r.sent < $1 / 2 THEN 0 ELSE \
            (SELECT count(*) FROM (SELECT FROM stripe.event \
             WHERE type = 'invoice.paid' AND outcome IN ('applied', 'stale') \
                AND first_seen_at > now() - interval '30 days' \
             ORDER BY first_seen_at DESC LIMIT 2 * r.sent / $2) AS paid) END AS paid FROM r",
    )
    .bind::<BigInt, _>(LEAST_ALLOWANCE)
    .bind::<BigInt, _>(READS_A_TRANSACTION)
    .get_result(&mut conn)
    .await?;
    Ok(Reads {
        sent: sums.sent,
        allowed: LEAST_ALLOWANCE.max(sums.paid * READS_A_TRANSACTION),
    })
}

impl Reads {
    /// How many reads there is room for that nobody waits for: the last tenth of the allowance
    /// is for commands.
    pub fn room(self) -> i64 {
        (self.allowed / 10 * 9 - self.sent).max(0)
    }

    /// Whether there is room for the reads by which interrupted commands are finished: they leave
    /// a tenth of the allowance to those of accounts, besides the last one.
    pub fn has_room_to_finish(self) -> bool {
        self.sent < self.allowed / 10 * 8
    }

    /// Whether there is room for a read that nobody waits for.
    pub fn has_room(self) -> bool {
        self.room() > 0
    }
}
