//! Statements whose text never changes, so that Postgres plans each once a connection:
//! Diesel's own `sql_query` is planned anew every time.

/// Defines a statement `$head unnest($columns...) $tail` and the columns that it takes.
/// Rows are given as one vector a column, all of the same length.
macro_rules! bulk {
    (
        $name:ident { $($field:ident: $rust:ty => $sql:ty,)+ }
        $head:expr, $tail:expr $(,)?
    ) => {
        #[derive(Default)]
        struct $name<'a> { $($field: Vec<$rust>,)+ _rows: std::marker::PhantomData<&'a ()> }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = diesel::sql_types::Untyped;
        }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                out.push_sql($head);
                out.push_sql(" unnest(");
                let mut comma = "";
                $(
                    out.push_sql(comma);
                    out.push_bind_param::<diesel::sql_types::Array<$sql>, _>(&self.$field)?;
                    comma = ", ";
                )+
                let _ = comma;
                out.push_sql(") ");
                out.push_sql($tail);
                Ok(())
            }
        }
    };
}

/// Defines a statement `$head $1 $tail` about the rows that one array names.
macro_rules! lookup {
    ($name:ident { $rust:ty => $sql:ty } $head:literal $tail:literal) => {
        struct $name<'a>(&'a [$rust]);

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = diesel::sql_types::Untyped;
        }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                out.push_sql($head);
                out.push_bind_param::<diesel::sql_types::Array<$sql>, _>(&self.0)?;
                out.push_sql($tail);
                Ok(())
            }
        }
    };
}

pub(crate) use {bulk, lookup};
