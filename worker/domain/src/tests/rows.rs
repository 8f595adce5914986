//! What has to change in the rows that the main app reads.

use serde_json::json;

use super::{BOOKING, Memory, START, booking, event, invoice, merged, owned_by, row, source};
use crate::{decode::moment, event::Event, main_app::AppChanges, rows::InvoiceRow};

/// A source whose booking has this row.
fn source_with_row(row: Option<InvoiceRow>) -> Memory {
    let mut source = Memory::default();
    let mut stored = booking(None);
    stored.app.get_or_insert_default().row = row;
    source.bookings.insert(BOOKING, stored);
    source
}

fn changes(source: &Memory, events: &[Event]) -> AppChanges {
    let set = merged(source, events);
    set.invoice_row_changes(&set.project())
}

#[test]
fn a_row_is_inserted_or_updated_where_it_differs() {
    let events = [invoice("evt_1", "acct_a", Some("7"), 0)];
    let inserted = AppChanges {
        insert: vec![row("in_1")],
        ..AppChanges::default()
    };
    assert_eq!(changes(&source_with_row(None), &events), inserted);
    let same = changes(&source_with_row(Some(row("in_1"))), &events);
    assert_eq!(same, AppChanges::default());
    let updated = AppChanges {
        update: vec![row("in_1")],
        ..AppChanges::default()
    };
    for stored in [
        InvoiceRow {
            amount: "4".into(),
            ..row("in_1")
        },
        // The main app added a status of its own.
        InvoiceRow {
            status: None,
            ..row("in_1")
        },
        row("in_of_main_app"),
    ] {
        let source = source_with_row(Some(stored));
        assert_eq!(changes(&source, &events), updated);
    }
}

#[test]
fn a_row_is_deleted_only_where_an_invoice_of_its_booking_is_known() {
    let voided = |id: &str, booking: Option<&str>| {
        let object = json!({
            "id": id, "object": "invoice", "status": "void", "total": 500,
            "currency": "eur", "metadata": { "bookingId": booking },
        });
        event("evt_1", "invoice.voided", "acct_a", 0, object)
    };
    let deleted = |shown: &str| AppChanges {
        delete: vec![(BOOKING, shown.into())],
        ..AppChanges::default()
    };
    let of_main_app = row("in_of_main_app");
    // Another invoice of the booking is known.
    let source = source_with_row(Some(of_main_app.clone()));
    let by_other = changes(&source, &[voided("in_1", Some("7"))]);
    assert_eq!(by_other, deleted("in_of_main_app"));
    // The row's own invoice is known, though its claim is refused.
    let mut source = source_with_row(Some(row("in_1")));
    let refused = [invoice("evt_1", "acct_a", Some("7"), 0)];
    let set = merged(&source, &refused);
    source.store(&set);
    source.app().configured_owner = Some(owned_by("acct_b"));
    assert_eq!(changes(&source, &refused), deleted("in_1"));
    // No invoice of the booking is known: the claim of in_2 is refused.
    let mut source = source_with_row(Some(of_main_app));
    source.app().configured_owner = Some(owned_by("acct_b"));
    let kept = changes(&source, &[voided("in_2", Some("7"))]);
    assert_eq!(kept, AppChanges::default());
}

#[test]
fn a_row_has_the_values_of_its_invoice() {
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "uncollectible", "total": 12_050,
        "currency": "eur", "created": START - 60,
        "invoice_pdf": "https://pay.stripe.com/1", "metadata": { "bookingId": "7" },
    });
    let events = [event("evt_1", "invoice.updated", "acct_a", 0, object)];
    let expected = InvoiceRow {
        pdf_url: "https://pay.stripe.com/1".into(),
        amount: "120.5".into(),
        created_at: moment(START - 60),
        ..row("in_1")
    };
    assert_eq!(changes(&source(None), &events).insert, [expected]);
}
