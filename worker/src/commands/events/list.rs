//! `worker events list`.

use clap::Args;
use diesel_async::AsyncPgConnection;

use super::{Filters, show};
use crate::{
    commands::{
        context::{Context, Form},
        failed::Failed,
        output::{or_empty, safe, time},
    },
    store::{
        history::{self, Cursor, Filter, Row},
        page::Order,
    },
};

/// The most rows held at once.
const PAGE: u64 = 500;

#[derive(Debug, Args)]
pub(in crate::commands) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Print at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Begin behind this event: the last one of the page before
    #[arg(long, value_name = "EVENT_ID")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl List {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let conn = context.connect().await?;
        let mut after = None;
        if let Some(id) = &self.after {
            let Some(row) = history::find(&conn, id).await? else {
                return Err(Failed::NotFound(format!("there is no event {}", safe(id))));
            };
            after = Some(row.cursor());
        }
        let (filter, order) = (self.filters.filter(), Order::NewestFirst);
        let last = pages(context, &conn, &filter, order, after, self.limit, self.form).await?;
        match last {
            Some((printed, last)) if printed == self.limit => {
                eprintln!("More may follow: --after {}", safe(&last));
            }
            Some(_) => {}
            None => eprintln!("There are none."),
        }
        Ok(())
    }
}

/// Prints page after page; gives back how many and the last id.
pub(super) async fn pages(
    context: &Context<'_>,
    conn: &AsyncPgConnection,
    filter: &Filter,
    order: Order,
    mut after: Option<Cursor>,
    limit: u64,
    form: Form,
) -> Result<Option<(u64, String)>, Failed> {
    let (mut output, mut printed) = (form.output(), 0);
    while printed < limit {
        context.check()?;
        let room = i64::try_from(PAGE.min(limit - printed)).unwrap_or(1);
        let page = history::page(conn, filter, order, after.as_ref(), room).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.cursor());
        printed += u64::try_from(page.len()).unwrap_or(u64::MAX);
        if form.json {
            for event in &page {
                output.object(&show::object(event))?;
            }
        } else {
            let heading = [
                "ID", "TYPE", "ACCOUNT", "OUTCOME", "REASON", "JUDGED", "TRIES", "SOURCE",
            ];
            output.table(heading, page.iter().map(row))?;
        }
    }
    Ok(after.map(|last| (printed, last.id)))
}

fn row(event: &Row) -> [String; 8] {
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
