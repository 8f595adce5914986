//! Charges, credit notes and failed finalizations: what an event says, and how that is merged.

use serde_json::{Value, json};

use super::{START, event};
use crate::{
    charge::Charge,
    credit_note::CreditNote,
    event::{Event, EventData},
    invoice::{FinalizationError, Invoice, Status},
    merge::{Change, Merge},
};

fn charge(id: &str, after: i64, object: Value) -> Charge {
    let mut whole = json!({ "id": "ch_1", "object": "charge" });
    for (name, value) in object.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let Event {
        data: EventData::Charge(data),
        ..
    } = event(id, "charge.refunded", "acct_a", after, whole)
    else {
        panic!("{id}");
    };
    data.charge
}

fn note(id: &str, event_type: &str, after: i64, object: Value) -> CreditNote {
    let mut whole = json!({ "id": "cn_1", "object": "credit_note" });
    for (name, value) in object.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let Event {
        data: EventData::CreditNote(data),
        ..
    } = event(id, event_type, "acct_a", after, whole)
    else {
        panic!("{id}");
    };
    data.note
}

fn draft(id: &str, event_type: &str, after: i64, object: Value) -> Invoice {
    let mut whole = json!({ "id": "in_1", "object": "invoice" });
    for (name, value) in object.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let Event {
        data: EventData::Invoice(data),
        ..
    } = event(id, event_type, "acct_a", after, whole)
    else {
        panic!("{id}");
    };
    data.invoice
}

/// Merges in every order of three; all must end the same.
fn merged<T: Clone + PartialEq + std::fmt::Debug>(
    all: [&T; 3],
    merge: impl Fn(&mut T, T) -> Change,
) -> T {
    let mut ends = Vec::new();
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut one = all[order[0]].clone();
        for place in [order[1], order[2]] {
            let _ = merge(&mut one, all[place].clone());
        }
        assert_eq!(merge(&mut one, all[order[0]].clone()), Change::Unchanged);
        ends.push(one);
    }
    let first = ends[0].clone();
    assert!(ends.iter().all(|end| *end == first), "{ends:?}");
    first
}

#[test]
fn the_newest_event_of_a_charge_says_what_was_refunded() {
    // The second refund failed, and the third event shows less.
    let first = charge("evt_3", 1, json!({ "amount_refunded": 100 }));
    let more = charge("evt_2", 2, json!({ "amount_refunded": 300 }));
    let less = charge("evt_1", 3, json!({ "amount_refunded": 150 }));
    let end = merged([&first, &more, &less], Charge::merge);
    assert_eq!(end.amount_refunded(), 150);
}

#[test]
fn of_refunds_within_one_second_the_greater_sum_is_the_later_one() {
    let [b, c, a] = [("evt_b", 100), ("evt_c", 200), ("evt_a", 300)]
        .map(|(id, amount)| charge(id, 0, json!({ "amount_refunded": amount })));
    assert_eq!(merged([&b, &c, &a], Charge::merge).amount_refunded(), 300);
}

#[test]
fn what_a_charge_belongs_to_is_never_overwritten_by_null() {
    let old = json!({ "invoice": "in_1", "payment_intent": { "id": "pi_1" } });
    let old = charge("evt_1", 0, old);
    let new = charge("evt_2", 1, json!({ "payment_intent": null }));
    let other = charge(
        "evt_3",
        2,
        json!({ "invoice": { "id": "in_2" }, "amount": 4500 }),
    );
    let end = merged([&old, &new, &other], Charge::merge);
    assert_eq!(end.invoice, Some("in_1".into()));
    assert_eq!(end.payment_intent, Some("pi_1".into()));
    let refunded = end.refunded.unwrap();
    assert_eq!((refunded.created, refunded.amount), (START + 2, Some(4500)));
}

#[test]
fn a_void_note_stays_void() {
    let issued = json!({ "status": "issued", "total": 500, "invoice": "in_1" });
    let made = note("evt_3", "credit_note.created", 0, issued.clone());
    assert_eq!(made.amount(), Some(500));
    // Some doubles leave the status as it was.
    let voided = note("evt_2", "credit_note.voided", 1, issued.clone());
    let late = note("evt_1", "credit_note.updated", 2, issued);
    let end = merged([&made, &voided, &late], CreditNote::merge);
    assert_eq!((end.amount(), end.invoice), (None, Some("in_1".into())));
}

#[test]
fn an_amount_that_cannot_be_is_none() {
    for (object, amount) in [
        (json!({ "total": -5 }), 0),
        (json!({ "total": -5, "amount": 7 }), 7),
        (json!({ "amount": 7 }), 7),
        (
            json!({ "total": i64::MAX, "status": "of a later version" }),
            i64::MAX,
        ),
        (json!({}), 0),
    ] {
        let note = note("evt_1", "credit_note.created", 0, object);
        assert_eq!(note.amount(), Some(amount));
    }
    let charge = charge("evt_1", 0, json!({ "amount_refunded": -1, "amount": -1 }));
    assert_eq!(charge.amount_refunded(), 0);
    assert_eq!(charge.refunded.unwrap().amount, None);
}

#[test]
fn a_draft_keeps_its_last_error_until_it_is_final() {
    let error = json!({
        "code": "customer_tax_location_invalid",
        "type": "invalid_request_error",
        "message": "Sample street 1 is not known",
    });
    let failed = json!({
        "status": "draft",
        "last_finalization_error": error,
        "automatic_tax": { "status": "requires_location_inputs" },
    });
    let made = draft("evt_3", "invoice.created", 0, json!({ "status": "draft" }));
    let failed = draft("evt_2", "invoice.finalization_failed", 1, failed);
    let kept = merged([&made, &failed, &failed], Invoice::merge);
    assert_eq!(kept.status.value, Status::Draft);
    assert_eq!(
        kept.finalization_error,
        Some(FinalizationError {
            kind: "invalid_request_error".into(),
            code: Some("customer_tax_location_invalid".into()),
        })
    );
    assert_eq!(kept.tax_status.as_deref(), Some("requires_location_inputs"));
    let stored = serde_json::to_string(&kept).unwrap();
    assert!(!stored.contains("Sample street"));
    assert_eq!(serde_json::from_str::<Invoice>(&stored).unwrap(), kept);
    assert!(failed.is_of_one_event());
    assert_eq!(Invoice::of_one_event(failed.columns()), failed);

    // Final in an earlier second: its rank is higher.
    let open = json!({ "status": "open", "last_finalization_error": error });
    let open = draft("evt_1", "invoice.finalized", 0, open);
    let end = merged([&made, &failed, &open], Invoice::merge);
    assert_eq!((end.finalization_error, end.tax_status), (None, None));
}

#[test]
fn of_an_error_nothing_is_kept_that_is_no_code() {
    for (error, kind, code) in [
        (
            json!({ "code": "Sample street 1", "type": "api_error" }),
            "api_error",
            None,
        ),
        (
            json!({ "code": "x\u{0}y", "type": "y".repeat(4000) }),
            "unknown",
            None,
        ),
        (json!({ "code": null }), "unknown", None),
        (json!({}), "unknown", None),
    ] {
        let object = json!({ "status": "draft", "last_finalization_error": error });
        let kept = draft("evt_1", "invoice.finalization_failed", 0, object);
        let expected = FinalizationError {
            kind: kind.into(),
            code,
        };
        assert_eq!(kept.finalization_error, Some(expected));
    }
}

#[test]
fn an_error_is_said_in_words() {
    let words = |code: Option<&str>| {
        let error = FinalizationError {
            kind: "invalid_request_error".into(),
            code: code.map(str::to_owned),
        };
        error.words()
    };
    let known = words(Some("customer_tax_location_invalid"));
    assert!(known.contains("guest's address") && known.contains("(customer_tax"));
    assert_eq!(
        words(Some("new_code")),
        "cannot be finalised: new_code (invalid_request_error)"
    );
    assert!(words(None).contains("no code"));
    for status in ["complete", "failed", "requires_location_inputs"] {
        assert_ne!(crate::invoice_words::tax_words(status), status);
    }
    assert_eq!(crate::invoice_words::tax_words("later"), "later");
}
