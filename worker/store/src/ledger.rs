//! `stripe.event`, the ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods, QueryDsl, QueryResult, QueryableByName,
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{
    schema::event,
    statement::{bulk, lookup},
};
use domain::{booking::Kind, claim::BookingId, place::Waiting, verdict::Outcome};

/// What brought the delivery that gave an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Stripe delivered it.
    Webhook,
    /// An operator sent it again.
    Replay,
}

impl Source {
    /// As the ledger keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Replay => "replay",
        }
    }
}

/// One row to write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The event's account.
    pub account: Option<String>,
    /// The API version of its object.
    pub api_version: Option<String>,
    /// Its mode.
    pub livemode: Option<bool>,
    /// When it happened at Stripe.
    pub created: DateTime<Utc>,
    /// The object that it is about.
    pub object_id: Option<String>,
    /// The booking that it names.
    pub booking: Option<BookingId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, as a code.
    pub reason: Option<&'static str>,
    /// When ingest received it.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery.
    pub trace_id: Option<String>,
    /// What brought the delivery.
    pub source: Source,
    /// The page that holds its bytes.
    pub kept_in: Option<i64>,
}

/// What an event that is in the ledger comes to when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It had its effect.
    Settled,
    /// It was for nobody then: of another mode, or of a type that nothing followed
    /// from.
    Ignored,
    /// It is dead, or was and was sent again: it is judged once more.
    Dead,
}

/// An event that is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// As what.
    pub standing: Standing,
    /// Whether its bytes were kept.
    pub is_kept: bool,
}

/// Which of the events named are in the ledger.
///
/// # Errors
/// As Postgres says.
pub async fn known(
    mut conn: &AsyncPgConnection,
    ids: &[&str],
) -> QueryResult<BTreeMap<String, Known>> {
    let rows: Vec<(String, String, bool)> = event::table
        .filter(event::id.eq_any(ids))
        .select((event::id, event::outcome, event::kept_in.is_not_null()))
        .load(&mut conn)
        .await?;
    let known = |(id, outcome, is_kept): (_, String, _)| {
        let standing = match outcome.as_str() {
            "dead" | "replayed" => Standing::Dead,
            "ignored" => Standing::Ignored,
            _ => Standing::Settled,
        };
        (id, Known { standing, is_kept })
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
        outcome: &'a str => Text,
        reason: Option<&'a str> => Nullable<Text>,
        received_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        trace_id: Option<&'a str> => Nullable<Text>,
        source: &'a str => Text,
        kept_in: Option<i64> => Nullable<BigInt>,
        booking: Option<BookingId> => Nullable<Integer>,
    }
    "INSERT INTO stripe.event (id, type, account, api_version, livemode, created, object_id, \
        outcome, reason, received_at, trace_id, source, kept_in, claimed_booking_id) SELECT * FROM"
    "ON CONFLICT (id) DO UPDATE SET object_id = excluded.object_id, outcome = excluded.outcome, \
        reason = excluded.reason, source = excluded.source, processed_at = now(), \
        attempts = event.attempts + 1, kept_in = coalesce(excluded.kept_in, event.kept_in), \
        claimed_booking_id = excluded.claimed_booking_id"
}

/// Writes the outcomes of new events, and of dead ones that were judged again.
///
/// # Errors
/// As Postgres says.
pub async fn write(mut conn: &AsyncPgConnection, entries: &[Entry]) -> QueryResult<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut write = Write::default();
    for entry in entries {
        write.id.push(&entry.id);
        write.event_type.push(&entry.event_type);
        write.account.push(entry.account.as_deref());
        write.api_version.push(entry.api_version.as_deref());
        write.livemode.push(entry.livemode);
        write.created.push(entry.created);
        write.object.push(entry.object_id.as_deref());
        write.outcome.push(entry.outcome.as_str());
        write.reason.push(entry.reason);
        write.received_at.push(entry.received_at);
        write.trace_id.push(entry.trace_id.as_deref());
        write.source.push(entry.source.as_str());
        write.kept_in.push(entry.kept_in);
        write.booking.push(entry.booking);
    }
    write.execute(&mut conn).await.map(drop)
}

lookup! {
    NoLongerWaiting { &'a str => Text }
    "UPDATE stripe.event SET outcome = 'applied', reason = NULL, processed_at = now() \
     WHERE outcome = 'waiting' AND object_id = ANY("
    ") AND type LIKE 'invoice.%' AND (claimed_booking_id IS NULL OR reason <> 'owner_unknown')"
}

/// Invoices wait no longer, and their events with them. Those that wait because
/// nobody knows whose booking they name go on waiting.
///
/// # Errors
/// As Postgres says.
pub async fn no_longer_waiting(mut conn: &AsyncPgConnection, invoices: &[&str]) -> QueryResult<()> {
    if invoices.is_empty() {
        return Ok(());
    }
    NoLongerWaiting(invoices).execute(&mut conn).await.map(drop)
}

bulk! {
    Wait {
        object: &'a str => Text,
        why: &'a str => Text,
    }
    "UPDATE stripe.event e SET outcome = 'waiting', reason = w.why, processed_at = now() FROM"
    // A host can have its invoice wait and not wait as often as it likes. It is
    // not to move thousands of rows each time.
    "AS w (object, why) CROSS JOIN LATERAL (SELECT o.id FROM stripe.event o \
            WHERE o.object_id = w.object AND o.type LIKE 'invoice.%' \
                AND o.outcome IN ('waiting', 'applied', 'stale') \
                AND o.reason IS DISTINCT FROM w.why \
                AND (o.claimed_booking_id IS NULL OR o.reason IS DISTINCT FROM 'owner_unknown') \
            LIMIT 100) AS found \
        WHERE e.id = found.id"
}

/// Invoices wait, or for something else than before, and their events with them;
/// a hundred of each.
///
/// # Errors
/// As Postgres says.
pub async fn wait(mut conn: &AsyncPgConnection, invoices: &[(&str, Waiting)]) -> QueryResult<()> {
    if invoices.is_empty() {
        return Ok(());
    }
    let mut wait = Wait::default();
    for (invoice, why) in invoices {
        wait.object.push(invoice);
        wait.why.push(why.code());
    }
    wait.execute(&mut conn).await.map(drop)
}

/// Events of one object that name one booking, of one account.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The kind of the object.
    pub kind: Kind,
    /// The object.
    pub object: &'a str,
    /// The booking that they name.
    pub booking: BookingId,
    /// The account, blank for the platform.
    pub account: &'a str,
}

/// An event of which the ledger said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Turned {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// The booking that it names.
    #[diesel(sql_type = Integer)]
    pub claimed_booking_id: BookingId,
}

bulk! {
    Refuse {
        is_session: bool => Bool,
        object: &'a str => Text,
        booking: BookingId => Integer,
        account: &'a str => Text,
    }
    "UPDATE stripe.event e SET outcome = 'dead', reason = 'booking_claimed_by_other_account', \
        processed_at = now() FROM"
    "AS c (is_session, object, booking, account) \
        WHERE e.object_id = c.object AND (e.type LIKE 'checkout.%') = c.is_session \
            AND e.claimed_booking_id = c.booking \
            AND coalesce(e.account, '') = c.account \
            AND e.outcome IN ('applied', 'stale', 'waiting') \
        RETURNING e.id, e.claimed_booking_id"
}

/// The events of these claims turned out to be refused. Gives back those of
/// which the ledger said otherwise.
///
/// # Errors
/// As Postgres says.
pub async fn refuse(
    mut conn: &AsyncPgConnection,
    claims: &[Claims<'_>],
) -> QueryResult<Vec<Turned>> {
    let mut refuse = Refuse::default();
    for claim in claims {
        refuse.is_session.push(claim.kind == Kind::Session);
        refuse.object.push(claim.object);
        refuse.booking.push(claim.booking);
        refuse.account.push(claim.account);
    }
    refuse.load(&mut conn).await
}

bulk! {
    Accept {
        is_session: bool => Bool,
        object: &'a str => Text,
        booking: BookingId => Integer,
        account: &'a str => Text,
        why: Option<&'a str> => Nullable<Text>,
    }
    // What was dead for its claim alone, and what waited for it to be decided.
    "UPDATE stripe.event e SET reason = c.why, processed_at = now(), \
        outcome = CASE WHEN c.why IS NULL THEN 'applied' ELSE 'waiting' END FROM"
    "AS c (is_session, object, booking, account, why) \
        WHERE e.object_id = c.object AND (e.type LIKE 'checkout.%') = c.is_session \
            AND e.claimed_booking_id = c.booking \
            AND coalesce(e.account, '') = c.account \
            AND e.outcome IN ('dead', 'replayed', 'waiting') \
            AND e.reason = CASE e.outcome WHEN 'waiting' THEN 'owner_unknown' \
                ELSE 'booking_claimed_by_other_account' END \
        RETURNING e.id, e.claimed_booking_id"
}

/// The events of these claims turned out to be accepted, and wait where their
/// object does. Gives back those of which the ledger said otherwise.
///
/// # Errors
/// As Postgres says.
pub async fn accept(
    mut conn: &AsyncPgConnection,
    claims: &[(Claims<'_>, Option<Waiting>)],
) -> QueryResult<Vec<Turned>> {
    let mut accept = Accept::default();
    for (claim, waiting) in claims {
        accept.is_session.push(claim.kind == Kind::Session);
        accept.object.push(claim.object);
        accept.booking.push(claim.booking);
        accept.account.push(claim.account);
        accept.why.push(waiting.map(Waiting::code));
    }
    accept.load(&mut conn).await
}
