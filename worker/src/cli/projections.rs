//! `worker projections`: rows of the main app's tables that could not be written yet.

use clap::{Args, Subcommand};
use serde_json::json;
use store::{
    Connection,
    pending_projection::{self, PendingRow, Selection},
};

use super::{
    context::Context,
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{stamp, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum Projections {
    /// List rows that the main app does not see yet, and what is in their way
    #[command(
        after_help = "What Stripe said is applied; only the main app's row is pending. Kinds:
  booking  the row of a booking in \"Invoice\" could not be read or written
  host     the row of an account in \"HostOnboarding\" could not be written
  invoice  an invoice that waits for its booking (see worker invoices waiting --help)

Reasons of the first two:
  locked              another transaction holds the row or the table
  foreign_key         a row of the main app refers to it, or is not there
  check, not_null, unique
                      a constraint of the main app refuses it
  row_level_security, permission_denied
                      the worker's role may not write it
  refused             anything else that Postgres says, such as a trigger's exception
  not_tried           other rows took the time of the transaction

They are tried again by themselves, after 30 s at most.

Examples:
  worker projections list
  worker projections list --kind booking --json | jq .detail"
    )]
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this kind: booking, host or invoice
    #[arg(long, value_name = "KIND", value_parser = ["booking", "host", "invoice"])]
    kind: Option<String>,
    /// Only with this reason
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Begin behind this row: kind and id of the last one of the page before, as kind/id
    #[arg(long, value_name = "KIND/ID", default_value = "/")]
    after: String,
    #[command(flatten)]
    page: PageArgs,
}

impl Projections {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let Self::List(list) = self;
        let conn = context.connect().await?;
        let (kind, id) = list.after.split_once('/').unwrap_or((&list.after, ""));
        let after = Some((kind.to_owned(), id.to_owned()));
        listing::list(context, &conn, list, after, list.page).await
    }
}

impl Listing<8> for List {
    type Row = PendingRow;
    type Cursor = (String, String);
    const HEADING: [&'static str; 8] = [
        "KIND", "ID", "OBJECT", "REASON", "SINCE", "TRIES", "NEXT TRY", "DETAIL",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&(String, String)>,
        limit: i64,
    ) -> store::Result<Vec<PendingRow>> {
        let only = Selection {
            kind: self.kind.as_deref(),
            reason: self.reason.as_deref(),
        };
        let after = after.map_or(("", ""), |(kind, id)| (kind, id));
        pending_projection::list(conn, &only, after, limit).await
    }

    fn cursor(&self, row: &PendingRow) -> (String, String) {
        (row.kind.clone(), row.id.clone())
    }

    fn id(&self, (kind, id): &(String, String)) -> String {
        format!("{kind}/{id}")
    }

    fn cells(&self, row: &PendingRow) -> [String; 8] {
        [
            row.kind.clone(),
            row.id.clone(),
            row.object.clone().unwrap_or_default(),
            row.reason.clone(),
            time(row.first_at),
            row.tries.to_string(),
            row.next_try_at.map(time).unwrap_or_default(),
            row.detail.clone(),
        ]
    }

    fn object(&self, row: &PendingRow) -> serde_json::Value {
        json!({
            "kind": row.kind,
            "id": row.id,
            "object": row.object,
            "reason": row.reason,
            "detail": row.detail,
            "first_at": stamp(row.first_at),
            "last_at": stamp(row.last_at),
            "tries": row.tries,
            "next_try_at": row.next_try_at.map(stamp),
        })
    }
}
