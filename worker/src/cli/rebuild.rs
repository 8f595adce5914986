//! `worker rebuild`: computes rows anew from the archived events.

use chrono::Duration;
use clap::{ArgGroup, Args};
use domain::ids::{BookingId, ObjectId};
use serde_json::json;
use shared::clock;
use store::{
    Connection, outbox,
    rebuild::{self, Subject},
};

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    output::{Output, safe},
};
use crate::{
    config::{Config, MIN_LEDGER_DAYS},
    pipeline::{
        delivery::Decoder,
        executor::BatchExecutor,
        rebuild::{Rebuild as Rebuilder, Rebuilt},
    },
    service,
};

/// The most objects in one transaction: events wait meanwhile.
const PAGE: i64 = 50;
/// The most objects that are named when what is known of them was kept.
const NAMED: usize = 20;
/// The most objects of one booking.
const MAX_OF_BOOKING: i64 = 1000;

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true)),
    after_help = "What the events of an object said is forgotten and taken in again from the \
archived bytes, in one transaction, by the rules of this release. So a value that an earlier \
release read wrongly is mended. The rows of the main app follow.

An object keeps what is known of it, and only the main app's rows are computed anew, where the \
bytes of one of its events are no longer archived, or where Stripe made it so long ago that \
some of its events may be older than the ledger.

Events that are dead stay dead, but for those whose booking is theirs now: replay them.

It can be interrupted and repeated. It needs the variables of `worker run`, but for CHANGES: \
whether the main app is told of its rows is as the running worker has it.

Examples:
  worker rebuild --object in_1abc --dry-run
  worker rebuild --account acct_1abc --yes
  worker rebuild --booking 7 --yes"
)]
pub(super) struct Rebuild {
    /// An invoice, a Checkout Session, a connected account, a charge or a credit note
    #[arg(long, value_name = "ID", group = "what")]
    object: Option<String>,
    /// A connected account with all of its objects
    #[arg(long, value_name = "ACCOUNT", group = "what")]
    account: Option<String>,
    /// A booking's row, with all invoices and sessions that name the booking
    #[arg(long, value_name = "ID", group = "what")]
    booking: Option<i32>,
    /// Everything
    #[arg(long, group = "what")]
    all: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    form: OutputFormat,
}

/// What came of all pages.
#[derive(Debug, Default)]
struct Total {
    rebuilt: usize,
    events: usize,
    pending: usize,
    kept: usize,
    /// The first of those whose state was kept.
    named: Vec<String>,
}

impl Total {
    fn add(&mut self, page: &Rebuilt) {
        self.rebuilt += page.rebuilt.len();
        self.events += page.events;
        self.pending += page.pending;
        self.kept += page.kept.len();
        let room = NAMED.saturating_sub(self.named.len());
        let named = page.kept.iter().take(room);
        self.named.extend(named.map(|subject| safe(subject.id())));
    }
}

impl Rebuild {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let config = Config::from_env(context.env)?;
        let conn = context.connect().await?;
        service::deployment::check_same(&conn, &config).await??;
        if !self.change.dry_run {
            self.change.confirm(&self.question(), &context.stop).await?;
        }
        let pool = context.database.pool();
        let archive = config.retention.archive();
        let mut executor = BatchExecutor::new(pool, config.owner_query.clone(), archive);
        // The row is written once: without its news, nobody would tell the main app of it.
        executor.outbox = outbox::setting(&conn).await?.unwrap_or(config.outbox);
        let decoder = Decoder {
            rules: config.rules,
            decode: domain::event::decode,
        };
        let now = clock::now_utc();
        let rebuilder = Rebuilder {
            executor: &executor,
            decoder: &decoder,
            complete_since: now - Duration::days(MIN_LEDGER_DAYS.into()),
        };
        let total = self.all_pages(context, &conn, &rebuilder).await?;
        self.print(&mut self.form.output(), &total)?;
        match total.kept == 0 || self.all || self.change.dry_run {
            true => Ok(()),
            false => Err(CliError::NotAllWell),
        }
    }

    fn question(&self) -> String {
        match (&self.object, &self.account, self.booking) {
            (Some(id), _, _) => format!("Compute {} anew", safe(id)),
            (_, Some(id), _) => format!("Compute {} and its objects anew", safe(id)),
            (_, _, Some(id)) => format!("Compute booking {id} and its objects anew"),
            (None, None, None) => "Compute every object anew".to_owned(),
        }
    }

    async fn all_pages(
        &self,
        context: &Context<'_>,
        conn: &Connection,
        rebuilder: &Rebuilder<'_>,
    ) -> Result<Total, CliError> {
        let mut total = Total::default();
        let bookings: Vec<BookingId> = self.booking.map(BookingId).into_iter().collect();
        if let Some(subjects) = self.named(conn, &bookings).await? {
            self.page(rebuilder, &subjects, &bookings, &mut total)
                .await?;
            return Ok(total);
        }
        let mut after: Option<Subject> = None;
        loop {
            context.check()?;
            let account = self.account.as_deref();
            let page = rebuild::page(conn, account, after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else {
                return Ok(total);
            };
            self.page(rebuilder, &page, &[], &mut total).await?;
            if !self.form.json {
                let done = total.rebuilt + total.kept;
                eprintln!("{done} objects, up to {}", safe(last.id()));
            }
            after = Some(last);
        }
    }

    /// The objects that are named one by one; `None` where they are read in pages.
    async fn named(
        &self,
        conn: &Connection,
        bookings: &[BookingId],
    ) -> Result<Option<Vec<Subject>>, CliError> {
        if let Some(id) = &self.object {
            let found = rebuild::find(conn, id).await?;
            return match (found.is_empty(), by_prefix(id)) {
                (false, _) => Ok(Some(found)),
                (true, Some(subject)) if is_known(conn, &subject).await? => Ok(Some(vec![subject])),
                (true, _) => {
                    let unknown = format!("no event of {} is known", safe(id));
                    Err(CliError::NotFound(unknown))
                }
            };
        }
        if bookings.is_empty() {
            return Ok(None);
        }
        Ok(Some(
            rebuild::objects_of(conn, bookings, MAX_OF_BOOKING).await?,
        ))
    }

    async fn page(
        &self,
        rebuilder: &Rebuilder<'_>,
        subjects: &[Subject],
        bookings: &[BookingId],
        total: &mut Total,
    ) -> Result<(), CliError> {
        let done = match self.change.dry_run {
            true => rebuilder.plan(subjects).await?,
            false => rebuilder.run(subjects, bookings).await?,
        };
        total.add(&done);
        Ok(())
    }

    fn print(&self, output: &mut Output, total: &Total) -> Result<(), CliError> {
        let Total {
            rebuilt,
            events,
            pending,
            kept,
            named,
        } = total;
        if output.json {
            let object = json!({
                "dry_run": self.change.dry_run,
                "rebuilt": rebuilt,
                "events": events,
                "kept": kept,
                "kept_objects": named,
                "pending_rows": pending,
            });
            return Ok(output.object(&object)?);
        }
        let would = if self.change.dry_run { "would be " } else { "" };
        output.line(&format!(
            "{rebuilt} objects {would}computed anew from {events} events."
        ))?;
        if *kept > 0 {
            let more = if *kept > named.len() { ", ..." } else { "" };
            output.line(&format!(
                "{kept} keep what is known of them, because some of their events may not be \
                 archived: {}{more}",
                named.join(", ")
            ))?;
        }
        if *pending > 0 {
            output.line(&format!(
                "{pending} rows of the main app are pending: worker projections list"
            ))?;
        }
        Ok(())
    }
}

/// What an id is by its beginning: its row may be gone.
fn by_prefix(id: &str) -> Option<Subject> {
    match id.split_once('_')?.0 {
        "in" => Some(Subject::Object(ObjectId::Invoice(id.into()))),
        "cs" => Some(Subject::Object(ObjectId::CheckoutSession(id.into()))),
        "acct" => Some(Subject::Account(id.into())),
        "ch" | "py" => Some(Subject::Charge(id.into())),
        "cn" => Some(Subject::CreditNote(id.into())),
        _ => None,
    }
}

async fn is_known(conn: &Connection, subject: &Subject) -> store::Result<bool> {
    let events = rebuild::events(conn, std::slice::from_ref(subject)).await?;
    Ok(!events.is_empty())
}
