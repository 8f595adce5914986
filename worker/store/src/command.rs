//! `stripe.command`: what commands of the main app have Stripe make, each noted before Stripe
//! is asked.
//!
//! No lock is held while Stripe is asked. Whoever finds an attempt in progress may ask Stripe
//! once more under its idempotency key, which has no second effect; a new attempt begins by a
//! compare-and-set from the one before.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{BigInt, Binary, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{ownership::MAX_OBJECTS, text_enum};
use serde_json::Value;

use crate::{Connection, Result};

text_enum! {
    /// How far an attempt is.
    pub enum State {
        /// Stripe is or was being asked, and its answer is not noted yet.
        InProgress = "in_progress",
        /// It exists.
        Done = "done",
        /// Stripe refused it, and nothing exists.
        Failed = "failed",
    }
}

/// What an attempt asks Stripe for.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// What is made and for whom, such as `host.onboard:42`.
    pub key: &'a str,
    /// A new idempotency key.
    pub idempotency_key: &'a str,
    /// The hash of what the command asks for.
    pub payload_hash: &'a [u8],
    /// `v1` or `v2`.
    pub api: &'a str,
    /// The connected account on whose behalf Stripe is asked.
    pub account: Option<&'a str>,
    /// The request.
    pub request: &'a Value,
    /// How often what is made had been canceled when the command came; `None` where it cannot
    /// be canceled.
    pub cancels: Option<i32>,
}

/// What is known of a key.
#[derive(Clone, Debug, QueryableByName)]
pub struct Record {
    /// What is made and for whom.
    #[diesel(sql_type = Text)]
    pub key: String,
    /// The number of the attempt, 1 for the first.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    #[diesel(sql_type = Text)]
    state: String,
    /// The attempt's idempotency key.
    #[diesel(sql_type = Text)]
    pub idempotency_key: String,
    /// The hash of what was asked for.
    #[diesel(sql_type = Binary)]
    pub payload_hash: Vec<u8>,
    /// `v1` or `v2`.
    #[diesel(sql_type = Text)]
    pub api: String,
    /// The connected account on whose behalf Stripe is asked.
    #[diesel(sql_type = Nullable<Text>)]
    pub account: Option<String>,
    /// The request of an attempt in progress.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub request: Option<Value>,
    /// What Stripe made.
    #[diesel(sql_type = Nullable<Text>)]
    pub object_id: Option<String>,
    /// When the attempt began.
    #[diesel(sql_type = Timestamptz)]
    pub attempted_at: DateTime<Utc>,
    /// When its end was noted: what it made was made before.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
    /// How often it had been canceled when the command came that began the attempt; `None` where
    /// it cannot be canceled, and where an earlier release began it.
    #[diesel(sql_type = Nullable<Integer>)]
    pub cancels: Option<i32>,
    /// How often the job that finishes attempts went on with this one.
    #[diesel(sql_type = Integer)]
    pub finish_tries: i32,
}

impl Record {
    /// How far the attempt is.
    pub fn state(&self) -> State {
        // The table's CHECK lets no other value in.
        State::parse(&self.state).unwrap_or(State::InProgress)
    }
}

/// The most claims on a booking that are read, of one account or of all: those that count, and one.
const MOST_CLAIMS: usize = MAX_OBJECTS + 1;

const RECORD: &str = "SELECT key, attempt, state, idempotency_key, payload_hash, api, account, \
    request, object_id, attempted_at, finished_at, cancels, finish_tries \
    FROM stripe.command";

/// What is known of a key; `None` where nothing was ever asked.
pub async fn find(mut conn: &Connection, key: &str) -> Result<Option<Record>> {
    let record = diesel::sql_query(format!("{RECORD} WHERE key = $1")).bind::<Text, _>(key);
    Ok(record.get_result(&mut conn).await.optional()?)
}

/// The oldest attempts in progress that began before `before`, and of which none is put off beyond
/// `now`, at most `limit`.
pub async fn in_progress(
    mut conn: &Connection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Record>> {
    let query = format!(
        "{RECORD} WHERE state = 'in_progress' AND attempted_at < $1 \
            AND (finish_at IS NULL OR finish_at <= $2) ORDER BY attempted_at LIMIT $3"
    );
    let records = diesel::sql_query(query)
        .bind::<Timestamptz, _>(before)
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(limit);
    Ok(records.load(&mut conn).await?)
}

/// Whether something else that names the booking of a command's session is paid, or its money is
/// on its way. Of the claims on the booking the first ones of anybody and of the session's account
/// are read: others may make any number.
fn paid_by_other() -> String {
    let claims = |of: &str| {
        format!(
            "(SELECT b.object_kind, b.object_id FROM stripe.booking_claim b \
              WHERE b.booking_id = split_part(c.key, ':', 2)::integer AND b.is_active {of} \
              ORDER BY b.is_undated, b.event_created, b.event_id LIMIT {MOST_CLAIMS})"
        )
    };
    format!(
        "EXISTS (SELECT FROM ({} UNION ALL {}) AS b \
            LEFT JOIN stripe.checkout_session o ON b.object_kind = 'session' AND o.id = b.object_id \
            LEFT JOIN stripe.invoice i ON b.object_kind = 'invoice' AND i.id = b.object_id \
            WHERE b.object_id <> c.object_id \
                AND (o.status = 'complete' OR o.payment_status IN ('paid', 'no_payment_required') \
                    OR i.status = 'paid'))",
        claims(""),
        claims("AND b.account = c.account"),
    )
}

/// Sessions that commands made at or after `since`, of which no event and no answer of Stripe's
/// says that nobody can pay by them any more, while something else that names the booking is
/// paid or being paid: anybody's, so whose that is remains to be asked. In the order in which
/// they were made, behind `after`, at most `limit`.
pub async fn payable_of_paid(
    mut conn: &Connection,
    since: DateTime<Utc>,
    after: Option<&Record>,
    limit: i64,
) -> Result<Vec<Record>> {
    let query = format!(
        "{RECORD} c WHERE c.state = 'done' AND c.key LIKE 'booking.checkout:%' \
            AND (c.finished_at, c.key) > ($1, $2) \
            AND NOT EXISTS (SELECT FROM stripe.checkout_session s \
                WHERE s.id = c.object_id AND s.account = c.account AND s.status <> 'open') \
            AND {} \
         ORDER BY c.finished_at, c.key LIMIT $3",
        paid_by_other()
    );
    let (made, key) = match after {
        Some(record) => (record.finished_at.unwrap_or(since), record.key.as_str()),
        None => (since, ""),
    };
    let records = diesel::sql_query(query)
        .bind::<Timestamptz, _>(made)
        .bind::<Text, _>(key)
        .bind::<BigInt, _>(limit);
    Ok(records.load(&mut conn).await?)
}

/// Puts off what the job that finishes attempts does with this one next, until `until`, and counts
/// that it goes on with it now.
pub async fn put_off(
    mut conn: &Connection,
    key: &str,
    attempt: i32,
    until: DateTime<Utc>,
) -> Result<()> {
    diesel::sql_query(
        "UPDATE stripe.command SET finish_tries = finish_tries + 1, finish_at = $3 \
         WHERE key = $1 AND attempt = $2 AND state = 'in_progress'",
    )
    .bind::<Text, _>(key)
    .bind::<Integer, _>(attempt)
    .bind::<Timestamptz, _>(until)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Begins the first attempt at a key. Where there is one already nothing changes.
pub async fn begin(mut conn: &Connection, attempt: &Attempt<'_>) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO stripe.command (key, idempotency_key, payload_hash, api, request, account, cancels) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO NOTHING",
    )
    .bind::<Text, _>(attempt.key)
    .bind::<Text, _>(attempt.idempotency_key)
    .bind::<Binary, _>(attempt.payload_hash)
    .bind::<Text, _>(attempt.api)
    .bind::<Jsonb, _>(attempt.request)
    .bind::<Nullable<Text>, _>(attempt.account)
    .bind::<Nullable<Integer>, _>(attempt.cancels)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Begins another attempt behind the one numbered `after`, which has ended. Where somebody
/// else did so before, nothing changes.
pub async fn begin_again(mut conn: &Connection, after: i32, attempt: &Attempt<'_>) -> Result<()> {
    diesel::sql_query(
        "UPDATE stripe.command SET attempt = attempt + 1, state = 'in_progress', \
            idempotency_key = $3, payload_hash = $4, api = $5, request = $6, account = $7, \
            cancels = $8, object_id = NULL, error = NULL, attempted_at = now(), \
            finished_at = NULL, finish_tries = 0, finish_at = NULL \
         WHERE key = $1 AND attempt = $2 AND state <> 'in_progress'",
    )
    .bind::<Text, _>(attempt.key)
    .bind::<Integer, _>(after)
    .bind::<Text, _>(attempt.idempotency_key)
    .bind::<Binary, _>(attempt.payload_hash)
    .bind::<Text, _>(attempt.api)
    .bind::<Jsonb, _>(attempt.request)
    .bind::<Nullable<Text>, _>(attempt.account)
    .bind::<Nullable<Integer>, _>(attempt.cancels)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// It made the object of this id.
    Made(&'a str),
    /// It made nothing, for the reason of this code.
    Nothing(&'a str),
    /// Whoever began it never asked Stripe, for the reason of this code.
    Unasked(&'a str),
}

/// What is noted as the error of an attempt in progress that somebody else goes on with.
const TAKEN_OVER: &str = "taken_over";

/// Notes that somebody else than who began an attempt asks Stripe for what it makes. Returns
/// `false` where the attempt is not in progress any more.
pub async fn take_over(mut conn: &Connection, key: &str, attempt: i32) -> Result<bool> {
    let taken = diesel::sql_query(
        "UPDATE stripe.command SET error = $3 \
         WHERE key = $1 AND attempt = $2 AND state = 'in_progress'",
    )
    .bind::<Text, _>(key)
    .bind::<Integer, _>(attempt)
    .bind::<Text, _>(TAKEN_OVER)
    .execute(&mut conn)
    .await?;
    Ok(taken > 0)
}

/// Notes how an attempt in progress ended. Where somebody else did so before, nothing changes,
/// and it returns `false`; but what was made is noted also where somebody else had given it
/// up. An attempt for which Stripe was not asked ends only where nobody has taken it over.
pub async fn end(mut conn: &Connection, key: &str, attempt: i32, end: End<'_>) -> Result<bool> {
    let (state, object, error) = match end {
        End::Made(object) => (State::Done, Some(object), None),
        End::Nothing(error) | End::Unasked(error) => (State::Failed, None, Some(error)),
    };
    let ended = diesel::sql_query(
        "UPDATE stripe.command SET state = $3, object_id = $4, error = $5, request = NULL, \
            finished_at = now() WHERE key = $1 AND attempt = $2 \
            AND (state = 'in_progress' OR (state = 'failed' AND $3 = 'done')) \
            AND (error IS NULL OR NOT $6)",
    )
    .bind::<Text, _>(key)
    .bind::<Integer, _>(attempt)
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Text>, _>(object)
    .bind::<Nullable<Text>, _>(error)
    .bind::<Bool, _>(matches!(end, End::Unasked(_)))
    .execute(&mut conn)
    .await?;
    Ok(ended > 0)
}

/// Notes an account as what exists under a key, on an operator's word: in the place of the
/// attempt numbered `after`, which must have ended, or as the first. Where the key is no longer
/// as the caller saw it nothing changes, and it returns `false`.
pub async fn adopt(
    mut conn: &Connection,
    key: &str,
    account: &str,
    after: Option<i32>,
) -> Result<bool> {
    // No request was sent, so there is neither a key nor a hash of one. Links for accounts of
    // either version can be asked for by the first.
    let adopted = diesel::sql_query(
        "INSERT INTO stripe.command AS c \
            (key, idempotency_key, payload_hash, api, state, object_id, finished_at) \
         VALUES ($1, 'adopted', '', 'v1', 'done', $2, now()) \
         ON CONFLICT (key) DO UPDATE SET attempt = c.attempt + 1, state = 'done', \
            idempotency_key = 'adopted', payload_hash = '', api = 'v1', account = NULL, \
            request = NULL, object_id = $2, error = NULL, attempted_at = now(), \
            finished_at = now(), cancels = NULL \
         WHERE c.attempt = $3 AND c.state <> 'in_progress'",
    )
    .bind::<Text, _>(key)
    .bind::<Text, _>(account)
    .bind::<Nullable<Integer>, _>(after)
    .execute(&mut conn)
    .await?;
    Ok(adopted > 0)
}

/// The key under which an account is noted as a host's.
pub async fn key_of(mut conn: &Connection, account: &str) -> Result<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key: String,
    }
    let query = "SELECT key FROM stripe.command \
        WHERE object_id = $1 AND state = 'done' AND key LIKE 'host.onboard:%' LIMIT 1";
    let row = diesel::sql_query(query).bind::<Text, _>(account);
    let row: Option<Row> = row.get_result(&mut conn).await.optional()?;
    Ok(row.map(|row| row.key))
}

/// Notes that what is made under another key is not wanted any more. Whoever began to make it
/// before finds the number changed.
///
/// It is a row of its own, so that it can be noted where nothing was made yet, and whatever is
/// being made meanwhile.
pub async fn cancel(mut conn: &Connection, key: &str) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO stripe.command \
            (key, state, idempotency_key, payload_hash, api, error, finished_at) \
         VALUES ($1, 'failed', '', '', 'v1', 'canceled', now()) \
         ON CONFLICT (key) DO UPDATE SET attempt = command.attempt + 1, \
            attempted_at = now(), finished_at = now()",
    )
    .bind::<Text, _>(key)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// How often and when that was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancels {
    /// How often.
    pub count: i32,
    /// Whether the last time was within the time that was asked for.
    pub is_recent: bool,
}

/// How often that was noted under this key, and whether within the last `seconds`.
pub async fn cancels(mut conn: &Connection, key: &str, seconds: f64) -> Result<Cancels> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        count: i32,
        #[diesel(sql_type = Bool)]
        is_recent: bool,
    }
    let row = diesel::sql_query(
        "SELECT attempt AS count, attempted_at > now() - make_interval(secs => $2) AS is_recent \
         FROM stripe.command WHERE key = $1",
    )
    .bind::<Text, _>(key)
    .bind::<Double, _>(seconds);
    let row: Option<Row> = row.get_result(&mut conn).await.optional()?;
    Ok(row.map_or_else(Cancels::default, |row| Cancels {
        count: row.count,
        is_recent: row.is_recent,
    }))
}
