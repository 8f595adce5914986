//! The end state is a function of the set of events: any order, any
//! duplication, any cut into units and any number of workers end in the rows
//! of the plain reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;

use harness::stripe::{Account, CheckoutSession, Event, Invoice};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use support::{
    Lab, item,
    reference::{self, Said, Sign, SignKind, Values, What},
};
use tokio_util::sync::CancellationToken;
use worker::events::amount;

/// Cases for each property. Each runs several orders against Postgres.
const CASES: u32 = 40;
const START: i64 = 1_760_000_000;

fn event_of(said: &Said) -> Event {
    let (kind, object) = match &said.what {
        What::Invoice {
            id,
            kind,
            status,
            total,
            currency,
            made,
            pdf,
        } => {
            let mut object = Invoice {
                id: id.clone(),
                booking: None,
                total: *total,
                currency: currency.clone(),
                created: *made,
                ..Invoice::default()
            }
            .value();
            object["status"] = json!(status);
            object["invoice_pdf"] = json!(pdf);
            object["metadata"] = metadata(said.booking);
            (kind.clone(), object)
        }
        What::Session { id, invoice } => {
            let mut object = CheckoutSession {
                id: id.clone(),
                ..CheckoutSession::default()
            }
            .value();
            object["invoice"] = json!(invoice);
            // One in two says it as the reference instead.
            if said.created % 2 == 0 {
                object["metadata"] = metadata(said.booking);
                object["client_reference_id"] = Value::Null;
            } else {
                object["metadata"] = json!({});
                object["client_reference_id"] = json!(said.booking.map(|id| id.to_string()));
            }
            ("checkout.session.completed".to_owned(), object)
        }
    };
    let event = Event::new(&said.id, &kind, object).at(said.created);
    match said.account.as_str() {
        "" => event,
        account => event.of_account(account),
    }
}

fn metadata(booking: Option<i32>) -> Value {
    match booking {
        Some(id) => json!({ "bookingId": id.to_string() }),
        None => json!({}),
    }
}

prop_compose! {
    fn what()(
        invoice in 0..4_u8,
        session in 0..3_u8,
        is_session in prop::bool::weighted(0.3),
        kind in prop::sample::select(vec!["invoice.updated", "invoice.paid", "invoice.deleted"]),
        status in prop::sample::select(vec![
            None, Some("draft"), Some("open"), Some("uncollectible"), Some("paid"), Some("void"),
        ]),
        total in 0..5_i64,
        made in 0..2_i64,
        pdf in prop::option::of(0..3_u8),
        linked in prop::option::of(0..4_u8),
        currency in prop::sample::select(vec!["eur", "jpy", "kwd"]),
    ) -> What {
        if is_session {
            What::Session {
                id: format!("cs_{session}"),
                // A session's invoice does not change once it is there.
                invoice: linked.map(|_| format!("in_{session}")),
            }
        } else {
            What::Invoice {
                id: format!("in_{invoice}"),
                kind: kind.into(),
                status: status.map(str::to_owned),
                total: total * 100,
                currency: currency.into(),
                made: START + made,
                pdf: pdf.map(|pdf| format!("https://pay.stripe.com/{pdf}")),
            }
        }
    }
}

/// Up to 14 events about four invoices, three sessions, three bookings and
/// three accounts, in four seconds: nearly everything collides.
fn sayings() -> impl Strategy<Value = Vec<Said>> {
    let one = (
        what(),
        0..4_i64,
        prop::option::weighted(0.6, 1..4_i32),
        prop::sample::select(vec!["acct_a", "acct_a", "acct_b", ""]),
    );
    prop::collection::vec(one, 1..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(index, (what, second, booking, account))| Said {
                id: format!("evt_{index:02}"),
                created: START + second,
                account: account.into(),
                booking,
                what,
            })
            .collect()
    })
}

/// The events shuffled, some twice, cut into units.
fn schedule(count: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    let twice: Vec<usize> = (0..count).chain(0..count / 2).collect();
    (
        Just(twice).prop_shuffle(),
        prop::collection::vec(1..6_usize, 1..40),
    )
        .prop_map(|(order, cuts)| {
            let mut units = Vec::new();
            let mut rest = order.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (unit, tail) = rest.split_at((*cut).min(rest.len()));
                units.push(unit.to_vec());
                rest = tail;
            }
            units
        })
}

fn with_schedules<T: std::fmt::Debug + Clone>(
    events: impl Strategy<Value = Vec<T>>,
) -> impl Strategy<Value = (Vec<T>, Vec<Vec<Vec<usize>>>)> {
    events.prop_flat_map(|events| {
        let schedules = prop::collection::vec(schedule(events.len()), 3);
        (Just(events), schedules)
    })
}

/// Runs a schedule; with two workers each takes every other unit.
async fn run(lab: &Lab, bodies: &[Vec<u8>], schedule: &[Vec<usize>], workers: usize) {
    let stop = CancellationToken::new();
    let share = |worker: usize| {
        let stop = &stop;
        async move {
            for unit in schedule.iter().skip(worker).step_by(workers) {
                let items: Vec<_> = unit.iter().map(|index| item(&bodies[*index])).collect();
                lab.settler.settle(&items, stop).await.unwrap();
            }
        }
    };
    match workers {
        1 => share(0).await,
        _ => {
            tokio::join!(share(0), share(1));
        }
    }
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn invoices_and_sessions_end_as_the_reference_says_in_every_order() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::new());
    runner()
        .run(&with_schedules(sayings()), |(said, schedules)| {
            let bodies: Vec<_> = said.iter().map(|said| event_of(said).bytes()).collect();
            let expected: Vec<String> = reference::shown(&said, None)
                .into_iter()
                .map(|(booking, invoice, status, minor, currency, pdf, made)| {
                    let amount = amount::major(minor, &currency);
                    let pdf = if pdf.is_empty() { "-" } else { &pdf };
                    format!("{booking} {invoice} {status} {amount} {currency} {pdf} {made}")
                })
                .collect();
            let mut states = Vec::new();
            for (index, schedule) in schedules.iter().enumerate() {
                runtime.block_on(async {
                    lab.wipe().await;
                    run(&lab, &bodies, schedule, 1 + index % 2).await;
                    states.push((lab.invoices().await, lab.state().await));
                });
            }
            for (invoices, state) in &states {
                prop_assert_eq!(invoices, &expected);
                prop_assert_eq!(state, &states[0].1);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_booking_that_appears_at_any_moment_ends_in_the_same_rows() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::with_bookings(&[]));
    let strategy = (with_schedules(sayings()), 0..8_usize);
    runner()
        .run(&strategy, |((said, schedules), moment)| {
            let bodies: Vec<_> = said.iter().map(|said| event_of(said).bytes()).collect();
            let booked = BTreeSet::from([1, 2]);
            let expected = reference::shown(&said, Some(&booked));
            for schedule in &schedules {
                let (before, after) = schedule.split_at(moment.min(schedule.len()));
                let ids = runtime.block_on(async {
                    lab.wipe().await;
                    lab.client
                        .batch_execute(r#"DELETE FROM "Booking""#)
                        .await
                        .unwrap();
                    run(&lab, &bodies, before, 1).await;
                    for booking in &booked {
                        lab.book(*booking).await;
                    }
                    run(&lab, &bodies, after, 1).await;
                    worker::waiting::join(&lab.settler).await.unwrap();
                    lab.invoices().await
                });
                let shown: Vec<_> = expected
                    .iter()
                    .map(|row| format!("{} {} {}", row.0, row.1, row.2))
                    .collect();
                let starts: Vec<_> = ids
                    .iter()
                    .map(|row| row.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" "))
                    .collect();
                prop_assert_eq!(starts, shown);
            }
            Ok(())
        })
        .unwrap();
}

prop_compose! {
    fn values()(
        details in any::<bool>(), charges in any::<bool>(),
        payouts in any::<bool>(), due in any::<bool>(),
    ) -> Values {
        Values { details, charges, payouts, due }
    }
}

fn signs() -> impl Strategy<Value = Vec<Sign>> {
    let kind = prop_oneof![
        1 => Just(SignKind::Deauthorized),
        1 => Just(SignKind::Authorized),
        6 => (values(), prop::option::weighted(0.8, values()))
            .prop_map(|(after, before)| SignKind::Updated { after, before }),
    ];
    prop::collection::vec((kind, 0..3_i64), 1..9).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(index, (what, second))| Sign {
                id: format!("evt_{index}"),
                created: START + second,
                what,
            })
            .collect()
    })
}

fn account_object(values: &Values) -> Value {
    let mut object = Account {
        id: "acct_a".into(),
        details_submitted: values.details,
        charges_enabled: values.charges,
        payouts_enabled: values.payouts,
        ..Account::default()
    }
    .value();
    object["requirements"]["currently_due"] = due(values);
    object
}

fn due(values: &Values) -> Value {
    if values.due {
        json!(["external_account"])
    } else {
        json!([])
    }
}

fn account_event(sign: &Sign) -> Event {
    let event = match &sign.what {
        SignKind::Deauthorized => Event::new(
            &sign.id,
            "account.application.deauthorized",
            harness::stripe::application(),
        ),
        SignKind::Authorized => Event::new(
            &sign.id,
            "account.application.authorized",
            harness::stripe::application(),
        ),
        SignKind::Updated { after, before } => {
            let mut event = Event::new(&sign.id, "account.updated", account_object(after));
            event.previous_attributes = before.as_ref().map(|before| previous(before, after));
            event
        }
    };
    event.of_account("acct_a").at(sign.created)
}

/// Only what changed, as Stripe sends it.
fn previous(before: &Values, after: &Values) -> Value {
    let mut previous = json!({});
    if before.details != after.details {
        previous["details_submitted"] = json!(before.details);
    }
    if before.charges != after.charges {
        previous["charges_enabled"] = json!(before.charges);
    }
    if before.payouts != after.payouts {
        previous["payouts_enabled"] = json!(before.payouts);
    }
    if before.due != after.due {
        previous["requirements"] = json!({ "currently_due": due(before) });
    }
    previous
}

#[test]
fn hosts_end_as_the_reference_says_in_every_order() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::new());
    runner()
        .run(&with_schedules(signs()), |(signs, schedules)| {
            let bodies: Vec<_> = signs.iter().map(|sign| account_event(sign).bytes()).collect();
            let (status, can_sell, winner) = reference::host(&signs);
            let expected = format!("{status} {can_sell} {}", winner.as_deref().unwrap_or("-"));
            let mut states = Vec::new();
            for (index, schedule) in schedules.iter().enumerate() {
                let seen = runtime.block_on(async {
                    lab.wipe().await;
                    run(&lab, &bodies, schedule, 1 + index % 2).await;
                    states.push(lab.state().await);
                    lab.rows(
                        r#"SELECT concat_ws(' ', h."status", h."canSell"::text, coalesce(a.snapshot_event_id, '-'))
                           FROM "HostOnboarding" h JOIN stripe.account a ON a.id = h."stripeAccountId""#,
                    )
                    .await
                });
                prop_assert_eq!(seen, vec![expected.clone()]);
            }
            for state in &states {
                prop_assert_eq!(state, &states[0]);
            }
            Ok(())
        })
        .unwrap();
}
