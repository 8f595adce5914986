//! Bookings that are sold by message while services and servers are killed: from the command
//! `booking.checkout` to the news that the booking is paid.

mod app;
mod news;
mod price;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use fastrand::Rng;
use serde_json::json;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use self::{app::App, price::HOSTS};
pub(super) use self::{
    app::Asked,
    news::Heard,
    price::{fee, host, price},
};
use super::{
    measured::Measured,
    oracle,
    report::Outcome,
    run::{Plan, kept},
    stage::{self, Stage, make_late_bookings},
    striking::strike_all,
    tally::{Counts, Tally},
    watch::{Task, Watch},
};
use crate::{
    hosts,
    stripe_api::{Options, Order, StandIn},
    wait::{self, Seen},
};

/// Where Stripe may send guests.
const ORIGIN: &str = "https://app.example.com";
/// More requests to Stripe in a second than there are.
const NO_LIMIT: &str = "1000";

/// What the main app and Stripe have seen, besides what the stand-in holds.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When each booking was asked for first.
    begun: Mutex<BTreeMap<i32, Instant>>,
    /// The news.
    heard: Mutex<Heard>,
    /// Events that `ingest` has taken.
    accepted: Mutex<BTreeSet<String>>,
    /// Answers to deliveries.
    deliveries: Tally,
}

impl Record {
    /// A copy of the news so far.
    pub(super) fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }

    /// The events that are to be in the ledger and that `ingest` has taken so far.
    pub(super) fn accepted(&self) -> BTreeSet<String> {
        lock(&self.accepted).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sells the bookings of a plan on a deployment of its own.
///
/// # Errors
/// As [`run`](super::run::run).
pub(super) async fn run(plan: &Plan, rng: Rng) -> Result<Outcome> {
    let options = Options::default();
    let key = options.secret_key.clone();
    let api = StandIn::start(options).await?;
    let variables = [
        ("STRIPE_API_KEY", key.as_str()),
        ("STRIPE_API_BASE", api.base_url()),
        ("STRIPE_RATE_LIMIT", NO_LIMIT),
        ("STRIPE_ENDPOINT_RATE_LIMIT", NO_LIMIT),
        ("REDIRECT_ORIGINS", ORIGIN),
        ("CHANGES", "yes"),
    ];
    let bookings = i32::try_from(plan.events)?;
    let stage = Arc::new(Stage::set(plan, bookings, &variables).await?);
    let outcome = sell(plan, &stage, &api, bookings, rng).await;
    kept(plan, &stage, outcome)
}

async fn sell(
    plan: &Plan,
    stage: &Arc<Stage>,
    api: &StandIn,
    bookings: i32,
    mut rng: Rng,
) -> Result<Outcome> {
    let ingest = format!("http://{}", stage.address);
    open(stage, api, &ingest, bookings).await?;
    let watch = Watch::begin(stage).await?;
    let record = Arc::new(Record::default());
    let url = stage.url().await;
    let hearing = news::hear(url.clone(), Arc::clone(&record), Arc::clone(&stage.tally));
    let _hearing = Task::of(tokio::spawn(hearing));
    deliver(api, &ingest, &stage.secret, plan.seed, &record);

    let (struck, sent) = (Mutex::new(Vec::new()), CancellationToken::new());
    let _whatever_happens = sent.clone().drop_guard();
    let app = App::new(plan, api, &record, url, bookings);
    let app_rng = rng.fork();
    let selling = async {
        let asked = app.sell(app_rng, || sent.cancel()).await?;
        Ok::<_, anyhow::Error>((asked, stage.tally.elapsed()))
    };
    let striking = strike_all(plan, stage, &stage.tally, &struck, &sent, &mut rng);
    let ((asked, flow), ()) = tokio::try_join!(selling, striking)?;

    let client = drained(stage, api, &record, bookings).await?;
    let findings = oracle::bookings::examine(&client, api, &record, &asked, bookings).await?;
    let (deliveries, pace) = (record.deliveries.counts(), stage.tally.counts());
    let struck = struck.into_inner().unwrap_or_else(PoisonError::into_inner);
    let measured = Measured {
        plan,
        stage,
        events: plan.events,
        flow,
        struck: &struck,
        ended_by_themselves: watch.ended(),
        deliveries: &deliveries,
        pace: &pace,
    };
    let notes = notes(&asked, &record.heard(), &pace, flow);
    Ok(measured.outcome(findings, notes))
}

/// The hosts can sell, and the main app has the bookings and hears news.
async fn open(stage: &Stage, api: &StandIn, ingest: &str, bookings: i32) -> Result<()> {
    let client = stage.connect().await?;
    make_late_bookings(&client, bookings).await?;
    for host in 0..HOSTS {
        let _account = api.enabled_account("ES", &json!({ "hostId": host.to_string() }));
    }
    api.deliver(ingest, &stage.secret, Order::ShuffledTwice(1))
        .await?;
    let can_sell = r#"SELECT count(*) FROM "HostOnboarding" WHERE "canSell""#;
    until(&client, "hosts that can sell", can_sell, HOSTS.into()).await?;
    hosts::adopt_all(&client).await
}

/// Stripe's webhooks, from now on.
fn deliver(api: &StandIn, ingest: &str, secret: &str, seed: u64, record: &Arc<Record>) {
    let record = Arc::clone(record);
    let order = Order::ShuffledTwice(seed);
    api.keep_delivering_seen(ingest, secret, order, move |event, status| match status {
        Some(status) => {
            record.deliveries.answer(status.as_u16(), None);
            if status.is_success() && oracle::bookings::is_handled(&event.kind) {
                lock(&record.accepted).insert(event.id.clone());
            }
        }
        None => record.deliveries.unanswered(),
    });
}

/// Waits until everything has come to where it belongs. News that does not come is found by
/// the oracle.
async fn drained(stage: &Stage, api: &StandIn, record: &Record, bookings: i32) -> Result<Client> {
    api.until_delivered(stage::BOUND).await?;
    stage.drain(stage::BOUND).await?;
    let client = stage.connect().await?;
    stage::until_projected(&client, stage::BOUND).await?;
    let waiting = "SELECT count(*) FROM stripe.outbox WHERE state = 'waiting'";
    until(&client, "news to be published", waiting, 0).await?;
    let wanted = usize::try_from(bookings)?;
    let heard = wait::until("news of all bookings", stage::BOUND, async || {
        match lock(&record.heard).paid() {
            count if count >= wanted => Seen::Reached(()),
            count => Seen::NotYet(format!("{count} are paid")),
        }
    });
    if let Err(error) = heard.await {
        eprintln!("{error:#}");
    }
    Ok(client)
}

async fn until(client: &Client, what: &str, query: &str, wanted: i64) -> Result<()> {
    wait::until(what.to_owned(), stage::BOUND, async || {
        match client.query_one(query, &[]).await {
            Ok(row) if row.get::<_, i64>(0) == wanted => Seen::Reached(()),
            Ok(row) => Seen::NotYet(row.get::<_, i64>(0).to_string()),
            Err(error) => Seen::Never(error.to_string()),
        }
    })
    .await
}

fn notes(asked: &Asked, heard: &Heard, pace: &Counts, flow: Duration) -> Vec<String> {
    let errors = asked.errors.iter();
    let errors: Vec<String> = errors
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    vec![
        format!(
            "{} commands; asked again after a lost connection {}, after no answer {}, after an \
             error: {}",
            asked.sent,
            asked.lost,
            asked.silent,
            if errors.is_empty() {
                "none".to_owned()
            } else {
                errors.join(", ")
            }
        ),
        format!(
            "news: {} by id, {} of them paid, {} repeats",
            heard.by_id(),
            heard.paid(),
            heard.repeats
        ),
        format!(
            "command to news: p50 {} ms, p99 {} ms, worst {} ms; {:.1} s in all",
            pace.latency(50).as_millis(),
            pace.latency(99).as_millis(),
            pace.latency(100).as_millis(),
            flow.as_secs_f64()
        ),
    ]
}
