//! Sessions that the main app made itself, beside the commands: a booking is paid once all the
//! same.

use harness::stripe_api::{Fault, Gate, Kind, Options, Payment};
use serde_json::json;

use crate::support::{
    desk::Desk,
    shop::{Shop, app_session, checkout, host, session},
};

/// An open session of the app's is ended before a command makes one, also where Stripe fails:
/// after a failure the command's session is looked for, and the app's is not taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_ends_the_open_sessions_of_the_apps_own() {
    let shop = Shop::new().await;
    for (booking, failing) in [
        (7, None),
        (8, Some(Kind::Status500 { took_effect: false })),
        (9, Some(Kind::Status500 { took_effect: true })),
        (10, Some(Kind::Drop { took_effect: true })),
    ] {
        app_session(&shop.desk.api, &shop.account, booking).await;
        app_session(&shop.desk.api, &shop.account, booking).await;
        let other = app_session(&shop.desk.api, &shop.account, 100 + booking).await;
        let fault = failing.map(|kind| Fault::post("/v1/checkout/sessions", kind));
        if let Some(fault) = fault {
            shop.desk.api.fault(fault);
        }
        let answer = loop {
            match shop.checkout(booking).await {
                Ok(answer) => break session(&answer),
                Err(error) => assert!(error.retryable, "{error:?}"),
            }
        };
        assert_eq!(shop.open(booking), [answer]);
        assert_eq!(shop.open(100 + booking), [other]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_paid_by_a_session_of_the_apps_own_is_not_sold_again() {
    let shop = Shop::new().await;
    let api = &shop.desk.api;
    for (booking, payment, code) in [
        (7, Payment::Card, "booking_paid"),
        (8, Payment::Delayed, "processing"),
    ] {
        let apps = app_session(api, &shop.account, booking).await;
        api.pay(&apps, payment).unwrap();
        // The event of the session is there, and that of the invoice is not.
        for event in api.take_events() {
            if event.kind.starts_with("checkout.session.") {
                shop.desk.lab.take_bytes(&[event.bytes()]).await;
            }
        }
        api.forget_requests();
        assert_eq!(shop.checkout(booking).await.unwrap_err().code, code);
        assert_eq!(shop.cancel(booking).await.unwrap_err().code, code);
        assert_eq!(shop.desk.requests("/v1/checkout/sessions").len(), 0);
        assert!(shop.sessions("open").is_empty());
        if payment == Payment::Delayed {
            api.settle(&apps, false).unwrap();
            shop.desk.take_events().await;
            shop.checkout(booking).await.unwrap();
        }
    }
}

/// A guest pays by the app's session at the moment at which it is ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_who_is_faster_than_the_end_of_the_apps_session_has_paid() {
    let shop = Shop::new().await;
    for (booking, payment, code) in [
        (7, Payment::Card, "booking_paid"),
        (8, Payment::Delayed, "processing"),
    ] {
        let apps = app_session(&shop.desk.api, &shop.account, booking).await;
        let gate = Gate::new();
        let held = Kind::HeldBefore(gate.clone());
        let ending = Fault::post("/v1/checkout/sessions/", held);
        shop.desk.api.fault(ending);
        let guest = async {
            gate.reached().await;
            shop.desk.api.pay(&apps, payment).unwrap();
            gate.release_all();
        };
        let (answer, ()) = tokio::join!(shop.checkout(booking), guest);
        assert_eq!(answer.unwrap_err().code, code);
        assert!(shop.sessions("open").is_empty());
    }
}

/// What a guest paid on an account that its host has left is paid, though the account has the
/// booking no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_the_hosts_earlier_account_counts() {
    let mut shop = Shop::new().await;
    let apps = app_session(&shop.desk.api, &shop.account, 7).await;
    shop.desk.api.pay(&apps, Payment::Card).unwrap();
    shop.desk.api.deauthorize(&shop.account);
    shop.desk.take_events().await;
    let second = host(&shop.desk, "42").await;
    for query in [None, Some(format!("SELECT '{second}'::text WHERE $1 > 0"))] {
        shop.desk.service.owner_query = query;
        let error = shop.checkout(7).await.unwrap_err();
        assert_eq!(error.code, "booking_paid");
        let invoice = &error.about.unwrap()["invoice"];
        assert_eq!(invoice["stripeAccountId"], *shop.account);
    }
    assert!(shop.sessions("open").is_empty());
}

/// A Standard host can write whose its account is. It stops nobody's checkout by that.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_says_that_it_is_the_hosts_stops_no_checkout() {
    let shop = Shop::new().await;
    let forger = shop
        .desk
        .api
        .enabled_account("ES", &json!({ "hostId": "42" }));
    shop.desk
        .api
        .change_account(&forger, |account| account["type"] = "standard".into());
    let paid = app_session(&shop.desk.api, &forger, 7).await;
    shop.desk.api.pay(&paid, Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 45 eur"]);
    let sold = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 45.99 eur"]);
}

/// Where it is known on whose account the booking is, what the app made there is ended with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_booking_cannot_be_paid_by_a_session_of_the_apps_own() {
    let mut shop = Shop::new().await;
    // By the last command's account.
    shop.checkout(7).await.unwrap();
    app_session(&shop.desk.api, &shop.account, 7).await;
    shop.cancel(7).await.unwrap();
    assert!(shop.open(7).is_empty());
    // By the deployment's query.
    shop.desk.service.owner_query = Some(format!("SELECT '{}'::text WHERE $1 = 8", shop.account));
    app_session(&shop.desk.api, &shop.account, 8).await;
    shop.cancel(8).await.unwrap();
    assert!(shop.open(8).is_empty());
    // An account that has left holds up nothing.
    shop.desk.api.deauthorize(&shop.account);
    shop.cancel(8).await.unwrap();
}

/// Where a deployment lets `client_reference_id` name bookings, sessions that it names are ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_apps_session_is_known_by_its_reference_as_well() {
    let mut desk = Desk::with(Options::default(), |_| {}).await;
    desk.service.decoder.rules.client_reference = true;
    let shop = Shop::of(desk).await;
    let apps = app_session(&shop.desk.api, &shop.account, 9).await;
    let referred = shop.desk.api.change_object(
        "checkout.session",
        &apps,
        "checkout.session.updated",
        |session| {
            session["metadata"] = json!({});
            session["client_reference_id"] = "7".into();
        },
    );
    referred.unwrap();
    let sold = session(&shop.checkout(7).await.unwrap());
    let open: Vec<_> = shop.sessions("open");
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["id"], *sold);
}

/// A Standard host can have any number of open sessions, and each page of them is a read of the
/// platform's: what is beyond some pages stops its own bookings alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_too_many_open_sessions_stops_its_own_bookings_alone() {
    let shop = Shop::new().await;
    let api = &shop.desk.api;
    let listed = || {
        let asked = shop.desk.requests("/v1/checkout/sessions").into_iter();
        asked.filter(|one| one.method == "GET" && one.path == "/v1/checkout/sessions")
    };
    for number in 0..499 {
        app_session(api, &shop.account, 1000 + number).await;
    }
    let apps = app_session(api, &shop.account, 7).await;
    api.forget_requests();
    let sold = session(&shop.checkout(7).await.unwrap());
    assert_ne!(sold, apps);
    assert_eq!(shop.open(7), [sold]);
    assert_eq!(listed().count(), 5);

    for booking in [2000, 2001] {
        app_session(api, &shop.account, booking).await;
    }
    api.forget_requests();
    let error = shop.checkout(8).await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("list_too_long", true));
    assert_eq!(listed().count(), 5);
    assert!(shop.open(8).is_empty());
    // A cancel ends the command's session, and says that it does not know of the app's own.
    assert_eq!(shop.cancel(7).await.unwrap_err().code, "list_too_long");
    assert!(shop.open(7).is_empty());

    let other = host(&shop.desk, "43").await;
    let mut of_other = checkout(9);
    of_other["hostId"] = "43".into();
    shop.ask(of_other).await.unwrap();
    assert_eq!(shop.open(9).len(), 1, "{other}");
    // A day later they are over.
    api.advance(std::time::Duration::from_secs(25 * 3600));
    let sold = session(&shop.checkout(8).await.unwrap());
    assert_eq!(shop.open(8), [sold]);
}

/// Whoever writes many sessions of one booking has the list read once for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn many_open_sessions_of_one_booking_are_ended_some_at_a_time() {
    let shop = Shop::new().await;
    for _ in 0..12 {
        app_session(&shop.desk.api, &shop.account, 7).await;
    }
    shop.desk.api.forget_requests();
    let error = shop.checkout(7).await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("in_progress", true));
    assert_eq!(shop.open(7).len(), 2);
    let asked = shop.desk.requests("/v1/checkout/sessions");
    let listed = asked.iter().filter(|one| one.method == "GET");
    assert_eq!(listed.count(), 1);
    let sold = session(&shop.checkout(7).await.unwrap());
    assert_eq!(shop.open(7), [sold]);
}
