//! `worker forget`: erases what is kept of one connected account.

use std::collections::BTreeSet;

use clap::Args;
use event::Envelope;
use serde_json::json;
use store::{
    Connection, archive,
    archive_page::ArchivePage,
    erasure::{self, Erased},
};

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    output::safe,
};

/// The most numbers of archive pages that are read at once.
const PAGE: i64 = 100;

#[derive(Debug, Args)]
#[command(
    after_help = "Disconnect the account first, and wait until its last events were applied: an \
event that comes for the first time is taken like any other.

Erased are: the bytes of its events and its dead letters, what is known of its invoices, \
sessions and of the account, its claims on bookings, and its row of \"HostOnboarding\". The \
ledger keeps the ids and types of its events, so that one that comes late brings nothing back.

The rows of \"Invoice\" stay: the main app keeps or deletes them, as tax law asks of it. What \
backups, the broker's queues and Stripe hold stays as well: see docs/OPERATIONS.md.

It can be interrupted and repeated.

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
        let bodies = self.erase_bodies(context, &mut conn).await?;
        let erased = match self.change.dry_run {
            true => erasure::count(&conn, &self.account).await?,
            false => {
                let account = &self.account;
                store::write(&mut conn, async |tx| erasure::rows(tx, account).await).await?
            }
        };
        self.print(bodies, &erased)
    }

    /// Erases the bytes of the account's events from every page that has some. Gives back how
    /// many events that were.
    async fn erase_bodies(
        &self,
        context: &Context<'_>,
        conn: &mut Connection,
    ) -> Result<usize, CliError> {
        let ids = erasure::events(conn, &self.account).await?;
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let (mut after, mut erased) = (i64::MIN, 0);
        loop {
            let pages = erasure::pages(conn, after, PAGE).await?;
            let Some(last) = pages.last() else {
                return Ok(erased);
            };
            after = *last;
            for page in pages {
                context.check()?;
                erased += self.erase_from(conn, page, &ids).await?;
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
