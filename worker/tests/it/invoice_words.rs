//! `booking.invoice` says in words how things are, by what the booking's owner has.

use harness::{
    stripe::{CheckoutSession, Event, Invoice},
    stripe_api::{Options, Payment},
};
use serde_json::{Value, json};

use crate::support::{
    Lab,
    desk::Desk,
    shop::{Shop, session},
};

/// Another account's events, which name the booking.
async fn forge(shop: &Shop, booking: &str) {
    for (number, status, kind) in [
        (1, "draft", "invoice.created"),
        (2, "void", "invoice.voided"),
        (3, "paid", "invoice.paid"),
    ] {
        let invoice = Invoice {
            id: format!("in_forged{number}"),
            status: status.into(),
            booking: Some(booking.into()),
            ..Invoice::default()
        };
        let event = Event::new(&format!("evt_in{number}"), kind, invoice.value());
        shop.desk
            .lab
            .take_one(&event.of_account("acct_1Forger"))
            .await;
    }
    for (number, payment_status) in [(1, "paid"), (2, "unpaid")] {
        let paid = CheckoutSession {
            id: format!("cs_forged{number}"),
            payment_status: payment_status.into(),
            booking: Some(booking.into()),
            invoice: None,
            ..CheckoutSession::default()
        };
        let kind = "checkout.session.completed";
        let event = Event::new(&format!("evt_cs{number}"), kind, paid.value());
        shop.desk
            .lab
            .take_one(&event.of_account("acct_1Forger"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_account_says_of_the_booking_decides_no_word() {
    for forged_first in [true, false] {
        let shop = Shop::new().await;
        if forged_first {
            forge(&shop, "7").await;
        }
        let sold = session(&shop.checkout(7).await.unwrap());
        if !forged_first {
            forge(&shop, "7").await;
        }
        let open = "The guest has not paid yet: the checkout is open.";
        assert_eq!(shop.words(7).await, open);
        shop.desk.api.pay(&sold, Payment::Card).unwrap();
        shop.desk.take_events().await;
        assert_eq!(shop.words(7).await, "The invoice is paid.");
    }
}

/// However many others name the booking, its own invoice is found.
#[tokio::test(flavor = "multi_thread")]
async fn many_claims_hide_nothing() {
    let shop = Shop::new().await;
    let mut events = Vec::new();
    for number in 0..300 {
        let invoice = Invoice {
            id: format!("in_0{number}"),
            status: "draft".into(),
            booking: Some("7".into()),
            ..Invoice::default()
        };
        let event = Event::new(&format!("evt_{number}"), "invoice.created", invoice.value());
        // Older than anything of the host's.
        events.push(event.of_account("acct_1Forger").at(1_400_000_000));
    }
    shop.desk.lab.take(&events).await;
    let sold = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    shop.desk.take_events().await;
    let answer = shop.invoice(7).await;
    assert_eq!(answer["invoice"]["stripeAccountId"], *shop.account);
    assert_eq!(answer["words"], json!(["The invoice is paid."]));
    assert_eq!(shop.checkout(7).await.unwrap_err().code, "booking_paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_invoice_is_said_to_be_void() {
    let shop = Shop::new().await;
    let take = async |kind: &str, status: &str| {
        let invoice = Invoice {
            id: "in_7".into(),
            status: status.into(),
            booking: Some("7".into()),
            ..Invoice::default()
        };
        let event = Event::new(&format!("evt_{kind}"), kind, invoice.value());
        let event = event.of_account(&shop.account);
        shop.desk.lab.take_one(&event).await;
    };
    take("invoice.finalized", "open").await;
    let said = "The invoice is issued and not paid.";
    assert_eq!(shop.words(7).await, said);
    take("invoice.voided", "void").await;
    let said = "The booking's invoice is void, and there is no other one.";
    assert_eq!(shop.words(7).await, said);
    // It is sold once more.
    shop.checkout(7).await.unwrap();
    let said = "The guest has not paid yet: the checkout is open.";
    assert_eq!(shop.words(7).await, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_waits_for_the_bookings_row() {
    let lab = Lab::with_bookings(&[]).await;
    let shop = Shop::of(Desk::on(lab, Options::default(), |_| {}).await).await;
    assert_eq!(
        shop.words(7).await,
        "Nobody has begun to pay for the booking."
    );
    let sold = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    shop.desk.take_events().await;
    assert!(shop.rows().await.is_empty());
    let answer = shop.invoice(7).await;
    assert_eq!(answer["invoice"]["status"], "PAID");
    let waits = "It waits for the booking's row in the main app's table.";
    assert_eq!(answer["words"], json!(["The invoice is paid.", waits]));
}

/// The deployment's query does not know the booking yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_whose_owner_is_not_known_says_so() {
    let mut shop = Shop::new().await;
    let query = "SELECT 'acct_1Other'::text WHERE $1 = 8";
    shop.desk.service.owner_query = Some(query.into());
    shop.desk.lab.executor.owner_query = Some(query.into());
    let nobody = "Nobody has begun to pay for the booking.";
    assert_eq!(shop.words(7).await, nobody);
    forge(&shop, "7").await;
    let words = shop.words(7).await;
    assert!(words.contains("BOOKING_OWNER_QUERY"), "{words}");
    forge(&shop, "8").await;
    assert_eq!(shop.words(8).await, nobody);
}

/// When Stripe made the invoices of [`take`].
const MADE: i64 = 1_760_000_000;

/// An event of the host's invoice of a booking.
async fn take(shop: &Shop, id: &str, status: &str, booking: &str, change: impl FnOnce(&mut Value)) {
    let mut invoice = Invoice {
        id: id.into(),
        status: status.into(),
        booking: Some(booking.into()),
        created: MADE,
        ..Invoice::default()
    }
    .value();
    change(&mut invoice);
    let event = Event::new(
        &format!("evt_{id}_{status}_{booking}"),
        "invoice.updated",
        invoice,
    );
    let event = event.of_account(&shop.account);
    shop.desk.lab.take_one(&event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_invoice_is_said() {
    let shop = Shop::new().await;
    let tax = |status: &'static str| {
        move |invoice: &mut Value| invoice["automatic_tax"]["status"] = status.into()
    };
    take(&shop, "in_7", "draft", "7", tax("requires_location_inputs")).await;
    assert_eq!(
        shop.words(7).await,
        "The invoice has been a draft since 2025-10-09T08:53:20Z: Stripe finalises it about an \
         hour later. Tax: the guest's location is missing, so no tax is calculated."
    );
    take(&shop, "in_8", "draft", "8", tax("failed")).await;
    let failed = "Tax: the tax could not be calculated, and Stripe tries again.";
    let words = shop.words(8).await;
    assert!(words.ends_with(failed), "{words}");
    take(&shop, "in_9", "paid", "9", tax("complete")).await;
    assert_eq!(shop.words(9).await, "The invoice is paid.");
    take(&shop, "in_10", "uncollectible", "10", |_| {}).await;
    assert_eq!(
        shop.words(10).await,
        "The invoice was given up as uncollectible; it can still be paid."
    );
    take(&shop, "in_11", "draft", "11", |invoice| {
        invoice["created"] = Value::Null;
    })
    .await;
    assert_eq!(shop.words(11).await, "The invoice is a draft.");
}

/// Stripe's events come in any order.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_invoice_has_no_event_yet_is_said() {
    let shop = Shop::new().await;
    let sold = session(&shop.checkout(7).await.unwrap());
    shop.desk.api.pay(&sold, Payment::Card).unwrap();
    let events = shop.desk.api.take_events();
    let (sessions, others): (Vec<_>, Vec<_>) = events
        .iter()
        .partition(|event| event.kind.starts_with("checkout.session."));
    for event in sessions {
        shop.desk.lab.take_bytes(&[event.bytes()]).await;
    }
    let answer = shop.invoice(7).await;
    assert_eq!(answer["invoice"], Value::Null);
    let paid = "The guest has paid, and no event of the invoice has come yet.";
    assert_eq!(answer["words"], json!([paid]));
    for event in others {
        shop.desk.lab.take_bytes(&[event.bytes()]).await;
    }
    assert_eq!(shop.words(7).await, "The invoice is paid.");
}

/// Whose the booking is by the query when the event came, and by the query now.
async fn queries(shop: &mut Shop, then: &str) {
    shop.desk.lab.executor.owner_query = Some(then.into());
    let now = format!("SELECT '{}'::text WHERE $1 > 0", shop.account);
    shop.desk.service.owner_query = Some(now);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_waits_is_said_to_wait_and_for_what() {
    let waits = |why: &str| format!("An invoice that names the booking waits: {why}.");
    let mut shop = Shop::new().await;
    take(&shop, "in_7", "open", "7", |invoice| {
        invoice["total"] = Value::Null;
    })
    .await;
    let amount = "no event gave a total and a currency";
    assert_eq!(shop.words(7).await, waits(amount));

    // Of more invoices than may name a booking one waits; those before it are void.
    for number in 0..50 {
        take(&shop, &format!("in_8_{number}"), "void", "8", |_| {}).await;
    }
    take(&shop, "in_8_last", "open", "8", |_| {}).await;
    let turn = "more invoices and sessions name the booking than may";
    assert_eq!(shop.words(8).await, waits(turn));

    queries(&mut shop, "SELECT 'acct_1Other'::text WHERE $1 = 11").await;
    take(&shop, "in_10", "open", "10", |_| {}).await;
    let owner = "BOOKING_OWNER_QUERY does not know whose the booking is";
    assert_eq!(shop.words(10).await, waits(owner));
    take(&shop, "in_11", "open", "11", |_| {}).await;
    let claim = "the booking is another account's";
    assert_eq!(shop.words(11).await, waits(claim));
}

/// `"Invoice"` is behind this answer while its row cannot be written, and the answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_written_yet_is_said() {
    let shop = Shop::new().await;
    let client = &shop.desk.lab.client;
    take(&shop, "in_7", "open", "7", |_| {}).await;
    let said = async |why: &str| {
        let answer = shop.invoice(7).await;
        assert_eq!(answer["invoice"]["status"], "PAID");
        let pending = format!(
            "The booking's row in \"Invoice\" is not written yet, and is as it was before: {why}. \
             It is tried again."
        );
        assert_eq!(answer["words"], json!(["The invoice is paid.", pending]));
        assert_eq!(shop.rows().await, ["7 SENT 45 eur"]);
    };
    let lock = r#"BEGIN; SELECT FROM "Invoice" FOR UPDATE"#;
    client.batch_execute(lock).await.unwrap();
    take(&shop, "in_7", "paid", "7", |_| {}).await;
    said("the main app has locked it").await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let refuse = r#"ALTER TABLE "Invoice" ADD CONSTRAINT "no" CHECK ("status" <> 'PAID')"#;
    client.batch_execute(refuse).await.unwrap();
    shop.desk.lab.project_pending().await;
    said("the database refuses it (check)").await;
    let allow = r#"ALTER TABLE "Invoice" DROP CONSTRAINT "no""#;
    client.batch_execute(allow).await.unwrap();
    shop.desk.lab.project_pending().await;
    assert_eq!(shop.words(7).await, "The invoice is paid.");
    assert_eq!(shop.rows().await, ["7 PAID 45 eur"]);

    // A row that is to go is still there.
    take(&shop, "in_8", "open", "8", |_| {}).await;
    client.batch_execute(lock).await.unwrap();
    take(&shop, "in_8", "void", "8", |_| {}).await;
    let words = shop.words(8).await;
    assert!(
        words.starts_with("The booking's invoice is void"),
        "{words}"
    );
    assert!(words.contains("the main app has locked it"), "{words}");
    client.batch_execute("ROLLBACK").await.unwrap();
}
