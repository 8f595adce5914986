//! The command line: one file a family of commands.

mod changes;
mod confirm;
mod context;
mod dead_letters;
mod error;
mod events;
mod forget;
mod hosts;
mod invoices;
mod listing;
mod output;
mod projections;
mod prune;
mod rebuild;
mod replay;
mod stripe;
mod time_arg;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::{
    admin,
    config::Env,
    shutdown,
    telemetry::{Telemetry, report},
};
use store::pooler;
use tracing::info;

use self::{
    changes::Changes, context::Context, dead_letters::DeadLetters, error::CliError, events::Events,
    forget::Forget, hosts::Hosts, invoices::Invoices, projections::Projections, prune::Prune,
    rebuild::Rebuild,
};
use crate::{
    config::{Config, DatabaseConfig, admin_listen},
    service,
};

/// Keeps the main app's tables true to Stripe's events.
///
/// Configured by environment variables: see docs/CONFIGURATION.md. What to do when
/// something is wrong stands in docs/OPERATIONS.md.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    version,
    after_help = "Exit codes: 0 all went well, 1 something did not or was not found, \
2 a wrong command line, 64 a wrong configuration, 130 ended by ctrl-c."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume events until told to stop (the default)
    Run {
        /// Do not migrate the database at start
        #[arg(long)]
        no_migrate: bool,
    },
    /// Make or adopt the tables, then leave
    Migrate {
        /// Undo all migrations instead: drops the schema stripe and the tables
        /// that the migrations made
        #[arg(long)]
        down: bool,
    },
    /// Ask the running worker whether it is ready
    Healthcheck,
    /// See what became of events
    #[command(subcommand)]
    Events(Events),
    /// Look at, replay or discard events that could not be applied
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// See how invoices are, and which of them the main app does not see yet
    #[command(subcommand)]
    Invoices(Invoices),
    /// List rows of the main app's tables that could not be written yet
    #[command(subcommand)]
    Projections(Projections),
    /// List news for the main app, or publish it again
    #[command(subcommand)]
    Changes(Changes),
    /// List how far the hosts' onboarding is, or note whose an account is
    #[command(subcommand)]
    Hosts(Hosts),
    /// Erase what is kept of one connected account
    Forget(Forget),
    /// Compute rows anew from the archived events, after a mistake of an earlier release
    Rebuild(Rebuild),
    /// Remove rows that are older than they have to be kept
    ///
    /// The running worker does the same once an hour. Kept are: the ledger, resolved
    /// and discarded dead letters and replays for KEEP_LEDGER_DAYS (40), the bytes
    /// of events for KEEP_EVENTS_DAYS (30), published news for 7 days. A dead letter that waits for
    /// an operator is never removed.
    Prune(Prune),
}

/// Reads the command line and does what it says. The exit codes stand in the
/// help.
pub async fn main(env: Env) -> ExitCode {
    let command = Cli::parse().command;
    let logs = matches!(
        command,
        None | Some(Command::Run { .. } | Command::Migrate { .. })
    );
    // Large: each command's whole way is in it.
    match Box::pin(dispatch(command, &env)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if logs && code == ExitCode::FAILURE {
                tracing::error!("{}", report(&error));
            } else {
                eprintln!("{}", report(&error));
            }
            code
        }
    }
}

async fn dispatch(command: Option<Command>, env: &Env) -> Result<(), CliError> {
    let telemetry = Telemetry::from_env(env)?;
    match command.unwrap_or(Command::Run { no_migrate: false }) {
        Command::Run { no_migrate } => {
            let config = Config::from_env(env)?;
            telemetry.start();
            let stop = shutdown::on_signal().map_err(CliError::Signals)?;
            Ok(Box::pin(service::run(config, !no_migrate, stop)).await?)
        }
        Command::Migrate { down } => {
            let config = DatabaseConfig::from_env(env)?;
            telemetry.start();
            migrate_tables(config, down).await
        }
        Command::Healthcheck => Ok(admin::healthcheck(admin_listen(env)?).await?),
        Command::Events(events) => events.run(&Context::new(env)?).await,
        Command::DeadLetters(letters) => letters.run(&Context::new(env)?).await,
        Command::Invoices(invoices) => invoices.run(&Context::new(env)?).await,
        Command::Projections(projections) => projections.run(&Context::new(env)?).await,
        Command::Changes(changes) => changes.run(&Context::new(env)?).await,
        Command::Hosts(hosts) => hosts.run(&Context::new(env)?).await,
        Command::Forget(forget) => forget.run(&Context::new(env)?).await,
        Command::Rebuild(rebuild) => rebuild.run(&Context::new(env)?).await,
        Command::Prune(prune) => prune.run(&Context::new(env)?).await,
    }
}

async fn migrate_tables(config: DatabaseConfig, down: bool) -> Result<(), CliError> {
    pooler::check(&config.database).await?;
    let count = service::migrate(&config.database, down).await?;
    let verb = if down { "undone" } else { "run" };
    info!("{count} migrations {verb}");
    Ok(())
}
