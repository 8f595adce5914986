//! The commands about bookings, against a stand-in for Stripe.

use futures_util::future::join_all;
use harness::{
    stripe::{Event, Invoice},
    stripe_api::{Fault, Gate, Kind, Options, Payment, RateLimit},
};
use serde_json::{Value, json};
use worker::{
    commands::{command::Name, error::CommandError},
    config::commands::CommandSettings,
};

use crate::support::desk::Desk;

/// A desk with a host that can sell.
struct Shop {
    desk: Desk,
    account: String,
}

impl Shop {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(set: impl FnOnce(&mut CommandSettings)) -> Self {
        let desk = Desk::with(Options::default(), set).await;
        let account = host(&desk, "42").await;
        desk.api.forget_requests();
        Self { desk, account }
    }

    async fn checkout(&self, booking: i32) -> Result<Value, CommandError> {
        self.ask(checkout(booking)).await
    }

    async fn ask(&self, data: Value) -> Result<Value, CommandError> {
        self.desk.run(Name::BookingCheckout, data).await
    }

    async fn invoice(&self, booking: i32) -> Value {
        let data = json!({ "bookingId": booking });
        self.desk.run(Name::BookingInvoice, data).await.unwrap()
    }

    /// The sessions by which a guest can pay for a booking.
    fn open(&self, booking: i32) -> Vec<String> {
        let sessions = self.sessions("open").into_iter();
        let booking = booking.to_string();
        let its = sessions.filter(|one| one["metadata"]["dialoomBookingId"] == *booking);
        its.map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn sessions(&self, status: &str) -> Vec<Value> {
        let accounts = self.desk.api.accounts();
        let accounts = accounts
            .iter()
            .map(|account| account["id"].as_str().unwrap().to_owned());
        let sessions = accounts.flat_map(|id| self.desk.api.objects(&id, "checkout.session"));
        sessions.filter(|one| one["status"] == status).collect()
    }

    /// The rows of `"Invoice"`, shortly.
    async fn rows(&self) -> Vec<String> {
        let query = r#"SELECT concat_ws(' ', "bookingId", "status", trim_scale("amount"), "currency")
            FROM "Invoice" ORDER BY 1"#;
        self.desk.lab.rows(query).await
    }
}

/// A host that can sell.
async fn host(desk: &Desk, host: &str) -> String {
    let answer = desk.onboard(host).await.unwrap();
    let account = answer["stripeAccountId"].as_str().unwrap().to_owned();
    desk.api.finish_onboarding(&account);
    desk.take_events().await;
    account
}

fn checkout(booking: i32) -> Value {
    json!({
        "bookingId": booking, "hostId": "42", "amount": "45.99", "currency": "eur",
        "description": "A call of an hour",
        "successUrl": "https://app.example.com/paid", "cancelUrl": "https://app.example.com/back",
    })
}

fn session(answer: &Value) -> String {
    answer["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_pays_for_a_booking() {
    let shop = Shop::new().await;
    let answer = shop.checkout(7).await.unwrap();
    assert!(answer["url"].as_str().unwrap().starts_with("https://"));
    assert!(answer["expiresAt"].as_str().unwrap().ends_with('Z'));
    let none = shop.invoice(7).await;
    assert_eq!(none["invoice"], Value::Null);
    assert_eq!(
        none["words"],
        json!(["The guest has not paid yet: the checkout is open."])
    );
    // The same again is the same session.
    assert_eq!(shop.checkout(7).await.unwrap(), answer);

    shop.desk.api.pay(&session(&answer), Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 45.99 eur"]);
    let paid = shop.invoice(7).await;
    assert_eq!(paid["words"], json!(["The invoice is paid."]));
    let invoice = &paid["invoice"];
    assert_eq!(
        (&invoice["status"], &invoice["amount"]),
        (&json!("PAID"), &json!("45.99"))
    );
    assert!(invoice["pdfUrl"].as_str().unwrap().starts_with("https://"));

    let error = shop.checkout(7).await.unwrap_err();
    assert_eq!(error.code, "booking_paid");
    assert_eq!(error.about.unwrap()["invoice"], *invoice);
    let cancel = shop
        .desk
        .run(Name::BookingCancel, json!({ "bookingId": 7 }))
        .await;
    assert_eq!(cancel.unwrap_err().code, "booking_paid");

    let list = shop
        .desk
        .run(Name::HostInvoices, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(list["invoices"], json!([invoice]));
    assert_eq!(list["next"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_is_asked_of_a_session_is_this_and_nothing_else() {
    let shop = Shop::new().await;
    let mut data = checkout(7);
    data["customerEmail"] = "guest@example.org".into();
    data["expiresInMinutes"] = 60.into();
    data["locale"] = "es".into();
    shop.ask(data).await.unwrap();
    let made = &shop.desk.requests("/v1/checkout/sessions")[0];
    assert_eq!(made.stripe_account.as_deref(), Some(shop.account.as_str()));
    assert_eq!(made.stripe_version.as_deref(), Some("2026-10-28.endive"));
    let mut params = made.params.clone();
    let expires = params["expires_at"].take().as_i64().unwrap();
    let now = harness::stripe::now();
    assert!((expires - now - 3600).abs() < 60, "{expires} {now}");
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
    let params = &shop.desk.requests("/v1/checkout/sessions")[0].params;
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
    assert_eq!(*params, expected);
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
async fn a_canceled_booking_cannot_be_paid_and_can_be_sold_again() {
    let shop = Shop::new().await;
    let cancel = async || {
        shop.desk
            .run(Name::BookingCancel, json!({ "bookingId": 7 }))
            .await
    };
    assert_eq!(
        cancel().await.unwrap(),
        json!({ "canceled": true, "sessionId": null })
    );
    let first = session(&shop.checkout(7).await.unwrap());
    assert_eq!(
        cancel().await.unwrap(),
        json!({ "canceled": true, "sessionId": first })
    );
    assert_eq!(
        cancel().await.unwrap(),
        json!({ "canceled": true, "sessionId": null })
    );
    assert!(shop.open(7).is_empty());
    assert!(shop.desk.api.pay(&first, Payment::Card).is_err());
    let words = shop.invoice(7).await["words"].clone();
    assert_eq!(
        words,
        json!(["The guest has not paid: the checkout has expired."])
    );
    let second = session(&shop.checkout(7).await.unwrap());
    assert_eq!(shop.open(7), [second]);
}

/// A method that takes days: nobody pays twice meanwhile, and somebody can once it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_payment_is_waited_for() {
    let shop = Shop::new().await;
    let first = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&first, Payment::Delayed).unwrap();
    let error = shop.checkout(7).await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("processing", true));
    let cancel = shop
        .desk
        .run(Name::BookingCancel, json!({ "bookingId": 7 }))
        .await;
    assert_eq!(cancel.unwrap_err().code, "processing");
    let words = shop.invoice(7).await["words"][0].clone();
    assert!(words.as_str().unwrap().contains("takes days"), "{words}");
    shop.desk.api.settle(&first, false).unwrap();
    let second = session(&shop.checkout(7).await.unwrap());
    assert_ne!(first, second);
    shop.desk.api.pay(&second, Payment::Delayed).unwrap();
    shop.desk.api.settle(&second, true).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 45.99 eur"]);
    assert_eq!(shop.checkout(7).await.unwrap_err().code, "booking_paid");
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

/// A session that a command made is proof: a claim that came before it, by an event that says
/// it is older, is refused, and the paid invoice is the host's.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_claim_is_refused_even_if_it_came_first() {
    for forged_first in [true, false] {
        let shop = Shop::new().await;
        let forge = async || {
            let forged = Invoice {
                id: "in_forged".into(),
                booking: Some("7".into()),
                total: 1,
                ..Invoice::default()
            };
            let forged = Event::new("evt_forged", "invoice.paid", forged.value())
                .of_account("acct_1Forger")
                .at(1_400_000_000);
            shop.desk.lab.take_one(&forged).await;
        };
        if forged_first {
            forge().await;
            assert_eq!(shop.rows().await, ["7 PAID 0.01 eur"]);
        }
        let answer = shop.checkout(7).await.unwrap();
        if !forged_first {
            forge().await;
        }
        assert!(shop.rows().await.is_empty());
        shop.desk.api.pay(&session(&answer), Payment::Card).unwrap();
        shop.desk.take_events().await;
        assert_eq!(shop.rows().await, ["7 PAID 45.99 eur"]);
        let dead = "SELECT id || ' ' || reason FROM stripe.dead_letter";
        assert_eq!(
            shop.desk.lab.rows(dead).await,
            ["evt_forged booking_claimed_by_other_account"]
        );
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
    shop.desk.service.executor.owner_query = Some(owner.into());
    assert_eq!(
        shop.checkout(7).await.unwrap_err().code,
        "booking_of_other_host"
    );
    shop.checkout(8).await.unwrap();
}

/// What `"Invoice".status` does not say: a refund, and an invoice that Stripe cannot finalise.
#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_failed_finalizations_are_told() {
    let shop = Shop::new().await;
    let paid = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&paid, Payment::Card).unwrap();
    shop.desk.api.refund(&paid, Some(1000)).unwrap();
    shop.desk.take_events().await;
    let answer = shop.invoice(7).await;
    assert_eq!(answer["invoice"]["status"], "PAID");
    assert_eq!(answer["invoice"]["amountRefunded"], "10");
    let words = json!(["The invoice is paid.", "10 eur of it was refunded."]);
    assert_eq!(answer["words"], words);

    let reason = "customer_tax_location_invalid";
    shop.desk
        .api
        .finalization_fails(&shop.account, Some(reason));
    let stuck = session(&shop.checkout(8).await.unwrap());
    shop.desk.api.pay(&stuck, Payment::Card).unwrap();
    shop.desk.take_events().await;
    let answer = shop.invoice(8).await;
    assert_eq!(answer["invoice"]["status"], "DRAFT");
    let words = answer["words"][1].as_str().unwrap();
    assert!(words.contains("address for the tax"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_invoices_come_in_pages() {
    let shop = Shop::new().await;
    for number in 0..120 {
        let invoice = Invoice {
            id: format!("in_{number:03}"),
            booking: None,
            ..Invoice::default()
        };
        let event = Event::new(&format!("evt_{number}"), "invoice.paid", invoice.value());
        shop.desk
            .lab
            .take_one(&event.of_account(&shop.account))
            .await;
    }
    let (mut after, mut seen) = (Value::Null, Vec::new());
    loop {
        let data = json!({ "hostId": "42", "after": after });
        let page = shop.desk.run(Name::HostInvoices, data).await.unwrap();
        let invoices = page["invoices"].as_array().unwrap();
        assert!(invoices.len() <= 50);
        seen.extend(
            invoices
                .iter()
                .map(|one| one["stripeInvoiceId"].to_string()),
        );
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (120, 120));
}
