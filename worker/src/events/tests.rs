//! The rules one by one, where random histories seldom or never get to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::mode::Mode;

use super::{
    Event, Fact, Rules,
    account::{Account, Candidate, MAX_TIED, Sign, Standing as Snapshots},
    booking::{Booking, Kind, MAX_CLAIMS},
    claim::{Claim, Claimed, Join, Owner, Owners, Standing},
    fields,
    invoice::Invoice,
    onboarding::{Status, onboarding},
    place::{Placed, Waiting, waits_for},
    read,
    rejection::Rejection,
    rejudge::{Judged, rejudged},
    session::Session,
    snapshot::Snapshot,
    verdict::{Outcome, Verdict, judge},
    version::{Change, earliest},
    world::{Again, World},
};

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

fn placed(world: &World) -> BTreeMap<&str, Placed> {
    world.place(&world.owners())
}

/// What the invoice waits for, and the booking and the account that it is of.
fn place(world: &World) -> (Option<Waiting>, Option<i32>, String) {
    let placed = placed(world).remove("in_1").unwrap();
    (placed.waiting, placed.booking, placed.account)
}

fn join(world: &mut World, events: &[Event]) {
    for event in events {
        let _ = world.join(event).unwrap();
    }
}

#[test]
fn an_invoice_waits_for_whoever_knows_whose_its_booking_is() {
    let named = invoice("evt_1", "acct_a", Some("7"), 0);
    for (owner, expected) in [
        (Owner::Unknown, (Some(Waiting::OwnerUnknown), None)),
        (of("acct_b"), (Some(Waiting::ClaimedByOtherAccount), None)),
        (of("acct_a"), (None, Some(7))),
    ] {
        let mut world = world(Some(owner));
        join(&mut world, std::slice::from_ref(&named));
        let (waiting, booking, account) = place(&world);
        assert_eq!(((waiting, booking), &*account), (expected, "acct_a"));
    }
}

#[test]
fn an_invoice_without_a_booking_says_what_its_session_waits_for() {
    let unnamed = invoice("evt_1", "acct_a", None, 0);
    for (owner, waiting, booking) in [
        (Owner::Unknown, Some(Waiting::OwnerUnknown), None),
        (of("acct_b"), Some(Waiting::NoBooking), None),
        (of("acct_a"), None, Some(7)),
    ] {
        let mut world = world(Some(owner));
        join(
            &mut world,
            &[unnamed.clone(), session("evt_2", "acct_a", 1)],
        );
        let place = place(&world);
        assert_eq!(place, (waiting, booking, "acct_a".to_owned()));
        // The session itself never waits for that, whatever its id is.
        let placed = placed(&world);
        assert_eq!(waits_for(&placed, Kind::Invoice, "in_1"), waiting);
        assert_eq!(waits_for(&placed, Kind::Session, "in_1"), None);
    }
    // No session at all.
    let mut world = world(None);
    join(&mut world, &[unnamed]);
    assert_eq!(place(&world).0, Some(Waiting::NoBooking));
}

#[test]
fn a_part_of_an_invoice_is_enough_to_show_it() {
    let whose = |first: &str, second: &str, owner: Owner| {
        let mut world = world(Some(owner));
        let one = invoice("evt_1", first, Some("7"), 0);
        let mut two = invoice("evt_2", second, None, 1);
        if let Fact::Invoice(fact) = &mut two.fact {
            fact.booking = Some(8);
        }
        let nobody = Booking {
            exists: true,
            decreed: Some(Owner::Unknown),
            ..Booking::default()
        };
        world.bookings.insert(8, nobody);
        join(&mut world, &[one, two]);
        place(&world)
    };
    // The accepted part is shown, although a later one is undecided.
    assert_eq!(
        whose("acct_a", "acct_b", of("acct_a")),
        (None, Some(7), "acct_a".to_owned())
    );
    // One part is refused and one undecided: the worse is told.
    assert_eq!(
        whose("acct_a", "acct_b", of("acct_c")),
        (
            Some(Waiting::ClaimedByOtherAccount),
            None,
            "acct_b".to_owned()
        )
    );
}

#[test]
fn the_worst_standing_is_kept_in_every_order() {
    let part = |id: &str| match invoice(id, "acct_a", None, 0).fact {
        Fact::Invoice(fact) => fact.invoice,
        other => panic!("{other:?}"),
    };
    let claim = |account: &str, booking| Claim {
        account: account.into(),
        booking,
    };
    let owners = Owners::from([(1, of("acct_z")), (2, Owner::Unknown)]);
    let worst = |claims: &[Claim]| {
        let mut claimed = Claimed::<Invoice>::default();
        assert_eq!((claimed.is_empty(), claimed.len()), (true, 0));
        for (number, claim) in claims.iter().enumerate() {
            let _ = claimed.join(claim.clone(), part(&format!("evt_{number}")));
        }
        assert!(!claimed.is_empty());
        assert_eq!(claimed.len(), claims.len());
        claimed.resolve(&owners).worst
    };
    let [accepted, undecided, refused] =
        [None, Some(2), Some(1)].map(|booking| claim("acct_a", booking));
    let later = claim("acct_b", Some(2));
    assert_eq!(worst(std::slice::from_ref(&accepted)), Standing::Accepted);
    assert_eq!(worst(&[accepted, undecided.clone()]), Standing::Undecided);
    assert_eq!(worst(&[undecided, refused.clone()]), Standing::Refused);
    assert_eq!(worst(&[refused, later]), Standing::Refused);
}

#[test]
fn an_invoice_is_shown_once_its_amount_is_known_and_unless_it_is_gone() {
    for (field, value, expected) in [
        ("total", Value::Null, Some(Waiting::AmountUnknown)),
        ("currency", Value::Null, Some(Waiting::AmountUnknown)),
        ("total", json!(0), None),
    ] {
        let mut object = json!({
            "id": "in_1", "object": "invoice", "status": "open", "total": 500,
            "currency": "eur", "metadata": { "bookingId": "7" },
        });
        object[field] = value;
        let mut world = world(None);
        join(
            &mut world,
            &[event("evt_1", "invoice.finalized", "acct_a", 0, object)],
        );
        assert_eq!(place(&world).0, expected, "{field}");
    }
    // One that is void is not shown, and waits for nothing.
    let object = json!({ "id": "in_1", "object": "invoice", "status": "void" });
    let mut world = world(None);
    join(
        &mut world,
        &[event("evt_1", "invoice.voided", "acct_a", 0, object)],
    );
    assert_eq!(place(&world).0, None);
    // But whose it is has to be known even then.
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "void",
        "metadata": { "bookingId": "7" },
    });
    let voided = event("evt_1", "invoice.voided", "acct_a", 0, object);
    for (owner, expected) in [
        (Owner::Unknown, Some(Waiting::OwnerUnknown)),
        (of("acct_b"), Some(Waiting::ClaimedByOtherAccount)),
        (of("acct_a"), None),
    ] {
        let mut world = self::world(Some(owner));
        join(&mut world, std::slice::from_ref(&voided));
        assert_eq!(place(&world).0, expected);
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

/// What the API said was said of the snapshots that were known when it was asked.
#[test]
fn what_the_api_said_settles_the_tie_that_it_was_asked_about() {
    let world = |countries: &[&str]| {
        let mut account = Account::default();
        for country in countries {
            let sign = Sign::Updated(Box::new(candidate(country)));
            let _ = account.join(START, &format!("evt_{country}"), &sign);
        }
        let mut world = World::of_account("acct_a");
        world.accounts.insert("acct_a".into(), account);
        world
    };
    let asked = world(&["PT", "ES"]);
    let settled = |mut now: World| {
        now.settle_account("acct_a", &asked, snapshot("FR"));
        now.accounts["acct_a"].standing.clone().unwrap().settled
    };
    assert_eq!(settled(world(&["PT", "ES"])), Some(snapshot("FR")));
    assert_eq!(settled(world(&["PT", "ES", "IT"])), None);
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

fn snapshot(country: &str) -> Snapshot {
    Snapshot {
        country: Some(country.into()),
        ..Snapshot::default()
    }
}

fn candidate(country: &str) -> Candidate {
    Candidate {
        after: snapshot(country),
        before: None,
    }
}

#[test]
fn an_account_knows_its_first_and_its_last_event() {
    let mut account = Account::default();
    assert_eq!(account.last_event(), None);
    for (at, sign) in [(20, Sign::Authorized), (30, Sign::Deauthorized)] {
        let _ = account.join(START + at, &format!("evt_{at}"), &sign);
    }
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START + 20));
    let earlier = Sign::Updated(Box::new(candidate("PT")));
    assert_eq!(account.join(START, "evt_0", &earlier), Change::Changed);
    assert_eq!(account.last_event(), Some(START + 30));
    assert_eq!(account.first_event, Some(START));
}

#[test]
fn of_one_second_the_greatest_event_ids_stay() {
    let mut account = Account::default();
    let nth = |number: usize| format!("evt_{number:03}");
    let mut join = |number| {
        let sign = Sign::Updated(Box::new(candidate(&nth(number))));
        let change = account.join(START, &nth(number), &sign);
        let kept = account.standing.as_ref().unwrap().candidates.keys();
        (change, kept.cloned().collect::<Vec<_>>())
    };
    for number in 1..=MAX_TIED {
        let (change, kept) = join(number);
        assert_eq!((change, kept.len()), (Change::Changed, number));
    }
    let (change, kept) = join(MAX_TIED + 1);
    assert_eq!((change, kept.len()), (Change::Changed, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
    let (change, kept) = join(0);
    assert_eq!((change, kept.len()), (Change::Unchanged, MAX_TIED));
    assert_eq!(kept.first(), Some(&nth(2)));
}

#[test]
fn a_tie_is_undecided_until_somebody_settles_it() {
    let tie = |countries: [&str; 2], settled: Option<Snapshot>| Snapshots {
        created: START,
        candidates: [("evt_1", countries[0]), ("evt_2", countries[1])]
            .map(|(id, country)| (id.to_owned(), candidate(country)))
            .into(),
        settled,
    };
    let undecided = |snapshots: &Snapshots| snapshots.winner().unwrap().undecided;
    assert!(undecided(&tie(["PT", "ES"], None)));
    assert!(!undecided(&tie(["PT", "PT"], None)), "both say the same");
    let settled = tie(["PT", "ES"], Some(snapshot("FR")));
    assert!(!undecided(&settled));
    assert_eq!(settled.winner().unwrap().snapshot, &snapshot("FR"));
    assert!(!undecided(&tie(["PT", "PT"], Some(snapshot("FR")))));
}

#[test]
fn the_deadline_is_todays_or_else_the_next() {
    let enabled = || Snapshot {
        charges_enabled: true,
        payouts_enabled: true,
        details_submitted: true,
        ..Snapshot::default()
    };
    let seen = |snapshot: &Snapshot| {
        let seen = onboarding(&Account::default(), snapshot);
        (seen.status, seen.deadline)
    };
    assert_eq!(seen(&enabled()), (Status::Enabled, None));
    let mut due = enabled();
    due.future_deadline = Some(9);
    assert_eq!(seen(&due), (Status::Enabled, None), "nothing is due then");
    due.future_currently_due = vec!["person.id".into()];
    assert_eq!(seen(&due), (Status::RestrictedSoon, Some(9)));
    due.requirements.current_deadline = Some(5);
    assert_eq!(seen(&due), (Status::RestrictedSoon, Some(5)));
    let mut without_time = enabled();
    without_time.future_currently_due = vec!["person.id".into()];
    assert_eq!(seen(&without_time), (Status::Enabled, None));
}
