//! `stack`: what the Makefile calls to start servers and services.
#![allow(
    clippy::disallowed_methods,
    reason = "this is a `main`: it reads the environment"
)]
#![allow(clippy::print_stdout, reason = "it talks to the person who called it")]

mod demo;
mod down;
mod private;
mod run;
mod settings;
mod signals;
mod stripe;
mod table;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Starts and stops the servers and services of this checkout.
///
/// Where DATABASE_URL or AMQP_URL is set, that server is used and none is
/// started for it. Nothing that was not started from here is ever stopped.
#[derive(Debug, Parser)]
#[command(name = "stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything in the background and writes .dev/env; what runs
    /// already is left as it is, unless its binary or its settings have changed.
    Up,
    /// Stops what `up` has started; its data is kept for the next `up`.
    Down {
        /// Removes the data too.
        #[arg(long)]
        wipe: bool,
    },
    /// Runs a command with DATABASE_URL and AMQP_URL set to servers that live as
    /// long as the command does; exits with the command's code.
    Run {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Serves a stand-in for Stripe to what `up` has started, until it is stopped.
    Stripe {
        /// Port on loopback: the worker's STRIPE_API_BASE is http://127.0.0.1:PORT/.
        #[arg(long, default_value_t = 12111)]
        port: u16,
    },
    /// Tells a small story with real servers, services, signed events and a NestJS
    /// app, shows the tables it ends in, and stops everything again.
    Demo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(arguments.command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up => up::up().await.map(|()| ExitCode::SUCCESS),
        Command::Down { wipe } => down::down(wipe).await.map(|()| ExitCode::SUCCESS),
        Command::Run { command } => run::run(&command).await,
        Command::Stripe { port } => stripe::stripe(port).await,
        Command::Demo => demo::demo().await,
    }
}
