//! What is read of an event: every field that is kept, what is refused and why.

use domain::{
    account::AccountChange,
    account_snapshot::AccountSnapshot,
    event::{self as events, EventData},
    ids::BookingId,
    merge::{Merge, Register, value},
    rejection::Rejection,
    rules::Rules,
};
use event::Mode;
use harness::stripe::{Account, CheckoutSession, Event, Invoice};
use serde_json::{Value, json};

fn rules() -> Rules {
    Rules {
        mode: Mode::Test,
        booking_key: "dialoomBookingId".into(),
        client_reference: false,
        application: None,
    }
}

fn read(kind: &str, object: Value) -> Result<events::Event, Rejection> {
    let event = Event::new("evt_1", kind, object).of_account("acct_a");
    events::decode(&event.bytes(), &rules()).map_err(|rejected| rejected.rejection)
}

fn text(register: &Option<Register<String>>) -> Option<&str> {
    value(register).map(String::as_str)
}

fn invoice(change: impl FnOnce(&mut Value)) -> Result<events::Event, Rejection> {
    let mut object = Invoice::default().value();
    change(&mut object);
    read("invoice.paid", object)
}

fn session(change: impl FnOnce(&mut Value)) -> Result<events::Event, Rejection> {
    let mut object = CheckoutSession::default().value();
    change(&mut object);
    read("checkout.session.completed", object)
}

fn account(change: impl FnOnce(&mut Value)) -> Result<AccountSnapshot, Rejection> {
    let mut object = Account {
        id: "acct_a".into(),
        ..Account::default()
    }
    .value();
    change(&mut object);
    let event = read("account.updated", object)?;
    match event.data {
        EventData::Account(data) => match data.change {
            AccountChange::Updated(candidate) => Ok(candidate.after),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_an_invoice() {
    let event = invoice(|object| {
        object["number"] = json!("N-1");
        object["hosted_invoice_url"] = json!("https://hosted");
        object["invoice_pdf"] = json!("https://pdf");
        object["status"] = json!("open");
    })
    .unwrap();
    assert_eq!(event.object_id(), Some("in_1Sample"));
    let EventData::Invoice(data) = &event.data else {
        panic!("{event:?}");
    };
    assert_eq!(data.booking, Some(BookingId(1)));
    let read = &data.invoice;
    assert_eq!(read.status.value.as_str(), "open");
    assert_eq!(value(&read.total), Some(&4500));
    assert_eq!(value(&read.created), Some(&harness::stripe::SAMPLE_TIME));
    assert_eq!(text(&read.currency), Some("eur"));
    assert_eq!(text(&read.number), Some("N-1"));
    assert_eq!(text(&read.hosted_url), Some("https://hosted"));
    assert_eq!(text(&read.pdf_url), Some("https://pdf"));
    assert!(read.is_of_one_event());
}

#[test]
fn every_field_of_an_account() {
    let read = account(|object| {
        object["requirements"] = json!({
            "currently_due": ["a"], "past_due": ["b"], "eventually_due": ["c"],
            "pending_verification": ["d"], "disabled_reason": "listed", "current_deadline": 7,
        });
        object["future_requirements"] = json!({ "currently_due": ["e"], "current_deadline": 8 });
        object["metadata"]["hostId"] = json!(42);
    })
    .unwrap();
    assert_eq!(read.requirements.currently_due, ["a"]);
    assert_eq!(read.requirements.past_due, ["b"]);
    assert_eq!(read.requirements.eventually_due, ["c"]);
    assert_eq!(read.requirements.pending_verification, ["d"]);
    assert_eq!(read.requirements.disabled_reason.as_deref(), Some("listed"));
    assert_eq!(read.requirements.current_deadline, Some(7));
    assert_eq!(read.future_currently_due, ["e"]);
    assert_eq!(read.future_deadline, Some(8));
    assert_eq!(read.host_id.as_deref(), Some("42"));
    assert_eq!(read.account_type.as_deref(), Some("express"));
    assert_eq!(read.card_payments.as_deref(), Some("active"));
    assert_eq!(read.country.as_deref(), Some("ES"));
    assert_eq!(read.default_currency.as_deref(), Some("eur"));
    assert_eq!(read.created, Some(harness::stripe::SAMPLE_TIME));
    assert!(read.charges_enabled && read.payouts_enabled && read.details_submitted);
}

#[test]
fn every_reason_has_its_own_code_and_sentence() {
    let long = "x".repeat(8193);
    let many = vec!["x"; 1001];
    let cases: Vec<(Rejection, &str)> = vec![
        (
            invoice(|o| o["id"] = json!("")).unwrap_err(),
            "unreadable_object",
        ),
        (
            invoice(|o| o["total"] = json!("x")).unwrap_err(),
            "unreadable_object",
        ),
        (
            invoice(|o| o["object"] = json!("charge")).unwrap_err(),
            "other_object",
        ),
        (
            invoice(|o| o["number"] = json!("a\0b")).unwrap_err(),
            "nul_in_text",
        ),
        (
            invoice(|o| o["id"] = json!("x".repeat(256))).unwrap_err(),
            "text_too_long",
        ),
        (
            invoice(|o| o["invoice_pdf"] = json!(long)).unwrap_err(),
            "text_too_long",
        ),
        (
            invoice(|o| o["metadata"]["dialoomBookingId"] = json!("x")).unwrap_err(),
            "invalid_booking_id",
        ),
        (
            invoice(|o| o["metadata"]["dialoomBookingId"] = json!(true)).unwrap_err(),
            "invalid_booking_id",
        ),
        (
            invoice(|o| o["status"] = json!("new")).unwrap_err(),
            "unknown_status",
        ),
        (
            invoice(|o| o["created"] = json!(-1)).unwrap_err(),
            "time_out_of_range",
        ),
        (
            invoice(|o| o["created"] = json!(253_402_300_800_i64)).unwrap_err(),
            "time_out_of_range",
        ),
        (
            session(|o| o["object"] = json!("invoice")).unwrap_err(),
            "other_object",
        ),
        (
            account(|o| o["id"] = json!("acct_b")).unwrap_err(),
            "account_mismatch",
        ),
        (
            account(|o| o["object"] = json!("person")).unwrap_err(),
            "other_object",
        ),
        (
            account(|o| o["requirements"]["past_due"] = json!(many)).unwrap_err(),
            "text_too_long",
        ),
        (
            account(|o| o["requirements"]["current_deadline"] = json!(-1)).unwrap_err(),
            "time_out_of_range",
        ),
    ];
    for (rejection, code) in cases {
        assert_eq!(rejection.code(), code);
        let line = rejection.to_string();
        assert!(line.ends_with('.') && line.len() > 20, "{line}");
    }
}

/// The link between booking and invoice does not depend on them.
#[test]
fn a_status_of_a_session_that_nobody_knows_says_nothing() {
    let event = session(|object| {
        object["status"] = json!("paused");
        object["payment_status"] = json!("partly_paid");
        object["invoice"] = json!("in_1");
    });
    let EventData::CheckoutSession(data) = event.unwrap().data else {
        panic!("the event is of no session");
    };
    let read = data.session;
    assert_eq!((&read.status, &read.payment_status), (&None, &None));
    assert_eq!(read.invoice.map(|one| one.value), Some("in_1".into()));
}

/// The limits themselves are within.
#[test]
fn what_just_fits_is_kept() {
    let event = invoice(|object| {
        object["id"] = json!("x".repeat(255));
        object["invoice_pdf"] = json!("x".repeat(8192));
        object["created"] = json!(253_402_300_799_i64);
    });
    assert!(event.is_ok(), "{event:?}");
    let lists = account(|object| object["requirements"]["past_due"] = json!(vec!["x"; 1000]));
    assert_eq!(lists.unwrap().requirements.past_due.len(), 1000);
}

#[test]
fn an_event_of_the_platform_or_without_an_account() {
    let event = Event::new("evt_1", "account.application.deauthorized", json!({}));
    let rejected = events::decode(&event.bytes(), &rules()).unwrap_err();
    assert_eq!(rejected.rejection, Rejection::MissingAccount);
    assert_eq!(rejected.header.unwrap().id, "evt_1");
    let unreadable = events::decode(b"[]", &rules()).unwrap_err();
    assert_eq!(unreadable.rejection.code(), "unreadable_event");
    assert!(unreadable.header.is_none());
}

#[test]
fn what_is_not_for_us_says_why() {
    let other = read("customer.created", json!({ "id": "cus_1" })).unwrap();
    let EventData::Ignored(why) = other.data else {
        panic!("{other:?}");
    };
    assert_eq!(why.code(), "unhandled_type");
    let mut event = Event::new("evt_1", "invoice.paid", Invoice::default().value());
    event.livemode = true;
    let event = events::decode(&event.bytes(), &rules()).unwrap();
    assert!(event.claim().is_none() && event.object_id().is_none());
    let EventData::Ignored(why) = event.data else {
        panic!("{event:?}");
    };
    assert_eq!(why.code(), "other_mode");
}
