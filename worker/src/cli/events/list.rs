//! `worker events list`.

use clap::Args;
use store::{
    Connection,
    event_query::{self, Filter, Row},
    paging::{Cursor, Order},
};

use super::{Filters, show};
use crate::cli::{
    context::Context,
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{or_empty, safe, time},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Begin behind this event: the last one of the page before
    #[arg(long, value_name = "EVENT_ID")]
    after: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl List {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let mut after = None;
        if let Some(id) = &self.after {
            let Some(row) = event_query::find(&conn, id).await? else {
                let why = format!("there is no event {}", safe(id));
                return Err(CliError::NotFound(why));
            };
            after = Some(row.cursor());
        }
        let ledger = Ledger {
            filter: self.filters.filter(),
            order: Order::NewestFirst,
        };
        listing::list(context, &conn, &ledger, after, self.page).await
    }
}

/// Rows of the ledger that a filter matches.
pub(super) struct Ledger {
    pub(super) filter: Filter,
    pub(super) order: Order,
}

impl Listing<8> for Ledger {
    type Row = Row;
    type Cursor = Cursor;
    const HEADING: [&'static str; 8] = [
        "ID", "TYPE", "ACCOUNT", "OUTCOME", "REASON", "DECIDED", "TRIES", "SOURCE",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&Cursor>,
        limit: i64,
    ) -> store::Result<Vec<Row>> {
        event_query::page(conn, &self.filter, self.order, after, limit).await
    }

    fn cursor(&self, event: &Row) -> Cursor {
        event.cursor()
    }

    fn id(&self, cursor: &Cursor) -> String {
        cursor.id.clone()
    }

    fn cells(&self, event: &Row) -> [String; 8] {
        [
            event.id.clone(),
            event.event_type.clone(),
            or_empty(event.account.as_ref()),
            event.outcome.clone(),
            or_empty(event.reason.as_ref()),
            time(event.processed_at),
            event.attempts.to_string(),
            event.source.clone(),
        ]
    }

    fn object(&self, event: &Row) -> serde_json::Value {
        show::object(event)
    }
}
