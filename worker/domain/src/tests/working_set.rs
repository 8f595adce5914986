//! What a working set loads, and what it keeps.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use super::{
    BOOKING, Memory, account_updated, booking, event, invoice, invoice_object, load, loaded,
    merge_all, merged, other_invoice, owned_by, projected, recheck, row, session, session_object,
    session_of_invoice, source,
};
use crate::{
    account::Account,
    account_snapshot::AccountSnapshot,
    event::Event,
    given_back::RefundKey,
    ids::InvoiceId,
    merge::Change,
    ownership::Owner,
    source::{Missing, Recheck},
    working_set::WorkingSet,
};

#[test]
fn a_working_set_asks_for_all_that_its_events_touch() {
    let mut source = Memory::default();
    let mut stored = booking(None);
    stored.app.get_or_insert_default().row = Some(row("in_3"));
    source.bookings.insert(BOOKING, stored);
    let events = [
        session("evt_1", "acct_a", 0),
        account_updated("evt_2", "acct_a", 0),
    ];
    let rechecked = recheck([invoice_object("in_2"), session_object("cs_2")]);
    let mut set = loaded(&source, &events, &rechecked);
    let first = Missing {
        invoices: vec!["in_1".into(), "in_2".into()],
        checkout_sessions: vec!["cs_1".into(), "cs_2".into()],
        accounts: vec!["acct_a".into()],
        bookings: vec![BOOKING],
        claims: vec![session_object("cs_1")],
        claimants: vec![(BOOKING, "acct_a".into())],
        in_hand: vec![session_object("cs_1")],
        refunds: vec![
            RefundKey::OfInvoice("acct_a".into(), "in_1".into()),
            RefundKey::NotesOf("acct_a".into(), "in_1".into()),
        ],
        ..Missing::default()
    };
    // The row of the booking shows an invoice that no event names.
    let second = Missing {
        invoices: vec!["in_3".into()],
        in_hand: vec![session_object("cs_1")],
        ..Missing::default()
    };
    assert_eq!(source.take_asked(), [first, second]);

    // What was loaded is not asked for again, even if there was nothing.
    let ids = ["in_1", "in_2", "in_3"].map(InvoiceId::from);
    for id in &ids {
        assert_eq!(set.invoices.get(id), Some(&Default::default()));
        assert!(set.is_loaded(&invoice_object(id)) && !set.knows_invoice(id));
    }
    merge_all(&mut set, &[invoice("evt_3", "acct_a", None, 0)]);
    load(&mut set, &source);
    assert_eq!(source.take_asked(), []);
    let known = ids.map(|id| set.knows_invoice(&id));
    assert_eq!(known, [true, false, false]);
    assert!(set.is_rechecked(&invoice_object("in_2")));
    assert!(!set.is_rechecked(&session_object("in_2")));
    assert!(!set.is_rechecked(&invoice_object("in_1")));

    let mut alone = WorkingSet::for_accounts([&"acct_b".into()]);
    for asked in [vec![missing_account("acct_b")], vec![]] {
        load(&mut alone, &source);
        assert_eq!(source.take_asked(), asked);
    }
}

fn missing_account(id: &str) -> Missing {
    Missing {
        accounts: vec![id.into()],
        ..Missing::default()
    }
}

#[test]
fn objects_to_recheck_can_be_taken_one_by_one() {
    let all = recheck([
        session_object("cs_1"),
        invoice_object("in_2"),
        invoice_object("in_1"),
    ]);
    let ids: Vec<&str> = all.objects.iter().map(|object| object.as_str()).collect();
    assert_eq!(ids, ["in_1", "in_2", "cs_1"]);
    let source = Memory::default();
    let (mut invoices, mut sessions) = (Vec::new(), Vec::new());
    for object in &all.objects {
        let set = loaded(&source, &[], &recheck([object.clone()]));
        for other in &all.objects {
            assert_eq!(set.is_loaded(other), other == object);
            assert_eq!(set.is_rechecked(other), other == object);
        }
        let [asked] = source.take_asked().try_into().unwrap();
        invoices.extend(asked.invoices);
        sessions.extend(asked.checkout_sessions);
    }
    loaded(&source, &[], &all);
    let together = Missing {
        invoices,
        checkout_sessions: sessions,
        ..Missing::default()
    };
    assert_eq!(source.take_asked(), [together]);
    loaded(&source, &[], &Recheck::default());
    assert_eq!(source.take_asked(), []);
}

#[test]
fn a_load_brings_the_sessions_of_an_invoice() {
    let mut source = source(None);
    let set = merged(&source, &[session("evt_1", "acct_a", 0)]);
    source.store(&set);
    source.take_asked();
    let set = merged(&source, &[invoice("evt_2", "acct_a", None, 1)]);
    let asked = source.take_asked();
    assert!(asked.iter().all(|one| one.checkout_sessions.is_empty()));
    assert_eq!(asked[0].invoices, ["in_1"]);
    assert_eq!(projected(&set).booking, Some(BOOKING));
    let sessions: Vec<_> = set.checkout_sessions.iter_changes().collect();
    assert!(matches!(sessions[..], [(_, _, Change::Unchanged)]));
}

#[test]
fn a_load_brings_the_objects_by_which_the_owner_claims_a_booking() {
    let mut source = source(None);
    let of_host = [session("evt_1", "acct_a", 0)];
    let set = merged(&source, &of_host);
    source.store(&set);
    let other = [other_invoice("evt_2", "acct_b", 9)];
    let is_loaded = |source: &Memory| {
        let set = loaded(source, &other, &Recheck::default());
        set.is_loaded(&session_object("cs_1"))
    };
    assert!(is_loaded(&source), "acct_a has the first claim");
    for (owner, expected) in [
        (Owner::Unknown, false),
        (owned_by("acct_a"), true),
        (owned_by("acct_b"), false),
    ] {
        source.app().configured_owner = Some(owner);
        assert_eq!(is_loaded(&source), expected);
    }
}

#[test]
fn an_event_that_only_makes_a_claim_earlier_changes_something() {
    let mut source = source(None);
    let known = invoice("evt_2", "acct_a", Some("7"), 10);
    let set = merged(&source, &[known]);
    source.store(&set);
    let earlier = invoice("evt_1", "acct_a", Some("7"), 0);
    let mut set = loaded(&source, std::slice::from_ref(&earlier), &Recheck::default());
    assert_eq!(set.merge(&earlier), Change::Changed);
    let invoices: Vec<_> = set.invoices.iter_changes().map(|one| one.2).collect();
    assert_eq!(invoices, [Change::Unchanged]);
}

#[test]
fn a_changed_object_is_kept_when_a_later_load_brings_it_unasked() {
    let first = session_of_invoice("evt_1", "acct_a", "in_1", 0);
    let mut set = merged(&source(None), std::slice::from_ref(&first));
    let second = session_of_invoice("evt_2", "acct_b", "in_2", 1);
    merge_all(&mut set, std::slice::from_ref(&second));
    let id = "cs_1".into();
    let changed = set.checkout_sessions.get(&id).unwrap().clone();
    assert_eq!(changed.by_claim.len(), 2);

    // The later load asks for the invoice in_2, which an older state of the session
    // names.
    let mut older = source(None);
    let stored = merged(&older, &[session_of_invoice("evt_0", "acct_c", "in_2", 0)]);
    older.store(&stored);
    older.take_asked();
    load(&mut set, &older);
    let asked = older.take_asked();
    assert_eq!(asked[0].invoices, ["in_2"]);
    assert!(asked[0].checkout_sessions.is_empty());
    let sessions: Vec<_> = set.checkout_sessions.iter_changes().collect();
    assert_eq!(sessions, [(&id, &changed, Change::Changed)]);
}

#[test]
fn a_working_set_tells_which_objects_a_merge_changed() {
    let mut source = source(None);
    let events = [
        invoice("evt_1", "acct_a", Some("7"), 0),
        session("evt_2", "acct_a", 1),
        account_updated("evt_3", "acct_a", 2),
    ];
    let mut set = loaded(&source, &events, &Recheck::default());
    assert_eq!(changes(&set), [Change::Unchanged; 4]);
    merge_all(&mut set, &events);
    assert_eq!(changes(&set), [Change::Changed; 4]);
    // A later merge that changes nothing does not take that back.
    for event in &events {
        assert_eq!(set.merge(event), Change::Unchanged);
    }
    assert_eq!(changes(&set), [Change::Changed; 4]);
    source.store(&set);
    assert_eq!(changes(&merged(&source, &events)), [Change::Unchanged; 4]);
}

/// Of the one invoice, session and account, and of the claims.
fn changes(set: &WorkingSet) -> [Change; 4] {
    [
        set.invoices.iter_changes().map(|one| one.2).collect(),
        set.checkout_sessions
            .iter_changes()
            .map(|one| one.2)
            .collect(),
        set.accounts.iter_changes().map(|one| one.2).collect(),
        set.claims
            .iter_changes()
            .map(|one| one.2)
            .reduce(Change::or)
            .into_iter()
            .collect(),
    ]
    .map(|changes: Vec<Change>| match changes[..] {
        [change] => change,
        _ => panic!("{changes:?}"),
    })
}

#[test]
fn merging_an_object_that_was_not_loaded_panics() {
    let panic_of = |set: &mut WorkingSet, event: &Event| {
        let merge = AssertUnwindSafe(|| set.merge(event));
        let panic = catch_unwind(merge).expect_err("the merge does not panic");
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned())
    };
    let expected = "internal error: entered unreachable code: \
        an object is merged before it is loaded";
    let events = [
        invoice("evt_1", "acct_a", Some("7"), 0),
        invoice("evt_2", "acct_a", None, 0),
        session("evt_3", "acct_a", 0),
        account_updated("evt_4", "acct_a", 0),
    ];
    for event in &events {
        // It is wanted, and not loaded.
        let mut set = WorkingSet::for_events([event].into_iter(), &Recheck::default());
        assert_eq!(panic_of(&mut set, event).as_deref(), Some(expected));
    }
    // Only the booking was loaded, not the object itself.
    for (other, event) in [
        (session_of_invoice("evt_5", "acct_a", "in_5", 0), &events[0]),
        (events[0].clone(), &events[2]),
    ] {
        let mut set = loaded(&source(None), &[other], &Recheck::default());
        assert!(set.bookings.get(&BOOKING).is_some());
        assert_eq!(panic_of(&mut set, event).as_deref(), Some(expected));
    }
    let resolve = || {
        let mut set = WorkingSet::for_accounts([&"acct_a".into()]);
        set.keep_api_snapshot(
            &"acct_a".into(),
            &Account::default(),
            AccountSnapshot::default(),
        )
    };
    assert!(catch_unwind(resolve).is_err());
}

/// A host can make sessions and invoices of which each names the booking of the next. One event of
/// any of them asks for the same, however long the chain is.
#[test]
fn a_chain_of_bookings_is_not_followed_to_its_end() {
    let link = |number: usize| {
        let session = json!({
            "id": format!("cs_{number}"), "object": "checkout.session",
            "invoice": format!("in_{number}"), "payment_status": "paid", "status": "complete",
            "metadata": { "bookingId": number.to_string() },
        });
        let invoice = json!({
            "id": format!("in_{number}"), "object": "invoice", "status": "paid",
            "metadata": { "bookingId": (number + 1).to_string() },
        });
        let id = |kind: &str| format!("evt_{kind}_{number}");
        let completed = "checkout.session.completed";
        [
            event(&id("cs"), completed, "acct_a", 0, session),
            event(&id("in"), "invoice.paid", "acct_a", 0, invoice),
        ]
    };
    let asked = |links: usize| {
        let mut source = Memory::default();
        for number in 1..links {
            let set = merged(&source, &link(number));
            source.store(&set);
        }
        let _ = source.take_asked();
        let set = merged(&source, &link(links / 2));
        let rounds = source.take_asked().len();
        (
            rounds,
            set.invoices.iter().count(),
            set.bookings.iter().count(),
        )
    };
    assert_eq!(asked(20), asked(60));
    let (rounds, invoices, bookings) = asked(60);
    assert!(
        rounds < 12 && invoices < 12 && bookings < 12,
        "{:?}",
        asked(60)
    );
}
