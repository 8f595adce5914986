//! A replay on a terminal, for `dead-letters replay` and `events replay`.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shared::{amqp::AmqpUrl, topology::Names};
use tokio::time::Instant;

use super::{
    confirm::ChangeArgs,
    context::{Context, OutputFormat},
    error::CliError,
    output::Output,
};
use crate::{
    config::amqp_prefix,
    replay::run::{Plan, Progress, Run, Selection},
    service,
};
use store::{
    Connection, pooler,
    replay_item::{self, ItemOutcome},
};

/// Leaves the worker room for Stripe's own events.
const DEFAULT_RATE: u64 = 500;
/// How often the outcomes are asked for.
const POLL: Duration = Duration::from_millis(200);
/// The most outcomes held at once.
const PAGE: i64 = 500;
/// Outcomes after which an operator has nothing to do.
const SUCCESSFUL: [&str; 4] = ["applied", "stale", "ignored", "duplicate"];

/// How to send.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    /// Send at most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Send at most so many a second
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_RATE,
        value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Wait for the outcomes, and print those that are not well
    #[arg(long)]
    follow: bool,
    /// Wait for them at most so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Who does it, for the record [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    pub(super) form: OutputFormat,
}

impl ReplayArgs {
    /// How many of those that match are sent.
    pub(super) fn limited(&self, matching: i64) -> u64 {
        let matching = u64::try_from(matching).unwrap_or(0);
        self.limit.map_or(matching, |limit| limit.min(matching))
    }

    /// Tells that nothing was changed.
    pub(super) fn print_unchanged(&self, what: &str, count: u64) -> Result<(), CliError> {
        eprintln!("{count} {what}. Nothing was changed.");
        Ok(())
    }
}

/// Sends, shows the progress, and waits for the outcomes where asked to.
pub(super) async fn run(
    context: &Context<'_>,
    conn: Connection,
    args: &ReplayArgs,
    selection: Selection,
    count: u64,
) -> Result<(), CliError> {
    let (amqp, names) = (
        AmqpUrl::from_env(context.env)?,
        Names::from_env(context.env)?,
    );
    // The run's lock belongs to a session.
    pooler::check(&context.database).await?;
    service::deployment::check_prefix(&conn, &amqp_prefix(context.env)?).await??;
    let plan = Plan {
        by: context.by(args.by.as_ref())?,
        selection: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        limit: count,
        rate: args.rate,
    };
    let mut run = Run::start(conn, &amqp, &names, plan, selection).await?;
    let id = run.id;
    let bar = bar(count, args.form);
    let sent = run
        .send(&context.stop, |progress| {
            bar.set_position(progress.published);
        })
        .await;
    bar.finish_and_clear();
    let sent = sent?;
    let mut output = args.form.output();
    summary(&mut output, id, &sent)?;
    if sent.stopped {
        return Err(CliError::Interrupted);
    }
    if args.follow {
        let timeout = Duration::from_secs(args.timeout);
        follow(context, &mut output, &run.into_connection(), id, timeout).await?;
    }
    match sent.unroutable + sent.without_bytes + sent.unacceptable {
        0 => Ok(()),
        _ => Err(CliError::NotAllWell),
    }
}

fn bar(count: u64, form: OutputFormat) -> ProgressBar {
    if form.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{pos}/{len} sent {wide_bar} {eta}");
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn summary(output: &mut Output, run: i64, sent: &Progress) -> io::Result<()> {
    if output.json {
        return output.object(&json!({
            "replay": run,
            "published": sent.published,
            "unroutable": sent.unroutable,
            "without_bytes": sent.without_bytes,
            "unacceptable": sent.unacceptable,
            "stopped": sent.stopped,
        }));
    }
    output.line(&format!("Replay {run}: {} sent.", sent.published))?;
    if sent.unroutable > 0 {
        let count = sent.unroutable;
        output.line(&format!("{count} not sent: no queue takes their type."))?;
    }
    if sent.without_bytes > 0 {
        let count = sent.without_bytes;
        output.line(&format!("{count} not sent: their bytes are not archived."))?;
    }
    if sent.unacceptable > 0 {
        let count = sent.unacceptable;
        output.line(&format!(
            "{count} not sent: the broker does not take them as they are."
        ))?;
    }
    Ok(())
}

/// Waits until every item has an outcome, and prints them.
async fn follow(
    context: &Context<'_>,
    output: &mut Output,
    conn: &Connection,
    run: i64,
    timeout: Duration,
) -> Result<(), CliError> {
    let end = Instant::now() + timeout;
    let (open, tally) = loop {
        let mut tally = replay_item::tally(conn, run).await?;
        let open = tally.remove(&None).unwrap_or(0);
        if open == 0 || Instant::now() >= end {
            break (open, tally);
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = context.stop.cancelled() => return Err(CliError::Interrupted),
        }
    };
    let mut all_well = print_outcomes(output, conn, run).await?;
    if !output.json {
        for (outcome, count) in tally {
            output.line(&format!("{count} {}", outcome.unwrap_or_default()))?;
        }
        if open > 0 {
            let seconds = timeout.as_secs();
            output.line(&format!(
                "{open} not decided within {seconds} s. Is a worker running?"
            ))?;
        }
    }
    all_well &= open == 0;
    if all_well {
        Ok(())
    } else {
        Err(CliError::NotAllWell)
    }
}

/// Prints all outcomes as JSON, or for people those that are not well. Returns
/// whether all are.
async fn print_outcomes(
    output: &mut Output,
    conn: &Connection,
    run: i64,
) -> Result<bool, CliError> {
    let (mut after, mut well) = (String::new(), true);
    loop {
        let page = replay_item::outcomes(conn, run, &after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(well);
        };
        after.clone_from(&last.item_id);
        if output.json {
            for item in &page {
                output.object(&json!({
                    "replay": run,
                    "id": item.item_id,
                    "outcome": item.outcome,
                    "reason": item.reason,
                }))?;
            }
        }
        let bad: Vec<&ItemOutcome> = page.iter().filter(|item| !is_successful(item)).collect();
        well &= bad.is_empty();
        if !output.json && !bad.is_empty() {
            output.table(
                ["ID", "OUTCOME", "REASON"],
                bad.iter().map(|item| row(item)),
            )?;
        }
    }
}

fn is_successful(item: &ItemOutcome) -> bool {
    let outcome = item.outcome.as_deref();
    outcome.is_none_or(|outcome| SUCCESSFUL.contains(&outcome))
}

fn row(item: &ItemOutcome) -> [String; 3] {
    [
        item.item_id.clone(),
        item.outcome.clone().unwrap_or_default(),
        item.reason.clone().unwrap_or_default(),
    ]
}
