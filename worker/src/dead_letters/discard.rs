//! Giving dead letters up for an operator.

use store::{
    Connection, Result, dead_letter,
    dead_letter_query::{self, Filter},
    paging::{Cursor, Order},
};

/// The most dead letters in one transaction.
const PAGE: u64 = 200;

/// Gives up dead letters page by page.
#[derive(Debug)]
pub struct Discard {
    filter: Filter,
    by: String,
    left: u64,
    after: Option<Cursor>,
}

impl Discard {
    /// To give up at most `limit` that the filter matches, oldest first.
    pub fn new(filter: Filter, by: String, limit: u64) -> Self {
        Self {
            filter,
            by,
            left: limit,
            after: None,
        }
    }

    /// Gives up one page. Returns the ids; `None` at the end.
    ///
    /// # Errors
    /// The database; the pages before stay given up.
    pub async fn next_page(&mut self, conn: &mut Connection) -> Result<Option<Vec<String>>> {
        let limit = i64::try_from(PAGE.min(self.left)).unwrap_or(1);
        if limit == 0 {
            return Ok(None);
        }
        let (order, after) = (Order::OldestFirst, self.after.as_ref());
        let page = dead_letter_query::page(conn, &self.filter, order, after, limit).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.after = Some(last.cursor());
        let ids: Vec<String> = page.into_iter().map(|letter| letter.id).collect();
        let by = &self.by;
        let discarded = store::write(conn, async |tx| dead_letter::discard(tx, &ids, by).await);
        let discarded = discarded.await?;
        let count = u64::try_from(discarded.len()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(count);
        Ok(Some(discarded))
    }
}
