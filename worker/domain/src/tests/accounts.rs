//! What an event says of an account, and what is seen of the account and its history.

use serde_json::{Value, json};

use super::{START, account_updated, event, invoice, rules};
use crate::{
    account::{Account, AccountChange, Candidate},
    account_snapshot::{AccountSnapshot, Requirements},
    decode::moment,
    event::{Event, EventData, decode},
    history::{AccountTransition, ChangeKind},
    onboarding::{Onboarding, Status},
    rejection::Rejection,
    rows::HostRow,
};

/// What an event says of its account.
fn change(event: &Event) -> (&str, &AccountChange) {
    match &event.data {
        EventData::Account(data) => (&data.id, &data.change),
        other => panic!("{other:?}"),
    }
}

/// An event whose object was `previous` before, where that says another value.
fn updated(object: &Value, previous: Option<Value>) -> Result<Event, Rejection> {
    let mut body = json!({
        "id": "evt_1", "object": "event", "type": "account.updated",
        "account": "acct_a", "created": START, "livemode": false,
        "data": { "object": object },
    });
    if let Some(previous) = previous {
        body["data"]["previous_attributes"] = previous;
    }
    decode(body.to_string().as_bytes(), &rules()).map_err(|rejected| rejected.rejection)
}

fn object() -> Value {
    json!({
        "id": "acct_a", "object": "account", "type": "express",
        "charges_enabled": true, "payouts_enabled": true, "details_submitted": true,
        "capabilities": { "card_payments": "active", "transfers": "active" },
        "requirements": {
            "currently_due": ["a"], "past_due": ["b"], "eventually_due": ["c"],
            "pending_verification": ["d"], "disabled_reason": "listed",
            "current_deadline": START + 7,
        },
        "future_requirements": { "currently_due": ["e"], "current_deadline": START + 8 },
        "country": "ES", "default_currency": "eur",
        "metadata": { "hostId": "host-1" },
        "created": START - 9,
    })
}

/// The snapshot of [`object`].
fn snapshot() -> AccountSnapshot {
    let list = |name: &str| vec![name.to_owned()];
    AccountSnapshot {
        account_type: Some("express".into()),
        charges_enabled: true,
        payouts_enabled: true,
        details_submitted: true,
        card_payments: Some("active".into()),
        legacy_payments: None,
        requirements: Requirements {
            currently_due: list("a"),
            past_due: list("b"),
            eventually_due: list("c"),
            pending_verification: list("d"),
            disabled_reason: Some("listed".into()),
            current_deadline: Some(START + 7),
        },
        future_currently_due: list("e"),
        future_deadline: Some(START + 8),
        country: Some("ES".into()),
        default_currency: Some("eur".into()),
        host_id: Some("host-1".into()),
        created: Some(START - 9),
    }
}

#[test]
fn an_event_says_what_the_account_is_and_what_it_was() {
    let read = |previous| {
        let event = updated(&object(), previous).unwrap();
        let (id, change) = change(&event);
        assert_eq!(id, "acct_a");
        let AccountChange::Updated(candidate) = change else {
            panic!("{change:?}");
        };
        assert_eq!(candidate.after, snapshot());
        candidate.before.clone()
    };
    assert_eq!(read(None), None);
    // What it does not name was the same before.
    assert_eq!(read(Some(json!({}))), Some(snapshot()));
    let previous = json!({
        "type": "standard", "charges_enabled": false, "payouts_enabled": null,
        "details_submitted": false, "country": null, "default_currency": "usd",
        "capabilities": { "card_payments": "pending", "legacy_payments": "active" },
        "requirements": {
            "currently_due": [], "past_due": ["x", "y"], "disabled_reason": null,
        },
        "future_requirements": { "current_deadline": null },
        "metadata": { "hostId": 42 },
        "created": START - 1,
    });
    let before = AccountSnapshot {
        account_type: Some("standard".into()),
        charges_enabled: false,
        payouts_enabled: false,
        details_submitted: false,
        card_payments: Some("pending".into()),
        legacy_payments: Some("active".into()),
        requirements: Requirements {
            currently_due: vec![],
            past_due: vec!["x".into(), "y".into()],
            disabled_reason: None,
            ..snapshot().requirements
        },
        future_deadline: None,
        country: None,
        default_currency: Some("usd".into()),
        host_id: Some("42".into()),
        created: Some(START - 1),
        ..snapshot()
    };
    assert_eq!(read(Some(previous)), Some(before));
    // Where it cannot be read, the event says nothing of what was before.
    assert_eq!(read(Some(json!({ "charges_enabled": "x" }))), None);
    assert_eq!(read(Some(json!([]))), None);
}

#[test]
fn an_object_that_says_little_gives_a_snapshot_that_says_nothing() {
    let event = account_updated("evt_1", "acct_a", 0);
    let AccountChange::Updated(candidate) = change(&event).1 else {
        panic!("{event:?}");
    };
    assert_eq!(candidate.after, AccountSnapshot::default());
    let with = |field: &str, value: Value| {
        let mut object = object();
        object["requirements"][field] = value;
        updated(&object, None)
    };
    assert!(with("past_due", json!(vec!["x"; 1000])).is_ok());
    for (field, value, code) in [
        ("past_due", json!(vec!["x"; 1001]), "text_too_long"),
        ("current_deadline", json!(-1), "time_out_of_range"),
    ] {
        assert_eq!(with(field, value).unwrap_err().code(), code);
    }
}

/// It is in an index, which takes no value of any length.
#[test]
fn a_host_id_is_as_long_as_a_value_of_metadata_can_be() {
    let with = |host: String| {
        let mut object = object();
        object["metadata"] = json!({ "hostId": host });
        updated(&object, None)
    };
    assert!(with("\u{1f600}".repeat(500)).is_ok());
    let rejected = with("x".repeat(2001)).unwrap_err();
    assert_eq!(rejected.code(), "text_too_long");
    assert!(rejected.to_string().starts_with("account.metadata.hostId "));
}

/// What an application says of a connection.
type OfApplication = fn(Option<String>) -> AccountChange;

#[test]
fn an_event_of_the_connection_is_of_the_account_that_the_event_names() {
    let application = json!({ "id": "ca_1", "object": "application" });
    let kinds: [(&str, OfApplication); 2] = [
        ("account.application.authorized", AccountChange::Authorized),
        (
            "account.application.deauthorized",
            AccountChange::Deauthorized,
        ),
    ];
    for (kind, expected) in kinds {
        let read = |object: &Value| event("evt_1", kind, "acct_a", 0, object.clone());
        let named = expected(Some("ca_1".into()));
        assert_eq!(change(&read(&application)), ("acct_a", &named));
        // It may name none.
        for object in [json!({}), json!({ "id": 7 }), json!({ "id": "" })] {
            assert_eq!(change(&read(&object)), ("acct_a", &expected(None)));
        }
    }
    let of_other = json!({ "id": "acct_b", "object": "account" });
    assert_eq!(updated(&of_other, None), Err(Rejection::AccountMismatch));
    let of_other_kind = json!({ "id": "acct_a", "object": "person" });
    assert_eq!(
        updated(&of_other_kind, None).unwrap_err().code(),
        "other_object"
    );
}

#[test]
fn a_transition_says_what_its_event_alone_says() {
    let application = json!({ "id": "ca_1", "object": "application" });
    let of_kind = |kind: &str| event("evt_1", kind, "acct_a", 3, application.clone());
    let expected = AccountTransition {
        account: "acct_a".into(),
        event_created: START + 3,
        event_id: "evt_1".into(),
        change: ChangeKind::Authorized,
        status: None,
        can_sell: None,
        disabled_reason: None,
        deadline: None,
    };
    let authorized = AccountTransition::of(&of_kind("account.application.authorized"));
    assert_eq!(authorized.as_ref(), Some(&expected));
    let deauthorized = AccountTransition::of(&of_kind("account.application.deauthorized"));
    let cut = AccountTransition {
        change: ChangeKind::Deauthorized,
        status: Some(Status::Disconnected),
        can_sell: Some(false),
        ..expected.clone()
    };
    assert_eq!(deauthorized, Some(cut));
    let event = updated(&object(), None).unwrap();
    let changed = AccountTransition {
        event_created: START,
        change: ChangeKind::Updated,
        status: Some(Status::InReview),
        can_sell: Some(true),
        disabled_reason: Some("listed".into()),
        deadline: Some(START + 7),
        ..expected
    };
    assert_eq!(AccountTransition::of(&event), Some(changed));
    assert_eq!(
        AccountTransition::of(&invoice("evt_2", "acct_a", None, 0)),
        None
    );
}

#[test]
fn a_hosts_row_has_the_values_of_the_latest_snapshot() {
    let mut account = Account::default();
    let event = updated(&object(), None).unwrap();
    let _ = account.merge(START, "evt_1", change(&event).1);
    let _ = account.merge(START - 1, "evt_2", &AccountChange::Authorized(None));
    let expected = HostRow {
        account: "acct_a".into(),
        host_id: Some("host-1".into()),
        status: Status::InReview,
        can_sell: true,
        charges_enabled: true,
        payouts_enabled: true,
        details_submitted: true,
        requirements: snapshot().requirements,
        future_due: vec!["e".into()],
        deadline: Some(moment(START + 7)),
        account_type: Some("express".into()),
        country: Some("ES".into()),
        default_currency: Some("eur".into()),
        last_event_at: moment(START),
        created_at: moment(START - 9),
    };
    assert_eq!(HostRow::new(&"acct_a".into(), &account), expected);
    // Without a snapshot only the connection is known.
    let mut account = Account::default();
    let _ = account.merge(START, "evt_1", &AccountChange::Authorized(None));
    let row = HostRow::new(&"acct_a".into(), &account);
    assert_eq!((row.status, row.can_sell), (Status::Unknown, false));
    assert_eq!((row.created_at, row.deadline), (moment(START), None));
}

/// A change to a snapshot of an account that is all right.
type Modify = fn(&mut AccountSnapshot);

#[test]
fn the_status_is_that_of_the_first_condition_that_holds() {
    fn due(snapshot: &mut AccountSnapshot) {
        snapshot.requirements.currently_due = vec!["x".into()];
    }
    fn overdue(snapshot: &mut AccountSnapshot) {
        snapshot.requirements.past_due = vec!["x".into()];
    }
    fn pending(snapshot: &mut AccountSnapshot) {
        snapshot.requirements.pending_verification = vec!["x".into()];
    }
    fn due_later(snapshot: &mut AccountSnapshot) {
        snapshot.future_currently_due = vec!["x".into()];
        snapshot.future_deadline = Some(START);
    }
    fn without_charges(snapshot: &mut AccountSnapshot) {
        snapshot.charges_enabled = false;
    }
    fn without_payouts(snapshot: &mut AccountSnapshot) {
        snapshot.payouts_enabled = false;
    }
    fn unfinished(snapshot: &mut AccountSnapshot) {
        snapshot.details_submitted = false;
    }
    fn reason(snapshot: &mut AccountSnapshot, reason: &str) {
        snapshot.requirements.disabled_reason = Some(reason.into());
    }
    let cases: [(Status, &[Modify]); 20] = [
        (Status::Enabled, &[]),
        (Status::Enabled, &[pending]),
        (Status::RestrictedSoon, &[due]),
        (Status::RestrictedSoon, &[due_later]),
        (Status::Restricted, &[overdue]),
        (Status::Restricted, &[overdue, due]),
        (Status::Incomplete, &[unfinished]),
        (Status::Incomplete, &[unfinished, overdue, without_charges]),
        (Status::Restricted, &[without_charges]),
        (Status::Restricted, &[without_payouts]),
        (Status::Restricted, &[without_charges, due_later]),
        (Status::InReview, &[without_charges, pending]),
        (Status::InReview, &[without_payouts, pending]),
        (Status::Restricted, &[without_charges, pending, due]),
        (Status::Restricted, &[without_charges, pending, overdue]),
        (
            Status::InReview,
            &[without_charges, due, |snapshot| {
                reason(snapshot, "requirements.pending_verification");
            }],
        ),
        (
            Status::Enabled,
            &[|snapshot| {
                reason(snapshot, "requirements.pending_verification");
            }],
        ),
        (
            Status::InReview,
            &[unfinished, |snapshot| reason(snapshot, "under_review")],
        ),
        (
            Status::Paused,
            &[unfinished, |snapshot| reason(snapshot, "platform_paused")],
        ),
        (
            Status::Rejected,
            &[unfinished, |snapshot| reason(snapshot, "rejected.fraud")],
        ),
    ];
    for (number, (expected, modify)) in cases.into_iter().enumerate() {
        let mut snapshot = AccountSnapshot {
            charges_enabled: true,
            payouts_enabled: true,
            details_submitted: true,
            ..AccountSnapshot::default()
        };
        for modify in modify {
            modify(&mut snapshot);
        }
        let status = Onboarding::of_snapshot(&snapshot).status;
        assert_eq!(status, expected, "case {number}");
    }
}

#[test]
fn a_connected_host_can_sell_where_cards_are_charged() {
    let seen = |charges: bool, kind: &str, cards: Option<&str>, legacy: Option<&str>| {
        let after = AccountSnapshot {
            charges_enabled: charges,
            account_type: Some(kind.into()),
            card_payments: cards.map(str::to_owned),
            legacy_payments: legacy.map(str::to_owned),
            ..AccountSnapshot::default()
        };
        let candidate = Candidate {
            after,
            before: None,
        };
        let mut account = Account::default();
        let _ = account.merge(START, "evt_1", &AccountChange::Updated(candidate.into()));
        let connected = Onboarding::of_account(&account).can_sell;
        let _ = account.merge(START, "evt_2", &AccountChange::Deauthorized(None));
        assert!(!Onboarding::of_account(&account).can_sell, "disconnected");
        let _ = account.merge(START + 1, "evt_3", &AccountChange::Authorized(None));
        assert!(!Onboarding::of_account(&account).can_sell, "unknown");
        connected
    };
    for (charges, kind, cards, legacy, expected) in [
        (true, "standard", None, None, true),
        (true, "express", Some("active"), None, true),
        (true, "express", Some("pending"), None, false),
        (true, "express", None, None, false),
        (true, "express", None, Some("active"), true),
        (true, "express", Some("inactive"), Some("active"), true),
        (true, "express", None, Some("pending"), false),
        (false, "standard", Some("active"), None, false),
        (false, "express", Some("active"), Some("active"), false),
    ] {
        let can_sell = seen(charges, kind, cards, legacy);
        assert_eq!(can_sell, expected, "{charges} {kind} {cards:?} {legacy:?}");
    }
}
