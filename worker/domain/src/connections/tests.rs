//! Which signs of connection a deauthorisation follows, and for how long a snapshot tells
//! of an account.

use super::{Connection, Connections, MAX_APPLICATIONS};
use crate::merge::Change;

fn authorized(at: i64) -> Connection {
    Connection {
        authorized: Some(at),
        ..Connection::default()
    }
}

fn deauthorized(at: i64) -> Connection {
    Connection {
        deauthorized: Some(at),
        ..Connection::default()
    }
}

/// What is known after these events; an empty name is none.
fn after(events: &[(&str, Connection)]) -> Connections {
    let mut connections = Connections::default();
    for (name, said) in events {
        let name = Some(*name).filter(|name| !name.is_empty());
        let _ = connections.merge(name, *said);
    }
    connections
}

#[test]
fn the_connection_is_cut_once_each_sign_was_followed_by_its_own_deauthorisation() {
    type Case<'a> = (&'a [(&'a str, Connection)], Option<i64>, bool);
    let cases: [Case<'_>; 16] = [
        (&[], None, false),
        (&[("a", authorized(1))], None, false),
        (&[("a", deauthorized(1))], None, true),
        (&[("a", authorized(1)), ("a", deauthorized(1))], None, true),
        (&[("a", authorized(2)), ("a", deauthorized(1))], None, false),
        (&[("a", deauthorized(1))], Some(1), true),
        (&[("a", deauthorized(1))], Some(2), false),
        // One of two.
        (
            &[
                ("a", authorized(1)),
                ("b", authorized(2)),
                ("a", deauthorized(3)),
            ],
            Some(2),
            false,
        ),
        // Both, in any order.
        (
            &[
                ("b", deauthorized(4)),
                ("a", deauthorized(3)),
                ("a", authorized(1)),
                ("b", authorized(2)),
            ],
            Some(2),
            true,
        ),
        (
            &[("a", deauthorized(3)), ("b", deauthorized(4))],
            Some(4),
            true,
        ),
        // Of the other one no sign is known.
        (
            &[("a", authorized(2)), ("a", deauthorized(3))],
            Some(1),
            true,
        ),
        // What names no application is of any.
        (&[("a", authorized(1)), ("", deauthorized(2))], None, true),
        (&[("a", authorized(2)), ("", deauthorized(1))], None, false),
        (&[("", authorized(1)), ("a", deauthorized(2))], None, true),
        (&[("", authorized(2)), ("a", deauthorized(1))], None, false),
        (
            &[
                ("", deauthorized(3)),
                ("a", deauthorized(1)),
                ("a", authorized(2)),
                ("b", authorized(3)),
            ],
            Some(3),
            true,
        ),
    ];
    for (events, snapshot, expected) in cases {
        let is_cut = after(events).are_cut(snapshot);
        assert_eq!(is_cut, expected, "{events:?} {snapshot:?}");
    }
}

#[test]
fn a_snapshot_tells_of_the_account_until_it_is_connected_anew() {
    for (events, expected) in [
        (&[][..], true),
        // Cut before, at, or after it.
        (&[("a", deauthorized(9))], true),
        (&[("a", deauthorized(10))], false),
        (&[("a", deauthorized(11))], false),
        (&[("", deauthorized(11))], false),
        // Authorised before, at, or after it.
        (&[("a", authorized(9))], true),
        (&[("a", authorized(10))], true),
        (&[("a", authorized(11))], false),
        // It came back.
        (
            &[
                ("a", authorized(9)),
                ("a", deauthorized(11)),
                ("a", authorized(12)),
            ],
            false,
        ),
        // Another application is connected all the while.
        (&[("a", authorized(9)), ("b", authorized(11))], true),
        (&[("a", authorized(9)), ("b", deauthorized(11))], true),
        (
            &[
                ("a", authorized(10)),
                ("b", deauthorized(10)),
                ("b", authorized(12)),
            ],
            true,
        ),
        // That one as well is younger than the snapshot, or cut.
        (&[("a", authorized(11)), ("b", deauthorized(12))], false),
        (
            &[
                ("a", authorized(9)),
                ("a", deauthorized(12)),
                ("b", deauthorized(11)),
            ],
            false,
        ),
        (&[("a", authorized(9)), ("", deauthorized(11))], false),
    ] {
        assert_eq!(after(events).hold_since(10), expected, "{events:?}");
    }
}

#[test]
fn an_older_sign_changes_nothing() {
    let mut connections = Connections::default();
    assert!(connections.is_empty());
    for (said, expected) in [
        (authorized(5), Change::Changed),
        (authorized(5), Change::Unchanged),
        (authorized(4), Change::Unchanged),
        (deauthorized(3), Change::Changed),
        (deauthorized(2), Change::Unchanged),
        (authorized(6), Change::Changed),
    ] {
        assert_eq!(connections.merge(Some("a"), said), expected, "{said:?}");
    }
    assert!(!connections.is_empty());
    assert_eq!(connections.newest_authorized(), Some(6));
    assert_eq!(connections.newest_deauthorized(), Some(3));
}

/// Whichever of them come first, the smallest names are told apart, and nothing that the
/// others said is lost.
#[test]
fn many_applications_end_the_same_in_every_order() {
    let count = i64::try_from(MAX_APPLICATIONS).unwrap() + 4;
    let events: Vec<(String, Connection)> = (0..count)
        .flat_map(|index| {
            let name = format!("ca_{index:02}");
            [
                (name.clone(), authorized(index)),
                (name, deauthorized(index + 100)),
            ]
        })
        .collect();
    let end = |events: &mut dyn Iterator<Item = &(String, Connection)>| {
        let mut connections = Connections::default();
        for (name, said) in events {
            let _ = connections.merge(Some(name), *said);
        }
        connections
    };
    let forwards = end(&mut events.iter());
    assert_eq!(end(&mut events.iter().rev()), forwards);
    let (early, late) = events.split_at(events.len() / 2);
    assert_eq!(end(&mut late.iter().chain(early)), forwards);
    assert_eq!(forwards.0.len(), MAX_APPLICATIONS + 1);
    let others = Connection {
        authorized: Some(count - 1),
        deauthorized: Some(count + 99),
        closed: false,
    };
    assert_eq!(forwards.0[""], others);
    assert!(forwards.0.contains_key("ca_15") && !forwards.0.contains_key("ca_16"));
}

#[test]
fn what_was_closed_is_cut_whatever_came_before_or_after() {
    let closed = Connection {
        closed: true,
        ..deauthorized(2)
    };
    for events in [
        [("", closed), ("a", authorized(3))],
        [("a", authorized(3)), ("", closed)],
        [("a", deauthorized(1)), ("", closed)],
    ] {
        let connections = after(&events);
        for snapshot in [None, Some(1), Some(9)] {
            assert!(connections.are_cut(snapshot), "{events:?} {snapshot:?}");
        }
    }
    let again = after(&[("", closed)]).merge(None, closed);
    assert_eq!(again, Change::Unchanged);
    let stored =
        serde_json::json!({ "": { "authorized": null, "deauthorized": 2, "closed": true } });
    let read: Connections = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(read, after(&[("", closed)]));
    assert_eq!(serde_json::to_value(&read).unwrap(), stored);
}

#[test]
fn connections_are_stored_by_application() {
    let connections = after(&[("ca_a", authorized(1)), ("", deauthorized(2))]);
    let stored = serde_json::json!({
        "": { "authorized": null, "deauthorized": 2 },
        "ca_a": { "authorized": 1, "deauthorized": null },
    });
    assert_eq!(serde_json::to_value(&connections).unwrap(), stored);
    let read: Connections = serde_json::from_value(stored).unwrap();
    assert_eq!(read, connections);
}
