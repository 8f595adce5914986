//! `worker dead-letters`: what could not be applied.

mod list;
mod select;
mod show;

use clap::{Args, Subcommand};
use store::{dead_letter::State, dead_letter_query, paging::Order};

use self::{list::Letters, select::Select};
use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    listing,
    replay::{self, ReplayArgs},
};
use crate::{
    dead_letters::discard,
    replay::run::{Selection, recover},
};

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them, newest first
    #[command(after_help = "Examples:
  worker dead-letters list
  worker dead-letters list --reason booking_claimed_by_other_account --since 2d
  worker dead-letters list --state any --type 'invoice.*' --json | jq .id
  worker dead-letters list --after evt_1abc        the page behind that one")]
    List(list::List),
    /// Show one: why it is dead, its history and its headers
    #[command(after_help = "Examples:
  worker dead-letters show evt_1abc
  worker dead-letters show evt_1abc --body | jq .data.object

The body holds personal data: names, e-mail addresses, amounts.")]
    Show(show::Show),
    /// Send them again, after the cause is put right
    #[command(
        after_help = "Each is published with its exact bytes and properties to the exchange that \
events come by, and is decided by the worker as if it came for the first time. An event that was \
applied meanwhile is not applied twice. One that fails again is the same dead letter, with one \
more attempt.

Examples:
  worker dead-letters replay evt_1abc --follow
  worker dead-letters replay --reason unknown_status --since 1d --dry-run
  worker dead-letters replay --reason unknown_status --since 1d --rate 100 --yes
  worker dead-letters replay --state replayed --until 1h    sent, but never decided"
    )]
    Replay(Replay),
    /// Give them up: they are kept, and listed with --state discarded
    #[command(after_help = "Examples:
  worker dead-letters discard evt_1abc
  worker dead-letters discard --type 'invoice.*' --reason invalid_booking_id --dry-run")]
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    args: ReplayArgs,
}

#[derive(Debug, Args)]
pub(super) struct Discard {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    change: ChangeArgs,
    /// Give up at most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Who does it, for the record [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    form: OutputFormat,
}

impl DeadLetters {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Replay(replay) => replay.run(context).await,
            Self::Discard(discard) => discard.run(context).await,
        }
    }
}

impl Replay {
    async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let filter = self.select.filter(State::Dead)?;
        let mut conn = context.connect().await?;
        if !self.args.change.dry_run {
            recover(&mut conn).await?;
        }
        self.select.check_ids(&conn).await?;
        let count = self
            .args
            .limited(dead_letter_query::count(&conn, &filter).await?);
        if self.args.change.dry_run {
            let (letters, form) = (oldest_first(filter), self.args.form);
            listing::print(context, &conn, &letters, None, count, form).await?;
            return self
                .args
                .print_unchanged("dead letters would be replayed", count);
        }
        if count == 0 {
            return self.args.print_unchanged("dead letters to replay", 0);
        }
        let question = format!("Replay {count} dead letters");
        self.args.change.confirm(&question, &context.stop).await?;
        let selection = Selection::DeadLetters(filter);
        replay::run(context, conn, &self.args, selection, count).await
    }
}

impl Discard {
    async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let filter = self.select.filter(State::Dead)?;
        if filter.state != Some(State::Dead) {
            return Err(CliError::Usage(
                "only dead letters in the state dead can be discarded".into(),
            ));
        }
        let mut conn = context.connect().await?;
        self.select.check_ids(&conn).await?;
        let matching = dead_letter_query::count(&conn, &filter).await?;
        let matching = u64::try_from(matching).unwrap_or(0);
        let count = self.limit.map_or(matching, |limit| limit.min(matching));
        let mut output = self.form.output();
        if self.change.dry_run {
            let letters = oldest_first(filter);
            listing::print(context, &conn, &letters, None, count, self.form).await?;
            eprintln!("{count} dead letters would be discarded. Nothing was changed.");
            return Ok(());
        }
        if count > 0 {
            let question = format!("Discard {count} dead letters");
            self.change.confirm(&question, &context.stop).await?;
        }
        let by = context.by(self.by.as_ref())?;
        let (mut discard, mut discarded) = (discard::Discard::new(filter, by, count), 0);
        loop {
            context.check()?;
            let Some(ids) = discard.next_page(&mut conn).await? else {
                break;
            };
            for id in &ids {
                if output.json {
                    output.object(&serde_json::json!({ "id": id, "state": "discarded" }))?;
                }
            }
            discarded += ids.len();
        }
        eprintln!("{discarded} dead letters discarded.");
        Ok(())
    }
}

/// Dead letters in the order in which they are replayed and discarded.
fn oldest_first(filter: dead_letter_query::Filter) -> Letters {
    let order = Order::OldestFirst;
    Letters { filter, order }
}
