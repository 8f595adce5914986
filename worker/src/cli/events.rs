//! `worker events`: what became of events.

mod list;
pub(super) mod replays;
mod show;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use store::{
    Connection,
    event_query::{self, Filter},
    paging::Order,
};

use self::list::Ledger;
use super::{
    context::Context,
    error::CliError,
    listing,
    output::{safe, unknown},
    replay::{self, ReplayArgs},
    time_arg,
};
use crate::replay::run::Selection;

/// The outcomes of events that can be decided again: dead events are
/// `dead-letters replay`'s.
const REPLAYABLE: [&str; 2] = ["applied", "stale"];

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Show what became of one event
    #[command(after_help = "Outcomes:
  applied   it changed what is known
  stale     all of it, or something later, was known already
  ignored   not for us; the reason says why
  dead      it could not be applied: worker dead-letters show EVENT_ID
  replayed  it was dead, was sent again, and is not decided yet

Where its invoice cannot be shown to the main app yet, the card says what it waits for.

A delivery that comes twice writes nothing. Exit code 1: the worker has not seen it.")]
    Show(show::Show),
    /// List the ledger, newest first
    #[command(after_help = "Examples:
  worker events list --outcome dead
  worker events list --object in_1abc
  worker events list --type 'invoice.*' --since 2h
  worker events list --account acct_1abc --since 1d --json | jq .id

Without --since, --object or --outcome dead, a filter that matches little reads the whole ledger.")]
    List(list::List),
    /// Have events decided again whose bytes are archived, as after a mistake in a handler
    #[command(
        after_help = "An event is decided again once for each replay, and ends in the same rows as \
the first time if nothing was wrong: the state is a function of the set of events.

Examples:
  worker events replay evt_1abc --follow
  worker events replay --type 'invoice.*' --since 2026-11-21 --until 2026-11-22 --dry-run"
    )]
    Replay(Replay),
}

/// Filters: everything that is given must hold.
#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Only events of this type; invoice.* is all that begin so
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of this connected account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only about this invoice, Checkout Session or account
    #[arg(long, value_name = "OBJECT_ID")]
    object: Option<String>,
    /// Only with this outcome; may be given several times
    #[arg(long, value_name = "OUTCOME",
        value_parser = ["applied", "stale", "ignored", "dead", "replayed"])]
    outcome: Vec<String>,
    /// Only first decided since then: 2h, 3d, 2026-11-22, 2026-11-22T10:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = time_arg::parse)]
    since: Option<DateTime<Utc>>,
    /// Only first decided before then
    #[arg(long, value_name = "WHEN", value_parser = time_arg::parse)]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Ids of events
    #[arg(value_name = "EVENT_ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All events whose bytes are archived
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    args: ReplayArgs,
}

impl Events {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        match self {
            Self::Show(show) => show.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Replay(replay) => replay.run(context).await,
        }
    }
}

impl Filters {
    fn filter(&self) -> Filter {
        Filter {
            ids: Vec::new(),
            event_type: self.event_type.clone(),
            account: self.account.clone(),
            object: self.object.clone(),
            outcomes: self.outcome.clone(),
            since: self.since,
            until: self.until,
        }
    }

    fn is_empty(&self) -> bool {
        self.event_type.is_none()
            && self.account.is_none()
            && self.object.is_none()
            && self.outcome.is_empty()
            && self.since.is_none()
            && self.until.is_none()
    }
}

impl Replay {
    async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let filter = self.filter()?;
        let conn = context.connect().await?;
        self.check_ids(&conn, &filter.outcomes).await?;
        let count = self.args.limited(event_query::count(&conn, &filter).await?);
        if count == 0 && !self.ids.is_empty() {
            let why = "none of these events can be replayed; see worker events show";
            return Err(CliError::NotFound(why.into()));
        }
        if self.args.change.dry_run {
            let order = Order::OldestFirst;
            let ledger = Ledger { filter, order };
            listing::print(context, &conn, &ledger, None, count, self.args.form).await?;
            return self.args.print_unchanged(
                "events would be replayed, where their bytes are archived",
                count,
            );
        }
        if count == 0 {
            return self.args.print_unchanged("events to replay", 0);
        }
        let question = format!("Have {count} events decided again");
        self.args.change.confirm(&question, &context.stop).await?;
        replay::run(context, conn, &self.args, Selection::Events(filter), count).await
    }

    /// Refuses ids that the worker has not seen, and tells of those that are left out.
    async fn check_ids(&self, conn: &Connection, outcomes: &[String]) -> Result<(), CliError> {
        let known = event_query::outcomes(conn, &self.ids).await?;
        if let Some(unknown) = unknown(&self.ids, &known) {
            return Err(CliError::NotFound(format!(
                "the worker has not seen {unknown}"
            )));
        }
        for (id, outcome) in known {
            if !outcomes.contains(&outcome) {
                eprintln!("{}: {outcome}, left out", safe(&id));
            }
        }
        Ok(())
    }

    fn filter(&self) -> Result<Filter, CliError> {
        if self.ids.is_empty() && self.filters.is_empty() && !self.all {
            let help = "name events, give a filter such as --type or --since, or say --all";
            return Err(CliError::Usage(help.into()));
        }
        let mut filter = self.filters.filter();
        filter.ids.clone_from(&self.ids);
        if filter.outcomes.is_empty() {
            filter.outcomes = REPLAYABLE.map(str::to_owned).to_vec();
        }
        if filter
            .outcomes
            .iter()
            .any(|outcome| !REPLAYABLE.contains(&outcome.as_str()))
        {
            let help = "only applied and stale events are sent again by this; \
                for dead ones use worker dead-letters replay";
            return Err(CliError::Usage(help.into()));
        }
        // Events that this replay itself brings are not part of it.
        filter.until = filter.until.or_else(|| time_arg::parse("0s").ok());
        Ok(filter)
    }
}
