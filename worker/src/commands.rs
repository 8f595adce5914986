//! The command line: one file a family of commands.

mod confirm;
mod context;
mod dead_letters;
mod events;
mod failed;
mod hosts;
mod invoices;
mod moment;
mod output;
mod prune;
mod replay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::{
    admin,
    config::Env,
    shutdown,
    telemetry::{Telemetry, report},
};
use tracing::{error, info};

use self::{
    context::Context, dead_letters::DeadLetters, events::Events, failed::Failed, hosts::Hosts,
    invoices::Invoices, prune::Prune,
};
use crate::{
    run,
    settings::{DatabaseSettings, Settings, admin_listen},
    store::migrate,
};

/// Keeps the main app's tables true to Stripe's events.
///
/// Configured by environment variables; see the README. What to do when something
/// is wrong stands in docs/OPERATIONS.md.
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
    /// What became of events
    #[command(subcommand)]
    Events(Events),
    /// What could not be applied: look, send again, give up
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Invoices that the main app does not see yet
    #[command(subcommand)]
    Invoices(Invoices),
    /// How far the hosts' onboarding is
    #[command(subcommand)]
    Hosts(Hosts),
    /// Remove what is older than it has to be kept
    ///
    /// The running worker does the same once an hour. Kept are: the ledger, resolved
    /// and discarded dead letters and replays for KEEP_LEDGER_DAYS (40), the bytes
    /// of applied events for KEEP_EVENTS_DAYS (30). A dead letter that waits for
    /// somebody is never removed.
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
    match dispatch(command, &env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) if failed.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failed) => {
            let code = failed.exit_code();
            if logs && code == ExitCode::FAILURE {
                error!("{}", report(&failed));
            } else {
                eprintln!("{}", report(&failed));
            }
            code
        }
    }
}

async fn dispatch(command: Option<Command>, env: &Env) -> Result<(), Failed> {
    let telemetry = Telemetry::from_env(env)?;
    match command.unwrap_or(Command::Run { no_migrate: false }) {
        Command::Run { no_migrate } => {
            let settings = Settings::from_env(env)?;
            telemetry.start();
            let stop = shutdown::on_signal().map_err(Failed::Signals)?;
            Ok(run::run(settings, !no_migrate, stop).await?)
        }
        Command::Migrate { down } => {
            let settings = DatabaseSettings::from_env(env)?;
            telemetry.start();
            migrate_tables(settings, down).await
        }
        Command::Healthcheck => Ok(admin::healthcheck(admin_listen(env)?).await?),
        Command::Events(events) => events.run(&Context::new(env)?).await,
        Command::DeadLetters(letters) => letters.run(&Context::new(env)?).await,
        Command::Invoices(invoices) => invoices.run(&Context::new(env)?).await,
        Command::Hosts(hosts) => hosts.run(&Context::new(env)?).await,
        Command::Prune(prune) => prune.run(&Context::new(env)?).await,
    }
}

async fn migrate_tables(settings: DatabaseSettings, down: bool) -> Result<(), Failed> {
    let connection = settings.database.connect().await?;
    let (done, names) = if down {
        ("undone", migrate::down(connection).await?)
    } else {
        ("run", migrate::up(connection).await?)
    };
    for name in &names {
        info!("migration {done}: {name}");
    }
    info!("{} migrations {done}", names.len());
    Ok(())
}
