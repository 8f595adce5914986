//! `worker dead-letters list`.

use clap::Args;
use serde_json::json;

use store::{
    Connection,
    dead_letter::State,
    dead_letter_query::{self, Filter, Summary},
    paging::{Cursor, Order},
};

use super::select::Filters;
use crate::cli::{
    context::Context,
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{or_empty, safe, stamp, time},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Begin behind this dead letter: the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl List {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let mut after = None;
        if let Some(id) = &self.after {
            let letter = dead_letter_query::load(&conn, std::slice::from_ref(id)).await?;
            let Some(letter) = letter.into_iter().next() else {
                let why = format!("there is no dead letter {}", safe(id));
                return Err(CliError::NotFound(why));
            };
            after = Some(Cursor {
                at: letter.first_at,
                id: letter.id,
            });
        }
        let letters = Letters {
            filter: self.filters.filter(Vec::new(), State::Dead),
            order: Order::NewestFirst,
        };
        listing::list(context, &conn, &letters, after, self.page).await
    }
}

/// Dead letters that a filter matches.
pub(super) struct Letters {
    pub(super) filter: Filter,
    pub(super) order: Order,
}

impl Listing<8> for Letters {
    type Row = Summary;
    type Cursor = Cursor;
    const HEADING: [&'static str; 8] = [
        "ID",
        "TYPE",
        "ACCOUNT",
        "REASON",
        "FIRST DEAD",
        "LAST DEAD",
        "TRIES",
        "STATE",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&Cursor>,
        limit: i64,
    ) -> store::Result<Vec<Summary>> {
        dead_letter_query::page(conn, &self.filter, self.order, after, limit).await
    }

    fn cursor(&self, letter: &Summary) -> Cursor {
        letter.cursor()
    }

    fn id(&self, cursor: &Cursor) -> String {
        cursor.id.clone()
    }

    fn cells(&self, letter: &Summary) -> [String; 8] {
        [
            letter.id.clone(),
            or_empty(letter.event_type.as_ref()),
            or_empty(letter.account.as_ref()),
            letter.reason.clone(),
            time(letter.first_at),
            time(letter.last_at),
            letter.attempts.to_string(),
            letter.state.clone(),
        ]
    }

    fn object(&self, letter: &Summary) -> serde_json::Value {
        json!({
            "id": letter.id,
            "type": letter.event_type,
            "account": letter.account,
            "reason": letter.reason,
            "first_at": stamp(letter.first_at),
            "last_at": stamp(letter.last_at),
            "attempts": letter.attempts,
            "state": letter.state,
        })
    }
}
