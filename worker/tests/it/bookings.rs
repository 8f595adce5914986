//! The commands about bookings, against a stand-in for Stripe; how a session is made is in
//! `checkouts.rs`.

use harness::{
    stripe::{Event, Invoice},
    stripe_api::{Fault, Gate, Kind, Payment},
};
use serde_json::{Value, json};
use worker::commands::command::Name;

use crate::support::shop::{Shop, checkout, host, rename, session};

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
    assert_eq!(shop.cancel(7).await.unwrap_err().code, "booking_paid");

    let list = shop
        .desk
        .run(Name::HostInvoices, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(list["invoices"], json!([invoice]));
    assert_eq!(list["next"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_booking_cannot_be_paid_and_can_be_sold_again() {
    let shop = Shop::new().await;
    let cancel = async || shop.cancel(7).await;
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
    let error = shop.cancel(7).await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("processing", true));
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

/// Another account's claim on booking 7, by an event that says it is older than all others.
fn forged() -> Event {
    let invoice = Invoice {
        id: "in_forged".into(),
        booking: Some("7".into()),
        total: 1,
        ..Invoice::default()
    };
    Event::new("evt_forged", "invoice.paid", invoice.value())
        .of_account("acct_1Forger")
        .at(1_400_000_000)
}

/// A session that a command made is proof: a claim that came before it, by an event that says
/// it is older, is refused, and the paid invoice is the host's.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_claim_is_refused_even_if_it_came_first() {
    for forged_first in [true, false] {
        let shop = Shop::new().await;
        let forge = async || shop.desk.lab.take_one(&forged()).await;
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

/// A host can write the metadata of the session that a command made on its account: as soon as
/// it is made, or before it is looked at once it is paid. That gives it no other booking,
/// whoever asks first.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_gains_nothing_by_the_metadata_of_its_session() {
    for (theirs_first, at_once, name) in [
        (true, true, "8"),
        (true, false, "8"),
        (false, true, "8"),
        (false, false, "8"),
        (false, true, "x"),
        (false, false, "x"),
    ] {
        let shop = Shop::new().await;
        let forger = host(&shop.desk, "43").await;
        let mut of_forger = checkout(7);
        of_forger["hostId"] = "43".into();
        let mut sold = None;
        let gate = Gate::new();
        if at_once {
            let held = Kind::HeldBefore(gate.clone());
            let look = Fault::get("/v1/checkout/sessions/", held);
            shop.desk.api.fault(look);
        }
        let forging = async {
            if at_once {
                gate.reached().await;
                let made = &shop.open(7)[0];
                rename(&shop.desk.api, &forger, made, name).await;
                gate.release_all();
            }
        };
        let (forged, ()) = tokio::join!(shop.ask(of_forger.clone()), forging);
        let forged = session(&forged.unwrap());
        if theirs_first {
            sold = Some(session(&shop.checkout(8).await.unwrap()));
        }
        rename(&shop.desk.api, &forger, &forged, name).await;
        shop.desk.api.pay(&forged, Payment::Card).unwrap();
        // The session is looked at, and what Stripe says of it is told.
        let error = shop.ask(of_forger).await.unwrap_err();
        assert_eq!(error.code, "booking_paid");
        shop.desk.take_events().await;
        let sold = match sold {
            Some(sold) => sold,
            None => session(&shop.checkout(8).await.unwrap()),
        };
        shop.desk.api.pay(&sold, Payment::Card).unwrap();
        shop.desk.take_events().await;
        let invoice = shop.invoice(8).await["invoice"].take();
        assert_eq!(invoice["stripeAccountId"], *shop.account, "{name}");
        assert_eq!(shop.rows().await, ["7 PAID 45.99 eur", "8 PAID 45.99 eur"]);
    }
}

/// The host writes another booking into the metadata of its invoice once it is paid, of one that
/// nobody has, or that another host has. The guest has paid for the booking that was sold.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_stays_the_bookings_that_was_sold_whatever_its_metadata_says_later() {
    for other_sold_to in [None, Some("43")] {
        let shop = Shop::new().await;
        let sold = session(&shop.checkout(7).await.unwrap());
        if let Some(host_id) = other_sold_to {
            host(&shop.desk, host_id).await;
            let mut of_other = checkout(8);
            of_other["hostId"] = host_id.into();
            shop.ask(of_other).await.unwrap();
        }
        shop.desk.api.pay(&sold, Payment::Card).unwrap();
        shop.desk.take_events().await;
        let row = "7 PAID 45.99 eur";
        assert_eq!(shop.rows().await, [row]);
        let invoices = shop.desk.api.objects(&shop.account, "invoice");
        let [invoice] = &invoices[..] else {
            panic!("{invoices:?}");
        };
        for (number, booking) in ["8", "7", "x", "8"].into_iter().enumerate() {
            let mut renamed = invoice.clone();
            renamed["metadata"]["dialoomBookingId"] = booking.into();
            let event = Event::new(&format!("evt_later_{number}"), "invoice.updated", renamed)
                .of_account(&shop.account)
                .at(2_000_000_000 + i64::try_from(number).unwrap());
            shop.desk.lab.take_one(&event).await;
            assert_eq!(shop.rows().await, [row], "{booking}");
        }
        let error = shop.checkout(7).await.unwrap_err();
        assert_eq!(error.code, "booking_paid");
        assert_eq!(error.about.unwrap()["invoice"]["status"], "PAID");
    }
}

/// The host writes another booking into the metadata of the session before the guest has paid,
/// while somebody else has claimed the booking from the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_the_bookings_that_was_sold_and_its_claim_above_all_others() {
    let shop = Shop::new().await;
    shop.desk.lab.take_one(&forged()).await;
    let sold = session(&shop.checkout(7).await.unwrap());
    rename(&shop.desk.api, &shop.account, &sold, "8").await;
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert_eq!(shop.rows().await, ["7 PAID 45.99 eur"]);
    let dead = "SELECT id FROM stripe.dead_letter";
    assert_eq!(shop.desk.lab.rows(dead).await, ["evt_forged"]);
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
    assert_eq!(
        answer["words"][1],
        "It cannot be finalised: Stripe cannot tell from the guest's address which tax applies \
         (customer_tax_location_invalid)."
    );
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

    // A page behind an invoice that is not the host's would look like the last one.
    let others = Invoice {
        id: "in_others".into(),
        booking: None,
        ..Invoice::default()
    };
    let others = Event::new("evt_others", "invoice.paid", others.value());
    shop.desk
        .lab
        .take_one(&others.of_account("acct_1Other"))
        .await;
    for after in ["in_999", "in_others", "7"] {
        let data = json!({ "hostId": "42", "after": after });
        let error = shop.desk.run(Name::HostInvoices, data).await.unwrap_err();
        assert_eq!(error.code, "invalid_command");
        assert_eq!(error.field.as_deref(), Some("after"));
    }
}
