//! A stand-in for Stripe in the foreground, for whoever builds a main app without an account
//! at Stripe. What hosts and guests do in Stripe's pages is typed here.

use std::{io::BufRead as _, process::ExitCode, thread};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use harness::stripe_api::{Options, Order, Payment, StandIn};
use tokio::sync::mpsc;

use crate::signals::Stop;

/// What hosts and guests do in the pages of Stripe.
#[derive(Debug, Parser)]
#[command(multicall = true, disable_help_flag = true)]
struct Line {
    #[command(subcommand)]
    does: Does,
}

#[derive(Debug, Subcommand)]
enum Does {
    /// The host hands in everything that Stripe asks for.
    Onboard { account: String },
    /// The guest pays by card.
    Pay { session: String },
    /// The guest pays by a method that takes days.
    PayLater { session: String },
    /// The money of such a payment arrives.
    Settle { session: String },
    /// It does not arrive.
    Fail { session: String },
    /// The host gives back all that is left of a payment, or this much of it in minor units.
    Refund {
        session: String,
        amount: Option<i64>,
    },
}

/// Serves until it is stopped, and sends the webhooks of what happens to what `up` has started.
pub(crate) async fn stripe(port: u16) -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let (ingest, secret) = (variable("INGEST_URL")?, variable("STRIPE_WEBHOOK_SECRETS")?);
    let secret = secret.split(',').next().unwrap_or_default();
    let secret = secret.split_once('=').map_or(secret, |(_, secret)| secret);
    let api = StandIn::start_on(Options::default(), port).await?;
    api.keep_delivering(&ingest, secret, Order::ShuffledTwice(fastrand::u64(..)));
    println!(
        "A stand-in for Stripe answers at {} to the key {}, and forgets everything when it ends.\n\
         Its webhooks go to {ingest}, shuffled and twice. Type `help` to see what hosts and \
         guests can do.",
        api.base_url(),
        Options::default().secret_key,
    );
    let mut lines = lines();
    loop {
        tokio::select! {
            number = stop.wait() => return Ok(Stop::exit_code(number)),
            Some(line) = lines.recv() => println!("{}", perform(&api, &line)),
        }
    }
}

fn variable(name: &str) -> Result<String> {
    let value = std::env::var(name).unwrap_or_default();
    ensure!(
        !value.is_empty(),
        "{name} is not set: run `make up`, then `. .dev/env`"
    );
    Ok(value)
}

/// What is typed. A closed input ends nothing.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    // A read of the terminal cannot be given up, so it has a thread that nobody waits for.
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        for line in lines
            .map_while(Result::ok)
            .filter(|line| !line.trim().is_empty())
        {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Does what a line says, and says what became of it.
fn perform(api: &StandIn, line: &str) -> String {
    match Line::try_parse_from(line.split_whitespace()) {
        Ok(line) => match line.does.perform(api) {
            Ok(done) => done,
            Err(error) => format!("{error:#}"),
        },
        Err(error) => error.render().to_string().trim_end().to_owned(),
    }
}

impl Does {
    fn perform(self, api: &StandIn) -> Result<String> {
        Ok(match self {
            Self::Onboard { account } => {
                api.account(&account)
                    .with_context(|| format!("there is no account {account}"))?;
                api.finish_onboarding(&account);
                format!("{account} can sell")
            }
            Self::Pay { session } => {
                api.pay(&session, Payment::Card)?;
                format!("{session} is paid")
            }
            Self::PayLater { session } => {
                api.pay(&session, Payment::Delayed)?;
                format!("{session} is complete; `settle` or `fail` says how the payment ends")
            }
            Self::Settle { session } => {
                api.settle(&session, true)?;
                format!("{session} is paid")
            }
            Self::Fail { session } => {
                api.settle(&session, false)?;
                format!("the payment of {session} failed")
            }
            Self::Refund { session, amount } => {
                api.refund(&session, amount)?;
                format!("{session} is refunded")
            }
        })
    }
}
