//! A worker that is started while the database takes no writes waits for it.

use harness::{
    services::{READY_BOUND, Service, ServiceOptions},
    stripe::{Event, Invoice},
    wait::{self, Seen},
};

use crate::support::{BOUND, Deployment};

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_the_database_is_read_only() {
    let dialoom = Deployment::start("readonly").await;
    dialoom.book(1).await;
    let name = dialoom.database.name();
    let set = |value: &str| {
        format!(
            "SET default_transaction_read_only = off; \
             ALTER DATABASE {name} SET default_transaction_read_only = {value}"
        )
    };
    dialoom.client.batch_execute(&set("on")).await.unwrap();
    let options = ServiceOptions::worker(dialoom.folder.path())
        .unwrap()
        .env("AMQP_URL", dialoom.broker.url())
        .env("AMQP_PREFIX", dialoom.broker.prefix())
        .env("DATABASE_URL", dialoom.database.url())
        .env("STRIPE_MODE", "test");
    let mut worker = Service::spawn(options).unwrap();
    wait::until("a worker that waits", BOUND, async || match worker.log() {
        log if log.contains("it takes no writes now") => Seen::Reached(()),
        log if !worker.process().is_alive() => Seen::Never(log),
        log => Seen::NotYet(log),
    })
    .await
    .unwrap();
    dialoom.client.batch_execute(&set("off")).await.unwrap();
    worker.until_ready(READY_BOUND).await.unwrap();
    let object = Invoice::default().value();
    let event = Event::new("evt_1", "invoice.paid", object).of_account("acct_1Host");
    assert_eq!(dialoom.deliver(&event).await, 200);
    let outcome = "SELECT outcome FROM stripe.event";
    dialoom.until(outcome, "applied").await;
}
