//! A booking whose checkout Stripe does not show any more, or that nobody paid, is sold once.

use harness::stripe_api::{Options, Payment, RestrictedKey};

use crate::support::{
    desk::{Desk, client},
    shop::{Shop, checkout, host, session},
};

/// The host cuts the connection and comes back with another account.
async fn comes_back(shop: &Shop) -> String {
    shop.desk.api.deauthorize(&shop.account);
    shop.desk.take_events().await;
    let second = host(&shop.desk, "42").await;
    assert_ne!(second, shop.account);
    second
}

/// So many hours ago the session was made.
async fn made_before(shop: &Shop, hours: i32) {
    let earlier = "UPDATE stripe.command SET attempted_at = attempted_at - make_interval(hours => $1), \
        finished_at = finished_at - make_interval(hours => $1) WHERE key LIKE 'booking.%'";
    let client = &shop.desk.lab.client;
    client.execute(earlier, &[&hours]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_paid_on_an_account_that_left_is_not_sold_again() {
    let shop = Shop::new().await;
    for (booking, payment) in [(7, Payment::Card), (8, Payment::Delayed)] {
        let made = session(&shop.checkout(booking).await.unwrap());
        shop.desk.api.pay(&made, payment).unwrap();
    }
    shop.desk.take_events().await;
    comes_back(&shop).await;
    for (booking, code) in [(7, "booking_paid"), (8, "processing")] {
        assert_eq!(shop.checkout(booking).await.unwrap_err().code, code);
        assert_eq!(shop.cancel(booking).await.unwrap_err().code, code);
    }
    assert!(shop.sessions("open").is_empty());
    // A month later the money has not come.
    made_before(&shop, 31 * 24).await;
    assert_eq!(shop.checkout(7).await.unwrap_err().code, "booking_paid");
    shop.checkout(8).await.unwrap();
}

/// Whether a guest can pay by a session of an account that is out of reach nobody can say, so
/// there is no other one until its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_checkout_on_an_account_that_left_is_waited_for() {
    let shop = Shop::new().await;
    let bookings = 1..=6;
    for booking in bookings.clone() {
        shop.checkout(booking).await.unwrap();
    }
    shop.desk.take_events().await;
    let second = comes_back(&shop).await;
    for booking in bookings.clone() {
        for error in [shop.checkout(booking).await, shop.cancel(booking).await] {
            let error = error.unwrap_err();
            assert_eq!((error.code, error.retryable), ("earlier_checkout", true));
        }
    }
    made_before(&shop, 25).await;
    // As the version before has told it: at 1, before all that is told now.
    let told = "UPDATE stripe.booking_claim SET event_created = to_timestamp(1000000) \
        WHERE event_created < to_timestamp(1000000) AND booking_id > 3";
    shop.desk.lab.client.batch_execute(told).await.unwrap();
    for booking in bookings.clone() {
        let sold = session(&shop.checkout(booking).await.unwrap());
        shop.desk.api.pay(&sold, Payment::Card).unwrap();
    }
    shop.desk.take_events().await;
    // The later session has the booking, whichever its id.
    let sold: Vec<String> = bookings
        .map(|one| format!("{one} PAID 45.99 eur"))
        .collect();
    assert_eq!(shop.rows().await, sold);
    assert_eq!(shop.dead_letters().await, Vec::<String>::new());
    let account = &shop.invoice(1).await["invoice"]["stripeAccountId"];
    assert_eq!(*account, *second);
}

/// The API key is another one for a while: the session is not forgotten over that.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_see_a_checkout_does_not_end_it() {
    let rights = ["accounts_write", "account_links_write"];
    let options = Options {
        restricted_keys: vec![RestrictedKey::new("rk_test_1", &rights)],
        ..Options::default()
    };
    let desk = Desk::with(options, |_| {}).await;
    let account = host(&desk, "42").await;
    let mut shop = Shop { desk, account };
    let made = session(&shop.checkout(7).await.unwrap());
    let restricted = client(&shop.desk.api, "rk_test_1", None);
    let right = shop.desk.service.client.replace(restricted);
    for hours in [0, 1000] {
        made_before(&shop, hours).await;
        for error in [shop.checkout(7).await, shop.cancel(7).await] {
            assert_eq!(error.unwrap_err().code, "stripe_permission");
        }
    }
    shop.desk.service.client = right;
    assert_eq!(shop.open(7), [made.as_str()]);
    // The cancels are noted: what is sold now is another session, and that one is ended.
    let sold = session(&shop.checkout(7).await.unwrap());
    assert_ne!(sold, made);
    assert_eq!(shop.open(7), [sold]);
}

/// A payment by a method that takes days failed, and the booking is another host's then: that
/// one has it, whichever session's id is the smaller.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_whose_payment_failed_can_be_sold_by_another_host() {
    let shop = Shop::new().await;
    let second = host(&shop.desk, "43").await;
    let bookings = 1..=6;
    for booking in bookings.clone() {
        let made = session(&shop.checkout(booking).await.unwrap());
        shop.desk.api.pay(&made, Payment::Delayed).unwrap();
        shop.desk.api.settle(&made, false).unwrap();
        shop.desk.take_events().await;
        let words = shop.invoice(booking).await["words"].to_string();
        assert!(words.contains("has failed"), "{words}");
        let mut data = checkout(booking);
        data["hostId"] = "43".into();
        let made = session(&shop.ask(data).await.unwrap());
        let words = shop.invoice(booking).await["words"].to_string();
        assert!(words.contains("the checkout is open"), "{words}");
        shop.desk.api.pay(&made, Payment::Card).unwrap();
        shop.desk.take_events().await;
        let invoice = shop.invoice(booking).await;
        assert_eq!(invoice["invoice"]["stripeAccountId"], *second);
        assert_eq!(invoice["invoice"]["status"], "PAID");
    }
    let sold: Vec<String> = bookings
        .map(|one| format!("{one} PAID 45.99 eur"))
        .collect();
    assert_eq!(shop.rows().await, sold);
    assert_eq!(shop.dead_letters().await, Vec::<String>::new());
}

/// No event told that the host has left: two days later the session is over all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_left_unheard_does_not_hold_up_the_booking_for_ever() {
    let shop = Shop::new().await;
    let second = host(&shop.desk, "43").await;
    shop.checkout(7).await.unwrap();
    shop.desk.api.deauthorize(&shop.account);
    let mut data = checkout(7);
    data["hostId"] = "43".into();
    for _ in 0..2 {
        let error = shop.ask(data.clone()).await.unwrap_err();
        assert_eq!(error.code, "stripe_permission");
        made_before(&shop, 24).await;
    }
    made_before(&shop, 1).await;
    let sold = session(&shop.ask(data).await.unwrap());
    let words = shop.invoice(7).await["words"].to_string();
    assert!(words.contains("the checkout is open"), "{words}");
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    shop.desk.take_events().await;
    let paid = &shop.invoice(7).await["invoice"]["stripeAccountId"];
    assert_eq!(*paid, *second);
}
