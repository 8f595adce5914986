//! Writes down what turned out about earlier events: whose the booking that they
//! name is. In the unit's transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use tracing::warn;

use crate::{
    burial::grave,
    events::{
        claim::BookingId,
        place::Waiting,
        rejection::Rejection,
        rejudge::{Judged, Rejudged},
    },
    failure::Failure,
    store::{
        burial, dead_letter, history, kept,
        ledger::{self, Claims, Turned},
    },
};

/// Writes it. Costs nothing where nothing turned out.
///
/// Events that are refused after all become dead letters, again or out of their
/// kept bytes. Dead letters that are accepted after all are resolved.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn write(
    conn: &AsyncPgConnection,
    rejudged: &[Rejudged<'_>],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    if rejudged.is_empty() {
        return Ok(());
    }
    // Rare, and large beside the unit that waits for it.
    Box::pin(turn(conn, rejudged, now)).await
}

async fn turn(
    conn: &AsyncPgConnection,
    rejudged: &[Rejudged<'_>],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let (mut refused, mut accepted, mut waiting) =
        (Claims::default(), Claims::default(), Vec::new());
    for one in rejudged {
        let claims = match one.judged {
            Judged::Refused => &mut refused,
            Judged::Accepted { waiting: why } => {
                waiting.push(why.map(Waiting::code));
                &mut accepted
            }
        };
        claims.objects.push(one.object);
        claims.bookings.push(one.booking);
        claims.accounts.push(one.account);
    }
    let code = Rejection::BookingClaimedByOtherAccount { booking: 0 }.code();
    if !accepted.objects.is_empty() {
        let turned = ledger::accept(conn, &accepted, &waiting, code).await?;
        let resolved: Vec<_> = turned
            .iter()
            .map(|event| (event.id.as_str(), None))
            .collect();
        dead_letter::resolve(conn, &resolved).await?;
    }
    if !refused.objects.is_empty() {
        let turned = ledger::refuse(conn, &refused, code).await?;
        bury(conn, turned, now).await?;
    }
    Ok(())
}

async fn bury(
    conn: &AsyncPgConnection,
    turned: Vec<Turned>,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    if turned.is_empty() {
        return Ok(());
    }
    let bookings: BTreeMap<String, BookingId> = turned
        .into_iter()
        .map(|event| (event.id, event.claimed_booking_id))
        .collect();
    let mut ids: Vec<String> = bookings.keys().cloned().collect();
    let reopened = dead_letter::reopen(conn, &ids, now).await?;
    ids.retain(|id| !reopened.contains(id));
    let mut bodies = kept::bodies(conn, &ids).await?;
    for row in history::of(conn, &ids).await? {
        let why = Rejection::BookingClaimedByOtherAccount {
            booking: bookings.get(&row.id).copied().unwrap_or_default(),
        };
        let body = bodies.remove(&row.id);
        match body.and_then(|body| grave::of_applied(&row, body, &why, now)) {
            Some(grave) => burial::bury(conn, &grave).await?,
            // The ledger says that it is dead, and why.
            None => warn!(
                event = row.id,
                "refused after all; no dead letter: its bytes are not kept"
            ),
        }
    }
    Ok(())
}
