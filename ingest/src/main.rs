//! The `ingest` binary: its arguments, its exit codes and its listeners.

use clap::{Parser, Subcommand};
use ingest::config::{Config, admin_address};
use ingest::limits::Limits;
use ingest::{Listeners, run};
use shared::admin::healthcheck;
use shared::config::{ConfigError, EXIT_CONFIG, Env};
use shared::shutdown;
use shared::telemetry::{Telemetry, report};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// Receives Stripe's webhooks and publishes each to RabbitMQ before it answers.
///
/// Configured by environment variables: STRIPE_WEBHOOK_SECRETS, STRIPE_MODE
/// and AMQP_URL are needed; INGEST_LISTEN, INGEST_ADMIN_LISTEN, AMQP_PREFIX,
/// LOG_FORMAT and RUST_LOG have defaults.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Asks a running service on this machine whether it is ready.
    Healthcheck,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let env = Env::from_process();
    let result = match arguments.command {
        None => serve(&env).await,
        Some(Command::Healthcheck) => check(&env).await,
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("ingest: {}", report(error.as_ref()));
    if error.is::<ConfigError>() {
        ExitCode::from(EXIT_CONFIG)
    } else {
        ExitCode::FAILURE
    }
}

async fn serve(env: &Env) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::from_env(env)?;
    let config = Config::from_env(env)?;
    telemetry.start();
    let shutdown = shutdown::on_signal()?;
    let listeners = Listeners {
        public: bind(config.listen).await?,
        admin: bind(config.admin_listen).await?,
    };
    tracing::info!(
        listen = %listeners.public.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        mode = %config.mode,
        "listening"
    );
    let limits = Limits::default().within_open_files();
    run(config, limits, listeners, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn check(env: &Env) -> Result<(), Box<dyn Error>> {
    healthcheck(admin_address(env)?).await?;
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| BindError { address, source })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
struct BindError {
    address: SocketAddr,
    source: io::Error,
}
