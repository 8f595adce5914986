//! A booking that something else has paid than its command's session: nobody can pay by that
//! session a second time.

use chrono::TimeDelta;
use harness::{
    stripe::{Event, Invoice},
    stripe_api::{Fault, Gate, Kind, Payment},
};
use tokio_util::sync::CancellationToken;
use worker::{commands::end_paid_checkouts::EndPaidCheckouts, jobs::Job};

use crate::support::shop::{Shop, app_session, host, session};

fn job(shop: &Shop) -> EndPaidCheckouts {
    let service = shop.desk.service.clone();
    let client = service.client.clone().unwrap();
    EndPaidCheckouts::new(service, client)
}

async fn run(job: &mut EndPaidCheckouts) {
    job.run_once(&CancellationToken::new()).await.unwrap();
}

/// A command makes a session, and the guest pays by another one, which the app made itself.
async fn paid_by_apps(shop: &Shop, booking: i32, payment: Payment) -> String {
    let sold = session(&shop.checkout(booking).await.unwrap());
    let apps = app_session(&shop.desk.api, &shop.account, booking).await;
    shop.desk.api.pay(&apps, payment).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.open(booking), [sold]);
    apps
}

/// An event says that this account's invoice of the booking is paid.
async fn invoice_paid(shop: &Shop, account: &str, booking: i32) {
    let invoice = Invoice {
        id: format!("in_host{booking}"),
        status: "paid".into(),
        booking: Some(booking.to_string()),
        ..Invoice::default()
    };
    let event = Event::new(&format!("evt_in{booking}"), "invoice.paid", invoice.value());
    shop.desk.lab.take_one(&event.of_account(account)).await;
}

/// The requests about sessions, shortly.
fn asked(shop: &Shop) -> Vec<String> {
    let asked = shop.desk.requests("/v1/checkout/sessions");
    let asked = asked.iter().map(|one| {
        let what = one.path.rsplit('/').next().unwrap();
        format!("{} {what} {}", one.method, one.status.unwrap_or_default())
    });
    asked.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_paid_booking_ends_the_commands_session() {
    let shop = Shop::new().await;
    for (booking, payment, code) in [
        (7, Payment::Card, "booking_paid"),
        (8, Payment::Delayed, "processing"),
    ] {
        let apps = paid_by_apps(&shop, booking, payment).await;
        shop.desk.api.forget_requests();
        assert_eq!(shop.checkout(booking).await.unwrap_err().code, code);
        assert!(shop.open(booking).is_empty());
        // The second refusal has nothing to end.
        assert_eq!(shop.checkout(booking).await.unwrap_err().code, code);
        assert_eq!(asked(&shop), ["POST expire 200"]);
        if payment == Payment::Delayed {
            shop.desk.api.settle(&apps, false).unwrap();
            shop.desk.take_events().await;
            let sold = session(&shop.checkout(booking).await.unwrap());
            assert_eq!(shop.open(booking), [sold]);
        }
    }
}

/// Why the booking is not sold is said also where Stripe does not end the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_booking_is_refused_as_paid_while_stripe_fails() {
    let shop = Shop::new().await;
    paid_by_apps(&shop, 7, Payment::Card).await;
    let failing = Fault::post("/v1/checkout/sessions/", Kind::Unkept500).times(100);
    shop.desk.api.fault(failing);
    assert_eq!(shop.checkout(7).await.unwrap_err().code, "booking_paid");
    assert_eq!(shop.open(7).len(), 1);
    shop.desk.api.clear_faults();
    run(&mut job(&shop)).await;
    assert!(shop.open(7).is_empty());
}

/// No command asks for the booking again.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_ends_the_sessions_of_paid_bookings_alone_and_reads_nothing() {
    let shop = Shop::new().await;
    let open = session(&shop.checkout(6).await.unwrap());
    paid_by_apps(&shop, 7, Payment::Card).await;
    paid_by_apps(&shop, 8, Payment::Delayed).await;
    shop.checkout(9).await.unwrap();
    invoice_paid(&shop, &shop.account, 9).await;
    // Anybody may say that a booking is paid.
    let other = session(&shop.checkout(10).await.unwrap());
    invoice_paid(&shop, "acct_1Forger", 10).await;
    shop.desk.api.forget_requests();
    let mut job = job(&shop);
    run(&mut job).await;
    for booking in [7, 8, 9] {
        assert!(shop.open(booking).is_empty(), "{booking}");
    }
    assert_eq!(shop.open(6), [open]);
    assert_eq!(shop.open(10), [other]);
    assert_eq!(asked(&shop), ["POST expire 200"; 3]);
    // What was ended is told, and is not asked for again.
    run(&mut job).await;
    run(&mut self::job(&shop)).await;
    assert_eq!(asked(&shop).len(), 3);
    shop.desk.take_events().await;
    let forged = "evt_in10 booking_claimed_by_other_account";
    assert_eq!(shop.dead_letters().await, [forged]);
}

/// A worker dies when Stripe has ended the session and nobody has noted it. The next one ends it
/// once more, which Stripe refuses, and asks again later only.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_end_was_not_noted_is_not_asked_for_without_end() {
    let shop = Shop::new().await;
    paid_by_apps(&shop, 7, Payment::Card).await;
    shop.desk.api.forget_requests();
    let gate = Gate::new();
    let held = Kind::HeldAfter(gate.clone());
    shop.desk
        .api
        .fault(Fault::post("/v1/checkout/sessions/", held));
    let mut dying = job(&shop);
    tokio::select! {
        () = run(&mut dying) => panic!("it was held"),
        () = gate.reached() => {}
    }
    gate.release_all();
    assert!(shop.open(7).is_empty());
    let mut next = job(&shop);
    for _ in 0..3 {
        run(&mut next).await;
    }
    assert_eq!(asked(&shop).len(), 2, "{:?}", asked(&shop));
    assert_eq!(asked(&shop)[1], "POST expire 400");
    // Stripe's event of the end tells it.
    shop.desk.take_events().await;
    run(&mut job(&shop)).await;
    assert_eq!(asked(&shop).len(), 2);
}

/// The host came back with another account, and the guest pays by that one's session.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_another_account_of_the_host_ends_the_session() {
    let shop = Shop::new().await;
    shop.checkout(7).await.unwrap();
    // No event told that the host has left; the account can still be asked.
    let second = shop
        .desk
        .api
        .enabled_account("ES", &serde_json::json!({ "hostId": "42" }));
    shop.desk.take_events().await;
    let apps = app_session(&shop.desk.api, &second, 7).await;
    shop.desk.api.pay(&apps, Payment::Card).unwrap();
    shop.desk.take_events().await;
    run(&mut job(&shop)).await;
    assert!(shop.open(7).is_empty());
}

/// An account that another host has says nothing of this one's bookings, whatever it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_another_hosts_account_ends_nothing() {
    let shop = Shop::new().await;
    let sold = session(&shop.checkout(7).await.unwrap());
    let other = host(&shop.desk, "43").await;
    shop.desk.api.change_account(&other, |account| {
        account["metadata"]["hostId"] = "42".into();
    });
    shop.desk.take_events().await;
    invoice_paid(&shop, &other, 7).await;
    run(&mut job(&shop)).await;
    assert_eq!(shop.open(7), [sold]);
    let sold = shop.checkout(7).await.unwrap();
    assert_eq!(shop.open(7), [session(&sold)]);
}

/// A session is open for a day at most.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_pay_by_any_more_is_not_looked_at() {
    let shop = Shop::new().await;
    paid_by_apps(&shop, 7, Payment::Card).await;
    let old = "UPDATE stripe.command SET finished_at = finished_at - interval '25 hours' \
        WHERE key = 'booking.checkout:7'";
    shop.desk.lab.client.batch_execute(old).await.unwrap();
    shop.desk.api.forget_requests();
    run(&mut job(&shop)).await;
    assert_eq!(shop.checkout(7).await.unwrap_err().code, "booking_paid");
    assert_eq!(asked(&shop), Vec::<String>::new());
    assert!(EndPaidCheckouts::EVERY <= TimeDelta::seconds(10).to_std().unwrap());
}
