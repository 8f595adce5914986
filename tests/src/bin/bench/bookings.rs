//! The whole way of a booking: from the command `booking.checkout` to the handler of the main
//! app that hears that it is paid. The stand-in's guest pays at once.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use harness::{
    caller::{Caller, asking},
    hosts, http,
    news::Listener,
    services,
    stripe_api::{Options, Order, Payment, QueuedEvent, StandIn},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    commands::{ORIGIN, settings},
    figures::{Figure, Unit},
    latency::{Latencies, Latency},
    limit::single::{self, PACE, Single},
    plan::Plan,
    report::Report,
    shares::{Clock, Shares},
    stage::{self, Database, Keep, PREFIX, Stage},
};

/// New bookings a second.
const RATE: u32 = 20;
/// Bookings that are sold before it is measured.
const WARM_UP: i32 = 20;
/// The host that sells.
const HOST: &str = "host-1";
/// Bound for everything to be ready.
const START_BOUND: Duration = Duration::from_secs(60);
/// Bound for the news of the last bookings.
const LAST_BOUND: Duration = Duration::from_secs(60);
const OFTEN: Duration = Duration::from_millis(5);
/// Raw requests, to see how long one takes.
const REQUESTS: u32 = 100;
/// Commits on the way: the attempt is noted, its end, what Stripe said of the session, and the
/// paid invoice with its news.
const COMMITS: u32 = 4;
/// Confirms besides those of webhooks: of the command, of its answer, and of the news.
const CONFIRMS: u32 = 3;

/// Measures the way, and the steps of it one by one.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan, report: &mut Report) -> Result<()> {
    report.progress("bookings: one raw confirm, commit and request");
    let database = stage.database().await?;
    let before = single::measure(stage, plan, &database).await?;
    let ingest = stage.ingest().await?;
    let request = requests(&ingest.admin_url()).await?;
    let api = Arc::new(StandIn::start(Options::default()).await?);
    let variables = settings(&api)
        .into_iter()
        .chain([("CHANGES", "yes")])
        .collect::<Vec<_>>();
    let mut worker = stage.worker_with(&database, Keep::Bytes, &variables)?;
    worker.until_ready(services::READY_BOUND).await?;
    stage.until_commands(START_BOUND).await?;
    report.progress(&format!(
        "bookings: {RATE} a second, {} of them",
        plan.bookings
    ));
    let url = ingest.url();
    open_shop(stage, &database, &api, &url).await?;
    api.forget_requests();
    let pids = [
        ("ingest", ingest.process().pid()),
        ("worker", worker.process().pid()),
    ];
    let sold = Sale::begin(stage, plan, &api, url).await?;
    let sold = sold.run(stage, &pids).await?;
    let asked = api.requests().len();
    for mut service in [worker, ingest] {
        service.terminate().await?;
    }
    let after = single::measure(stage, plan, &database).await?;
    stage.drop(database).await?;
    add(report, plan, &sold, asked, &before.least(after), request)
}

/// There is a host that can sell.
async fn open_shop(stage: &Stage, database: &Database, api: &StandIn, url: &str) -> Result<()> {
    let _account = api.enabled_account("ES", &json!({ "hostId": HOST }));
    api.deliver(url, &stage.secret, Order::AsMade).await?;
    let client = database.connect().await?;
    let can_sell = r#"SELECT FROM "HostOnboarding" WHERE "canSell""#;
    stage::until("a host that can sell", OFTEN, START_BOUND, async || {
        let row = client.query_opt(can_sell, &[]).await?;
        Ok(row.is_none().then(|| "no row".to_owned()))
    })
    .await?;
    hosts::adopt_all(&client).await
}

fn add(
    report: &mut Report,
    plan: &Plan,
    sold: &Sold,
    asked: usize,
    single: &Single,
    request: Duration,
) -> Result<()> {
    let bookings = plan.bookings + u32::try_from(WARM_UP)?;
    let calls = u32::try_from(asked)?.div_ceil(bookings);
    let webhooks = sold.webhooks;
    let limit = request * (calls + webhooks)
        + single.confirm * (CONFIRMS + webhooks)
        + single.commit * COMMITS;
    report.progress(&format!(
        "bookings: {calls} requests to Stripe and {webhooks} webhooks each until the paid one; one \
         request {:.2} ms, one confirm {:.2} ms, one commit {:.2} ms",
        millis(request),
        millis(single.confirm),
        millis(single.commit),
    ));
    let figure = |name: &str, time| {
        let name = format!("{name}, {RATE} a second");
        Figure::new("bookings", &name, millis(time), Unit::Milliseconds)
    };
    let (answered, heard) = (sold.answered, sold.heard);
    report.add([
        figure("command to answer, p50", answered.p50),
        figure("command to answer, p99", answered.p99),
        figure("command to news of the paid booking, p50", heard.p50).against(millis(limit)),
        figure("command to news of the paid booking, p99", heard.p99),
    ]);
    report.shares([sold.shares.clone()]);
    Ok(())
}

/// How long a request over loopback takes, each over a connection of its own as the
/// stand-in's webhooks.
async fn requests(admin: &str) -> Result<Duration> {
    let url = format!("{admin}/healthz");
    let mut latencies = Latencies::default();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        http::get(&url).await?;
        latencies.push(begun.elapsed());
        tokio::time::sleep_until((begun + PACE).into()).await;
    }
    Ok(latencies.summary().p50)
}

/// Bookings that are being sold.
struct Sale {
    api: Arc<StandIn>,
    caller: Caller,
    listener: Listener,
    ingest: String,
    secret: String,
    last: i32,
    next: i32,
    /// Bookings that no news has come of.
    open: BTreeMap<i64, Instant>,
    answered: Latencies,
    heard: Latencies,
    deliveries: JoinSet<Result<Vec<QueuedEvent>>>,
    webhooks: Vec<usize>,
}

/// What came of them.
struct Sold {
    answered: Latency,
    heard: Latency,
    /// Webhooks of a booking up to the one that says that the invoice is paid.
    webhooks: u32,
    shares: Shares,
}

impl Sale {
    async fn begin(stage: &Stage, plan: &Plan, api: &Arc<StandIn>, ingest: String) -> Result<Self> {
        let amqp = stage.servers.amqp_url();
        Ok(Self {
            api: Arc::clone(api),
            caller: Caller::connect(&amqp, stage.commands_exchange()).await?,
            listener: Listener::connect(&amqp, PREFIX, "booking.invoice.*").await?,
            ingest,
            secret: stage.secret.clone(),
            last: WARM_UP + i32::try_from(plan.bookings)?,
            next: 1,
            open: BTreeMap::new(),
            answered: Latencies::default(),
            heard: Latencies::default(),
            deliveries: JoinSet::new(),
            webhooks: Vec::new(),
        })
    }

    /// Sells all of them at the rate, and waits for the news of each.
    async fn run(mut self, stage: &Stage, pids: &[(&'static str, i32)]) -> Result<Sold> {
        let clock = Clock::start(stage, pids);
        let bound = Duration::from_secs(1) * u32::try_from(self.last)? / RATE + LAST_BOUND;
        let mut due = tokio::time::interval(Duration::from_secs(1) / RATE);
        let selling = async {
            while self.next <= self.last || !self.open.is_empty() {
                tokio::select! {
                    _ = due.tick(), if self.next <= self.last => self.ask().await?,
                    answer = self.caller.answer() => {
                        let (id, answer) = answer?;
                        self.pay(&id, &answer)?;
                    }
                    news = self.listener.next() => {
                        let news = news?;
                        self.hear(&news.data);
                        news.handled().await?;
                    }
                    Some(delivered) = self.deliveries.join_next() => {
                        let events = delivered??;
                        let paid = events.iter().position(is_paid);
                        self.webhooks.extend(paid.map(|place| place + 1));
                    }
                }
            }
            anyhow::Ok(())
        };
        let sold = tokio::time::timeout(bound, selling).await;
        sold.context("news of a booking did not come")??;
        let shares = clock.stop(format!("bookings, {RATE} a second"));
        self.webhooks.sort_unstable();
        let webhooks = self.webhooks.get(self.webhooks.len() / 2);
        Ok(Sold {
            answered: self.answered.summary(),
            heard: self.heard.summary(),
            webhooks: u32::try_from(*webhooks.context("no webhook was sent")?)?,
            shares,
        })
    }

    async fn ask(&mut self) -> Result<()> {
        let booking = self.next;
        self.next += 1;
        let command = json!({
            "bookingId": booking, "hostId": HOST, "amount": "45.99", "currency": "eur",
            "description": "A call of an hour",
            "successUrl": format!("{ORIGIN}/paid"), "cancelUrl": format!("{ORIGIN}/back"),
        });
        self.open.insert(booking.into(), Instant::now());
        let (body, properties) = (command.to_string(), asking(&booking.to_string()));
        let sent = self
            .caller
            .send("booking.checkout", body.as_bytes(), properties);
        sent.await
    }

    /// The guest pays, and Stripe's webhooks go out.
    fn pay(&mut self, id: &str, answer: &Value) -> Result<()> {
        let session = answer["response"]["sessionId"].as_str();
        let session = session.with_context(|| format!("booking {id}: {answer}"))?;
        let booking: i64 = id.parse()?;
        let begun = self.open.get(&booking).context("it was not asked for")?;
        if booking > WARM_UP.into() {
            self.answered.push(begun.elapsed());
        }
        self.api.pay(session, Payment::Card)?;
        let (api, ingest, secret) = (
            Arc::clone(&self.api),
            self.ingest.clone(),
            self.secret.clone(),
        );
        self.deliveries
            .spawn(async move { api.deliver(&ingest, &secret, Order::AsMade).await });
        Ok(())
    }

    fn hear(&mut self, news: &Value) {
        if news["kind"] != "booking.invoice.paid" {
            return;
        }
        let booking = news["bookingId"].as_i64().unwrap_or_default();
        if let Some(begun) = self.open.remove(&booking)
            && booking > WARM_UP.into()
        {
            self.heard.push(begun.elapsed());
        }
    }
}

/// Whether a webhook is the first that says that an invoice is paid.
fn is_paid(event: &QueuedEvent) -> bool {
    event.kind == "invoice.updated"
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
