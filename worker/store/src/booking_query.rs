//! What is known of one booking, for whoever asks about it, and the invoices of an account.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::AccountId,
    ownership::{MAX_OBJECTS, Owner},
};

use crate::{
    Connection, Result,
    invoice_query::{self, COLUMNS, KnownInvoice},
};

/// The most claims on a booking that are read, of one account or of all: those that count, and
/// one that does not, so that it can be told.
const MOST: usize = MAX_OBJECTS + 1;

/// A Checkout Session.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct KnownSession {
    /// Its id.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// Its account; empty for the platform.
    #[diesel(sql_type = Text)]
    pub account: String,
    /// `open`, `complete`, `expired` or `payment_failed`.
    #[diesel(sql_type = Nullable<Text>)]
    pub status: Option<String>,
    /// `unpaid`, `paid` or `no_payment_required`.
    #[diesel(sql_type = Nullable<Text>)]
    pub payment_status: Option<String>,
    /// Its invoice.
    #[diesel(sql_type = Nullable<Text>)]
    pub invoice_id: Option<String>,
    /// When its newest event was made.
    #[diesel(sql_type = Timestamptz)]
    pub event_created: DateTime<Utc>,
}

/// How far a session is with being paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Its time ran out.
    Expired,
    /// The guest went through it, and the money did not come.
    PaymentFailed,
    /// A guest can pay by it.
    Open,
    /// The guest went through it, and the money is on its way.
    Processing,
    /// It is paid.
    Paid,
}

impl KnownSession {
    /// How far it is. What is not known of it is open.
    pub fn progress(&self) -> Progress {
        if matches!(
            self.payment_status.as_deref(),
            Some("paid" | "no_payment_required")
        ) {
            return Progress::Paid;
        }
        match self.status.as_deref() {
            Some("expired") => Progress::Expired,
            Some("complete") => Progress::Processing,
            Some("payment_failed") => Progress::PaymentFailed,
            _ => Progress::Open,
        }
    }
}

const SESSION: &str = "SELECT s.id, s.account, s.status, s.payment_status, s.invoice_id, \
    s.event_created FROM stripe.checkout_session s";

/// A session of an account.
pub async fn session(
    mut conn: &Connection,
    account: &str,
    id: &str,
) -> Result<Option<KnownSession>> {
    let query = format!("{SESSION} WHERE s.id = $1 AND s.account = $2");
    Ok(diesel::sql_query(query)
        .bind::<Text, _>(id)
        .bind::<Text, _>(account)
        .get_result(&mut conn)
        .await
        .optional()?)
}

/// What names a booking.
#[derive(Clone, Debug, Default)]
pub struct KnownOfBooking {
    /// Whose the booking is: as the deployment's query says, else the account of the earliest
    /// claim. `None` where nobody knows.
    pub owner: Option<AccountId>,
    /// Whether an active claim names the booking.
    pub is_claimed: bool,
    /// The invoices.
    pub invoices: Vec<KnownInvoice>,
    /// The sessions.
    pub sessions: Vec<KnownSession>,
}

/// An active claim on a booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Claim {
    #[diesel(sql_type = Text)]
    account: String,
    #[diesel(sql_type = Text)]
    object_kind: String,
    #[diesel(sql_type = Text)]
    object_id: String,
}

const CLAIM: &str = "SELECT c.account, c.object_kind, c.object_id FROM stripe.booking_claim c \
    WHERE c.booking_id = $1 AND c.is_active";
const EARLIEST: &str = "ORDER BY c.is_undated, c.event_created, c.event_id LIMIT $2";

/// The invoices and sessions that name a booking, and the invoices of those sessions: the
/// first ones of the booking's owner and of each of `accounts`, and the first ones of
/// anybody. So whatever others claim hides nothing of theirs.
///
/// `configured` is what the deployment's query says of the owner, where there is one.
pub async fn of_booking(
    conn: &Connection,
    booking: i32,
    configured: Option<&Owner>,
    accounts: &[AccountId],
) -> Result<KnownOfBooking> {
    let mut claims = claims(conn, booking, None).await?;
    let is_claimed = !claims.is_empty();
    let owner = match configured {
        Some(Owner::Account(account)) => Some(account.clone()),
        Some(Owner::Unknown) => None,
        None => claims
            .as_slice()
            .first()
            .map(|first| AccountId::from(first.account.as_str())),
    };
    if claims.len() == MOST {
        for account in owner.iter().chain(accounts) {
            claims.extend(self::claims(conn, booking, Some(account)).await?);
        }
    }
    claims.sort_unstable();
    claims.dedup();
    let ids = |kind: &str| -> Vec<&str> {
        let its = claims.iter().filter(|claim| claim.object_kind == kind);
        its.map(|claim| claim.object_id.as_str()).collect()
    };
    let sessions = sessions(conn, &ids("session")).await?;
    let linked = sessions.iter().filter_map(|one| one.invoice_id.as_deref());
    let invoices: Vec<&str> = ids("invoice").into_iter().chain(linked).collect();
    Ok(KnownOfBooking {
        owner,
        is_claimed,
        invoices: invoice_query::of_ids(conn, &invoices).await?,
        sessions,
    })
}

/// The earliest active claims on a booking, of one account where it is named.
async fn claims(
    mut conn: &Connection,
    booking: i32,
    account: Option<&AccountId>,
) -> Result<Vec<Claim>> {
    let limit = i64::try_from(MOST).unwrap_or(i64::MAX);
    let Some(account) = account else {
        let query = diesel::sql_query(format!("{CLAIM} {EARLIEST}"))
            .bind::<Integer, _>(booking)
            .bind::<BigInt, _>(limit);
        return Ok(query.load(&mut conn).await?);
    };
    let query = diesel::sql_query(format!("{CLAIM} AND c.account = $3 {EARLIEST}"))
        .bind::<Integer, _>(booking)
        .bind::<BigInt, _>(limit)
        .bind::<Text, _>(account.as_str());
    Ok(query.load(&mut conn).await?)
}

async fn sessions(mut conn: &Connection, ids: &[&str]) -> Result<Vec<KnownSession>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!("{SESSION} WHERE s.id = ANY($1) ORDER BY s.id");
    Ok(diesel::sql_query(query)
        .bind::<Array<Text>, _>(ids)
        .load(&mut conn)
        .await?)
}

/// The invoices of these accounts behind `after`, the newest first. Of each account no more are
/// read than are wanted, by an index.
pub async fn of_accounts(
    mut conn: &Connection,
    accounts: &[AccountId],
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<KnownInvoice>> {
    let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let behind = "(i.created, i.id) < (SELECT a.created, a.id FROM stripe.invoice a \
        WHERE a.id = $2 AND a.account = ANY($1))";
    let query = format!(
        "SELECT {COLUMNS} FROM unnest($1) AS one (account) CROSS JOIN LATERAL \
            (SELECT i.* FROM stripe.invoice i \
             WHERE i.account = one.account AND i.created IS NOT NULL \
                AND ($2 IS NULL OR {behind}) ORDER BY i.created DESC, i.id DESC LIMIT $3) AS i \
         ORDER BY i.created DESC, i.id DESC LIMIT $3"
    );
    Ok(diesel::sql_query(query)
        .bind::<Array<Text>, _>(accounts)
        .bind::<Nullable<Text>, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?)
}
