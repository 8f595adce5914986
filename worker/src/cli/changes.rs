//! `worker changes`: news for the main app.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use store::{
    Connection, job_lock,
    outbox::{self, Filter, Kept, Row, State},
    pooler,
};

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{stamp, time},
    time_arg,
};
use crate::jobs::{Job as _, publish_changes::PublishChanges};

/// How many rows are changed in one transaction.
const BATCH: i64 = 10_000;
/// The pause before the lock of a publisher at work is asked for again.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Subcommand)]
pub(super) enum Changes {
    /// List news for the main app, the newest first
    #[command(after_help = "States:
  waiting    it is to be published
  published  a queue has it
  unheard    no queue was bound when it was published

Examples:
  worker changes list --key 7
  worker changes list --state unheard --json")]
    List(List),
    /// Publish news again that the main app missed
    ///
    /// The running worker publishes it, in the order in which it happened, up to the newest:
    /// so the last message about each booking and host says how it is now. The main app tells
    /// repeats by their ids.
    Republish(Republish),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this kind, such as booking.invoice.paid
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only of this booking or connected account
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only in this state: waiting, published or unheard
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Begin behind this row: the id of the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, Args)]
pub(super) struct Republish {
    /// From then on: 2h (ago; s, m, h, d or w), a day (UTC), or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    since: DateTime<Utc>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    form: OutputFormat,
}

fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| "expected waiting, published or unheard".to_owned())
}

impl Changes {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        match self {
            Self::List(list) => {
                let conn = context.connect().await?;
                listing::list(context, &conn, list, list.after, list.page).await
            }
            Self::Republish(republish) => republish.run(context).await,
        }
    }
}

impl Republish {
    async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let kept = outbox::kept_since(&conn, self.since).await?;
        if self.change.dry_run || kept.count == 0 {
            return self.print(kept.count, "would be published again");
        }
        let question = format!("Publish {} rows of news again", kept.count);
        self.change.confirm(&question, &context.stop).await?;
        // The lock belongs to a session.
        pooler::check(&context.database).await?;
        // A publisher in the middle of a batch would mark later rows behind our back.
        while !job_lock::take(&conn, PublishChanges::NAME).await? {
            context.check()?;
            tokio::time::sleep(PAUSE).await;
        }
        let again = publish_again(context, &conn, self.since).await;
        job_lock::release(&conn, PublishChanges::NAME).await?;
        self.print(again?, "wait for the running worker to publish them again")
    }

    fn print(&self, count: i64, what: &str) -> Result<(), CliError> {
        let mut output = self.form.output();
        if output.json {
            output.object(&json!({ "rows": count, "dry_run": self.change.dry_run }))?;
        } else {
            output.line(&format!("{count} rows of news {what}."))?;
        }
        Ok(())
    }
}

/// Has the rows published again, the newest first: if this is ended halfway, what is published
/// again still ends with the newest.
async fn publish_again(
    context: &Context<'_>,
    conn: &Connection,
    since: DateTime<Utc>,
) -> Result<i64, CliError> {
    // There may be more by now.
    let Kept { first, last, count } = outbox::kept_since(conn, since).await?;
    let mut to = last;
    while to >= first && count > 0 {
        context.check()?;
        let from = first.max(to - BATCH + 1);
        outbox::publish_again(conn, from, to).await?;
        to = from - 1;
    }
    Ok(count)
}

impl Listing<7> for List {
    type Row = Row;
    type Cursor = i64;
    const HEADING: [&'static str; 7] = [
        "ID",
        "KIND",
        "KEY",
        "VERSION",
        "STATE",
        "HAPPENED",
        "PUBLISHED",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&i64>,
        limit: i64,
    ) -> store::Result<Vec<Row>> {
        let only = Filter {
            kind: self.kind.clone(),
            key: self.key.clone(),
            state: self.state,
        };
        outbox::page(conn, &only, after.copied(), limit).await
    }

    fn cursor(&self, row: &Row) -> i64 {
        row.id
    }

    fn id(&self, id: &i64) -> String {
        id.to_string()
    }

    fn cells(&self, row: &Row) -> [String; 7] {
        [
            row.id.to_string(),
            row.kind.clone(),
            row.key.clone(),
            row.row_version.to_string(),
            row.state.clone(),
            time(row.created_at),
            row.published_at.map(time).unwrap_or_default(),
        ]
    }

    fn object(&self, row: &Row) -> serde_json::Value {
        json!({
            "id": row.id.to_string(),
            "kind": row.kind,
            "key": row.key,
            "row_version": row.row_version,
            "state": row.state,
            "created_at": stamp(row.created_at),
            "published_at": row.published_at.map(stamp),
            "payload": row.payload,
        })
    }
}
