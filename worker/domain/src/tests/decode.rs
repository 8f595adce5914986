//! What an event says about itself and about its object.

use serde_json::{Value, json, value::to_raw_value};

use super::{
    BOOKING, START, account_updated, event, invoice, invoice_object, rules, session, session_object,
};
use crate::{
    checkout_session,
    checkout_session::{CheckoutSession, PaymentStatus},
    decode::{self, moment, moment_of_millis},
    event::{self as events, Event, EventData, IgnoreReason, Rejected},
    header::Header,
    ids::{AccountId, ObjectId},
    invoice::{Invoice, Status},
    merge::{EventOrder, Merge, Register, set_by},
    rejection::{Holder, Rejection},
    rules::Rules,
};

fn read(body: &Value) -> Result<Event, Rejected> {
    events::decode(body.to_string().as_bytes(), &rules())
}

/// An event with this object. A type of `account.*` is of the account `acct_a`.
fn body(event_type: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": event_type, "account": "acct_a",
        "created": START, "livemode": false, "api_version": "2025-09-30",
        "data": { "object": object },
    })
}

fn order(rank: u8) -> EventOrder {
    EventOrder {
        rank,
        created: START,
        event_id: "evt_1".into(),
    }
}

#[test]
fn every_field_outside_data_is_kept() {
    let mut event = body("invoice.paid", &json!({ "id": "in_1" }));
    let expected = Header {
        id: "evt_1".into(),
        event_type: "invoice.paid".into(),
        account: Some("acct_a".into()),
        created: START,
        api_version: Some("2025-09-30".into()),
        livemode: Some(false),
    };
    assert_eq!(read(&event).unwrap().header, expected);
    assert_eq!(read(&event).unwrap().account(), "acct_a");
    for field in ["account", "created", "api_version"] {
        event.as_object_mut().unwrap().remove(field);
    }
    let of_platform = Header {
        account: None,
        created: 0,
        api_version: None,
        ..expected
    };
    assert_eq!(read(&event).unwrap().header, of_platform);
    assert_eq!(read(&event).unwrap().account(), "");
}

#[test]
fn an_event_of_the_other_mode_or_of_an_unhandled_type_is_ignored() {
    let mut live = body("invoice.paid", &json!({ "id": "in_1" }));
    live["livemode"] = true.into();
    let unhandled = body("charge.succeeded", &json!({ "id": "ch_1" }));
    for (event, why, code) in [
        (live, IgnoreReason::OtherMode, "other_mode"),
        (unhandled, IgnoreReason::UnhandledType, "unhandled_type"),
    ] {
        assert_eq!(read(&event).unwrap().data, EventData::Ignored(why));
        assert_eq!(why.code(), code);
    }
}

#[test]
fn every_field_of_an_invoice_is_kept_with_the_rank_of_its_status() {
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "open", "total": 500,
        "currency": "eur", "created": START - 9, "number": "A-1",
        "hosted_invoice_url": "https://hosted", "invoice_pdf": "https://pdf",
        "metadata": { "bookingId": "7" },
    });
    let decoded = |event_type: &str, object: &Value| {
        let EventData::Invoice(data) = read(&body(event_type, object)).unwrap().data else {
            panic!("{event_type}");
        };
        data
    };
    let data = decoded("invoice.finalized", &object);
    assert_eq!((data.id.as_str(), data.booking), ("in_1", Some(BOOKING)));
    let text = |text: &str| set_by(Some(text.to_owned()), &order(1));
    let expected = Invoice {
        latest: Some(order(0)),
        status: Register {
            value: Status::Open,
            order: order(1),
        },
        total: set_by(Some(500), &order(1)),
        currency: text("eur"),
        created: set_by(Some(START - 9), &order(1)),
        number: text("A-1"),
        hosted_url: text("https://hosted"),
        pdf_url: text("https://pdf"),
        finalization_error: None,
        tax_status: None,
    };
    assert_eq!(data.invoice, expected);
    assert!(data.invoice.is_of_one_event());
    for (event_type, status, expected, rank) in [
        ("invoice.created", Some("draft"), Status::Draft, 0),
        ("invoice.created", None, Status::Draft, 0),
        ("invoice.finalized", Some("open"), Status::Open, 1),
        (
            "invoice.updated",
            Some("uncollectible"),
            Status::Uncollectible,
            2,
        ),
        ("invoice.paid", Some("paid"), Status::Paid, 3),
        ("invoice.voided", Some("void"), Status::Void, 3),
        ("invoice.deleted", Some("draft"), Status::Deleted, 3),
    ] {
        let data = decoded(event_type, &json!({ "id": "in_1", "status": status }));
        let status = Register {
            value: expected,
            order: order(rank),
        };
        assert_eq!(data.invoice.status, status, "{event_type}");
        assert_eq!((data.booking, data.invoice.total), (None, None));
    }
}

#[test]
fn every_field_of_a_session_is_kept_with_the_rank_of_its_status() {
    let decoded = |object: &Value| {
        let event = read(&body("checkout.session.completed", object)).unwrap();
        let EventData::CheckoutSession(data) = event.data else {
            panic!("{event:?}");
        };
        data
    };
    for (payment, status, ranks) in [
        (
            PaymentStatus::Unpaid,
            checkout_session::Status::Open,
            (0, 0),
        ),
        (
            PaymentStatus::Unpaid,
            checkout_session::Status::Complete,
            (0, 1),
        ),
        (
            PaymentStatus::Paid,
            checkout_session::Status::Complete,
            (1, 1),
        ),
        (
            PaymentStatus::NoPaymentRequired,
            checkout_session::Status::Expired,
            (1, 1),
        ),
    ] {
        let data = decoded(&json!({
            "id": "cs_1", "object": "checkout.session", "invoice": "in_1",
            "payment_intent": { "id": "pi_1" }, "payment_status": payment.as_str(),
            "status": status.as_str(), "metadata": { "bookingId": 7 },
        }));
        assert_eq!((data.id.as_str(), data.booking), ("cs_1", Some(BOOKING)));
        let expected = CheckoutSession {
            latest: order(0),
            payment_status: set_by(Some(payment), &order(ranks.0)),
            status: set_by(Some(status), &order(ranks.1)),
            invoice: set_by(Some("in_1".into()), &order(0)),
            payment_intent: set_by(Some("pi_1".into()), &order(0)),
            is_told: false,
        };
        assert_eq!(data.session, expected);
    }
    for (reference, metadata, expected) in [
        (json!("8"), json!({}), None),
        (json!("8"), json!({ "bookingId": "7" }), Some(BOOKING)),
        (json!("order of another shop"), json!({}), None),
        (Value::Null, Value::Null, None),
    ] {
        let object = json!({
            "id": "cs_1", "client_reference_id": reference, "metadata": metadata,
        });
        let data = decoded(&object);
        assert_eq!(data.booking, expected);
        assert_eq!(data.session.invoice, None);
        assert_eq!(data.session.status, None);
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_a_code_and_a_sentence() {
    let rejection = |event_type: &str, field: &str, value: Value| {
        let mut object = json!({ "id": "x_1" });
        object[field] = value;
        let rejected = read(&body(event_type, &object)).unwrap_err();
        assert_eq!(rejected.header.unwrap().id, "evt_1");
        (rejected.rejection.code(), rejected.rejection.to_string())
    };
    let invoice = |field, value| rejection("invoice.paid", field, value);
    let session = |field, value| rejection("checkout.session.expired", field, value);
    for ((code, sentence), expected) in [
        (invoice("id", json!("")), "unreadable_object"),
        (invoice("total", json!("x")), "unreadable_object"),
        (invoice("object", json!("charge")), "other_object"),
        (invoice("number", json!("a\0b")), "nul_in_text"),
        (invoice("id", json!("x".repeat(256))), "text_too_long"),
        (
            invoice("invoice_pdf", json!("x".repeat(8193))),
            "text_too_long",
        ),
        (
            invoice("metadata", json!({ "bookingId": "x" })),
            "invalid_booking_id",
        ),
        (invoice("status", json!("new")), "unknown_status"),
        (invoice("created", json!(-1)), "time_out_of_range"),
        (
            invoice("created", json!(253_402_300_800_i64)),
            "time_out_of_range",
        ),
        (session("object", json!("invoice")), "other_object"),
    ] {
        assert_eq!(code, expected);
        assert!(sentence.len() > 20 && sentence.ends_with('.'), "{sentence}");
    }
    // The limits themselves are within, and an empty text is none.
    let object = json!({
        "id": "x".repeat(255), "invoice_pdf": "x".repeat(8192), "number": "",
        "created": 253_402_300_799_i64,
    });
    let EventData::Invoice(data) = read(&body("invoice.paid", &object)).unwrap().data else {
        panic!("the event is of no invoice");
    };
    assert_eq!((data.id.len(), data.invoice.number), (255, None));
    let of_nobody = read(&json!([])).unwrap_err();
    assert_eq!(of_nobody.header, None);
    assert_eq!(of_nobody.rejection.code(), "unreadable_event");
}

#[test]
fn a_refused_claim_names_its_booking_and_who_has_it() {
    for (holder, sentence) in [
        (None, "Booking 7 belongs to another account."),
        (
            Some(Holder {
                account: AccountId::default(),
                object: Some(ObjectId::CheckoutSession("cs_1".into())),
            }),
            "Booking 7 belongs to the platform, which named it first in cs_1.",
        ),
    ] {
        let booking = BOOKING;
        let rejection = Rejection::BookingClaimedByOtherAccount { booking, holder };
        assert_eq!(rejection.code(), "booking_claimed_by_other_account");
        assert_eq!(rejection.to_string(), sentence);
    }
}

/// A platform that says which application is its own.
#[test]
fn an_invoice_of_another_application_names_no_booking() {
    let of = |application: &Value| {
        let object = json!({
            "id": "in_1", "object": "invoice", "status": "open",
            "metadata": { "bookingId": "7" }, "application": application,
        });
        body("invoice.finalized", &object)
    };
    let read = |body: &Value, application: Option<&str>| {
        let rules = Rules {
            application: application.map(str::to_owned),
            ..rules()
        };
        let event = events::decode(body.to_string().as_bytes(), &rules).unwrap();
        event.claim().unwrap().1.booking
    };
    let ours = Some("ca_ours");
    for (application, expected) in [
        (json!("ca_ours"), Some(BOOKING)),
        (
            json!({ "id": "ca_ours", "object": "application" }),
            Some(BOOKING),
        ),
        (json!("ca_other"), None),
        (json!(null), None),
        (json!(7), None),
    ] {
        let mut body = of(&application);
        body["account"] = json!("acct_a");
        assert_eq!(read(&body, ours), expected, "{application}");
        assert_eq!(read(&body, None), Some(BOOKING), "{application}");
        // The platform's own invoices have no application.
        body["account"] = json!(null);
        assert_eq!(read(&body, ours), Some(BOOKING), "{application}");
        // What another tool wrote under our key is no mistake of ours.
        body["account"] = json!("acct_a");
        body["data"]["object"]["metadata"]["bookingId"] = json!("ABC");
        if expected.is_none() {
            assert_eq!(read(&body, ours), None, "{application}");
        }
    }
}

#[test]
fn a_client_reference_names_a_booking_only_where_the_deployment_lets_it() {
    let object = json!({
        "id": "cs_1", "object": "checkout.session", "client_reference_id": "7",
    });
    let body = body("checkout.session.completed", &object);
    for (client_reference, expected) in [(false, None), (true, Some(BOOKING))] {
        let rules = Rules {
            client_reference,
            ..rules()
        };
        let event = events::decode(body.to_string().as_bytes(), &rules).unwrap();
        assert_eq!(event.claim().unwrap().1.booking, expected);
    }
}

#[test]
fn a_moment_of_milliseconds_is_one_that_postgres_keeps() {
    let kept = moment_of_millis(START * 1000 + 123).unwrap();
    assert_eq!(kept.timestamp_millis(), START * 1000 + 123);
    assert_eq!(moment_of_millis(0), Some(moment(0)));
    for wrong in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
        assert_eq!(moment_of_millis(wrong), None, "{wrong}");
    }
    assert!(moment_of_millis(253_402_300_799_999).is_some());
}

#[test]
fn an_event_says_whether_it_is_ignored_and_which_object_it_is_about() {
    let described = |event: &Event| {
        let claimed = event.claim().map(|(object, _)| object);
        (
            event.is_ignored(),
            claimed,
            event.object_id().map(str::to_owned),
        )
    };
    let charge = json!({ "id": "ch_1", "object": "charge" });
    for (event, claimed, id) in [
        (
            invoice("evt_1", "acct_a", None, 0),
            Some(invoice_object("in_1")),
            "in_1",
        ),
        (
            session("evt_2", "acct_a", 0),
            Some(session_object("cs_1")),
            "cs_1",
        ),
        (account_updated("evt_3", "acct_a", 0), None, "acct_a"),
    ] {
        assert_eq!(claimed.as_ref().map_or(id, ObjectId::as_str), id);
        assert_eq!(described(&event), (false, claimed, Some(id.to_owned())));
    }
    let unhandled = event("evt_4", "charge.succeeded", "acct_a", 0, charge);
    assert_eq!(described(&unhandled), (true, None, None));
}

#[test]
fn an_empty_booking_id_names_no_booking() {
    let metadata = to_raw_value(&json!({ "bookingId": "" })).unwrap();
    assert_eq!(decode::booking(Some(&metadata), "bookingId"), Ok(None));
}
