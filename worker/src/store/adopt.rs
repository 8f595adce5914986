//! Whether the main app's tables are as Prisma makes them from the README's
//! models. One that is not is refused at start, by name and difference, before
//! anything is written.

use std::fmt;

use diesel::{
    QueryResult, QueryableByName,
    sql_types::{Array, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How a table differs from what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    table: &'static str,
    differences: Vec<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.join("; ");
        write!(
            f,
            "the table \"{}\" does not fit the model in the README: {differences}",
            self.table
        )
    }
}

struct Table {
    name: &'static str,
    /// Name, type as Postgres writes it, and whether null is allowed.
    columns: &'static [(&'static str, &'static str, bool)],
    /// The column that must be unique alone.
    key: &'static str,
    enumeration: &'static str,
    values: &'static [&'static str],
}

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
    enumeration: "InvoiceStatus",
    values: &["DRAFT", "SENT", "PAID"],
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
    ],
    key: "stripeAccountId",
    enumeration: "HostOnboardingStatus",
    values: &[
        "INCOMPLETE",
        "IN_REVIEW",
        "ENABLED",
        "RESTRICTED_SOON",
        "RESTRICTED",
        "PAUSED",
        "REJECTED",
        "DISCONNECTED",
    ],
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
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    #[diesel(sql_type = Array<Text>)]
    values: Vec<String>,
}

/// The first table that does not fit, if any.
///
/// # Errors
/// As Postgres says.
pub async fn misfit(conn: &AsyncPgConnection, schema: &str) -> QueryResult<Option<Misfit>> {
    for table in [&INVOICE, &HOST_ONBOARDING] {
        let differences = differences(conn, schema, table).await?;
        if !differences.is_empty() {
            return Ok(Some(Misfit {
                table: table.name,
                differences,
            }));
        }
    }
    Ok(None)
}

async fn differences(
    mut conn: &AsyncPgConnection,
    schema: &str,
    table: &Table,
) -> QueryResult<Vec<String>> {
    // A type of the same schema is written without it, as in the table above.
    let found: Vec<Column> = diesel::sql_query(
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
    .await?;
    if found.is_empty() {
        return Ok(vec!["there is no such table (was it migrated?)".into()]);
    }
    let rest: Rest = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM pg_index i \
            JOIN pg_class c ON c.oid = i.indrelid \
            JOIN pg_namespace n ON n.oid = c.relnamespace \
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
            WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 \
                AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 \
                AND i.indpred IS NULL AND i.indexprs IS NULL) AS is_unique, \
            ARRAY(SELECT e.enumlabel::text FROM pg_enum e \
                JOIN pg_type t ON t.oid = e.enumtypid \
                JOIN pg_namespace n ON n.oid = t.typnamespace \
                WHERE n.nspname = $1 AND t.typname = $4) AS values",
    )
    .bind::<Text, _>(schema)
    .bind::<Text, _>(table.name)
    .bind::<Text, _>(table.key)
    .bind::<Text, _>(table.enumeration)
    .get_result(&mut conn)
    .await?;
    Ok(compare(table, &found, &rest))
}

fn compare(table: &Table, found: &[Column], rest: &Rest) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, kind, nullable) in table.columns {
        let null = |yes| if yes { "NULL" } else { "NOT NULL" };
        match found.iter().find(|column| column.name == *name) {
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
    for column in found {
        let known = table
            .columns
            .iter()
            .any(|(name, _, _)| column.name == *name);
        // The worker cannot fill what it does not know.
        if !known && !column.nullable && !column.filled {
            differences.push(format!(
                "column \"{}\" is NOT NULL without a default",
                column.name
            ));
        }
    }
    if found
        .iter()
        .any(|column| column.name == "id" && !column.filled)
    {
        differences.push("column \"id\" has no default".into());
    }
    if !rest.is_unique {
        differences.push(format!("column \"{}\" has no unique index", table.key));
    }
    for value in table.values {
        if !rest.values.iter().any(|found| found == value) {
            differences.push(format!("enum \"{}\" lacks {value}", table.enumeration));
        }
    }
    differences
}
