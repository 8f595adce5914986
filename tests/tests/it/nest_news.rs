//! A NestJS app hears that a booking is paid: the code of docs/MAIN_APP.md with npm's packages,
//! and both services as processes.

use harness::{
    nest::{Heard, NestApp},
    services::Service,
    stripe::{Event, Invoice},
};
use tokio::process::Command;

use crate::support::{BOUND, Deployment, paid};

/// An app that hears news.
async fn start(dialoom: &Deployment) -> NestApp {
    dialoom.nest_app(&[("NEWS", "yes")]).await
}

async fn next(app: &mut NestApp) -> Heard {
    let heard = tokio::time::timeout(BOUND, app.hear()).await;
    heard.expect("nothing is heard").unwrap()
}

async fn republish(dialoom: &Deployment) {
    let program = harness::services::binary("worker").unwrap();
    let done = Command::new(program)
        .args(["changes", "republish", "--since", "1h", "--yes"])
        .env("DATABASE_URL", dialoom.database.url())
        .status();
    assert!(done.await.unwrap().success());
}

/// What the app heard, and whether it did its work.
fn said(heard: &Heard) -> (&str, u64, bool) {
    let kind = heard.news["kind"].as_str().unwrap();
    let version = heard.news["rowVersion"].as_u64().unwrap();
    (kind, version, heard.done)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_hears_once_that_a_booking_is_paid() {
    let dialoom = Deployment::start("nestnews").await;
    dialoom.book(7).await;
    let options = dialoom.worker_options().env("CHANGES", "yes");
    let worker = Service::start(options).await.unwrap();
    let mut app = start(&dialoom).await;
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
    let first = next(&mut app).await;
    assert_eq!(said(&first), ("booking.invoice.sent", 1, true));
    assert_eq!(first.key, "booking 7");

    // Stripe sends it twice, and says it by two events.
    let paid = paid(7);
    let mut other = paid.clone();
    other.id = "evt_other".into();
    other.kind = "invoice.payment_succeeded".into();
    for event in [&paid, &other, &paid] {
        assert_eq!(dialoom.deliver(event).await, 200);
    }
    let second = next(&mut app).await;
    assert_eq!(said(&second), ("booking.invoice.paid", 2, true));

    // The app is away when the next booking is paid: its queue keeps the news.
    app.stop().await.unwrap();
    dialoom.book(8).await;
    let eighth = crate::support::paid(8);
    assert_eq!(dialoom.deliver(&eighth).await, 200);
    let published = "SELECT count(*)::text FROM stripe.outbox WHERE state = 'published'";
    dialoom.until(published, "3").await;
    let mut app = start(&dialoom).await;
    let third = next(&mut app).await;
    assert_eq!(said(&third), ("booking.invoice.paid", 1, true));
    assert_eq!(third.key, "booking 8");

    // All of it comes again, with the same ids. This app was restarted and kept its versions
    // nowhere, so it does the work of the seventh booking, and of none of them twice.
    for times in [true, false] {
        republish(&dialoom).await;
        let mut again = Vec::new();
        for _ in 0..3 {
            again.push(next(&mut app).await);
        }
        let news: Vec<_> = again.iter().map(|heard| &heard.news).collect();
        assert_eq!(news, [&first.news, &second.news, &third.news]);
        let done: Vec<bool> = again.iter().map(|heard| heard.done).collect();
        assert_eq!(done, [times, times, false]);
    }
    app.stop().await.unwrap();
    drop(worker);
}
