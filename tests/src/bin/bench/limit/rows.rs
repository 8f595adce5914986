//! The rows that our worker has left, read back as the database sends them, so
//! that plain SQL can write the very same.

use std::{collections::HashMap, error::Error};

use anyhow::Result;
use bytes::{BufMut as _, BytesMut};
use tokio_postgres::{
    Client,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

/// A table that the worker writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// As SQL has it.
    pub(crate) name: &'static str,
    /// What is unique in it.
    pub(super) key: &'static [&'static str],
    /// The column by which an event finds its row.
    pub(super) found_by: &'static str,
    /// A column that the database fills in.
    pub(super) left_out: Option<&'static str>,
}

const fn table(name: &'static str, key: &'static [&'static str], found_by: &'static str) -> Table {
    Table {
        name,
        key,
        found_by,
        left_out: None,
    }
}

pub(super) const EVENT: Table = table("stripe.event", &["id"], "id");
pub(super) const INVOICE: Table = table("stripe.invoice", &["id"], "id");
pub(super) const SESSION: Table = table("stripe.checkout_session", &["id"], "id");
pub(super) const CLAIM: Table = table(
    "stripe.booking_claim",
    &["booking_id", "account", "object_kind", "object_id"],
    "object_id",
);
pub(super) const ACCOUNT: Table = table("stripe.account", &["id"], "id");
pub(super) const TRANSITION: Table = table(
    "stripe.account_transition",
    &["account_id", "event_created", "event_id"],
    "event_id",
);
pub(super) const SHOWN: Table = Table {
    left_out: Some("id"),
    ..table("\"Invoice\"", &["bookingId"], "stripeInvoiceId")
};
pub(super) const HOST: Table = table(
    "\"HostOnboarding\"",
    &["stripeAccountId"],
    "stripeAccountId",
);

/// All of them. One that is not there is passed over.
pub(super) const TABLES: [Table; 8] = [
    EVENT, INVOICE, SESSION, CLAIM, ACCOUNT, TRANSITION, SHOWN, HOST,
];

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) table: Table,
    columns: Vec<Column>,
    rows: HashMap<String, Vec<Value>>,
}

/// A value in the database's binary format.
pub(super) type Value = Option<Box<[u8]>>;

#[derive(Debug)]
struct Column {
    name: String,
    /// The type as SQL has it.
    kind: String,
    oid: u32,
    /// Lists are sent as text: a list of lists cannot hold lists of any length.
    is_list: bool,
}

impl Rows {
    /// Reads a table. One that is not there has no columns.
    pub(super) async fn read(client: &Client, table: Table) -> Result<Self> {
        let columns = columns(client, table).await?;
        let mut rows = HashMap::new();
        if !columns.is_empty() {
            let list = columns.iter().map(|column| match column.is_list {
                true => format!("\"{}\"::text", column.name),
                false => format!("\"{}\"", column.name),
            });
            let list = list.collect::<Vec<_>>().join(", ");
            let query = format!("SELECT \"{}\", {list} FROM {}", table.found_by, table.name);
            for row in client.query(&query, &[]).await? {
                let values = (1..=columns.len()).map(|place| row.get::<_, Raw>(place).0);
                rows.insert(row.get(0), values.collect());
            }
        }
        Ok(Self {
            table,
            columns,
            rows,
        })
    }

    pub(super) fn is_there(&self) -> bool {
        !self.columns.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&[Value]> {
        self.rows.get(key).map(Vec::as_slice)
    }

    /// The place of a column, where there is such a one.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The value of a text column.
    pub(super) fn text(&self, key: &str, column: &str) -> Option<&str> {
        let value = self.get(key)?.get(self.place(column)?)?.as_ref()?;
        std::str::from_utf8(value).ok()
    }

    /// The statement that writes any number of rows, one array a column.
    pub(super) fn statement(&self) -> String {
        let Table { name, key, .. } = self.table;
        let join = |each: &dyn Fn(usize, &Column) -> Option<String>| {
            let all = self.columns.iter().enumerate();
            let some: Vec<String> = all
                .filter_map(|(place, column)| each(place, column))
                .collect();
            some.join(", ")
        };
        let names = join(&|_, column| Some(format!("\"{}\"", column.name)));
        let arrays = join(&|place, column| {
            let kind = if column.is_list { "text" } else { &column.kind };
            Some(format!("${}::{kind}[]", place + 1))
        });
        let values = join(&|_, column| {
            let cast = if column.is_list { &column.kind } else { "" };
            let colons = if column.is_list { "::" } else { "" };
            Some(format!("\"{}\"{colons}{cast}", column.name))
        });
        let set = join(&|_, column| {
            let is_key = key.contains(&column.name.as_str());
            (!is_key).then(|| format!("\"{0}\" = excluded.\"{0}\"", column.name))
        });
        let key = key.iter().map(|name| format!("\"{name}\""));
        let key = key.collect::<Vec<_>>().join(", ");
        format!(
            "INSERT INTO {name} ({names}) SELECT {values} FROM unnest({arrays}) AS n({names}) \
             ON CONFLICT ({key}) DO UPDATE SET {set}"
        )
    }

    /// Rows as the statement's parameters.
    pub(super) fn arrays<'a>(
        &self,
        rows: &[&'a [Value]],
        blank: &[Option<usize>],
    ) -> Vec<Array<'a>> {
        let columns = self.columns.iter().enumerate();
        let arrays = columns.map(|(place, column)| Array {
            oid: if column.is_list {
                Type::TEXT.oid()
            } else {
                column.oid
            },
            values: rows
                .iter()
                .zip(blank)
                .map(|(row, blank)| match blank {
                    Some(blank) if *blank == place => None,
                    Some(_) | None => row.get(place)?.as_deref(),
                })
                .collect(),
        });
        arrays.collect()
    }
}

async fn columns(client: &Client, table: Table) -> Result<Vec<Column>> {
    let query = "SELECT attname::text, format_type(atttypid, atttypmod), atttypid, typcategory = 'A' \
                 FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid \
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
                 AND attname::text IS DISTINCT FROM $2 ORDER BY attnum";
    let rows = client.query(query, &[&table.name, &table.left_out]).await?;
    let columns = rows.iter().map(|row| Column {
        name: row.get(0),
        kind: row.get(1),
        oid: row.get(2),
        is_list: row.get(3),
    });
    Ok(columns.collect())
}

/// A value of any type, as it came.
struct Raw(Value);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(raw.into())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// An array of values that are in the binary format already.
#[derive(Debug)]
pub(super) struct Array<'a> {
    oid: u32,
    values: Vec<Option<&'a [u8]>>,
}

impl ToSql for Array<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        const DIMENSIONS: i32 = 1;
        const MAY_HAVE_NULLS: i32 = 1;
        const FIRST_INDEX: i32 = 1;
        const NULL: i32 = -1;
        out.put_i32(DIMENSIONS);
        out.put_i32(MAY_HAVE_NULLS);
        out.put_u32(self.oid);
        out.put_i32(i32::try_from(self.values.len())?);
        out.put_i32(FIRST_INDEX);
        for value in &self.values {
            match value {
                Some(value) => {
                    out.put_i32(i32::try_from(value.len())?);
                    out.put_slice(value);
                }
                None => out.put_i32(NULL),
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
