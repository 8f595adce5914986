//! A webhook secret is rolled while events flow: none is refused, none is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use harness::{
    http, ports,
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    stripe::{Event, Invoice, now, sign},
    test_servers::TestBroker,
    wait::{self, Seen},
};

const OLD: &str = "whsec_the_old_secret";
const NEW: &str = "whsec_the_new_secret";
const BOUND: Duration = Duration::from_secs(60);
/// Events that are delivered between two steps of the roll.
const BETWEEN: u32 = 20;

/// Sends one event after the other as Stripe does: signed with every secret that
/// counts for Stripe, and again, with a fresh signature, until it is answered 2xx.
struct Sender {
    url: String,
    secrets: Mutex<&'static [&'static str]>,
    delivered: AtomicU32,
    /// Answers other than 200.
    refused: Mutex<Vec<u16>>,
    stop: AtomicBool,
}

impl Sender {
    /// Sends until it is told to stop; gives the ids.
    async fn run(self: Arc<Self>) -> BTreeSet<String> {
        let mut sent = BTreeSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let id = format!("evt_{}", sent.len());
            let body = event(&id);
            let delivered = tokio::time::timeout(BOUND, self.deliver(&body)).await;
            delivered.expect(&id);
            sent.insert(id);
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    async fn deliver(&self, body: &[u8]) {
        loop {
            let signature = header(*self.secrets.lock().unwrap(), body);
            match http::post_event(&self.url, &signature, body.to_vec()).await {
                Ok(answer) if answer.status == 200 => return,
                Ok(answer) => self.refused.lock().unwrap().push(answer.status.as_u16()),
                // It is being started again.
                Err(_) => {}
            }
            // Stripe waits longer before it tries again.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets some more events through.
    async fn flow(&self, step: &str) {
        let enough = self.delivered.load(Ordering::Relaxed) + BETWEEN;
        wait::until(step, BOUND, async || {
            match self.delivered.load(Ordering::Relaxed) {
                delivered if delivered >= enough => Seen::Reached(()),
                delivered => Seen::NotYet(format!("{delivered} of {enough}")),
            }
        })
        .await
        .unwrap();
    }

    fn sign_with(&self, secrets: &'static [&'static str]) {
        *self.secrets.lock().unwrap() = secrets;
    }
}

fn event(id: &str) -> Vec<u8> {
    Event::new(id, "invoice.paid", Invoice::default().value()).bytes()
}

/// One time, and a signature for each secret.
fn header(secrets: &[&str], body: &[u8]) -> String {
    let at = now();
    let signatures = secrets.iter().map(|secret| {
        let header = sign(secret, at, body);
        let (_time, signature) = header.split_once(',').unwrap();
        format!(",{signature}")
    });
    format!("t={at}{}", signatures.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rolled_without_losing_an_event() {
    let broker = TestBroker::new("roll");
    let spy = broker.spy(["invoice.paid"]).await.unwrap();
    let folder = PrivateFolder::make("roll").unwrap();
    let (port, admin_port) = (ports::free().unwrap(), ports::free().unwrap());
    let with = async |secrets: &str| {
        let options = ServiceOptions::ingest_on(folder.path(), port, admin_port)
            .env("AMQP_URL", broker.url())
            .env("AMQP_PREFIX", broker.prefix())
            .env("STRIPE_MODE", "test")
            .env("STRIPE_WEBHOOK_SECRETS", secrets);
        Service::start(options).await.unwrap()
    };

    let mut ingest = with(&format!("old={OLD}")).await;
    let sender = Arc::new(Sender {
        url: ingest.url(),
        secrets: Mutex::new(&[OLD]),
        delivered: AtomicU32::new(0),
        refused: Mutex::default(),
        stop: AtomicBool::new(false),
    });
    let sending = tokio::spawn(Arc::clone(&sender).run());
    sender.flow("the old secret alone").await;

    // The steps of docs/OPERATIONS.md.
    sender.sign_with(&[OLD, NEW]);
    sender
        .flow("Stripe signs with both, the old one is known")
        .await;
    ingest.terminate().await.unwrap();
    ingest = with(&format!("connect={NEW},old={OLD}")).await;
    sender.flow("both are known").await;
    sender.sign_with(&[NEW]);
    sender.flow("Stripe signs with the new one").await;
    ingest.terminate().await.unwrap();
    ingest = with(&format!("connect={NEW}")).await;
    sender.flow("the new secret alone").await;

    let old = header(&[OLD], &event("evt_forged"));
    let answer = http::post_event(&ingest.url(), &old, event("evt_forged")).await;
    assert_eq!(answer.unwrap().status, 400, "the old secret still counts");

    sender.stop.store(true, Ordering::Relaxed);
    let sent = sending.await.unwrap();
    // Stopping may cost a 503, which Stripe tries again. A 4xx would be counted
    // against the endpoint.
    let refused = sender.refused.lock().unwrap().clone();
    assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
    let seen: BTreeSet<String> = broker
        .take_all(&spy)
        .await
        .unwrap()
        .iter()
        .map(|message| {
            message
                .properties
                .message_id()
                .as_ref()
                .unwrap()
                .to_string()
        })
        .collect();
    assert_eq!(seen, sent);
    ingest.terminate().await.unwrap();
}
