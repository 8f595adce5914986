//! An upgrade while events flow: the worker of an earlier commit and the present one,
//! over one queue and one database.
//!
//! `scripts/test-upgrade.sh` builds the earlier one and says by `EARLIER_WORKER` where it
//! is, and by `ORDER` in which order they are started and stopped.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use harness::{
    faults::{
        Clock, oracle,
        sender::Sender,
        world::{Tale, World},
    },
    http,
    services::{Service, ServiceOptions},
    wait::{self, Seen},
};

use crate::support::{Deployment, SECRET};

const SEED: u64 = 12;
const EVENTS: usize = 6_000;
/// Slow enough that each step of the upgrade comes while events flow.
const RATE: u32 = 200;
/// Bound for each step: all events, with retries, take some forty seconds.
const STEP_BOUND: Duration = Duration::from_secs(120);
/// How many events each worker is to handle while it runs beside the other.
const EACH: u64 = 100;

/// In which order the workers are started and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The present one starts beside the earlier one, which goes on for a while.
    Beside,
    /// The earlier one is stopped before the present one starts.
    StopFirst,
}

impl Order {
    fn from_env() -> Self {
        let order = env::var_os("ORDER").expect("run `make test-upgrade`");
        match order.to_str() {
            Some("beside") => Self::Beside,
            Some("stop-first") => Self::StopFirst,
            _ => panic!("ORDER is {}", order.display()),
        }
    }
}

fn worker(dialoom: &Deployment, folder: &str) -> ServiceOptions {
    ServiceOptions::worker(&dialoom.folder.path().join(folder))
        .unwrap()
        .env("AMQP_URL", dialoom.broker.url())
        .env("AMQP_PREFIX", dialoom.broker.prefix())
        .env("DATABASE_URL", dialoom.database.url())
        .env("STRIPE_MODE", "test")
}

/// How many deliveries a worker has handled.
async fn handled(worker: &Service) -> u64 {
    let page = http::get(&format!("{}/metrics", worker.admin_url())).await;
    let page = page.unwrap().text();
    let lines = page.lines();
    let counts = lines.filter_map(|line| line.strip_prefix("worker_events_total{"));
    let counts = counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    counts.sum()
}

/// Waits until a worker has handled so many deliveries.
async fn until_handled(worker: &Service, wanted: u64) {
    let what = format!("{wanted} deliveries that {} handled", worker.admin_url());
    wait::until(what, STEP_BOUND, async || match handled(worker).await {
        count if count >= wanted => Seen::Reached(()),
        count => Seen::NotYet(count.to_string()),
    })
    .await
    .unwrap();
}

async fn migrations(dialoom: &Deployment) -> String {
    let newest = "SELECT max(version) FROM stripe.__diesel_schema_migrations";
    dialoom.read(newest).await
}

/// Ends a worker as a deployment does, and gives what it has handled.
async fn stop(mut worker: Service) -> u64 {
    let count = handled(&worker).await;
    assert!(worker.terminate().await.unwrap().unwrap().success());
    count
}

/// Starts the present worker, which migrates.
async fn start_present(dialoom: &Deployment) -> Service {
    let before = migrations(dialoom).await;
    let present = Service::start(worker(dialoom, "present")).await.unwrap();
    assert!(migrations(dialoom).await > before, "nothing was migrated");
    present
}

/// Has the present worker take over, and gives it, and what the earlier one has handled.
async fn upgrade(dialoom: &Deployment, earlier: Service, order: Order) -> (Service, u64) {
    match order {
        Order::Beside => {
            let present = start_present(dialoom).await;
            let so_far = handled(&earlier).await;
            // The earlier one on the newer schema, and the present one beside it.
            until_handled(&earlier, so_far + EACH).await;
            until_handled(&present, EACH).await;
            (present, stop(earlier).await)
        }
        Order::StopFirst => {
            let by_earlier = stop(earlier).await;
            (start_present(dialoom).await, by_earlier)
        }
    }
}

fn sender(dialoom: &Deployment, world: &Arc<World>) -> Sender {
    let port = dialoom.ingest.options().port.unwrap();
    Sender {
        world: Arc::clone(world),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        secret: SECRET.to_owned(),
        rate: RATE,
        tally: Arc::default(),
        clock: Clock::Right,
    }
}

/// Waits until each event is in the ledger, and no row of the main app's is pending.
async fn until_applied(dialoom: &Deployment, world: &World) {
    let wanted = world.tales.iter();
    let wanted = wanted.filter(|tale| !matches!(tale, Tale::Unwanted { .. }));
    let counts = "SELECT concat_ws(' ', count(*), \
        (SELECT count(*) FROM stripe.pending_projection)) FROM stripe.event";
    let expected = format!("{} 0", wanted.count());
    wait::until(&expected, STEP_BOUND, async || {
        match dialoom.read(counts).await {
            seen if seen == expected => Seen::Reached(()),
            seen => Seen::NotYet(seen),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test-upgrade.sh builds the earlier worker that it starts"]
async fn an_upgrade_while_events_flow_ends_as_the_reference_says() {
    let program = env::var_os("EARLIER_WORKER");
    let program = PathBuf::from(program.expect("run `make test-upgrade`"));
    let order = Order::from_env();
    let dialoom = Deployment::start("side_by_side").await;
    let mut rng = Rng::with_seed(SEED);
    let world = Arc::new(World::make(&mut rng, EVENTS));
    let book = r#"INSERT INTO "Booking" SELECT generate_series(1, $1)"#;
    dialoom
        .client
        .execute(book, &[&world.bookings])
        .await
        .unwrap();

    let mut options = worker(&dialoom, "earlier");
    options.binary = Some(program);
    let earlier = Service::start(options).await.unwrap();
    let sending = tokio::spawn(sender(&dialoom, &world).run(rng.fork(), || {}));
    until_handled(&earlier, 5 * EACH).await;
    let (present, by_earlier) = upgrade(&dialoom, earlier, order).await;
    assert!(
        !sending.is_finished(),
        "all was sent before the upgrade was over"
    );
    sending.await.unwrap().unwrap();

    until_applied(&dialoom, &world).await;
    let queue = dialoom.broker.worker_queue();
    dialoom
        .broker
        .until_depth(&queue, 0, STEP_BOUND)
        .await
        .unwrap();
    let by_present = stop(present).await;
    // What was not acked would be back by now.
    assert_eq!(dialoom.broker.depth(&queue).await.unwrap(), 0);
    assert_eq!(
        dialoom.broker.depth(&dialoom.broker.dead()).await.unwrap(),
        0
    );

    // The rows, the ledger, the kept bytes, and no dead letter but of events that cannot
    // be applied.
    let findings = oracle::examine(&dialoom.client, &world).await.unwrap();
    assert!(findings.is_clean(), "{findings:#?}");
    eprintln!(
        "{} events: {by_earlier} deliveries handled by the earlier worker, {by_present} by the present one",
        world.tales.len()
    );
}
