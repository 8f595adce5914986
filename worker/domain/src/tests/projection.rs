//! Which booking an invoice is of, what it waits for, and which invoice of a booking
//! is the current one.

use serde_json::{Value, json};

use super::{BOOKING, Memory, booking, event, invoice, merged, owned_by, session, source};
use crate::{
    event::{Event, EventData},
    given_back::GivenBack,
    ids::{BookingId, InvoiceId},
    invoice::{InvoiceColumns, Status},
    ownership::Owner,
    rows::{StoredProjection, WaitingFor},
};

/// The projection of the invoice `in_1` after these events.
fn projected(source: &Memory, events: &[Event]) -> StoredProjection {
    super::projected(&merged(source, events))
}

/// The columns that the invoice of one event gives.
fn columns_of(event: &Event) -> InvoiceColumns {
    match &event.data {
        EventData::Invoice(data) => data.invoice.columns(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_invoice_waits_until_the_owner_of_its_booking_is_known() {
    let named = invoice("evt_1", "acct_a", Some("7"), 0);
    for (owner, waiting, booking, is_undecided) in [
        (Owner::Unknown, Some(WaitingFor::Owner), None, true),
        (owned_by("acct_b"), Some(WaitingFor::Claim), None, false),
        (owned_by("acct_a"), None, Some(BOOKING), false),
    ] {
        let expected = StoredProjection {
            account: "acct_a".into(),
            booking,
            waiting,
            is_undecided,
            columns: columns_of(&named),
            given_back: GivenBack::default(),
        };
        let events = std::slice::from_ref(&named);
        assert_eq!(projected(&source(Some(owner)), events), expected);
    }
}

#[test]
fn an_invoice_without_a_booking_waits_for_what_its_session_waits_for() {
    let unnamed = invoice("evt_1", "acct_a", None, 0);
    let linked = [unnamed.clone(), session("evt_2", "acct_a", 1)];
    let expected = |waiting, booking| StoredProjection {
        account: "acct_a".into(),
        booking,
        waiting,
        // The claim is the session's.
        is_undecided: false,
        columns: columns_of(&unnamed),
        given_back: GivenBack::default(),
    };
    for (owner, waiting, booking) in [
        (Owner::Unknown, Some(WaitingFor::Owner), None),
        (owned_by("acct_b"), Some(WaitingFor::Booking), None),
        (owned_by("acct_a"), None, Some(BOOKING)),
    ] {
        let stored = projected(&source(Some(owner)), &linked);
        assert_eq!(stored, expected(waiting, booking));
    }
    let alone = projected(&source(None), std::slice::from_ref(&unnamed));
    assert_eq!(alone, expected(Some(WaitingFor::Booking), None));
}

#[test]
fn an_invoice_whose_claim_is_refused_gets_no_booking_from_a_session() {
    let events = [
        invoice("evt_1", "acct_b", Some("7"), 0),
        session("evt_2", "acct_a", 1),
    ];
    let refused = StoredProjection {
        account: "acct_b".into(),
        booking: None,
        waiting: Some(WaitingFor::Claim),
        is_undecided: false,
        columns: columns_of(&events[0]),
        given_back: GivenBack::default(),
    };
    let stored = projected(&source(Some(owned_by("acct_a"))), &events);
    assert_eq!(stored, refused);
}

#[test]
fn of_several_sessions_the_first_that_names_an_invoice_gives_it_its_booking() {
    let named_by = |id: &str, booking: &str, after: i64| {
        let object = json!({
            "id": id, "object": "checkout.session", "invoice": "in_1",
            "metadata": { "bookingId": booking },
        });
        let event_id = format!("evt_{id}");
        event(
            &event_id,
            "checkout.session.completed",
            "acct_a",
            after,
            object,
        )
    };
    let mut source = source(None);
    source.bookings.insert(BookingId(8), booking(None));
    for (after_first, after_second, expected) in [(1, 2, BOOKING), (2, 1, BookingId(8))] {
        let events = [
            invoice("evt_1", "acct_a", None, 0),
            named_by("cs_1", "7", after_first),
            named_by("cs_2", "8", after_second),
        ];
        assert_eq!(projected(&source, &events).booking, Some(expected));
    }
}

#[test]
fn a_session_itself_never_waits_whatever_its_id_is() {
    let object = json!({
        "id": "in_1", "object": "checkout.session", "metadata": { "bookingId": "7" },
    });
    let session = event("evt_1", "checkout.session.expired", "acct_a", 0, object);
    let source = source(Some(Owner::Unknown));
    let set = merged(&source, std::slice::from_ref(&session));
    assert!(set.project().invoices.is_empty());
    // An invoice of the same id has its own claim.
    let named = invoice("evt_2", "acct_a", None, 1);
    let stored = projected(&source, &[session, named]);
    assert_eq!(stored.waiting, Some(WaitingFor::Booking));
}

#[test]
fn an_invoice_with_one_accepted_part_is_projected_from_that_part() {
    let projected = |first: &str, second: &str, owner: Owner| {
        let mut source = source(Some(owner));
        let unknown = booking(Some(Owner::Unknown));
        source.bookings.insert(BookingId(8), unknown);
        let one = invoice("evt_1", first, Some("7"), 0);
        let two = invoice("evt_2", second, Some("8"), 1);
        projected(&source, &[one, two])
    };
    // The first part is accepted, although the later one is undecided.
    let accepted = StoredProjection {
        account: "acct_a".into(),
        booking: Some(BOOKING),
        waiting: None,
        is_undecided: true,
        columns: columns_of(&invoice("evt_1", "acct_a", Some("7"), 0)),
        given_back: GivenBack::default(),
    };
    assert_eq!(projected("acct_a", "acct_b", owned_by("acct_a")), accepted);
    // One part is refused and one undecided: the less certain of the two counts.
    let refused = StoredProjection {
        account: "acct_b".into(),
        booking: None,
        waiting: Some(WaitingFor::Claim),
        is_undecided: true,
        columns: columns_of(&invoice("evt_2", "acct_b", Some("8"), 1)),
        given_back: GivenBack::default(),
    };
    assert_eq!(projected("acct_a", "acct_b", owned_by("acct_c")), refused);
}

#[test]
fn an_invoice_waits_for_its_amount_unless_it_is_gone() {
    for (field, value, expected) in [
        ("total", Value::Null, Some(WaitingFor::Amount)),
        ("currency", Value::Null, Some(WaitingFor::Amount)),
        ("total", json!(0), None),
    ] {
        let mut object = json!({
            "id": "in_1", "object": "invoice", "status": "open", "total": 500,
            "currency": "eur", "metadata": { "bookingId": "7" },
        });
        object[field] = value;
        let events = [event("evt_1", "invoice.finalized", "acct_a", 0, object)];
        let stored = projected(&source(None), &events);
        assert_eq!(stored.waiting, expected, "{field}");
    }
    // A void invoice waits for nothing.
    let object = json!({ "id": "in_1", "object": "invoice", "status": "void" });
    let voided = [event("evt_1", "invoice.voided", "acct_a", 0, object)];
    assert_eq!(projected(&source(None), &voided).waiting, None);
    // But even its booking's owner has to be known.
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "void",
        "metadata": { "bookingId": "7" },
    });
    let voided = [event("evt_1", "invoice.voided", "acct_a", 0, object)];
    for (owner, expected) in [
        (Owner::Unknown, Some(WaitingFor::Owner)),
        (owned_by("acct_b"), Some(WaitingFor::Claim)),
        (owned_by("acct_a"), None),
    ] {
        assert_eq!(projected(&source(Some(owner)), &voided).waiting, expected);
    }
}

#[test]
fn an_invoice_waits_until_the_main_app_has_its_booking() {
    let named = [invoice("evt_1", "acct_a", Some("7"), 0)];
    let mut source = Memory::default();
    let stored = projected(&source, &named);
    assert_eq!(stored.waiting, Some(WaitingFor::BookingRow));
    assert_eq!(stored.booking, Some(BOOKING));
    source.bookings.insert(BOOKING, booking(None));
    assert_eq!(projected(&source, &named).waiting, None);
}

/// An invoice of the booking: its id, its status and when Stripe made it.
type One<'a> = (&'a str, Status, Option<i64>);

/// The current one of these invoices of the booking.
fn current(invoices: &[One<'_>]) -> Option<String> {
    let events: Vec<Event> = invoices
        .iter()
        .map(|(id, status, created)| {
            let (event_type, status) = match status {
                // Stripe says `draft` of a deleted draft.
                Status::Deleted => ("invoice.deleted", Status::Draft),
                status => ("invoice.updated", *status),
            };
            let object = json!({
                "id": id, "object": "invoice", "status": status, "total": 500,
                "currency": "eur", "created": created, "metadata": { "bookingId": "7" },
            });
            event(&format!("evt_{id}"), event_type, "acct_a", 0, object)
        })
        .collect();
    let set = merged(&source(None), &events);
    let projection = set.project();
    let current = projection.current_invoices();
    assert!(current.keys().all(|booking| *booking == BOOKING));
    let id = |(id, _): &(&InvoiceId, _)| id.to_string();
    current.get(&BOOKING).map(id)
}

#[test]
fn a_paid_invoice_precedes_an_open_one_and_that_a_draft() {
    use Status::{Draft, Open, Paid, Uncollectible};
    for (less, more) in [
        (Draft, Open),
        (Draft, Uncollectible),
        (Open, Paid),
        (Uncollectible, Paid),
        (Draft, Paid),
    ] {
        // Neither the time nor the id outweighs the status.
        let invoices = [("in_1", more, Some(1)), ("in_2", less, Some(2))];
        assert_eq!(current(&invoices).as_deref(), Some("in_1"), "{less:?}");
        let invoices = [("in_1", less, Some(2)), ("in_2", more, Some(1))];
        assert_eq!(current(&invoices).as_deref(), Some("in_2"), "{less:?}");
    }
}

#[test]
fn of_invoices_with_one_precedence_the_newest_is_the_current_one() {
    use Status::{Draft, Open, Paid, Uncollectible};
    for (first, second) in [
        (Open, Uncollectible),
        (Uncollectible, Open),
        (Open, Open),
        (Draft, Draft),
        (Paid, Paid),
    ] {
        let of = |made: [Option<i64>; 2]| {
            current(&[("in_1", first, made[0]), ("in_2", second, made[1])])
        };
        assert_eq!(of([Some(2), Some(1)]).as_deref(), Some("in_1"));
        assert_eq!(of([Some(1), Some(2)]).as_deref(), Some("in_2"));
        // One that does not say when it was made is the older one.
        assert_eq!(of([Some(1), None]).as_deref(), Some("in_1"));
        // Of two that were made in the same second, the greatest id counts.
        assert_eq!(of([Some(1), Some(1)]).as_deref(), Some("in_2"));
    }
}

#[test]
fn a_void_or_deleted_invoice_is_never_the_current_one() {
    for gone in [Status::Void, Status::Deleted] {
        assert_eq!(current(&[("in_1", gone, Some(1))]), None);
        let invoices = [("in_1", Status::Draft, Some(1)), ("in_2", gone, Some(2))];
        assert_eq!(current(&invoices).as_deref(), Some("in_1"));
    }
}
