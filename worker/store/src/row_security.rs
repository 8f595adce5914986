//! Row-level security. A policy that hides rows from the worker would make it insert them
//! again, or take a booking for missing.
//!
//! With `row_security = off`, PostgreSQL refuses a statement on a table whose policies apply
//! to the role, where it would otherwise leave rows out without a word. It refuses as well
//! where the policies let the role see everything, so the setting is off unless every table
//! of the worker's that has policies has such ones.

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// The worker's tables `c` whose policies apply to its role.
const SUBJECT: &str = "pg_class c \
    WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') \
        AND (c.relnamespace = to_regnamespace('stripe') \
            OR c.relnamespace = to_regnamespace(quote_ident(current_schema())) \
                AND c.relname IN ('Invoice', 'HostOnboarding', 'Booking')) \
        AND row_security_active(c.oid)";

/// The word `true`, as Postgres keeps an expression of a policy. To write it as SQL again,
/// Postgres would wait for a lock of the table: a session must open while the main app holds one.
/// It has no backslash, which `standard_conforming_strings` could give another meaning.
const TRUE: &str = "'^[{]CONST :consttype 16 [^{}]*:constisnull false [^{}]*:constvalue 1 \
    [[]( 0)* 1( 0)* []][}]$'";

/// Whether the policies of `c` leave a row out, or refuse one, for some command that the
/// worker uses: no permissive policy for its role says `true`, or a restrictive one says
/// something else.
fn hides() -> String {
    format!(
        "EXISTS ( \
    SELECT FROM unnest(CASE c.relname WHEN 'Booking' THEN ARRAY['r'] \
        ELSE ARRAY['r', 'a', 'w', 'd'] END) AS used (command) \
    CROSS JOIN LATERAL (SELECT \
        coalesce(bool_or(p.is_open) FILTER (WHERE p.polpermissive), false) AS is_open, \
        coalesce(bool_and(p.is_open) FILTER (WHERE NOT p.polpermissive), true) AS is_unrestricted \
        FROM (SELECT polpermissive, \
            (command = 'a' OR polqual::text ~ {TRUE}) \
            AND (command IN ('r', 'd') \
                OR coalesce(polwithcheck, polqual)::text ~ {TRUE}) \
                AS is_open \
            FROM pg_policy WHERE polrelid = c.oid AND polcmd::text IN ('*', command) \
                AND EXISTS (SELECT FROM unnest(polroles) AS r (oid) WHERE r.oid = 0 \
                    OR pg_has_role(current_user, r.oid, 'USAGE'))) AS p) AS policies \
    WHERE NOT (policies.is_open AND policies.is_unrestricted))"
    )
}

/// The value of the setting `row_security`, as an expression of SQL.
pub(crate) fn setting() -> String {
    let hides = hides();
    format!(
        "CASE WHEN EXISTS (SELECT FROM {SUBJECT}) \
            AND NOT EXISTS (SELECT FROM {SUBJECT} AND {hides}) THEN 'on' ELSE 'off' END"
    )
}

/// A table of which the worker's role may not see or write every row.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct HiddenTable {
    /// The table, with its schema where it needs one.
    #[diesel(sql_type = Text)]
    pub table: String,
    /// The role that the policies apply to.
    #[diesel(sql_type = Text)]
    pub role: String,
}

/// The worker's tables whose policies hide rows from this connection's role, or refuse them.
pub async fn hidden(mut conn: &Connection) -> Result<Vec<HiddenTable>> {
    let hides = hides();
    let query = format!(
        "SELECT c.oid::regclass::text AS \"table\", current_user::text AS role \
         FROM {SUBJECT} AND {hides} ORDER BY 1"
    );
    Ok(diesel::sql_query(query).load(&mut conn).await?)
}
