//! Records: rows that are read and written whole, whose columns are spelled once. The text of
//! a statement about them never changes, so that Postgres plans it once a connection.

use std::marker::PhantomData;

use diesel::{
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::Text,
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Error};

/// A column of a [`Record`].
pub(crate) struct Column {
    /// Its name, quoted where SQL needs it.
    pub(crate) name: &'static str,
    /// How it is read, where that is not by its name.
    pub(crate) read: Option<&'static str>,
    /// The cast behind its value when it is written, such as `::numeric`.
    pub(crate) cast: &'static str,
    /// Whether it belongs to the key.
    pub(crate) is_key: bool,
}

/// A row that is read and written whole. [`record!`] defines one.
pub(crate) trait Record: Sized + Sync + 'static {
    /// The table.
    const TABLE: &'static str;
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [Column];
    /// What an update of a row sets besides: `updated_at = now()`, or nothing.
    const ON_UPDATE: &'static str;
    /// The columns' types.
    type SqlType: 'static;
    /// The values of many rows, a vector for each column.
    type Columns<'a>: Default + BindColumns + Send;

    /// Adds the values of this row.
    fn push<'a>(&'a self, columns: &mut Self::Columns<'a>);
}

/// Binds one array for each column.
pub(crate) trait BindColumns {
    /// Adds the binds, with commas between them.
    fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// Inserts rows that must be new.
pub(crate) struct Insert;
/// Updates the rows of the same keys.
pub(crate) struct Update;
/// Inserts rows, or updates those of the same keys.
pub(crate) struct Upsert;

/// How a [`Bulk`] statement goes on behind `unnest(...) AS n (...)`.
trait Operation: 'static {
    fn before<R: Record>(out: &mut AstPass<'_, '_, Pg>);
    fn after<R: Record>(out: &mut AstPass<'_, '_, Pg>);
}

/// One statement for any number of rows.
struct Bulk<'a, R: Record, O>(R::Columns<'a>, PhantomData<fn() -> O>);

impl<R: Record, O: 'static> QueryId for Bulk<'_, R, O> {
    type QueryId = (PhantomData<R>, PhantomData<O>);
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R: Record, O: Operation> QueryFragment<Pg> for Bulk<'_, R, O> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        O::before::<R>(&mut out);
        out.push_sql(" FROM unnest(");
        self.0.bind(&mut out)?;
        out.push_sql(") AS n (");
        list(&mut out, R::COLUMNS.iter(), |out, column| {
            out.push_sql(column.name);
        });
        out.push_sql(")");
        O::after::<R>(&mut out);
        Ok(())
    }
}

fn list<'c>(
    out: &mut AstPass<'_, '_, Pg>,
    columns: impl Iterator<Item = &'c Column>,
    one: impl Fn(&mut AstPass<'_, '_, Pg>, &Column),
) {
    for (index, column) in columns.enumerate() {
        if index > 0 {
            out.push_sql(", ");
        }
        one(out, column);
    }
}

fn keys<R: Record>() -> impl Iterator<Item = &'static Column> {
    R::COLUMNS.iter().filter(|column| column.is_key)
}

fn values<R: Record>() -> impl Iterator<Item = &'static Column> {
    R::COLUMNS.iter().filter(|column| !column.is_key)
}

impl Operation for Insert {
    fn before<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql("INSERT INTO ");
        out.push_sql(R::TABLE);
        out.push_sql(" (");
        list(out, R::COLUMNS.iter(), |out, column| {
            out.push_sql(column.name);
        });
        out.push_sql(") SELECT ");
        list(out, R::COLUMNS.iter(), |out, column| {
            out.push_sql("n.");
            out.push_sql(column.name);
            out.push_sql(column.cast);
        });
    }

    fn after<R: Record>(_: &mut AstPass<'_, '_, Pg>) {}
}

impl Operation for Upsert {
    fn before<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
        Insert::before::<R>(out);
    }

    fn after<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql(" ON CONFLICT (");
        list(out, keys::<R>(), |out, column| out.push_sql(column.name));
        out.push_sql(") DO UPDATE SET ");
        list(out, values::<R>(), |out, column| {
            out.push_sql(column.name);
            out.push_sql(" = excluded.");
            out.push_sql(column.name);
        });
        on_update::<R>(out);
    }
}

impl Operation for Update {
    fn before<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql("UPDATE ");
        out.push_sql(R::TABLE);
        out.push_sql(" AS t SET ");
        list(out, values::<R>(), |out, column| {
            out.push_sql(column.name);
            out.push_sql(" = n.");
            out.push_sql(column.name);
            out.push_sql(column.cast);
        });
        on_update::<R>(out);
    }

    fn after<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql(" WHERE ");
        for (index, column) in keys::<R>().enumerate() {
            if index > 0 {
                out.push_sql(" AND ");
            }
            out.push_sql("t.");
            out.push_sql(column.name);
            out.push_sql(" = n.");
            out.push_sql(column.name);
        }
    }
}

fn on_update<R: Record>(out: &mut AstPass<'_, '_, Pg>) {
    if !R::ON_UPDATE.is_empty() {
        out.push_sql(", ");
        out.push_sql(R::ON_UPDATE);
    }
}

impl Insert {
    /// Sends the statement; nothing for no rows. Returns how many were written.
    pub(crate) async fn rows<R: Record>(conn: &Connection, rows: &[R]) -> Result<usize, Error> {
        send::<R, Self>(conn, rows).await
    }
}

impl Update {
    /// Sends the statement; nothing for no rows. Returns how many were written.
    pub(crate) async fn rows<R: Record>(conn: &Connection, rows: &[R]) -> Result<usize, Error> {
        send::<R, Self>(conn, rows).await
    }
}

impl Upsert {
    /// Sends the statement; nothing for no rows. Returns how many were written.
    pub(crate) async fn rows<R: Record>(conn: &Connection, rows: &[R]) -> Result<usize, Error> {
        send::<R, Self>(conn, rows).await
    }
}

async fn send<R: Record, O: Operation>(mut conn: &Connection, rows: &[R]) -> Result<usize, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut columns = R::Columns::default();
    for row in rows {
        row.push(&mut columns);
    }
    let statement: Bulk<'_, R, O> = Bulk(columns, PhantomData);
    Ok(statement.execute(&mut conn).await?)
}

/// The `WHERE` of a [`Select`]. [`filter!`] defines one.
pub(crate) trait Filter {
    /// The filter without its lifetime.
    type Id: 'static;

    /// Adds it.
    fn add<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// Reads the records that a filter names.
pub(crate) struct Select<R, F>(F, PhantomData<fn() -> R>);

impl<R, F> Select<R, F> {
    /// Of these records.
    pub(crate) fn records(filter: F) -> Self {
        Self(filter, PhantomData)
    }
}

impl<R: Record, F: Filter> QueryId for Select<R, F> {
    type QueryId = (PhantomData<R>, PhantomData<F::Id>);
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R: Record, F> Query for Select<R, F> {
    type SqlType = R::SqlType;
}

impl<R: Record, F: Filter> QueryFragment<Pg> for Select<R, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        list(&mut out, R::COLUMNS.iter(), |out, column| {
            out.push_sql(column.read.unwrap_or(column.name));
        });
        out.push_sql(" FROM ");
        out.push_sql(R::TABLE);
        out.push_sql(" WHERE ");
        self.0.add(&mut out)
    }
}

/// Defines a row by its columns, each spelled once: the field, its type, the column's
/// type and name, and where needed how it is read and the cast with which it is
/// written.
macro_rules! record {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident in $table:literal {
            key { $($key:ident: $key_rust:ty => $key_sql:ty = $key_column:literal,)+ }
            $($field:ident: $rust:ty => $sql:ty = $column:literal $(read $read:literal)? $(cast $cast:literal)?,)+
        }
        on update $on_update:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name {
            $($key: $key_rust,)+
            $($field: $rust,)+
        }

        const _: () = {
            use $crate::record::{BindColumns, Column, Record};

            #[derive(Default)]
            pub(crate) struct Columns<'a> {
                $($key: Vec<&'a $key_rust>,)+
                $($field: Vec<&'a $rust>,)+
            }

            impl BindColumns for Columns<'_> {
                fn bind<'b>(
                    &'b self,
                    out: &mut diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
                ) -> diesel::QueryResult<()> {
                    let mut comma = "";
                    $(
                        out.push_sql(comma);
                        out.push_bind_param::<diesel::sql_types::Array<$key_sql>, _>(&self.$key)?;
                        comma = ", ";
                    )+
                    $(
                        out.push_sql(comma);
                        out.push_bind_param::<diesel::sql_types::Array<$sql>, _>(&self.$field)?;
                    )+
                    Ok(())
                }
            }

            impl Record for $name {
                const TABLE: &'static str = $table;
                const COLUMNS: &'static [Column] = &[
                    $(Column { name: $key_column, read: None, cast: "", is_key: true },)+
                    $(Column {
                        name: $column,
                        read: $crate::record::record!(@read $($read)?),
                        cast: concat!("", $($cast)?),
                        is_key: false,
                    },)+
                ];
                const ON_UPDATE: &'static str = $on_update;
                type SqlType = ($($key_sql,)+ $($sql,)+);
                type Columns<'a> = Columns<'a>;

                fn push<'a>(&'a self, columns: &mut Columns<'a>) {
                    $(columns.$key.push(&self.$key);)+
                    $(columns.$field.push(&self.$field);)+
                }
            }
        };
    };
    (@read) => { None };
    (@read $read:literal) => { Some($read) };
}

/// Defines the `WHERE` of a [`Select`]: pieces of SQL, each followed by an array, and the
/// last piece.
macro_rules! filter {
    (
        $vis:vis $name:ident { $($piece:literal $field:ident: $rust:ty => $sql:ty,)+ } $end:literal
    ) => {
        $vis struct $name<'a> { $($vis $field: &'a [$rust],)+ }

        impl $crate::record::Filter for $name<'_> {
            type Id = $name<'static>;

            fn add<'b>(
                &'b self,
                out: &mut diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                $(
                    out.push_sql($piece);
                    out.push_bind_param::<diesel::sql_types::Array<$sql>, _>(&self.$field)?;
                )+
                out.push_sql($end);
                Ok(())
            }
        }
    };
}

filter! {
    pub(crate) ByIds { "id = ANY(" ids: &'a str => Text, } ")"
}

/// Defines the function `by_ids`, which reads the records of this type with one of these ids.
macro_rules! by_ids {
    ($row:ty) => {
        async fn by_ids(mut conn: &$crate::Connection, ids: &[&str]) -> $crate::Result<Vec<$row>> {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let select = $crate::record::Select::<$row, _>::records($crate::record::ByIds { ids });
            Ok(diesel_async::RunQueryDsl::load(select, &mut conn).await?)
        }
    };
}

pub(crate) use {by_ids, filter, record};
