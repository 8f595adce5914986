//! What computing rows anew from archived events needs: which objects there are, which events
//! gave their state, and to forget that state.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    ids::{AccountId, BookingId, ChargeId, CreditNoteId, InvoiceId, ObjectId},
    rejection::CLAIMED_BY_OTHER_ACCOUNT,
};

use crate::{Connection, Result, WriteTx, booking_claim};

/// A row whose state is a merge of events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An invoice or a session.
    Object(ObjectId),
    /// A connected account.
    Account(AccountId),
    /// A charge.
    Charge(ChargeId),
    /// A credit note.
    CreditNote(CreditNoteId),
}

impl Subject {
    /// Its id, which does not tell the kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Object(object) => object.as_str(),
            Self::Account(account) => account,
            Self::Charge(charge) => charge,
            Self::CreditNote(note) => note,
        }
    }

    /// How the types of its events begin.
    fn event_types(&self) -> &'static [&'static str] {
        match self {
            Self::Object(ObjectId::Invoice(_)) => &["invoice."],
            // The worker itself tells of a session that a command made.
            Self::Object(ObjectId::CheckoutSession(_)) => {
                &["checkout.session.", "dialoom.checkout.session."]
            }
            // Thin events say that it changed, and that it was closed.
            Self::Account(_) => &["account.", "v2.core.account"],
            Self::Charge(_) => &["charge."],
            Self::CreditNote(_) => &["credit_note."],
        }
    }
}

/// An event that gave something of an object's state.
#[derive(Clone, Debug, QueryableByName)]
pub struct SourceEvent {
    /// The event's id.
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Text)]
    object_id: String,
}

impl SourceEvent {
    /// Whether it is of this object.
    pub fn is_of(&self, subject: &Subject) -> bool {
        let mut types = subject.event_types().iter();
        self.object_id == subject.id() && types.any(|kind| self.event_type.starts_with(kind))
    }
}

/// The events that were merged into these objects, as far as the ledger goes back: those that
/// were applied, and those that are dead for their claim alone.
pub async fn events(mut conn: &Connection, subjects: &[Subject]) -> Result<Vec<SourceEvent>> {
    let ids: Vec<&str> = subjects.iter().map(Subject::id).collect();
    Ok(diesel::sql_query(
        "SELECT id, type AS event_type, object_id FROM stripe.event \
         WHERE object_id = ANY($1) AND (outcome IN ('applied', 'stale') \
            OR (outcome = 'dead' AND reason = $2)) ORDER BY id",
    )
    .bind::<Array<Text>, _>(ids)
    .bind::<Text, _>(CLAIMED_BY_OTHER_ACCOUNT)
    .load(&mut conn)
    .await?)
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    kind: String,
}

impl Found {
    fn subject(self) -> Subject {
        match self.kind.as_str() {
            "account" => Subject::Account(self.id.into()),
            "charge" => Subject::Charge(self.id.into()),
            "credit_note" => Subject::CreditNote(self.id.into()),
            kind => Subject::Object(booking_claim::object(kind, self.id)),
        }
    }
}

/// Up to `limit` objects behind `after`, of this account alone where one is named: invoices,
/// then sessions, accounts, charges and credit notes, each by id.
pub async fn page(
    mut conn: &Connection,
    account: Option<&str>,
    after: Option<&Subject>,
    limit: i64,
) -> Result<Vec<Subject>> {
    let (place, id) = match after {
        None => (0, ""),
        Some(Subject::Object(ObjectId::Invoice(id))) => (0, id.as_str()),
        Some(Subject::Object(ObjectId::CheckoutSession(id))) => (1, id.as_str()),
        Some(Subject::Account(id)) => (2, id.as_str()),
        Some(Subject::Charge(id)) => (3, id.as_str()),
        Some(Subject::CreditNote(id)) => (4, id.as_str()),
    };
    let table = |number: i32, kind: &str, table: &str, column: &str| {
        format!(
            "(SELECT DISTINCT {number} AS place, '{kind}' AS kind, id FROM stripe.{table} \
             WHERE ($2 < {number} OR ($2 = {number} AND id > $3)) \
                AND ($1 IS NULL OR {column} = $1) ORDER BY id LIMIT $4)"
        )
    };
    let tables = [
        table(0, "invoice", "invoice", "account"),
        table(1, "session", "checkout_session", "account"),
        table(2, "account", "account", "id"),
        table(3, "charge", "charge", "account"),
        table(4, "credit_note", "credit_note", "account"),
    ];
    let query = format!(
        "SELECT kind, id FROM ({}) AS found ORDER BY place, id LIMIT $4",
        tables.join(" UNION ALL ")
    );
    let found: Vec<Found> = diesel::sql_query(query)
        .bind::<Nullable<Text>, _>(account)
        .bind::<Integer, _>(place)
        .bind::<Text, _>(id)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
    Ok(found.into_iter().map(Found::subject).collect())
}

/// The objects that have this id: an invoice and a session may share one.
pub async fn find(mut conn: &Connection, id: &str) -> Result<Vec<Subject>> {
    let found: Vec<Found> = diesel::sql_query(
        "SELECT 'invoice' AS kind, id FROM stripe.invoice WHERE id = $1 UNION ALL \
         SELECT 'session', id FROM stripe.checkout_session WHERE id = $1 UNION ALL \
         SELECT 'account', id FROM stripe.account WHERE id = $1 UNION ALL \
         SELECT DISTINCT 'charge', id FROM stripe.charge WHERE id = $1 UNION ALL \
         SELECT DISTINCT 'credit_note', id FROM stripe.credit_note WHERE id = $1",
    )
    .bind::<Text, _>(id)
    .load(&mut conn)
    .await?;
    Ok(found.into_iter().map(Found::subject).collect())
}

/// The first `limit` objects that name one of the bookings, and the invoices that those among
/// them name that are sessions.
pub async fn objects_of(
    mut conn: &Connection,
    bookings: &[BookingId],
    limit: i64,
) -> Result<Vec<Subject>> {
    let bookings: Vec<i32> = bookings.iter().map(|booking| booking.0).collect();
    let found: Vec<Found> = diesel::sql_query(
        "WITH named AS (\
            SELECT object_id AS id, object_kind AS kind, min(event_created) AS at \
            FROM stripe.booking_claim WHERE booking_id = ANY($1) \
            GROUP BY object_id, object_kind ORDER BY at, id LIMIT $2) \
         SELECT id, kind FROM named UNION \
         SELECT s.invoice_id, 'invoice' FROM named n \
         JOIN stripe.checkout_session s ON n.kind = 'session' AND s.id = n.id \
         WHERE s.invoice_id IS NOT NULL",
    )
    .bind::<Array<Integer>, _>(bookings)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(found.into_iter().map(Found::subject).collect())
}

#[derive(QueryableByName)]
struct Booking {
    #[diesel(sql_type = Integer)]
    id: i32,
}

/// The bookings that these objects name or have named.
pub async fn bookings_of(mut conn: &Connection, objects: &[ObjectId]) -> Result<Vec<BookingId>> {
    let (kinds, ids) = columns(objects);
    let bookings: Vec<Booking> = diesel::sql_query(
        "SELECT DISTINCT c.booking_id AS id FROM stripe.booking_claim c \
         JOIN unnest($1, $2) AS o (kind, id) ON c.object_kind = o.kind AND c.object_id = o.id",
    )
    .bind::<Array<Text>, _>(kinds)
    .bind::<Array<Text>, _>(ids)
    .load(&mut conn)
    .await?;
    Ok(bookings.into_iter().map(|row| BookingId(row.id)).collect())
}

#[derive(QueryableByName)]
struct Invoice {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The invoices that show what was given back by the charges and notes among these.
pub async fn given_back(mut conn: &Connection, subjects: &[Subject]) -> Result<Vec<InvoiceId>> {
    let (mut charges, mut notes) = (Vec::new(), Vec::new());
    for subject in subjects {
        match subject {
            Subject::Charge(id) => charges.push(id.as_str()),
            Subject::CreditNote(id) => notes.push(id.as_str()),
            Subject::Object(_) | Subject::Account(_) => {}
        }
    }
    let invoices: Vec<Invoice> = diesel::sql_query(
        "SELECT c.invoice_id AS id FROM stripe.charge c \
         WHERE c.id = ANY($1) AND c.invoice_id IS NOT NULL UNION \
         SELECT s.invoice_id FROM stripe.charge c \
         JOIN stripe.checkout_session s ON s.payment_intent_id = c.payment_intent_id \
         WHERE c.id = ANY($1) AND s.invoice_id IS NOT NULL UNION \
         SELECT n.invoice_id FROM stripe.credit_note n \
         WHERE n.id = ANY($2) AND n.invoice_id IS NOT NULL",
    )
    .bind::<Array<Text>, _>(charges)
    .bind::<Array<Text>, _>(notes)
    .load(&mut conn)
    .await?;
    Ok(invoices.into_iter().map(|row| row.id.into()).collect())
}

fn columns(objects: &[ObjectId]) -> (Vec<&'static str>, Vec<&str>) {
    let kinds = objects.iter().map(booking_claim::kind).collect();
    (kinds, objects.iter().map(ObjectId::as_str).collect())
}

/// Removes what was merged into these objects, and their claims. The main app's rows stay.
pub async fn forget(tx: &WriteTx<'_>, subjects: &[Subject]) -> Result<()> {
    let mut conn: &Connection = tx;
    let (mut invoices, mut sessions, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut charges, mut notes) = (Vec::new(), Vec::new());
    let mut objects = Vec::new();
    for subject in subjects {
        match subject {
            Subject::Object(object) => {
                objects.push(object.clone());
                match object {
                    ObjectId::Invoice(id) => invoices.push(id.as_str()),
                    ObjectId::CheckoutSession(id) => sessions.push(id.as_str()),
                }
            }
            Subject::Account(id) => accounts.push(id.as_str()),
            Subject::Charge(id) => charges.push(id.as_str()),
            Subject::CreditNote(id) => notes.push(id.as_str()),
        }
    }
    let (kinds, ids) = columns(&objects);
    diesel::sql_query(
        "DELETE FROM stripe.booking_claim c USING unnest($1, $2) AS o (kind, id) \
         WHERE c.object_kind = o.kind AND c.object_id = o.id",
    )
    .bind::<Array<Text>, _>(kinds)
    .bind::<Array<Text>, _>(ids)
    .execute(&mut conn)
    .await?;
    for (table, ids) in [
        ("invoice", invoices),
        ("checkout_session", sessions),
        ("account", accounts),
        ("charge", charges),
        ("credit_note", notes),
    ] {
        diesel::sql_query(format!("DELETE FROM stripe.{table} WHERE id = ANY($1)"))
            .bind::<Array<Text>, _>(ids)
            .execute(&mut conn)
            .await?;
    }
    Ok(())
}
