//! `worker events`: what became of events.

mod list;
pub(super) mod replays;
mod show;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;

use super::{
    confirm::confirm,
    context::Context,
    failed::Failed,
    moment,
    output::{safe, unknown},
    replay::{self, Sending},
};
use crate::{
    replay::What,
    store::{
        history::{self, Filter},
        page::Order,
    },
};

/// What can be judged again: dead events are `dead-letters replay`'s.
const REPLAYABLE: [&str; 3] = ["applied", "stale", "waiting"];

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Show what became of one event
    #[command(after_help = "Outcomes:
  applied   it changed what is known
  stale     all of it, or something later, was known already
  waiting   its invoice has no booking to show it at yet, or nobody knows whose
            booking it names
  ignored   not for us; the reason says why
  dead      it could not be applied: worker dead-letters show EVENT_ID
  replayed  it was dead, was sent again, and is not judged yet

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
    /// Have events judged again whose bytes are kept, as after a mistake in a handler
    #[command(
        after_help = "An event is judged again once for each replay, and ends in the same rows as \
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
        value_parser = ["applied", "stale", "waiting", "ignored", "dead", "replayed"])]
    outcome: Vec<String>,
    /// Only first judged since then: 2h, 3d, 2026-11-22, 2026-11-22T10:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<DateTime<Utc>>,
    /// Only first judged before then
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Ids of events
    #[arg(value_name = "EVENT_ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All events whose bytes are kept
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    sending: Sending,
}

impl Events {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
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
    async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let filter = self.filter()?;
        let conn = context.connect().await?;
        self.check_ids(&conn, &filter.outcomes).await?;
        let count = self.sending.limited(history::count(&conn, &filter).await?);
        if count == 0 && !self.ids.is_empty() {
            let why = "none of these events can be replayed; see worker events show";
            return Err(Failed::NotFound(why.into()));
        }
        if self.sending.dry_run {
            let (form, order) = (self.sending.form, Order::OldestFirst);
            list::pages(context, &conn, &filter, order, None, count, form).await?;
            return self.sending.told(
                "events would be replayed, where their bytes are kept",
                count,
            );
        }
        if count == 0 {
            return self.sending.told("events to replay", 0);
        }
        let question = format!("Have {count} events judged again");
        confirm(&question, self.sending.yes, &context.stop).await?;
        replay::run(context, conn, &self.sending, What::Events(filter), count).await
    }

    /// Refuses ids that the worker has not seen, and tells of those that are left out.
    async fn check_ids(&self, conn: &AsyncPgConnection, outcomes: &[String]) -> Result<(), Failed> {
        let known = history::outcomes(conn, &self.ids).await?;
        if let Some(unknown) = unknown(&self.ids, &known) {
            return Err(Failed::NotFound(format!(
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

    fn filter(&self) -> Result<Filter, Failed> {
        if self.ids.is_empty() && self.filters.is_empty() && !self.all {
            let help = "name events, give a filter such as --type or --since, or say --all";
            return Err(Failed::Usage(help.into()));
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
            let help = "only applied, stale and waiting events are kept; \
                for dead ones use worker dead-letters replay";
            return Err(Failed::Usage(help.into()));
        }
        // What this replay itself brings is not part of it.
        filter.until = filter.until.or_else(|| moment::parse("0s").ok());
        Ok(filter)
    }
}
