//! `worker forget`: erases what is kept of one connected account.

use std::collections::BTreeSet;

use clap::Args;
use event::Envelope;
use serde_json::json;
use store::{
    Connection, WriteTx, archive,
    archive_page::ArchivePage,
    erasure::{self, Erased, Part},
};

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    output::safe,
};

/// The most numbers of archive pages that are read at once.
const PAGE: i64 = 100;
/// The most rows of a table that are looked at at once, which nobody waits for.
const LOOK: i64 = 20_000;
/// The most of an account's rows that are erased in one transaction: all writers wait meanwhile.
const ERASE: usize = 1000;
/// As [`ERASE`], as a number of rows of news.
const ERASE_NEWS: i64 = 1000;

#[derive(Debug, Args)]
#[command(
    after_help = "Disconnect the account first, and wait until its last events were applied: an \
event that comes for the first time is taken like any other.

Erased are: the bytes of its events and its dead letters, what is known of its invoices, \
sessions and of the account, its claims on bookings, and its row of \"HostOnboarding\". The \
ledger keeps the ids and types of its events, so that one that comes late brings nothing back.

The rows of \"Invoice\" stay: the main app keeps or deletes them, as tax law asks of it. What \
backups, the broker's queues and Stripe hold stays as well: see docs/OPERATIONS.md.

It is done in parts, each of which is a transaction of its own, and can be interrupted and \
repeated.

Example:
  worker forget --account acct_1abc --dry-run"
)]
pub(super) struct Forget {
    /// The connected account
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    form: OutputFormat,
}

impl Forget {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        // The platform's own events have an empty account.
        if !self.account.starts_with("acct_") {
            let given = safe(&self.account);
            return Err(CliError::Usage(format!("{given} is no connected account")));
        }
        let mut conn = context.connect().await?;
        if !self.change.dry_run {
            let question = format!("Erase what is kept of {}", safe(&self.account));
            self.change.confirm(&question, &context.stop).await?;
        }
        // The bytes first: the ledger tells whose they are, as long as it names the account.
        let ids = self.all_ids(context, &conn, Part::Events).await?;
        let bodies = self.erase_bodies(context, &mut conn, &ids).await?;
        self.say("bodies of events", bodies);
        let mut erased = self
            .erase_part(context, &mut conn, Part::Events, &ids)
            .await?;
        for part in Part::ALL.into_iter().filter(|part| *part != Part::Events) {
            let ids = self.all_ids(context, &conn, part).await?;
            erased += self.erase_part(context, &mut conn, part, &ids).await?;
        }
        erased.rows += self.erase_news(context, &conn).await?;
        let account = &self.account;
        erased += match self.change.dry_run {
            true => erasure::count_few(&conn, account).await?,
            false => {
                store::write(&mut conn, async |tx| erasure::erase_few(tx, account).await).await?
            }
        };
        self.print(bodies, &erased)
    }

    /// The ids of the account's rows of a table.
    async fn all_ids(
        &self,
        context: &Context<'_>,
        conn: &Connection,
        part: Part,
    ) -> Result<BTreeSet<String>, CliError> {
        let (mut all, mut after) = (BTreeSet::new(), String::new());
        while let Some((last, ids)) = erasure::next(conn, part, &self.account, &after, LOOK).await?
        {
            context.check()?;
            all.extend(ids);
            after = last;
        }
        Ok(all)
    }

    /// Erases rows of a table in parts, or counts them.
    async fn erase_part(
        &self,
        context: &Context<'_>,
        conn: &mut Connection,
        part: Part,
        ids: &BTreeSet<String>,
    ) -> Result<Erased, CliError> {
        let (account, mut erased) = (&self.account, Erased::default());
        let ids: Vec<String> = ids.iter().cloned().collect();
        for (number, ids) in ids.chunks(ERASE).enumerate() {
            context.check()?;
            erased += match self.change.dry_run {
                true => erasure::count(conn, part, account, ids).await?,
                false => {
                    let erase =
                        async |tx: &WriteTx<'_>| erasure::erase(tx, part, account, ids).await;
                    store::write(conn, erase).await?
                }
            };
            self.say(part.name(), number * ERASE + ids.len());
        }
        Ok(erased)
    }

    async fn erase_news(
        &self,
        context: &Context<'_>,
        conn: &Connection,
    ) -> Result<usize, CliError> {
        if self.change.dry_run {
            return Ok(erasure::count_news(conn, &self.account).await?);
        }
        let mut erased = 0;
        loop {
            context.check()?;
            match erasure::erase_news(conn, &self.account, ERASE_NEWS).await? {
                0 => return Ok(erased),
                some => erased += some,
            }
        }
    }

    /// How far it is, for people.
    fn say(&self, what: &str, done: usize) {
        if !self.form.json && !self.change.dry_run && done > 0 {
            eprintln!("{done} {what}");
        }
    }

    /// Erases the bytes of the account's events from every page that has some. Returns how
    /// many events that were.
    async fn erase_bodies(
        &self,
        context: &Context<'_>,
        conn: &mut Connection,
        ids: &BTreeSet<String>,
    ) -> Result<usize, CliError> {
        let (mut after, mut erased) = (i64::MIN, 0);
        loop {
            let pages = erasure::pages(conn, after, PAGE).await?;
            let Some(last) = pages.last() else {
                return Ok(erased);
            };
            after = *last;
            for page in pages {
                context.check()?;
                erased += self.erase_from(conn, page, ids).await?;
            }
        }
    }

    async fn erase_from(
        &self,
        conn: &mut Connection,
        id: i64,
        ids: &BTreeSet<String>,
    ) -> Result<usize, CliError> {
        let Some(page) = archive::load(conn, id).await? else {
            return Ok(0);
        };
        let is_erased = |id: &str, body: &[u8]| ids.contains(id) || self.is_of_account(body);
        let (left, erased) = page.without(is_erased).map_err(CliError::Output)?;
        if erased == 0 || self.change.dry_run {
            return Ok(erased);
        }
        let left: Option<&ArchivePage> = left.as_ref();
        store::write(conn, async |tx| erasure::replace_page(tx, id, left).await).await?;
        Ok(erased)
    }

    /// Whether an event is of the account, also where the ledger has it no longer.
    fn is_of_account(&self, body: &[u8]) -> bool {
        let envelope = Envelope::read(body).ok();
        envelope.is_some_and(|envelope| envelope.account.as_deref() == Some(&*self.account))
    }

    fn print(&self, bodies: usize, erased: &Erased) -> Result<(), CliError> {
        let mut output = self.form.output();
        let Erased {
            rows,
            dead_letters,
            ledger,
            hosts,
        } = erased;
        if output.json {
            let object = json!({
                "dry_run": self.change.dry_run,
                "account": self.account,
                "bodies": bodies,
                "dead_letters": dead_letters,
                "rows": rows,
                "host_rows": hosts,
                "ledger_rows": ledger,
            });
            return Ok(output.object(&object)?);
        }
        let verb = if self.change.dry_run {
            "would be"
        } else {
            "were"
        };
        output.line(&format!(
            "{bodies} bodies of events, {dead_letters} dead letters, {rows} rows of the schema \
             stripe and {hosts} of \"HostOnboarding\" {verb} erased."
        ))?;
        output.line(&format!(
            "{ledger} rows of the ledger keep the event's id and type alone. The rows of \
             \"Invoice\" are the main app's."
        ))?;
        Ok(())
    }
}
