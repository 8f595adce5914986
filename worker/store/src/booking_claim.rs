//! `stripe.booking_claim`: which account says that an object is of a booking, each by its
//! first event.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use domain::{
    changes::ChangedClaim,
    decode::moment,
    ids::{AccountId, BookingId, ObjectId},
    merge::UNKNOWN_TIME,
    ownership::{Claimant, Claimed, FirstClaim, MAX_OBJECTS, ObjectClaims, StoredClaim},
};

use crate::{
    Connection, Result, WriteTx,
    record::{Select, Upsert, filter, record},
    statement::bulk,
};

record! {
    /// A row of `stripe.booking_claim`.
    #[derive(diesel::Queryable)]
    struct Row in "stripe.booking_claim" {
        key {
            object: String => Text = "object_id",
            object_kind: String => Text = "object_kind",
            booking: i32 => Integer = "booking_id",
            account: String => Text = "account",
        }
        event_created: DateTime<Utc> => Timestamptz = "event_created",
        event_id: String => Text = "event_id",
        is_undated: bool => Bool = "is_undated",
        is_active: bool => Bool = "is_active",
    }
    on update ""
}

const INVOICE: &str = "invoice";
const CHECKOUT_SESSION: &str = "session";

/// How a kind of object is spelled.
pub(crate) fn kind(object: &ObjectId) -> &'static str {
    match object {
        ObjectId::Invoice(_) => INVOICE,
        ObjectId::CheckoutSession(_) => CHECKOUT_SESSION,
    }
}

/// The object of this kind with this id.
pub(crate) fn object(kind: &str, id: String) -> ObjectId {
    match kind {
        CHECKOUT_SESSION => ObjectId::CheckoutSession(id.into()),
        _ => ObjectId::Invoice(id.into()),
    }
}

impl Row {
    fn new(changed: &ChangedClaim<'_>) -> Self {
        let (account, booking) = changed.key;
        let first = &changed.claim.first;
        Self {
            booking: booking.0,
            account: account.to_string(),
            object_kind: kind(changed.object).to_owned(),
            object: changed.object.as_str().to_owned(),
            event_created: moment(first.created),
            event_id: first.event_id.clone(),
            is_undated: first.created == UNKNOWN_TIME,
            is_active: changed.claim.is_active,
        }
    }
}

filter! {
    ByObjects { "object_id = ANY(" objects: &'a str => Text, } ")"
}

/// The claims of the objects named.
pub(crate) async fn of_objects(
    mut conn: &Connection,
    objects: &[ObjectId],
) -> Result<BTreeMap<ObjectId, ObjectClaims>> {
    if objects.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<&str> = objects.iter().map(ObjectId::as_str).collect();
    let rows: Vec<Row> = Select::<Row, _>::records(ByObjects { objects: &ids })
        .load(&mut conn)
        .await?;
    // An invoice and a session can have one id, and only one of them be asked for.
    let asked: BTreeSet<&ObjectId> = objects.iter().collect();
    let mut claims: BTreeMap<ObjectId, BTreeMap<_, StoredClaim>> = BTreeMap::new();
    for row in rows {
        let object = object(&row.object_kind, row.object);
        if !asked.contains(&object) {
            continue;
        }
        let first = FirstClaim {
            created: row.event_created.timestamp(),
            event_id: row.event_id,
        };
        let is_active = row.is_active;
        let claim = StoredClaim { first, is_active };
        let key = (AccountId::from(row.account), BookingId(row.booking));
        claims.entry(object).or_default().insert(key, claim);
    }
    let claims = claims.into_iter();
    Ok(claims
        .map(|(object, claims)| (object, ObjectClaims::new(claims)))
        .collect())
}

/// A claim on one of the bookings asked for.
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Integer)]
    booking_id: i32,
    #[diesel(sql_type = Text)]
    account: String,
    #[diesel(sql_type = Text)]
    object_kind: String,
    #[diesel(sql_type = Text)]
    object_id: String,
    #[diesel(sql_type = Timestamptz)]
    event_created: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    event_id: String,
}

impl Found {
    fn into_claimed(self) -> Claimed {
        Claimed {
            first: FirstClaim {
                created: self.event_created.timestamp(),
                event_id: self.event_id,
            },
            by: Claimant {
                account: self.account.into(),
                object: object(&self.object_kind, self.object_id),
            },
        }
    }
}

/// The first `wanted` of a booking's claims, of one account where it is named, without those of
/// objects in hand; `None` where some may lie behind the `limit` claims that were read.
fn others(
    claims: &[Claimed],
    account: Option<&AccountId>,
    wanted: usize,
    limit: usize,
    in_hand: &BTreeSet<&ObjectId>,
) -> Option<Vec<Claimed>> {
    let is_whole = claims.len() < limit;
    let claims = claims.iter();
    let others = claims.filter(|claim| {
        account.is_none_or(|account| claim.by.account == *account)
            && !in_hand.contains(&claim.by.object)
    });
    let first: Vec<Claimed> = others.take(wanted).cloned().collect();
    (is_whole || first.len() == wanted).then_some(first)
}

/// The first active claims that `$of` names, `$limit` at most.
macro_rules! first_claims {
    ($of:literal, $limit:literal) => {
        concat!(
            "CROSS JOIN LATERAL (SELECT c.booking_id, c.account, c.object_kind, c.object_id, \
                c.event_created, c.event_id FROM stripe.booking_claim c \
             WHERE c.booking_id = b.id AND c.is_active ",
            $of,
            " ORDER BY c.is_undated, c.event_created, c.event_id LIMIT ",
            $limit,
            ") AS f"
        )
    };
}

/// The claims of a booking that are read at once: nearly all bookings have fewer. An owner's
/// objects that count and the usual ones in hand are among them.
const AT_ONCE: usize = MAX_OBJECTS + 4;
// The statement's text says it.
const _: () = assert!(AT_ONCE == 54);

bulk! {
    OfBookings { id: i32 => Integer, }
    "SELECT f.* FROM",
    concat!("AS b (id) ", first_claims!("", "54"))
}

/// The active claims on bookings, but for those of the objects in hand.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// The first one on each booking.
    pub(crate) first: BTreeMap<BookingId, Claimed>,
    /// The first ones of each account that is asked for, [`MAX_OBJECTS`] at most.
    pub(crate) claimants: BTreeMap<(BookingId, AccountId), Vec<Claimed>>,
}

/// The first active claim on each of `bookings`, and the first ones of each of `claimants`, but
/// for those of the objects in hand.
pub(crate) async fn elsewhere(
    mut conn: &Connection,
    bookings: &[BookingId],
    claimants: &[(BookingId, AccountId)],
    in_hand: &[ObjectId],
) -> Result<Elsewhere> {
    let named = claimants.iter().map(|(booking, _)| booking);
    let ids: BTreeSet<i32> = bookings.iter().chain(named).map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(Elsewhere::default());
    }
    let of_bookings = OfBookings {
        id: ids.into_iter().collect(),
        ..OfBookings::default()
    };
    let rows: Vec<Found> = of_bookings.load(&mut conn).await?;
    let claims = by_booking(rows);
    let in_hand: BTreeSet<&ObjectId> = in_hand.iter().collect();
    let mut elsewhere = Elsewhere::default();
    let of = |id| claims.get(id).map_or(&[][..], Vec::as_slice);
    let (mut open_bookings, mut open_claimants) = (Vec::new(), Vec::new());
    for id in bookings {
        match others(of(id), None, 1, AT_ONCE, &in_hand) {
            Some(mut first) => elsewhere.first.extend(first.pop().map(|one| (*id, one))),
            None => open_bookings.push(id.0),
        }
    }
    for key in claimants {
        let (id, account) = key;
        match others(of(id), Some(account), MAX_OBJECTS, AT_ONCE, &in_hand) {
            Some(first) => drop(elsewhere.claimants.insert(key.clone(), first)),
            None => open_claimants.push((id.0, account.as_str())),
        }
    }
    first(conn, open_bookings, &in_hand, &mut elsewhere).await?;
    of_accounts(conn, open_claimants, &in_hand, &mut elsewhere).await?;
    Ok(elsewhere)
}

fn by_booking(rows: Vec<Found>) -> BTreeMap<BookingId, Vec<Claimed>> {
    let mut claims: BTreeMap<BookingId, Vec<Claimed>> = BTreeMap::new();
    for row in rows {
        let booking = BookingId(row.booking_id);
        claims.entry(booking).or_default().push(row.into_claimed());
    }
    claims
}

/// Adds the first claims on bookings of which objects in hand have more than are read at once.
async fn first(
    mut conn: &Connection,
    mut open: Vec<i32>,
    in_hand: &BTreeSet<&ObjectId>,
    elsewhere: &mut Elsewhere,
) -> Result<()> {
    let mut limit = AT_ONCE * 8;
    while !open.is_empty() {
        let query = concat!(
            "SELECT f.* FROM unnest($1) AS b (id) ",
            first_claims!("", "$2")
        );
        let rows: Vec<Found> = diesel::sql_query(query)
            .bind::<Array<Integer>, _>(&open)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
            .load(&mut conn)
            .await?;
        open.clear();
        for (booking, claims) in by_booking(rows) {
            match others(&claims, None, 1, limit, in_hand) {
                Some(mut first) => elsewhere
                    .first
                    .extend(first.pop().map(|one| (booking, one))),
                None => open.push(booking.0),
            }
        }
        limit *= 8;
    }
    Ok(())
}

/// Adds the first claims of accounts on bookings that have more than are read at once.
async fn of_accounts(
    mut conn: &Connection,
    mut open: Vec<(i32, &str)>,
    in_hand: &BTreeSet<&ObjectId>,
    elsewhere: &mut Elsewhere,
) -> Result<()> {
    let mut limit = AT_ONCE;
    while !open.is_empty() {
        let query = concat!(
            "SELECT f.* FROM unnest($1, $2) AS b (id, account) ",
            first_claims!("AND c.account = b.account", "$3")
        );
        let (ids, accounts): (Vec<i32>, Vec<&str>) = open.iter().copied().unzip();
        let rows: Vec<Found> = diesel::sql_query(query)
            .bind::<Array<Integer>, _>(ids)
            .bind::<Array<Text>, _>(accounts)
            .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
            .load(&mut conn)
            .await?;
        let mut found: BTreeMap<(BookingId, AccountId), Vec<Claimed>> = BTreeMap::new();
        for row in rows {
            let key = (
                BookingId(row.booking_id),
                AccountId::from(row.account.as_str()),
            );
            found.entry(key).or_default().push(row.into_claimed());
        }
        let mut still_open = Vec::new();
        for (booking, account) in open {
            let key = (BookingId(booking), AccountId::from(account));
            let claims = found.remove(&key).unwrap_or_default();
            match others(&claims, None, MAX_OBJECTS, limit, in_hand) {
                Some(first) => drop(elsewhere.claimants.insert(key, first)),
                None => still_open.push((booking, account)),
            }
        }
        open = still_open;
        limit *= 8;
    }
    Ok(())
}

/// Writes claims: new ones, and those that changed.
pub(crate) async fn write(tx: &WriteTx<'_>, claims: &[ChangedClaim<'_>]) -> Result<()> {
    let rows: Vec<Row> = claims.iter().map(Row::new).collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
