//! The best plain batched SQL: it writes the rows that our worker has written,
//! 500 events to a transaction, with no broker, no reading and no deciding.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures_util::future::{join3, try_join_all};
use tokio_postgres::{Client, Statement, types::ToSql};

use super::rows::{
    ACCOUNT, Array, CLAIM, EVENT, HOST, INVOICE, Rows, SESSION, SHOWN, TABLES, TRANSITION, Table,
};
use crate::events::{Event, Events, Kind, Stream};

/// Events in a transaction, as in our worker.
const BATCH: usize = 500;

/// The rows that some events have led to.
#[derive(Debug)]
pub(crate) struct Written {
    tables: Vec<Rows>,
    batches: Vec<Batch>,
}

/// For each table, the rows to write: by which key, and whether it is for the
/// last time.
type Batch = BTreeMap<usize, BTreeMap<String, bool>>;

impl Written {
    /// Reads back what our worker has written of these events.
    pub(crate) async fn read(client: &Client, events: &Events) -> Result<Self> {
        let mut tables = Vec::new();
        for table in TABLES {
            let rows = Rows::read(client, table).await?;
            if rows.is_there() {
                tables.push(rows);
            }
        }
        let batches = batches(&tables, events);
        Ok(Self { tables, batches })
    }

    /// Writes all of it and says how long that took.
    pub(crate) async fn write(&self, client: &Client) -> Result<Duration> {
        let prepare = self.tables.iter().map(async |rows| {
            let text = rows.statement();
            client.prepare(&text).await.context(text)
        });
        let statements: Vec<Statement> = try_join_all(prepare).await?;
        let batches: Vec<Vec<(usize, Vec<Array<'_>>)>> = self
            .batches
            .iter()
            .map(|batch| self.arrays(batch))
            .collect();
        let start = Instant::now();
        for batch in &batches {
            let writes = batch.iter().filter_map(|(table, arrays)| {
                let statement = statements.get(*table)?;
                let arrays: Vec<&(dyn ToSql + Sync)> = arrays
                    .iter()
                    .map(|array| array as &(dyn ToSql + Sync))
                    .collect();
                Some(async move { client.execute(statement, &arrays).await })
            });
            // All of a transaction goes out at once, in this order.
            let (begun, written, committed) = join3(
                client.batch_execute("BEGIN"),
                try_join_all(writes),
                client.batch_execute("COMMIT"),
            )
            .await;
            begun?;
            written?;
            committed?;
        }
        Ok(start.elapsed())
    }

    fn arrays(&self, batch: &Batch) -> Vec<(usize, Vec<Array<'_>>)> {
        let tables = batch.iter().filter_map(|(place, keys)| {
            let rows = self.tables.get(*place)?;
            // What an object was made of is kept from its second event on.
            let parts = rows.place("parts");
            let (values, blank): (Vec<_>, Vec<_>) = keys
                .iter()
                .filter_map(|(key, is_last)| Some((rows.get(key)?, parts.filter(|_| !is_last))))
                .unzip();
            (!values.is_empty()).then(|| (*place, rows.arrays(&values, &blank)))
        });
        tables.collect()
    }
}

/// Which rows each batch writes.
fn batches(tables: &[Rows], events: &Events) -> Vec<Batch> {
    let stream = Stream::of(events);
    let place = |table: Table| tables.iter().position(|rows| rows.table.name == table.name);
    let ledger = place(EVENT).and_then(|place| tables.get(place));
    let mut last = HashMap::new();
    let mut claimed = HashMap::new();
    let mut batches: Vec<Batch> = Vec::new();
    for (count, number) in events.range.clone().enumerate() {
        if count % BATCH == 0 {
            batches.push(Batch::new());
        }
        let event = stream.event(number);
        let id = stream.id(&event);
        let is_stale = ledger.and_then(|rows| rows.text(&id, "outcome")) == Some("stale");
        let Some(batch) = batches.last_mut() else {
            continue;
        };
        for (table, key) in touched(&stream, &event, id, is_stale) {
            let Some(table) = place(table) else { continue };
            let is_known = claimed.insert((table, key.clone()), ()).is_some();
            if is_known
                && tables
                    .get(table)
                    .is_some_and(|rows| rows.table.name == CLAIM.name)
            {
                continue;
            }
            last.insert((table, key.clone()), count / BATCH);
            batch.entry(table).or_default().insert(key, false);
        }
    }
    for (number, batch) in batches.iter_mut().enumerate() {
        for (table, keys) in batch {
            for (key, is_last) in keys {
                *is_last = last.get(&(*table, key.clone())) == Some(&number);
            }
        }
    }
    batches
}

/// The rows that an event leads to, by table and key.
fn touched(stream: &Stream, event: &Event, id: String, is_stale: bool) -> Vec<(Table, String)> {
    let mut rows = vec![(EVENT, id.clone())];
    if is_stale {
        return rows;
    }
    let object = stream.object(event);
    let of_object: &[Table] = match event.kind {
        Kind::InvoiceCreated | Kind::InvoiceFinalized | Kind::InvoicePaid => {
            &[INVOICE, CLAIM, SHOWN]
        }
        Kind::SessionCompleted => &[SESSION, CLAIM],
        Kind::AccountUpdated => {
            rows.push((TRANSITION, id));
            &[ACCOUNT, HOST]
        }
    };
    rows.extend(of_object.iter().map(|table| (*table, object.clone())));
    rows
}
