//! `stripe.event`, the ledger: one row for each event, written in the transaction of its
//! effect.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::{BookingId, ObjectId},
    outcome::Outcome,
    reclassify::Reclassified,
    source::Recheck,
    text_enum,
};

use crate::{Connection, Result, WriteTx, schema::event, statement::bulk};

text_enum! {
    /// What brought the delivery that gave an outcome.
    pub enum DeliverySource {
        /// Stripe delivered it.
        Webhook = "webhook",
        /// An operator sent it again.
        Replay = "replay",
    }
}

/// A row to write.
#[derive(Clone, Debug)]
pub struct LedgerRow<'a> {
    /// The event's id.
    pub id: &'a str,
    /// The event's type.
    pub event_type: &'a str,
    /// The event's account; `None` for the platform.
    pub account: Option<&'a str>,
    /// The API version of its object.
    pub api_version: Option<&'a str>,
    /// Its mode.
    pub livemode: Option<bool>,
    /// When it happened at Stripe.
    pub created: DateTime<Utc>,
    /// The object that it is about.
    pub object_id: Option<&'a str>,
    /// The booking that it names.
    pub booking: Option<BookingId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, as a code.
    pub reason: Option<&'static str>,
    /// When ingest received it.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery.
    pub trace_id: Option<&'a str>,
    /// What brought the delivery.
    pub source: DeliverySource,
    /// The archive page that holds its bytes.
    pub archive_page: Option<i64>,
}

/// An event that the ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// What became of it.
    pub outcome: Outcome,
    /// Whether its bytes were archived.
    pub is_archived: bool,
}

/// Which of the events named the ledger has.
pub async fn known(mut conn: &Connection, ids: &[&str]) -> Result<BTreeMap<String, KnownEvent>> {
    let rows: Vec<(String, String, bool)> = event::table
        .filter(event::id.eq_any(ids))
        .select((
            event::id,
            event::outcome,
            event::archive_page_id.is_not_null(),
        ))
        .load(&mut conn)
        .await?;
    let known = |(id, outcome, is_archived): (String, String, bool)| {
        // An outcome of a later release: whatever it means, the event had its effect.
        let outcome = Outcome::parse(&outcome).unwrap_or(Outcome::Applied);
        let known = KnownEvent {
            outcome,
            is_archived,
        };
        (id, known)
    };
    Ok(rows.into_iter().map(known).collect())
}

bulk! {
    Write {
        id: &'a str => Text,
        event_type: &'a str => Text,
        account: Option<&'a str> => Nullable<Text>,
        api_version: Option<&'a str> => Nullable<Text>,
        livemode: Option<bool> => Nullable<Bool>,
        created: DateTime<Utc> => Timestamptz,
        object: Option<&'a str> => Nullable<Text>,
        outcome: &'static str => Text,
        reason: Option<&'static str> => Nullable<Text>,
        received_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        trace_id: Option<&'a str> => Nullable<Text>,
        source: &'static str => Text,
        archive_page: Option<i64> => Nullable<BigInt>,
        booking: Option<i32> => Nullable<Integer>,
    }
    "INSERT INTO stripe.event (id, type, account, api_version, livemode, created, object_id, \
        outcome, reason, received_at, trace_id, source, archive_page_id, claimed_booking_id) \
     SELECT * FROM",
    // What it says of itself stays; only what it came to is new.
    "ON CONFLICT (id) DO UPDATE SET object_id = coalesce(excluded.object_id, event.object_id), \
        outcome = excluded.outcome, \
        reason = excluded.reason, source = excluded.source, processed_at = now(), \
        attempts = event.attempts + 1, \
        archive_page_id = coalesce(excluded.archive_page_id, event.archive_page_id), \
        claimed_booking_id = coalesce(excluded.claimed_booking_id, event.claimed_booking_id)"
}

/// Writes the outcomes of new events, and of those that were decided again.
pub async fn write(tx: &WriteTx<'_>, rows: &[LedgerRow<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for row in rows {
        write.id.push(row.id);
        write.event_type.push(row.event_type);
        write.account.push(row.account);
        write.api_version.push(row.api_version);
        write.livemode.push(row.livemode);
        write.created.push(row.created);
        write.object.push(row.object_id);
        write.outcome.push(row.outcome.as_str());
        write.reason.push(row.reason);
        write.received_at.push(row.received_at);
        write.trace_id.push(row.trace_id);
        write.source.push(row.source.as_str());
        write.archive_page.push(row.archive_page);
        write.booking.push(row.booking.map(|booking| booking.0));
    }
    let mut conn: &Connection = tx;
    write.execute(&mut conn).await?;
    Ok(())
}

/// The most events whose outcomes one statement changes: their dead letters are written in the
/// same transaction, and everybody waits meanwhile.
pub const MAX_RECLASSIFIED: usize = 200;

/// The text of the statements below. An object can have thousands of events of each outcome: the
/// index has the reason, which those that were accepted have not.
macro_rules! sql {
    (accept) => {
        "UPDATE stripe.event SET processed_at = now(), outcome = 'applied', reason = NULL \
            WHERE id IN (SELECT e.id FROM"
    };
    (refuse) => {
        "UPDATE stripe.event SET processed_at = now(), outcome = 'dead', \
            reason = 'booking_claimed_by_other_account' WHERE id IN (SELECT e.id FROM"
    };
    // The claims of one object. The events of each are looked for by themselves, so that Postgres
    // finds them by their object whatever it believes of the number of outcomes.
    (of objects, $events:expr) => {
        concat!(
            "AS c (is_session, object, booking, account) CROSS JOIN LATERAL (\
                SELECT e.id FROM stripe.event e WHERE e.object_id = c.object \
                    AND (e.type LIKE '%checkout.%') = c.is_session \
                    AND e.claimed_booking_id = c.booking AND coalesce(e.account, '') = c.account ",
            $events
        )
    };
    // Every active claim on a booking: those of its owner, or those of anybody else.
    (of accounts $is:literal owner, $events:expr) => {
        concat!(
            "AS c (booking, owner) \
                JOIN stripe.booking_claim k ON k.booking_id = c.booking AND k.is_active \
                    AND k.account ",
            $is,
            " c.owner CROSS JOIN LATERAL (\
                SELECT e.id FROM stripe.event e WHERE e.object_id = k.object_id \
                    AND (e.type LIKE '%checkout.%') = (k.object_kind = 'session') \
                    AND e.claimed_booking_id = c.booking AND coalesce(e.account, '') = k.account ",
            $events
        )
    };
    // Those that were dead for their claim alone.
    (that were refused) => {
        "AND e.outcome IN ('dead', 'replayed') AND e.reason = 'booking_claimed_by_other_account' \
            LIMIT 200) AS e LIMIT 200) RETURNING id, claimed_booking_id, outcome"
    };
    (that were accepted) => {
        "AND e.reason IS NULL AND e.outcome IN ('applied', 'stale') LIMIT 200) AS e LIMIT 200) \
            RETURNING id, claimed_booking_id, outcome"
    };
}
// The statements' text says it.
const _: () = assert!(MAX_RECLASSIFIED == 200);

bulk! {
    Accept {
        is_session: bool => Bool,
        object: &'a str => Text,
        booking: i32 => Integer,
        account: &'a str => Text,
    }
    sql!(accept), sql!(of objects, sql!(that were refused))
}

bulk! {
    Refuse {
        is_session: bool => Bool,
        object: &'a str => Text,
        booking: i32 => Integer,
        account: &'a str => Text,
    }
    sql!(refuse), sql!(of objects, sql!(that were accepted))
}

bulk! {
    AcceptOwners {
        booking: i32 => Integer,
        owner: &'a str => Text,
    }
    sql!(accept), sql!(of accounts "=" owner, sql!(that were refused))
}

bulk! {
    RefuseOthers {
        booking: i32 => Integer,
        owner: &'a str => Text,
    }
    sql!(refuse), sql!(of accounts "<>" owner, sql!(that were accepted))
}

/// An event of which the ledger said otherwise.
#[derive(Clone, Debug, QueryableByName)]
pub struct ChangedEvent {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The booking that it names.
    #[diesel(sql_type = Integer, column_name = "claimed_booking_id")]
    pub booking: i32,
    #[diesel(sql_type = Text)]
    outcome: String,
}

impl ChangedEvent {
    /// Whether it is dead now.
    pub fn is_dead(&self) -> bool {
        self.outcome == Outcome::Dead.as_str()
    }
}

/// What was written of claims that were decided late.
#[derive(Debug, Default)]
pub struct ReclassifiedEvents {
    /// The events of which the ledger said otherwise.
    pub changed: Vec<ChangedEvent>,
    /// The objects and bookings of which there may be more: [`MAX_RECLASSIFIED`] were changed.
    pub more: Recheck,
}

/// Writes what claims that were decided mean for their events, as far as one transaction does.
pub async fn reclassify(
    tx: &WriteTx<'_>,
    reclassified: &Reclassified,
) -> Result<ReclassifiedEvents> {
    let mut conn: &Connection = tx;
    let mut done = ReclassifiedEvents::default();
    let (mut accept, mut refuse) = (Accept::default(), Refuse::default());
    for change in &reclassified.objects {
        let is_session = matches!(change.object, ObjectId::CheckoutSession(_));
        let (object, booking) = (change.object.as_str(), change.booking.0);
        if change.is_accepted {
            accept.is_session.push(is_session);
            accept.object.push(object);
            accept.booking.push(booking);
            accept.account.push(&change.account);
        } else {
            refuse.is_session.push(is_session);
            refuse.object.push(object);
            refuse.booking.push(booking);
            refuse.account.push(&change.account);
        }
    }
    let objects = |is_accepted: bool| {
        let changes = reclassified.objects.iter();
        let changes = changes.filter(move |change| change.is_accepted == is_accepted);
        changes.map(|change| change.object.clone())
    };
    if !accept.object.is_empty() && done.add(accept.load(&mut conn).await?) {
        done.more.objects.extend(objects(true));
    }
    if !refuse.object.is_empty() && done.add(refuse.load(&mut conn).await?) {
        done.more.objects.extend(objects(false));
    }
    let (mut accept, mut refuse) = (AcceptOwners::default(), RefuseOthers::default());
    for change in &reclassified.owners {
        accept.booking.push(change.booking.0);
        accept.owner.push(&change.owner);
        refuse.booking.push(change.booking.0);
        refuse.owner.push(&change.owner);
    }
    if !accept.booking.is_empty() {
        let are_more = done.add(accept.load(&mut conn).await?);
        if done.add(refuse.load(&mut conn).await?) || are_more {
            let owners = reclassified.owners.iter().map(|change| change.booking);
            done.more.owners.extend(owners);
        }
    }
    Ok(done)
}

impl ReclassifiedEvents {
    /// Adds what one statement changed. Returns whether there may be more.
    fn add(&mut self, changed: Vec<ChangedEvent>) -> bool {
        let are_more = changed.len() >= MAX_RECLASSIFIED;
        self.changed.extend(changed);
        are_more
    }
}
