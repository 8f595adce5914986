//! A NestJS app hears that a booking is paid: the code of docs/MAIN_APP.md with npm's packages,
//! and both services as processes.

use std::process::Stdio;

use harness::{
    nest::NestProject,
    services::{Service, ServiceOptions},
    stripe::{Event, Invoice},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{BOUND, Deployment, paid};

/// A worker that tells the main app of changes.
async fn worker(dialoom: &Deployment) -> Service {
    let options = ServiceOptions::worker(dialoom.folder.path())
        .unwrap()
        .env("AMQP_URL", dialoom.broker.url())
        .env("AMQP_PREFIX", dialoom.broker.prefix())
        .env("DATABASE_URL", dialoom.database.url())
        .env("STRIPE_MODE", "test")
        .env("CHANGES", "yes");
    Service::start(options).await.unwrap()
}

/// The app, and what it says.
struct App {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl App {
    async fn start(dialoom: &Deployment) -> Self {
        let project = NestProject::get().await.unwrap();
        let mut child = project
            .script("dist/news.js")
            .env("AMQP_URL", dialoom.broker.url())
            .env("AMQP_PREFIX", dialoom.broker.prefix())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut app = Self { child, lines };
        assert_eq!(app.next().await, json!({ "listening": true }));
        app
    }

    /// The next thing that it says; lines that are not JSON are the app's own.
    async fn next(&mut self) -> Value {
        loop {
            let line = tokio::time::timeout(BOUND, self.lines.next_line());
            let line = line.await.expect("nothing is heard").unwrap();
            let line = line.expect("the app has ended; its errors are above");
            if let Ok(said) = serde_json::from_str(&line) {
                return said;
            }
        }
    }

    async fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().await.unwrap().success());
    }
}

async fn republish(dialoom: &Deployment) {
    let program = harness::services::binary("worker").unwrap();
    let done = Command::new(program)
        .args(["changes", "republish", "--since", "1h", "--yes"])
        .env("DATABASE_URL", dialoom.database.url())
        .status();
    assert!(done.await.unwrap().success());
}

/// What the app did, and how often it heard of it.
fn heard(said: &Value) -> (&str, u64, bool) {
    let text = said["kind"].as_str().unwrap();
    let version = said["rowVersion"].as_u64().unwrap();
    (text, version, said["done"].as_bool().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_hears_once_that_a_booking_is_paid() {
    let dialoom = Deployment::start("nestnews").await;
    dialoom.book(7).await;
    let worker = worker(&dialoom).await;
    let mut app = App::start(&dialoom).await;
    let object = Invoice {
        id: "in_7".into(),
        status: "open".into(),
        booking: Some("7".into()),
        ..Invoice::default()
    };
    let mut open = Event::new("evt_open", "invoice.finalized", object.value());
    open = open.of_account("acct_1Host");
    open.created -= 10;
    dialoom.deliver(&open).await;
    let first = app.next().await;
    assert_eq!(heard(&first), ("booking.invoice.sent", 1, true));
    assert_eq!(first["key"], "booking 7");

    // Stripe sends it twice, and says it by two events.
    let paid = paid(7);
    let mut other = paid.clone();
    other.id = "evt_other".into();
    other.kind = "invoice.payment_succeeded".into();
    for event in [&paid, &other, &paid] {
        assert_eq!(dialoom.deliver(event).await, 200);
    }
    let second = app.next().await;
    assert_eq!(heard(&second), ("booking.invoice.paid", 2, true));

    // The app is away when the next booking is paid: its queue keeps the news.
    app.stop().await;
    dialoom.book(8).await;
    let eighth = crate::support::paid(8);
    assert_eq!(dialoom.deliver(&eighth).await, 200);
    let published = "SELECT count(*)::text FROM stripe.outbox WHERE state = 'published'";
    dialoom.until(published, "3").await;
    let mut app = App::start(&dialoom).await;
    let third = app.next().await;
    assert_eq!(heard(&third), ("booking.invoice.paid", 1, true));
    assert_eq!(third["key"], "booking 8");

    // All of it comes again, with the same ids. This app was restarted and kept its versions
    // nowhere, so it does the work of the seventh booking, and of none of them twice.
    for times in [true, false] {
        republish(&dialoom).await;
        let mut again = Vec::new();
        for _ in 0..3 {
            again.push(app.next().await);
        }
        let ids: Vec<&Value> = again.iter().map(|said| &said["id"]).collect();
        assert_eq!(ids, [&first["id"], &second["id"], &third["id"]]);
        let done: Vec<_> = again.iter().map(heard).map(|(_, _, done)| done).collect();
        assert_eq!(done, [times, times, false]);
    }
    app.stop().await;
    drop(worker);
}
