//! The rules one by one, where random histories seldom or never get to them.

use event::Mode;
use serde_json::{Value, json};

use crate::{
    Event, Fact, Rules,
    account::Account,
    booking::{Booking, Kind, MAX_CLAIMS},
    claim::{Claimed, Join, Owner, Owners},
    fields, read,
    rejection::Rejection,
    rejudge::{Judged, rejudged},
    session::Session,
    verdict::{Outcome, Verdict, judge},
    version::{Change, earliest},
    world::{Again, World},
};

mod places;

const START: i64 = 1_760_000_000;

fn event(id: &str, kind: &str, account: &str, after: i64, object: Value) -> Event {
    let body = json!({
        "id": id,
        "object": "event",
        "type": kind,
        "account": account,
        "created": START + after,
        "livemode": false,
        "data": { "object": object },
    });
    let rules = Rules {
        mode: Mode::Test,
        booking_key: "bookingId".into(),
    };
    read(body.to_string().as_bytes(), &rules).unwrap()
}

/// An invoice of an account that names a booking.
fn invoice(id: &str, account: &str, booking: Option<&str>, after: i64) -> Event {
    let object = json!({
        "id": "in_1",
        "object": "invoice",
        "status": "open",
        "total": 500,
        "currency": "eur",
        "metadata": { "bookingId": booking },
    });
    event(id, "invoice.finalized", account, after, object)
}

/// A session that names an invoice and booking 7.
fn session(id: &str, account: &str, after: i64) -> Event {
    let object = json!({
        "id": "cs_1",
        "object": "checkout.session",
        "invoice": "in_1",
        "payment_status": "paid",
        "status": "complete",
        "metadata": { "bookingId": "7" },
    });
    event(id, "checkout.session.completed", account, after, object)
}

/// A world with booking 7, and whose it is where the deployment's query is asked.
fn world(decreed: Option<Owner>) -> World {
    let mut world = World::default();
    let booking = Booking {
        exists: true,
        decreed,
        ..Booking::default()
    };
    world.bookings.insert(7, booking);
    world
}

fn of(account: &str) -> Owner {
    Owner::Account(account.to_owned())
}

fn join(world: &mut World, events: &[Event]) {
    for event in events {
        let _ = world.join(event).unwrap();
    }
}

#[test]
fn a_booking_takes_so_many_objects_of_one_account_and_no_more() {
    let nth = |number: usize, account: &str| {
        let object = json!({
            "id": format!("in_{number}"), "object": "invoice", "status": "open",
            "metadata": { "bookingId": "7" },
        });
        let id = format!("evt_{account}_{number}");
        event(&id, "invoice.finalized", account, 0, object)
    };
    let mut world = world(None);
    for number in 0..MAX_CLAIMS {
        assert!(world.join(&nth(number, "acct_a")).is_ok(), "{number}");
    }
    let full = Err(Rejection::TooManyClaims { booking: 7 });
    assert_eq!(world.join(&nth(MAX_CLAIMS, "acct_a")), full);
    // Those that are among them, and those of others, are.
    assert!(world.join(&nth(0, "acct_a")).is_ok());
    assert!(world.join(&nth(MAX_CLAIMS, "acct_b")).is_ok());
}

/// The stored claims are looked at again where something has changed, or where it
/// is asked for, and only then.
#[test]
fn only_claims_that_may_stand_otherwise_are_judged_again() {
    let first = invoice("evt_1", "acct_a", Some("7"), 10);
    let judged = |world: &World, stored: &World| -> Vec<(String, Judged)> {
        let claims = stored.bookings.iter();
        let claims = claims.map(|(id, booking)| (*id, booking.claims.clone()));
        let (owners, claims) = (world.owners(), claims.collect());
        let placed = world.place(&owners);
        let rejudged = rejudged(world, &claims, &placed, &owners);
        rejudged
            .into_iter()
            .map(|one| (one.account.to_owned(), one.judged))
            .collect()
    };
    let mut stored = world(None);
    join(&mut stored, std::slice::from_ref(&first));
    let again = |events: &[Event], again: Again| {
        let mut world = World::around(events.iter(), &again);
        world.bookings = stored.bookings.clone();
        world.invoices = stored.invoices.clone();
        join(&mut world, events);
        judged(&world, &stored)
    };
    // It is of the same account: nothing changes hands, and it was judged itself.
    let later = invoice("evt_2", "acct_a", Some("7"), 20);
    assert_eq!(again(&[later], Again::default()), []);
    // A later one of another account is refused, by its own verdict.
    let other = invoice("evt_3", "acct_b", Some("7"), 20);
    assert_eq!(again(&[other], Again::default()), []);
    // An earlier one takes the booking away.
    let earlier = invoice("evt_4", "acct_b", Some("7"), 0);
    assert_eq!(
        again(&[earlier], Again::default()),
        [("acct_a".to_owned(), Judged::Refused)]
    );
    let asked = Again {
        invoices: ["in_1".to_owned()].into(),
        ..Again::default()
    };
    assert_eq!(
        again(&[], asked),
        [("acct_a".to_owned(), Judged::Accepted { waiting: None })]
    );
    // A session of that id is another object.
    let asked = Again {
        sessions: ["in_1".to_owned()].into(),
        ..Again::default()
    };
    assert_eq!(again(&[], asked), []);
    // What was not loaded is judged when it is looked at.
    let mut elsewhere = world(Some(of("acct_b")));
    elsewhere.bookings.get_mut(&7).unwrap().claims = stored.bookings[&7].claims.clone();
    assert_eq!(judged(&elsewhere, &stored), []);
    elsewhere.invoices = stored.invoices.clone();
    let refused = [("acct_a".to_owned(), Judged::Refused)];
    assert_eq!(judged(&elsewhere, &stored), refused);
}

#[test]
fn a_world_asks_for_all_that_it_is_about() {
    let asked = Again {
        invoices: ["in_2".to_owned()].into(),
        sessions: ["cs_2".to_owned()].into(),
    };
    let events = [
        session("evt_1", "acct_a", 0),
        event(
            "evt_2",
            "account.updated",
            "acct_a",
            0,
            json!({ "id": "acct_a", "object": "account" }),
        ),
    ];
    let mut world = World::around(events.iter(), &asked);
    world.want_invoice("in_3");
    let missing = world.missing();
    assert_eq!(missing.invoices, ["in_1", "in_2", "in_3"]);
    assert_eq!(missing.sessions, ["cs_1", "cs_2"]);
    assert_eq!(missing.accounts, ["acct_a"]);
    assert_eq!(missing.bookings, [7]);

    // What was loaded, were it nothing, is not asked for again.
    for id in missing.invoices {
        assert!(!world.knows_invoice(&id));
        world.invoices.insert(id, Claimed::default());
    }
    assert!(!world.knows_invoice("in_1"));
    join(&mut world, &[invoice("evt_3", "acct_a", None, 0)]);
    assert!(world.knows_invoice("in_1") && !world.knows_invoice("in_2"));
    world.want_invoice("in_1");
    let missing = world.missing();
    assert!(missing.invoices.is_empty() && !missing.is_empty());

    let mut alone = World::of_account("acct_b");
    let missing = alone.missing();
    assert_eq!(missing.accounts, ["acct_b"]);
    alone.accounts.insert("acct_b".into(), Account::default());
    assert!(alone.missing().is_empty());
}

#[test]
fn objects_to_look_at_again_can_be_taken_one_by_one() {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let all = Again {
        invoices: ids(&["in_1", "in_2"]),
        sessions: ids(&["cs_1"]),
    };
    assert_eq!((all.len(), all.is_empty()), (3, false));
    assert_eq!(all.ids().collect::<Vec<_>>(), ["in_1", "in_2", "cs_1"]);
    let mut put_together = Again::default();
    assert!(put_together.is_empty());
    for one in all.each() {
        assert_eq!(one.len(), 1);
        put_together.extend(one);
    }
    assert_eq!(put_together, all);
}

#[test]
fn what_was_judged_before_is_applied_though_it_changes_nothing() {
    let event = invoice("evt_1", "acct_a", Some("7"), 0);
    let owners = Owners::from([(7, of("acct_a"))]);
    let judge = |change, again| judge(&event, Ok(change), &owners, None, again).0;
    for (change, again, outcome) in [
        (Change::Changed, false, Outcome::Applied),
        (Change::Changed, true, Outcome::Applied),
        (Change::Unchanged, false, Outcome::Stale),
        (Change::Unchanged, true, Outcome::Applied),
    ] {
        assert_eq!(judge(change, again), Verdict::Settled(outcome));
    }
}

#[test]
fn an_outcome_is_written_as_the_table_takes_it() {
    let all = [
        Outcome::Applied,
        Outcome::Stale,
        Outcome::Waiting,
        Outcome::Ignored,
        Outcome::Dead,
    ];
    assert_eq!(
        all.map(Outcome::as_str),
        ["applied", "stale", "waiting", "ignored", "dead"]
    );
}

#[test]
fn an_event_that_does_not_say_when_it_happened_comes_last_of_all() {
    let mut times = [0, START, 1];
    times.sort_by_key(|created| earliest(*created));
    assert_eq!(times, [1, START, 0]);
}

#[test]
fn either_change_is_a_change() {
    use Change::{Changed, Unchanged};
    assert_eq!(Changed.or(Unchanged), Changed);
    assert_eq!(Unchanged.or(Changed), Changed);
    assert_eq!(Unchanged.or(Unchanged), Unchanged);
}

#[test]
fn the_same_said_twice_changes_nothing() {
    let Fact::Invoice(said) = invoice("evt_1", "acct_a", None, 0).fact else {
        panic!("no invoice");
    };
    assert_eq!(
        said.invoice.clone().join(said.invoice.clone()),
        Change::Unchanged
    );
    let [before, after] =
        [session("evt_1", "acct_a", 0), session("evt_2", "acct_a", 1)].map(|event| {
            match event.fact {
                Fact::Session(fact) => fact.session,
                other => panic!("{other:?}"),
            }
        });
    assert_eq!(before.clone().join(before.clone()), Change::Unchanged);

    // The latest event is known, whichever came first.
    let joined = |one: &Session, other: &Session| {
        let mut joined = one.clone();
        assert_eq!(joined.join(other.clone()), Change::Changed);
        joined
    };
    let both = joined(&before, &after);
    assert_eq!(both, joined(&after, &before));
    assert_eq!(both.latest, after.latest);
    assert!(before.is_of_one_event() && after.is_of_one_event());
    assert!(
        !both.is_of_one_event(),
        "the invoice was named first before"
    );
    let mut other_event = before;
    other_event.latest.event_id = "evt_3".into();
    assert!(!other_event.is_of_one_event(), "in the same second");
}

#[test]
fn an_event_tells_whether_it_is_for_us_and_of_what_it_is() {
    let account = json!({ "id": "acct_a", "object": "account" });
    let charge = json!({ "id": "ch_1", "object": "charge" });
    let seen = |event: &Event| {
        let object = event.object_id().map(str::to_owned);
        (event.is_ignored(), event.kind(), object)
    };
    for (event, kind, object) in [
        (
            invoice("evt_1", "acct_a", None, 0),
            Some(Kind::Invoice),
            "in_1",
        ),
        (session("evt_2", "acct_a", 0), Some(Kind::Session), "cs_1"),
        (
            event("evt_3", "account.updated", "acct_a", 0, account),
            None,
            "acct_a",
        ),
    ] {
        assert_eq!(seen(&event), (false, kind, Some(object.to_owned())));
    }
    let nobodys = event("evt_4", "charge.succeeded", "acct_a", 0, charge);
    assert_eq!(seen(&nobodys), (true, None, None));
}

#[test]
fn an_empty_booking_id_names_none() {
    let metadata = serde_json::value::to_raw_value(&json!({ "bookingId": "" })).unwrap();
    assert_eq!(fields::booking(Some(&metadata), "bookingId"), Ok(None));
}
