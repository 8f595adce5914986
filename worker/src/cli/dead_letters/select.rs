//! Which dead letters a command is about.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use store::{
    Connection,
    dead_letter::State as Stored,
    dead_letter_query::{self, Filter},
};

use crate::cli::{
    error::CliError,
    output::{safe, unknown},
    time_arg,
};

/// The states on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// It waits for an operator
    Dead,
    /// It was sent again and is not decided yet
    Replayed,
    /// It was applied after all
    Resolved,
    /// An operator gave it up
    Discarded,
    /// Any of them
    Any,
}

impl State {
    fn stored(self) -> Option<Stored> {
        match self {
            Self::Dead => Some(Stored::Dead),
            Self::Replayed => Some(Stored::Replayed),
            Self::Resolved => Some(Stored::Resolved),
            Self::Discarded => Some(Stored::Discarded),
            Self::Any => None,
        }
    }
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
    /// Only with this reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only first dead since then: 2h, 3d, 2026-11-22, 2026-11-22T10:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = time_arg::parse)]
    since: Option<DateTime<Utc>>,
    /// Only first dead before then
    #[arg(long, value_name = "WHEN", value_parser = time_arg::parse)]
    until: Option<DateTime<Utc>>,
    /// Only in this state [default: dead]
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
}

/// A selection for a command that changes something.
#[derive(Debug, Args)]
pub(super) struct Select {
    /// Ids of dead letters, as listed
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

impl Filters {
    /// The filter, in `state` unless another is asked for.
    pub(super) fn filter(&self, ids: Vec<String>, state: Stored) -> Filter {
        Filter {
            ids,
            event_type: self.event_type.clone(),
            account: self.account.clone(),
            reason: self.reason.clone(),
            state: self.state.map_or(Some(state), State::stored),
            since: self.since,
            until: self.until,
        }
    }

    fn is_empty(&self) -> bool {
        let texts = [&self.event_type, &self.account, &self.reason];
        texts.iter().all(|text| text.is_none())
            && self.since.is_none()
            && self.until.is_none()
            && self.state.is_none()
    }
}

impl Select {
    /// The filter, where something was selected.
    pub(super) fn filter(&self, state: Stored) -> Result<Filter, CliError> {
        if self.ids.is_empty() && self.filters.is_empty() && !self.all {
            let help = "name ids, give a filter such as --reason, or say --all";
            return Err(CliError::Usage(help.into()));
        }
        if matches!(self.filters.state, Some(State::Any | State::Resolved)) {
            let help = "choose --state dead, replayed or discarded: what is resolved was applied";
            return Err(CliError::Usage(help.into()));
        }
        Ok(self.filters.filter(self.ids.clone(), state))
    }

    /// Every id that was named must be there.
    pub(super) async fn check_ids(&self, conn: &Connection) -> Result<(), CliError> {
        let known = dead_letter_query::known(conn, &self.ids).await?;
        if let Some(unknown) = unknown(&self.ids, &known) {
            return Err(CliError::NotFound(format!(
                "there is no dead letter {unknown}"
            )));
        }
        for (id, state) in known {
            if state != Stored::Dead.as_str() {
                eprintln!("{}: {state}", safe(&id));
            }
        }
        Ok(())
    }
}
