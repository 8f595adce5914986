//! `bench`: measures the release binaries against what this machine can do.
//!
//! | module | holds |
//! | --- | --- |
//! | [`intake`], [`broker`], [`drain`], [`commands`], [`bookings`], [`whole`], [`growth`] | what is measured |
//! | [`limit`] | the least that does the same work |
//! | [`load`] | the load generator |
//! | [`events`] | the events that are sent |
//! | [`child`] | load and limits as processes of their own |
//! | [`stage`] | servers and services |
//! | [`report`], [`figures`], [`shares`], [`latency`], [`proc`], [`plan`] | what is made of it |
#![allow(
    clippy::disallowed_methods,
    reason = "this is a `main`: it reads the environment and the clock"
)]
#![allow(clippy::print_stdout, reason = "it talks to the person who called it")]

mod bookings;
mod broker;
mod child;
mod commands;
mod drain;
mod events;
mod figures;
mod growth;
mod intake;
mod latency;
mod limit;
mod load;
mod plan;
mod proc;
mod report;
mod shares;
mod stage;
mod whole;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use self::{plan::Plan, report::Report, stage::Stage};

/// Measures `ingest` and `worker` against what this machine can do.
///
/// It starts its own PostgreSQL and RabbitMQ, durable, and stops them again. The
/// figures are also written to .dev/bench.json.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Small sizes and short times: about a minute.
    #[arg(long)]
    quick: bool,
    /// Prints JSON to stdout and the table to stderr.
    #[arg(long)]
    json: bool,
    /// Only these; all but `broker` where nothing is said.
    #[arg(long, value_delimiter = ',', default_values_t = Section::USUAL)]
    only: Vec<Section>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load or a limit, as a process of its own.
    #[command(hide = true)]
    Child,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Webhooks into the queue.
    Intake,
    /// What each piece of a message's way costs the broker.
    Broker,
    /// The queue into the tables.
    Worker,
    /// The same beside commands that wait for Stripe.
    Commands,
    /// From a command to the news that the booking is paid.
    Bookings,
    /// Webhooks into the tables.
    Whole,
    /// The worker with millions of rows, and with a long queue.
    Growth,
}

impl Section {
    const USUAL: [Self; 6] = [
        Self::Intake,
        Self::Worker,
        Self::Commands,
        Self::Bookings,
        Self::Whole,
        Self::Growth,
    ];
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        // One thread: the load is to leave as much as it can to what is measured.
        Some(Command::Child) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(child::serve())),
        None => tokio::runtime::Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(until_stopped(&arguments))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, unless somebody says stop: the servers are stopped either way.
async fn until_stopped(arguments: &Arguments) -> Result<()> {
    tokio::select! {
        result = measure(arguments) => result,
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let plan = if arguments.quick {
        Plan::QUICK
    } else {
        Plan::FULL
    };
    let mut report = Report::new(arguments.quick);
    report.progress("starting servers");
    let mut stage = Stage::set().await?;
    for section in &arguments.only {
        match section {
            Section::Intake => intake::measure(&mut stage, &plan, &mut report).await?,
            Section::Broker => broker::measure(&mut stage, &plan, &mut report).await?,
            Section::Worker => drain::measure(&mut stage, &plan, &mut report).await?,
            Section::Commands => commands::measure(&mut stage, &plan, &mut report).await?,
            Section::Bookings => bookings::measure(&mut stage, &plan, &mut report).await?,
            Section::Whole => whole::measure(&mut stage, &plan, &mut report).await?,
            Section::Growth => growth::measure(&mut stage, &plan, &mut report).await?,
        }
    }
    drop(stage);
    let (table, json) = report.finish()?;
    if arguments.json {
        eprintln!("{table}");
        println!("{json}");
    } else {
        println!("{table}");
    }
    Ok(())
}
