//! `worker prune`: removes rows that are older than they have to be kept.

use clap::Args;
use serde_json::json;

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
};
use crate::{
    config::Retention,
    jobs::prune::{self, days},
};
use store::retention::{self, Kind};

#[derive(Debug, Args)]
pub(super) struct Prune {
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    form: OutputFormat,
}

impl Prune {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let retention = Retention::from_env(context.env)?;
        let mut output = self.form.output();
        if !self.change.dry_run {
            let question = "Remove rows that are older than they have to be kept";
            self.change.confirm(question, &context.stop).await?;
        }
        let pool = context.database.pool();
        for kind in Kind::ALL {
            let days = days(retention, kind);
            let count = if self.change.dry_run {
                let conn = pool.get().await.map_err(store::Error::from)?;
                retention::count(&conn, kind, days).await?
            } else {
                let removed = prune::prune(&pool, kind, days, &context.stop).await?;
                i64::try_from(removed).unwrap_or(i64::MAX)
            };
            if output.json {
                let key = if self.change.dry_run {
                    "would_remove"
                } else {
                    "removed"
                };
                output
                    .object(&json!({ "what": kind.name(), "older_than_days": days, key: count }))?;
            } else {
                let verb = if self.change.dry_run {
                    "would be removed"
                } else {
                    "removed"
                };
                let name = kind.name();
                output.line(&format!("{count} {name} older than {days} days {verb}."))?;
            }
            context.check()?;
        }
        Ok(())
    }
}
