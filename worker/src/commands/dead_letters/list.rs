//! `worker dead-letters list`.

use clap::Args;
use diesel_async::AsyncPgConnection;
use serde_json::json;

use super::select::Filters;
use crate::{
    commands::{
        context::{Context, Form},
        failed::Failed,
        output::{or_empty, safe, stamp, time},
    },
    store::{
        dead_letter::{self, Cursor, DEAD, Filter, Summary},
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
    /// Begin behind this dead letter: the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl List {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let conn = context.connect().await?;
        let filter = self.filters.filter(Vec::new(), DEAD);
        let mut after = None;
        if let Some(id) = &self.after {
            let letter = dead_letter::load(&conn, std::slice::from_ref(id)).await?;
            let Some(letter) = letter.into_iter().next() else {
                let why = format!("there is no dead letter {}", safe(id));
                return Err(Failed::NotFound(why));
            };
            after = Some(Cursor {
                first_at: letter.first_at,
                id: letter.id,
            });
        }
        let order = Order::NewestFirst;
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

/// Prints what matches, in the order given.
pub(super) async fn print(
    context: &Context<'_>,
    conn: &AsyncPgConnection,
    filter: &Filter,
    order: Order,
    limit: u64,
    form: Form,
) -> Result<(), Failed> {
    pages(context, conn, filter, order, None, limit, form)
        .await
        .map(drop)
}

/// Prints page after page; gives back how many and the last id.
async fn pages(
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
        let page = dead_letter::page(conn, filter, order, after.as_ref(), room).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.cursor());
        printed += u64::try_from(page.len()).unwrap_or(u64::MAX);
        if form.json {
            for letter in &page {
                output.object(&object(letter))?;
            }
        } else {
            let heading = [
                "ID",
                "TYPE",
                "ACCOUNT",
                "REASON",
                "FIRST DEAD",
                "LAST DEAD",
                "TRIES",
                "STATE",
            ];
            output.table(heading, page.iter().map(row))?;
        }
    }
    Ok(after.map(|last| (printed, last.id)))
}

fn object(letter: &Summary) -> serde_json::Value {
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

fn row(letter: &Summary) -> [String; 8] {
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
