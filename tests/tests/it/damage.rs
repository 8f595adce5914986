//! A damage matrix over the real services: each thing that breaks, at a first
//! delivery, at a redelivery and at a replay. Nothing is lost, nothing has two
//! effects, and every state in the ledger is true.

use std::process::Stdio;

use harness::{
    proxy::Proxy,
    services::{Service, ServiceOptions, binary},
    wait::{self, Seen},
};

use crate::support::{BOUND, Deployment, paid};

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// The database cannot be reached for a while.
    DatabaseDown,
    /// The broker cannot be reached for a while.
    BrokerDown,
    /// The worker is killed while its commit is on its way.
    KilledBeforeCommit,
    /// The worker is killed after its commit, before its ack.
    KilledAfterCommit,
    /// The worker's ack is lost with its connection.
    AckLost,
}

/// What it breaks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    First,
    Redelivery,
    Replay,
}

const DAMAGES: [Damage; 5] = [
    Damage::DatabaseDown,
    Damage::BrokerDown,
    Damage::KilledBeforeCommit,
    Damage::KilledAfterCommit,
    Damage::AckLost,
];

const CHECK: &str =
    "ALTER TABLE stripe.invoice ADD CONSTRAINT cheap CHECK (total < 1000) NOT VALID";
const UNCHECK: &str = "ALTER TABLE stripe.invoice DROP CONSTRAINT cheap";

/// A deployment whose worker reaches its servers through proxies.
struct Scene {
    // Before the folder with its log.
    worker: Service,
    dialoom: Deployment,
    database: Proxy,
    broker: Proxy,
}

impl Scene {
    async fn new() -> Self {
        let dialoom = Deployment::start("damage").await;
        let database = Proxy::before(dialoom.database.url(), 5432).await.unwrap();
        let broker = Proxy::before(dialoom.broker.url(), 5672).await.unwrap();
        let worker = Self::worker(&dialoom, database.url(), broker.url()).await;
        Self {
            dialoom,
            database,
            broker,
            worker,
        }
    }

    async fn worker(dialoom: &Deployment, database: &str, broker: &str) -> Service {
        let options = ServiceOptions::worker(dialoom.folder.path())
            .unwrap()
            .env("AMQP_URL", broker)
            .env("AMQP_PREFIX", dialoom.broker.prefix())
            .env("DATABASE_URL", database)
            .env("STRIPE_MODE", "test");
        Service::start(options).await.unwrap()
    }

    /// Brings the event on its way while something is broken, then mends it.
    async fn break_into(&mut self, damage: Damage, moment: Moment, id: i32) {
        let outcome = format!("SELECT outcome FROM stripe.event WHERE id = 'evt_{id}'");
        match damage {
            Damage::DatabaseDown => {
                self.database.cut();
                self.bring(moment, id).await;
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                self.database.restore();
            }
            Damage::BrokerDown => {
                self.broker.cut();
                self.bring(moment, id).await;
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                self.broker.restore();
            }
            Damage::KilledBeforeCommit => {
                // What the worker says reaches the database no more.
                self.database.stall_client();
                self.bring(moment, id).await;
                let queue = self.dialoom.broker.worker_queue();
                self.dialoom
                    .broker
                    .until_depth(&queue, 0, BOUND)
                    .await
                    .unwrap();
                self.start_again().await;
            }
            Damage::KilledAfterCommit | Damage::AckLost => {
                self.broker.stall_client();
                self.bring(moment, id).await;
                self.dialoom.until(&outcome, "applied").await;
                if damage == Damage::AckLost {
                    self.broker.cut();
                    self.broker.restore();
                } else {
                    self.start_again().await;
                }
            }
        }
    }

    async fn start_again(&mut self) {
        self.worker.kill9();
        self.database.cut();
        self.broker.cut();
        self.database.restore();
        self.broker.restore();
        self.worker.start_again().await.unwrap();
    }

    async fn bring(&self, moment: Moment, id: i32) {
        match moment {
            Moment::First | Moment::Redelivery => {
                assert_eq!(self.dialoom.deliver(&paid(id)).await, 200);
            }
            Moment::Replay => {
                let id = format!("evt_{id}");
                let code = self
                    .operator(&["dead-letters", "replay", &id, "--yes"])
                    .await;
                assert_eq!(code, Some(0), "replay of {id}");
            }
        }
    }

    /// Runs a command of the operator, who needs no proxy.
    async fn operator(&self, arguments: &[&str]) -> Option<i32> {
        let binary = binary("worker").unwrap();
        let (dialoom, arguments) = (&self.dialoom, arguments.join(" "));
        let environment = [
            ("AMQP_URL", dialoom.broker.url()),
            ("AMQP_PREFIX", dialoom.broker.prefix()),
            ("DATABASE_URL", dialoom.database.url()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let run = move || {
            std::process::Command::new(binary)
                .args(arguments.split(' '))
                .envs(environment)
                .stdin(Stdio::null())
                .output()
        };
        let done = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        done.status.code()
    }

    /// The event was applied once, and everything says so.
    async fn is_true(&self, damage: Damage, moment: Moment, id: i32) {
        let what = format!("{damage:?} at {moment:?}");
        let ledger = format!(
            "SELECT concat_ws(' ', outcome, attempts, \
                (SELECT state FROM stripe.dead_letter d WHERE d.id = e.id), \
                (SELECT string_agg(coalesce(outcome, 'open'), ',') FROM stripe.replay_item i WHERE i.item_id = e.id)) \
             FROM stripe.event e WHERE id = 'evt_{id}'"
        );
        let expected: &[&str] = match (moment, damage) {
            (Moment::First | Moment::Redelivery, _) => &["applied 1"],
            // The connection may take the ack of the dead delivery with it: that
            // delivery comes again beside the replay. Behind it in one batch, the replay
            // is its duplicate; in a batch of its own it is applied once more, as a
            // replay is.
            (Moment::Replay, Damage::BrokerDown) => &[
                "applied 2 resolved applied",
                "applied 2 resolved duplicate",
                "applied 3 resolved applied",
            ],
            (Moment::Replay, _) => &["applied 2 resolved applied"],
        };
        let seen = wait::until(&what, BOUND, async || {
            match self.dialoom.read(&ledger).await {
                seen if expected.contains(&seen.as_str()) => Seen::Reached(()),
                seen => Seen::NotYet(seen),
            }
        });
        seen.await.unwrap();
        let rows = format!(r#"SELECT count(*)::text FROM "Invoice" WHERE "bookingId" = {id}"#);
        assert_eq!(self.dialoom.read(&rows).await, "1", "{what}");
    }
}

async fn dead(scene: &Scene, id: i32) {
    scene.dialoom.client.batch_execute(CHECK).await.unwrap();
    assert_eq!(scene.dialoom.deliver(&paid(id)).await, 200);
    let state = format!("SELECT state FROM stripe.dead_letter WHERE id = 'evt_{id}'");
    scene.dialoom.until(&state, "dead").await;
    scene.dialoom.client.batch_execute(UNCHECK).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_at_whatever_delivery() {
    let mut scene = Scene::new().await;
    let mut id = 0;
    for damage in DAMAGES {
        for moment in [Moment::First, Moment::Redelivery, Moment::Replay] {
            id += 1;
            scene.dialoom.book(id).await;
            match moment {
                Moment::First => {}
                Moment::Redelivery => {
                    assert_eq!(scene.dialoom.deliver(&paid(id)).await, 200);
                    scene.is_true(damage, moment, id).await;
                }
                Moment::Replay => dead(&scene, id).await,
            }
            scene.break_into(damage, moment, id).await;
            scene.is_true(damage, moment, id).await;
        }
    }
    // Nothing is left behind, and nothing more was written.
    let last = id + 1;
    scene.dialoom.book(last).await;
    assert_eq!(scene.dialoom.deliver(&paid(last)).await, 200);
    scene.is_true(Damage::AckLost, Moment::First, last).await;
    assert!(scene.worker.terminate().await.unwrap().unwrap().success());
    for queue in [
        scene.dialoom.broker.worker_queue(),
        scene.dialoom.broker.dead(),
    ] {
        assert_eq!(
            scene.dialoom.broker.depth(&queue).await.unwrap(),
            0,
            "{queue}"
        );
    }
    let rows = r#"SELECT count(*)::text FROM "Invoice""#;
    assert_eq!(scene.dialoom.read(rows).await, last.to_string());
}
