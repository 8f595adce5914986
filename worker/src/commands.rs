//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::{
    admin,
    config::{ConfigError, EXIT_CONFIG, Env},
    shutdown,
    telemetry::{Telemetry, report},
};
use tracing::{error, info};

use crate::{
    run::{self, RunError},
    settings::{DatabaseSettings, Settings, admin_listen},
    store::migrate::{self, MigrateError},
};

/// Keeps the main app's tables true to Stripe's events.
///
/// Configured by environment variables; see the README.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
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
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("the database cannot be reached")]
    Connect(#[from] diesel::ConnectionError),
    #[error("signals cannot be listened for")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Probe(#[from] admin::ProbeError),
}

/// Reads the command line and does what it says. A wrong configuration exits
/// with 64, any other failure with 1.
pub async fn main(env: Env) -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command, &env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Config(error) | Failed::Run(RunError::Config(error))) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(failed) => {
            error!("{}", report(&failed));
            ExitCode::FAILURE
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
        Command::Healthcheck => Ok(admin::healthcheck(admin_listen(env)?).await?),
    }
}
