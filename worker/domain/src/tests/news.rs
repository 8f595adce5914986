//! What is news of a booking whose invoice is refunded or credited.

use serde_json::{Value, json};

use super::{BOOKING, Memory, event, merged, merged_with, moment, source};
use crate::{
    event::Event,
    given_back::GivenBack,
    main_app::{Pending, Target},
    news::{BookingNews, News, NewsKind, Refund},
    rows::{InvoiceRow, RowStatus},
    source::Recheck,
    working_set::WorkingSet,
};

/// The invoice `in_1` of [`BOOKING`] is paid.
fn paid(after: i64) -> Event {
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "paid", "total": 500, "currency": "eur",
        "created": super::START, "metadata": { "bookingId": "7" },
    });
    event("evt_paid", "invoice.paid", "acct_a", after, object)
}

/// So much of it is refunded.
fn refund(id: &str, after: i64, amount: i64) -> Event {
    let object = json!({
        "id": "ch_1", "object": "charge", "invoice": "in_1", "amount_refunded": amount,
    });
    event(id, "charge.refunded", "acct_a", after, object)
}

/// It is credited with this note, or the note is void.
fn note(id: &str, kind: &str, after: i64) -> Event {
    let object = json!({
        "id": "cn_1", "object": "credit_note", "invoice": "in_1", "total": 120,
        "status": if kind == "credit_note.voided" { "void" } else { "issued" },
    });
    event(id, kind, "acct_a", after, object)
}

/// The source that has taken these events, and shows what they say.
fn taken(events: &[Event]) -> Memory {
    let mut source = source(None);
    let set = merged(&source, events);
    source.store(&set);
    keep_projections(&mut source, &set);
    source.app().row = Some(InvoiceRow {
        status: Some(RowStatus::Paid),
        created_at: moment(super::START),
        ..super::row("in_1")
    });
    source
}

/// Keeps what is projected of the invoices, as a commit does.
fn keep_projections(source: &mut Memory, set: &WorkingSet) {
    for (id, one) in set.project().invoices {
        let stored = source.invoices.get_mut(id).unwrap();
        stored.projection = Some(one.stored);
    }
}

fn news(set: &WorkingSet) -> Option<BookingNews> {
    let projection = set.project();
    let app = set.invoice_row_changes(&projection);
    set.booking_news(&projection, &app).remove(&BOOKING)
}

/// The refund of a booking that shows `in_1`.
fn refund_told(news: Option<BookingNews>) -> Option<(i64, i64)> {
    let refund = news?.refund?;
    assert_eq!(refund.invoice.as_str(), "in_1");
    Some((refund.given_back.refunded, refund.given_back.credited))
}

fn given_back(refunded: i64, credited: i64) -> GivenBack {
    GivenBack { refunded, credited }
}

fn kinds(news: &[News]) -> Vec<NewsKind> {
    news.iter().map(|one| one.kind).collect()
}

#[test]
fn a_refund_of_an_invoice_that_is_shown_is_news_of_its_own() {
    let source = taken(&[paid(0)]);
    let of_refund = news(&merged(&source, &[refund("evt_1", 1, 200)])).unwrap();
    assert_eq!(of_refund.row, []);
    let refund = of_refund.refund.unwrap();
    assert_eq!(refund.given_back, given_back(200, 0));
    let said = refund.news(None).unwrap();
    assert_eq!(said.kind, NewsKind::Refunded);
    assert_eq!(
        said.facts,
        json!({
            "bookingId": 7, "stripeInvoiceId": "in_1", "status": "PAID", "amount": "5",
            "currency": "eur", "amountRefunded": "2", "amountCredited": "0", "hasPdf": false,
            "stripeAccountId": "acct_a",
        })
    );
}

#[test]
fn a_refund_that_came_before_the_row_is_told_behind_the_row() {
    let events = [
        refund("evt_1", 1, 200),
        note("evt_2", "credit_note.created", 1),
        paid(0),
    ];
    let all = news(&merged(&source(None), &events)).unwrap();
    assert_eq!(kinds(&all.row), [NewsKind::Paid]);
    assert_eq!(all.row[0].facts["amountRefunded"], "2");
    assert_eq!(refund_told(Some(all)), Some((200, 120)));
}

#[test]
fn what_was_told_is_told_once() {
    let is_news = |now: GivenBack, told: Option<GivenBack>| {
        let refund = Refund {
            invoice: "in_1".into(),
            given_back: now,
            facts: Value::Null,
        };
        refund.news(told).is_some()
    };
    assert!(is_news(given_back(200, 0), None));
    assert!(!is_news(given_back(200, 0), Some(given_back(200, 0))));
    assert!(is_news(given_back(200, 1), Some(given_back(200, 0))));
    // A note that is void, a refund that the guest's bank refused.
    assert!(is_news(given_back(0, 0), Some(given_back(200, 0))));
    assert!(!is_news(given_back(0, 0), None));
}

#[test]
fn nothing_is_asked_of_an_invoice_that_nothing_was_given_back_of() {
    let mut source = taken(&[paid(0)]);
    assert_eq!(news(&merged(&source, &[paid(0)])), None);
    // Unless the row waited, or is computed anew: what was told may be more than is known now.
    let anew = Recheck {
        targets: [Target::Booking(BOOKING)].into(),
        ..Recheck::default()
    };
    let asked = news(&merged_with(&source, &[], &anew));
    assert_eq!(refund_told(asked), Some((0, 0)));
    source
        .pending
        .insert(Target::Booking(BOOKING), Pending::Due);
    let asked = news(&merged(&source, &[paid(0)]));
    assert_eq!(refund_told(asked), Some((0, 0)));
}

#[test]
fn a_note_that_is_void_takes_its_amount_back() {
    let source = taken(&[paid(0), note("evt_1", "credit_note.created", 1)]);
    let void = [note("evt_2", "credit_note.voided", 2)];
    let refund = news(&merged(&source, &void)).unwrap().refund.unwrap();
    let said = refund.news(Some(given_back(0, 120))).unwrap();
    assert_eq!(said.facts["amountCredited"], "0");
}

/// The job that writes the row tells of its refund as well, behind what the row shows anew.
#[test]
fn a_row_that_is_written_later_leaves_its_refund_to_the_job() {
    let mut source = taken(&[paid(0)]);
    source.app().row = Some(super::row("in_1"));
    let booking = Target::Booking(BOOKING);
    source.pending.insert(booking.clone(), Pending::Later);
    let events = [refund("evt_1", 1, 200)];
    assert_eq!(news(&merged(&source, &events)), None);
    source.pending.insert(booking, Pending::Due);
    let all = news(&merged(&source, &events)).unwrap();
    assert_eq!(kinds(&all.row), [NewsKind::Paid]);
    assert_eq!(refund_told(Some(all)), Some((200, 0)));
}

#[test]
fn an_invoice_that_is_shown_no_more_has_no_refund_to_tell() {
    let source = taken(&[paid(0), refund("evt_1", 1, 200)]);
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "void", "total": 500, "currency": "eur",
        "metadata": { "bookingId": "7" },
    });
    let void = event("evt_2", "invoice.voided", "acct_a", 2, object);
    let all = news(&merged(&source, &[void])).unwrap();
    assert_eq!(kinds(&all.row), [NewsKind::Voided]);
    assert_eq!(all.refund, None);
}
