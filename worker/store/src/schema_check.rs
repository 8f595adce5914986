//! Whether the main app's tables are as Prisma makes them from the models of
//! `docs/MAIN_APP.md`, and its `"Booking"` such that they can point at it. One that is not is
//! refused at start, by name and difference, before anything is written.

use std::fmt;

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Nullable, Text},
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// How a table differs from what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaMismatch {
    table: &'static str,
    differences: Vec<String>,
}

impl fmt::Display for SchemaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.join("; ");
        write!(
            f,
            "the table \"{}\" does not fit the model in docs/MAIN_APP.md: {differences}",
            self.table
        )
    }
}

/// Whether a table may not be there, or may be as an earlier release made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It may: migrations will make it, or add what it lacks.
    Allowed,
    /// It must be there; migrations that are pending will add what it lacks.
    Added,
    /// It must be there and whole.
    Refused,
}

struct Table {
    name: &'static str,
    /// Name, type as Postgres writes it, and whether null is allowed.
    columns: &'static [(&'static str, &'static str, bool)],
    /// The column that must be unique alone.
    key: &'static str,
    /// The enum of its status, and its values. The app's own table has none: we
    /// do not write it, so it may have any further columns, or not be there.
    status: Option<(&'static str, &'static [&'static str])>,
    /// The columns and values of the enum that later migrations add to the table that
    /// the first one made, or the main app by an earlier model.
    added: &'static [&'static str],
}

const BOOKING: Table = Table {
    name: "Booking",
    columns: &[("id", "integer", false)],
    key: "id",
    status: None,
    added: &[],
};

const INVOICE: Table = Table {
    name: "Invoice",
    columns: &[
        ("id", "integer", false),
        ("bookingId", "integer", false),
        ("stripeInvoiceId", "text", false),
        ("pdfUrl", "text", false),
        ("amount", "numeric(65,30)", false),
        ("currency", "text", false),
        ("status", "\"InvoiceStatus\"", false),
        ("createdAt", "timestamp(3) without time zone", false),
    ],
    key: "bookingId",
    status: Some(("InvoiceStatus", &["DRAFT", "SENT", "PAID"])),
    added: &[],
};

const HOST_ONBOARDING: Table = Table {
    name: "HostOnboarding",
    columns: &[
        ("stripeAccountId", "text", false),
        ("hostId", "text", true),
        ("status", "\"HostOnboardingStatus\"", false),
        ("canSell", "boolean", false),
        ("chargesEnabled", "boolean", false),
        ("payoutsEnabled", "boolean", false),
        ("detailsSubmitted", "boolean", false),
        ("currentlyDue", "text[]", true),
        ("pastDue", "text[]", true),
        ("eventuallyDue", "text[]", true),
        ("pendingVerification", "text[]", true),
        ("disabledReason", "text", true),
        ("currentDeadline", "timestamp(3) without time zone", true),
        ("type", "text", true),
        ("country", "text", true),
        ("defaultCurrency", "text", true),
        ("lastEventAt", "timestamp(3) without time zone", false),
        ("updatedAt", "timestamp(3) without time zone", false),
        ("createdAt", "timestamp(3) without time zone", false),
        ("futureDue", "text[]", true),
    ],
    key: "stripeAccountId",
    status: Some((
        "HostOnboardingStatus",
        &[
            "UNKNOWN",
            "INCOMPLETE",
            "IN_REVIEW",
            "ENABLED",
            "RESTRICTED_SOON",
            "RESTRICTED",
            "PAUSED",
            "REJECTED",
            "DISCONNECTED",
        ],
    )),
    added: &["futureDue", "UNKNOWN"],
};

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
    #[diesel(sql_type = Bool)]
    filled: bool,
}

#[derive(QueryableByName)]
struct Rest {
    /// What is there by the table's name, as `pg_class` has it.
    #[diesel(sql_type = Nullable<Text>)]
    relation: Option<String>,
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    /// The enum's values; null where there is no such type.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    values: Option<Vec<String>>,
}

/// The first table that does not fit, if any.
pub async fn check(
    conn: &Connection,
    schema: &str,
    missing: Missing,
) -> Result<Option<SchemaMismatch>> {
    for table in [&BOOKING, &INVOICE, &HOST_ONBOARDING] {
        let columns = columns(conn, schema, table).await?;
        let rest = rest(conn, schema, table).await?;
        let differences = compare(table, &columns, &rest, missing);
        if !differences.is_empty() {
            return Ok(Some(SchemaMismatch {
                table: table.name,
                differences,
            }));
        }
    }
    Ok(None)
}

async fn columns(mut conn: &Connection, schema: &str, table: &Table) -> Result<Vec<Column>> {
    // A type of the same schema is written without it, as in the tables above.
    Ok(diesel::sql_query(
        "SELECT a.attname::text AS name, \
            CASE WHEN t.typnamespace = c.relnamespace THEN quote_ident(t.typname) \
                 ELSE format_type(a.atttypid, a.atttypmod) END AS kind, \
            NOT a.attnotnull AS nullable, \
            a.atthasdef OR a.attidentity <> '' AS filled \
         FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') \
            AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attnum",
    )
    .bind::<Text, _>(schema)
    .bind::<Text, _>(table.name)
    .load(&mut conn)
    .await?)
}

async fn rest(mut conn: &Connection, schema: &str, table: &Table) -> Result<Rest> {
    // A deferrable constraint does not serve ON CONFLICT.
    Ok(diesel::sql_query(
        "SELECT (SELECT c.relkind::text FROM pg_class c \
                JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = $1 AND c.relname = $2) AS relation, \
            EXISTS (SELECT FROM pg_index i \
                JOIN pg_class c ON c.oid = i.indrelid \
                JOIN pg_namespace n ON n.oid = c.relnamespace \
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
                WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 \
                    AND i.indisunique AND i.indisvalid AND i.indimmediate \
                    AND i.indnkeyatts = 1 AND i.indpred IS NULL) AS is_unique, \
            (SELECT ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid) \
                FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
                WHERE n.nspname = $1 AND t.typname = $4) AS values",
    )
    .bind::<Text, _>(schema)
    .bind::<Text, _>(table.name)
    .bind::<Text, _>(table.key)
    .bind::<Nullable<Text>, _>(table.status.map(|(name, _)| name))
    .get_result(&mut conn)
    .await?)
}

fn compare(table: &Table, found: &[Column], rest: &Rest, missing: Missing) -> Vec<String> {
    let may_lack = |name: &str| missing != Missing::Refused && table.added.contains(&name);
    let mut differences = lacking_values(table, rest, may_lack);
    match rest.relation.as_deref() {
        Some("r" | "p") => {
            differences.extend(wrong_columns(table, found, may_lack));
            if !rest.is_unique {
                differences.push(format!("column \"{}\" has no unique index", table.key));
            }
        }
        None if table.status.is_some() && missing != Missing::Allowed => differences
            .push("there is no such table (was it migrated, or dropped since?)".to_owned()),
        Some(_) if table.status.is_some() => {
            differences.push("something else than a table has that name".to_owned());
        }
        // The worker does without bookings, and reads a view of them.
        Some(_) | None => {}
    }
    differences
}

fn lacking_values(table: &Table, rest: &Rest, may_lack: impl Fn(&str) -> bool) -> Vec<String> {
    let (Some((name, expected)), Some(found)) = (table.status, &rest.values) else {
        return Vec::new();
    };
    let lacks = expected
        .iter()
        .filter(|value| !found.iter().any(|found| found == *value) && !may_lack(value));
    lacks
        .map(|value| format!("enum \"{name}\" lacks {value}"))
        .collect()
}

fn wrong_columns(table: &Table, found: &[Column], may_lack: impl Fn(&str) -> bool) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, kind, nullable) in table.columns {
        let null = |yes| if yes { "NULL" } else { "NOT NULL" };
        match found.iter().find(|column| column.name == *name) {
            None if may_lack(name) => {}
            None => differences.push(format!("column \"{name}\" ({kind}) is missing")),
            Some(column) if column.kind != *kind => differences.push(format!(
                "column \"{name}\" is {}, expected {kind}",
                column.kind
            )),
            Some(column) if column.nullable != *nullable => differences.push(format!(
                "column \"{name}\" is {}, expected {}",
                null(column.nullable),
                null(*nullable)
            )),
            Some(_) => {}
        }
    }
    // The worker fills every column of its tables but "id", and none that it
    // does not know.
    let filled_by_us = |name: &str| name != "id" && table.columns.iter().any(|(n, ..)| *n == name);
    let stuck = found
        .iter()
        .filter(|column| !column.nullable && !column.filled && !filled_by_us(&column.name));
    if table.status.is_some() {
        differences.extend(
            stuck.map(|column| format!("column \"{}\" is NOT NULL without a default", column.name)),
        );
    }
    differences
}
