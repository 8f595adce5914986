//! Printing a list page by page: a table for people, a JSON object a line for programs.

use std::future::Future;

use clap::Args;
use serde_json::Value;
use store::{Connection, Result as StoreResult};

use super::{
    context::{Context, OutputFormat},
    error::CliError,
    output::{Output, safe},
};

/// The most rows held at once.
const PAGE: u64 = 500;

/// Options of every list.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct PageArgs {
    /// Print at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    form: OutputFormat,
}

/// A list that is read in pages.
pub(super) trait Listing<const N: usize>: Sync {
    /// A row.
    type Row: Sync;
    /// Where a page ends.
    type Cursor: Clone + Send + Sync;
    /// The heading of the table.
    const HEADING: [&'static str; N];

    /// The page behind `after`.
    fn page(
        &self,
        conn: &Connection,
        after: Option<&Self::Cursor>,
        limit: i64,
    ) -> impl Future<Output = StoreResult<Vec<Self::Row>>> + Send;
    /// Where a page that ends with this row ends.
    fn cursor(&self, row: &Self::Row) -> Self::Cursor;
    /// The id by which `--after` names a cursor.
    fn id(&self, cursor: &Self::Cursor) -> String;
    /// The row for people.
    fn cells(&self, row: &Self::Row) -> [String; N];
    /// The row for programs.
    fn object(&self, row: &Self::Row) -> Value;
}

/// Prints a page of rows behind `after`, and says whether more may follow.
pub(super) async fn list<const N: usize, L: Listing<N>>(
    context: &Context<'_>,
    conn: &Connection,
    listing: &L,
    after: Option<L::Cursor>,
    PageArgs { limit, form }: PageArgs,
) -> Result<(), CliError> {
    match print(context, conn, listing, after, limit, form).await? {
        Some((printed, last)) if printed == limit => {
            eprintln!("More may follow: --after {}", safe(&listing.id(&last)));
        }
        Some(_) => {}
        None => eprintln!("There are none."),
    }
    Ok(())
}

/// Prints at most `limit` rows behind `after`. Returns how many, and where they end;
/// `None` where there was no row.
pub(super) async fn print<const N: usize, L: Listing<N>>(
    context: &Context<'_>,
    conn: &Connection,
    listing: &L,
    mut after: Option<L::Cursor>,
    limit: u64,
    format: OutputFormat,
) -> Result<Option<(u64, L::Cursor)>, CliError> {
    let (mut output, mut printed) = (format.output(), 0);
    let mut last = None;
    while printed < limit {
        context.check()?;
        let room = i64::try_from(PAGE.min(limit - printed)).unwrap_or(1);
        let page = listing.page(conn, after.as_ref(), room).await?;
        let Some(end) = page.last().map(|row| listing.cursor(row)) else {
            break;
        };
        printed += u64::try_from(page.len()).unwrap_or(u64::MAX);
        write(&mut output, listing, &page)?;
        after = Some(end.clone());
        last = Some((printed, end));
    }
    Ok(last)
}

fn write<const N: usize, L: Listing<N>>(
    output: &mut Output,
    listing: &L,
    page: &[L::Row],
) -> Result<(), CliError> {
    if output.json {
        for row in page {
            output.object(&listing.object(row))?;
        }
    } else {
        output.table(L::HEADING, page.iter().map(|row| listing.cells(row)))?;
    }
    Ok(())
}
