//! Writes down what turned out about earlier events: whose the booking that they
//! name is. In the unit's transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use tracing::warn;

use crate::{
    burial::grave,
    events::{
        rejection::{CLAIMED_BY_OTHER_ACCOUNT, Rejection},
        rejudge::{Judged, Rejudged},
    },
    failure::Failure,
    store::{
        burial::{self, Grave},
        dead_letter::{self, Deaths},
        history, kept,
        ledger::{self, Claims, Turned},
    },
};

/// Writes it. Costs nothing where no booking can have changed hands.
///
/// Events that are refused after all become dead letters, again or out of their
/// kept bytes. Dead letters that are accepted after all are resolved. Gives back
/// how many events were refused.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn write(
    conn: &AsyncPgConnection,
    rejudged: &[Rejudged<'_>],
    now: DateTime<Utc>,
) -> Result<usize, Failure> {
    if rejudged.is_empty() {
        return Ok(0);
    }
    // Rare, and large beside the unit that waits for it.
    Box::pin(turn(conn, rejudged, now)).await
}

async fn turn(
    conn: &AsyncPgConnection,
    rejudged: &[Rejudged<'_>],
    now: DateTime<Utc>,
) -> Result<usize, Failure> {
    let (mut refused, mut accepted) = (Vec::new(), Vec::new());
    for one in rejudged {
        let claims = Claims {
            kind: one.kind,
            object: one.object,
            booking: one.booking,
            account: one.account,
        };
        match one.judged {
            Judged::Refused => refused.push(claims),
            Judged::Accepted { waiting } => accepted.push((claims, waiting)),
        }
    }
    if !accepted.is_empty() {
        let turned = ledger::accept(conn, &accepted).await?;
        let ids = turned.iter().map(|event| event.id.as_str());
        let resolved: Vec<_> = ids.map(|id| (id, None)).collect();
        dead_letter::resolve(conn, &resolved).await?;
    }
    if refused.is_empty() {
        return Ok(0);
    }
    let turned = ledger::refuse(conn, &refused).await?;
    bury(conn, &turned, now).await?;
    Ok(turned.len())
}

/// At most so many bodies are in memory at once.
const AT_ONCE: usize = 100;

async fn bury(
    conn: &AsyncPgConnection,
    turned: &[Turned],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    for turned in turned.chunks(AT_ONCE) {
        let whys: BTreeMap<&str, Rejection> = turned
            .iter()
            .map(|event| {
                let booking = event.claimed_booking_id;
                let why = Rejection::BookingClaimedByOtherAccount { booking };
                (event.id.as_str(), why)
            })
            .collect();
        let deaths = Deaths {
            ids: whys.keys().copied().collect(),
            details: whys.values().map(Rejection::to_string).collect(),
            reason: CLAIMED_BY_OTHER_ACCOUNT,
            mark: grave::verdict_mark(now.timestamp_millis()),
            at: now,
        };
        let reopened = dead_letter::reopen(conn, &deaths).await?;
        let ids = whys.keys().map(|id| (*id).to_owned());
        let ids: Vec<String> = ids.filter(|id| !reopened.contains(id)).collect();
        let mut bodies = kept::bodies(conn, &ids).await?;
        let rows = history::of(conn, &ids).await?;
        let graves: Vec<Grave> = rows
            .iter()
            .filter_map(|row| {
                let body = bodies.remove(&row.id)?;
                grave::of_applied(row, body, whys.get(row.id.as_str())?, now)
            })
            .collect();
        burial::bury_all(conn, &graves).await?;
        let (refused, without_bytes) = (turned.len(), ids.len() - graves.len());
        // Of those without bytes the ledger alone says that they are dead.
        warn!(
            refused,
            without_bytes, "events turned out to name another account's booking"
        );
    }
    Ok(())
}
