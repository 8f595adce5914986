//! A booking has one open Checkout Session, made as Stripe wants it made, whatever goes wrong.

use futures_util::future::join_all;
use harness::stripe_api::{Fault, Gate, Kind, Payment, RateLimit, Recorded};
use serde_json::{Value, json};

use crate::support::{
    desk::take_mark,
    shop::{Shop, checkout, host, session},
};

/// The first request that makes a session.
fn asked_to_make(shop: &Shop) -> Recorded {
    let requests = shop.desk.requests("/v1/checkout/sessions").into_iter();
    let mut posted = requests.filter(|one| one.method == "POST");
    posted.next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_is_asked_of_a_session_is_this_and_nothing_else() {
    let shop = Shop::new().await;
    let mut data = checkout(7);
    data["customerEmail"] = "guest@example.org".into();
    data["expiresInMinutes"] = 60.into();
    data["locale"] = "es".into();
    shop.ask(data).await.unwrap();
    let made = asked_to_make(&shop);
    assert_eq!(made.stripe_account.as_deref(), Some(shop.account.as_str()));
    assert_eq!(made.stripe_version.as_deref(), Some("2026-10-28.endive"));
    let mut params = made.params.clone();
    let expires = params["expires_at"].take().as_i64().unwrap();
    let now = harness::stripe::now();
    assert!((expires - now - 3600).abs() < 60, "{expires} {now}");
    let mark = take_mark(&mut params);
    let metadata = json!({ "dialoomBookingId": "7" });
    let mut expected = json!({
        "mode": "payment",
        "success_url": "https://app.example.com/paid",
        "cancel_url": "https://app.example.com/back",
        "customer_email": "guest@example.org",
        "locale": "es",
        "expires_at": null,
        "line_items": [{
            "quantity": 1,
            "price_data": {
                "currency": "eur", "unit_amount": 4599,
                "product_data": { "name": "A call of an hour" },
            },
        }],
        "metadata": metadata,
        "payment_intent_data": { "application_fee_amount": 460, "metadata": metadata },
        "invoice_creation": { "enabled": true, "invoice_data": { "metadata": metadata } },
        "adaptive_pricing": { "enabled": false },
    });
    assert_eq!(params, expected);

    // With tax, and another share.
    let mut data = checkout(8);
    data["automaticTax"] = true.into();
    data["applicationFeePercent"] = 0.into();
    shop.desk.api.set_head_office(&shop.account, Some("ES"));
    shop.desk.api.forget_requests();
    shop.ask(data).await.unwrap();
    let mut params = asked_to_make(&shop).params;
    assert_ne!(take_mark(&mut params), mark);
    let metadata = json!({ "dialoomBookingId": "8" });
    let own = json!({ "type": "self" });
    for gone in ["customer_email", "locale", "expires_at"] {
        expected.as_object_mut().unwrap().remove(gone);
    }
    expected["metadata"] = metadata.clone();
    expected["payment_intent_data"] = json!({ "metadata": metadata });
    expected["invoice_creation"]["invoice_data"] = json!({ "metadata": metadata, "issuer": own });
    expected["line_items"][0]["price_data"]["tax_behavior"] = "exclusive".into();
    expected["automatic_tax"] = json!({ "enabled": true, "liability": own });
    expected["customer_creation"] = "always".into();
    expected["billing_address_collection"] = "required".into();
    expected["tax_id_collection"] = json!({ "enabled": true });
    assert_eq!(params, expected);
}

/// Where a deployment wants it, guests may pay in their own currency.
#[tokio::test(flavor = "multi_thread")]
async fn adaptive_pricing_is_on_where_a_setting_turns_it_on() {
    let shop = Shop::with(|settings| settings.adaptive_pricing = true).await;
    shop.checkout(7).await.unwrap();
    let asked = asked_to_make(&shop).params["adaptive_pricing"].take();
    assert_eq!(asked, json!({ "enabled": true }));
}

/// Half an hour is counted by Stripe from when it makes the session, so a little more is asked
/// for; a day is what Stripe takes where it is told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_open_for_as_long_as_stripe_allows() {
    let shop = Shop::new().await;
    for (booking, minutes, expected) in [
        (1, 30, Some(32)),
        (2, 32, Some(32)),
        (3, 33, Some(33)),
        (4, 1439, Some(1439)),
        (5, 1440, None),
    ] {
        shop.desk.api.forget_requests();
        let mut data = checkout(booking);
        data["expiresInMinutes"] = minutes.into();
        let answer = shop.ask(data).await.unwrap();
        let now = harness::stripe::now();
        let asked = asked_to_make(&shop).params["expires_at"].as_i64();
        let asked = asked.map(|at| (at - now + 30) / 60);
        assert_eq!(asked, expected, "{minutes}");
        assert!(answer["expiresAt"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_price_or_host_ends_the_open_session() {
    let shop = Shop::new().await;
    let second = host(&shop.desk, "43").await;
    let first = session(&shop.checkout(7).await.unwrap());
    let mut dearer = checkout(7);
    dearer["amount"] = json!(50);
    let other = session(&shop.ask(dearer.clone()).await.unwrap());
    assert_ne!(first, other);
    assert_eq!(shop.open(7), [&*other]);
    // The guest's page and address are no terms.
    dearer["cancelUrl"] = "https://app.example.com/elsewhere".into();
    assert_eq!(session(&shop.ask(dearer.clone()).await.unwrap()), other);
    dearer["hostId"] = "43".into();
    let third = session(&shop.ask(dearer).await.unwrap());
    assert_eq!(shop.open(7), [&*third]);
    // The events of all three end in one invoice of the host that sold.
    shop.desk.api.pay(&third, Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 50 eur"]);
    let invoice = shop.invoice(7).await;
    assert_eq!(invoice["invoice"]["stripeAccountId"], *second);
    let dead = "SELECT count(*)::text FROM stripe.dead_letter";
    assert_eq!(shop.desk.lab.rows(dead).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_get_one_session() {
    let shop = Shop::new().await;
    let answers = join_all((0..8).map(|_| shop.checkout(7))).await;
    let mut sessions: Vec<String> = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => sessions.push(session(&answer)),
            Err(error) => assert_eq!((error.code, error.retryable), ("in_progress", true)),
        }
    }
    sessions.dedup();
    assert_eq!(sessions, shop.open(7));

    // Each with another price: whoever comes last has it, and one can be paid.
    let prices = (0..6).map(|price| {
        let mut data = checkout(8);
        data["amount"] = json!(10 + price);
        shop.ask(data)
    });
    for answer in join_all(prices).await {
        if let Err(error) = answer {
            assert!(error.retryable, "{error:?}");
        }
    }
    assert!(shop.open(8).len() <= 1, "{:?}", shop.open(8));
}

/// Whatever goes wrong, and wherever the worker dies: never two that can be paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_never_has_two_sessions_that_can_be_paid() {
    let mut kinds: Vec<Kind> = [true, false]
        .into_iter()
        .flat_map(|took_effect| [Kind::Status500 { took_effect }, Kind::Drop { took_effect }])
        .collect();
    kinds.push(Kind::Conflict409);
    kinds.extend(RateLimit::ALL.map(Kind::RateLimited));
    let shop = Shop::new().await;
    let mut booking = 0;
    for kind in kinds {
        for times in [1, 4] {
            booking += 1;
            let fault = Fault::post("/v1/checkout/sessions", kind.clone()).times(times);
            shop.desk.api.fault(fault);
            let mut tries = 0;
            let answer = loop {
                tries += 1;
                match shop.checkout(booking).await {
                    Ok(answer) => break answer,
                    Err(error) => assert!(error.retryable && tries < 6, "{kind:?}: {error:?}"),
                }
            };
            shop.desk.api.clear_faults();
            assert_eq!(shop.open(booking), [session(&answer)], "{kind:?} {times}");
        }
    }
    // The future is dropped where the process would die.
    type Held = fn(Gate) -> Kind;
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for (path, held) in [
        ("/v1/checkout/sessions", before),
        ("/v1/checkout/sessions", after),
        ("/v1/checkout/sessions/", before),
        ("/v1/checkout/sessions/", after),
    ] {
        booking += 1;
        let mut data = checkout(booking);
        if path.ends_with('/') {
            // The open one has to be ended first.
            shop.checkout(booking).await.unwrap();
            data["amount"] = json!(99);
        }
        let gate = Gate::new();
        shop.desk.api.fault(Fault::post(path, held(gate.clone())));
        tokio::select! {
            answer = shop.ask(data.clone()) => panic!("{path}: {answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        let answer = loop {
            match shop.ask(data.clone()).await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.retryable, "{error:?}"),
            }
        };
        assert_eq!(shop.open(booking), [session(&answer)], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sold_is_refused_with_the_reason() {
    let shop = Shop::new().await;
    let refused = async |change: fn(&mut Value)| {
        let mut data = checkout(7);
        change(&mut data);
        let error = shop.ask(data).await.unwrap_err();
        (error.code, error.field.unwrap_or_default(), error.message)
    };
    type Case = (fn(&mut Value), &'static str, &'static str, &'static str);
    let cases: [Case; 12] = [
        (
            |data| data["amount"] = json!("0.49"),
            "invalid_command",
            "amount",
            "least",
        ),
        (
            |data| data["amount"] = json!(45.999),
            "invalid_command",
            "amount",
            "decimals",
        ),
        (
            |data| data["amount"] = json!(-1),
            "invalid_command",
            "amount",
            "no amount",
        ),
        (
            |data| data["amount"] = json!(1e300),
            "invalid_command",
            "amount",
            "amount",
        ),
        (
            |data| data["currency"] = json!("EUR"),
            "invalid_command",
            "currency",
            "small letters",
        ),
        (
            |data| data["bookingId"] = json!(0),
            "invalid_command",
            "bookingId",
            "booking",
        ),
        (
            |data| data["bookingId"] = json!("7a"),
            "invalid_command",
            "bookingId",
            "booking",
        ),
        (
            |data| data["expiresInMinutes"] = json!(29),
            "invalid_command",
            "expiresInMinutes",
            "30",
        ),
        (
            |data| data["applicationFeePercent"] = json!(101),
            "invalid_command",
            "applicationFeePercent",
            "percentage",
        ),
        (
            |data| data["successUrl"] = json!("https://evil.example/"),
            "redirect_refused",
            "successUrl",
            "",
        ),
        (
            |data| data["hostId"] = json!("nobody"),
            "host_unknown",
            "hostId",
            "",
        ),
        (
            |data| data["tip"] = json!(1),
            "invalid_command",
            "tip",
            "not known",
        ),
    ];
    for (change, code, field, said) in cases {
        let error = refused(change).await;
        assert_eq!((error.0, error.1.as_str()), (code, field), "{}", error.2);
        assert!(error.2.contains(said), "{}", error.2);
    }
    shop.desk.onboard("fresh").await.unwrap();
    let (code, field, message) = refused(|data| data["hostId"] = json!("fresh")).await;
    assert_eq!((code, field.as_str()), ("host_cannot_sell", "hostId"));
    assert!(message.contains("has not finished"), "{message}");
    assert!(shop.desk.requests("/v1/checkout/sessions").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_of_another_host_is_refused_by_the_owner_query() {
    let mut shop = Shop::new().await;
    let owner = "SELECT 'acct_1Other' WHERE $1 = 7";
    shop.desk.service.owner_query = Some(owner.into());
    assert_eq!(
        shop.checkout(7).await.unwrap_err().code,
        "booking_of_other_host"
    );
    shop.checkout(8).await.unwrap();
}
