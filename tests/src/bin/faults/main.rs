//! `faults`: breaks everything while events flow, and checks that nothing is
//! lost, doubled or wrong.
#![allow(clippy::print_stdout, reason = "it talks to the person who called it")]

mod plans;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use harness::{
    checkout,
    faults::{self, Load, Outcome, report},
};

/// Breaks everything while events flow, and checks that nothing is lost,
/// doubled or wrong.
///
/// It starts its own PostgreSQL and RabbitMQ and stops them again. What it finds
/// is also written to .dev/faults.json. A run that fails leaves its logs in
/// .dev/faults-failed.
#[derive(Debug, Parser)]
#[command(name = "faults")]
pub(crate) struct Arguments {
    /// Only these runs, by name; --list shows them.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Shows the names of all runs.
    #[arg(long)]
    list: bool,
    /// Events in each run of one kind of fault.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Events in the run of all faults together.
    #[arg(long, default_value_t = 600_000)]
    combined_events: usize,
    /// New deliveries a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Bookings that are sold in the run of bookings.
    #[arg(long, default_value_t = 10_000)]
    bookings: usize,
    /// New bookings a second.
    #[arg(long, default_value_t = 20)]
    booking_rate: u32,
    /// From which all that is random follows; drawn where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints JSON to stdout and the table to stderr.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let result = tokio::select! {
        result = run(&arguments) => result,
        () = stopped => Err(anyhow::anyhow!("stopped")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let plans = plans::plans(arguments, seed)?;
    if arguments.list {
        plans.iter().for_each(|plan| println!("{}", plan.name));
        return Ok(());
    }
    faults::stage::check_programs()?;
    let (mut outcomes, mut failed): (Vec<Outcome>, Vec<String>) = Default::default();
    for plan in &plans {
        let what = match plan.load {
            Load::Events | Load::HostileHost => "events",
            Load::Bookings => "bookings",
        };
        eprintln!("{}: {} {what}, --seed {seed}", plan.name, plan.events);
        match faults::run(plan).await {
            Ok(outcome) => {
                eprintln!("{}", report::table(std::slice::from_ref(&outcome)));
                if !outcome.is_good() {
                    failed.push(plan.name.clone());
                }
                outcomes.push(outcome);
            }
            Err(error) => {
                eprintln!("{}: {error:#}", plan.name);
                failed.push(plan.name.clone());
            }
        }
    }
    let json = serde_json::to_string_pretty(&outcomes)?;
    checkout::write_private(&checkout::dev_folder()?.join("faults.json"), &json)?;
    let table = report::table(&outcomes);
    if arguments.json {
        eprintln!("{table}");
        println!("{json}");
    } else {
        println!("{table}");
    }
    if !failed.is_empty() {
        bail!("failed with --seed {seed}: {}", failed.join(", "));
    }
    Ok(())
}
