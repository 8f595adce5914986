//! The end state is a function of the set of events: any order, any
//! duplication, any cut into units and any number of workers end in the rows
//! of the plain reference.

use std::collections::BTreeSet;

use crate::support::{
    Lab, delivery,
    histories::{Step, sayings, signs, try_all},
};
use harness::reference;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

/// Says how many histories each test tries; a few where it is not set. Each is
/// some dozen transactions.
const HISTORIES: &str = "MODEL_DATABASE_HISTORIES";
const USUAL: u32 = 120;

/// Takes the units; with two workers each takes every other unit.
async fn run(lab: &Lab, bodies: &[Vec<u8>], units: &[&[usize]], workers: usize) {
    let stop = CancellationToken::new();
    let share = |worker: usize| {
        let stop = &stop;
        async move {
            for unit in units.iter().skip(worker).step_by(workers) {
                let items: Vec<_> = unit.iter().map(|index| delivery(&bodies[*index])).collect();
                lab.executor.execute(&items, stop).await.unwrap();
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// The rows of `"Invoice"`, as [`Lab::invoices`] writes them.
fn lines(shown: Vec<reference::Shown>) -> Vec<String> {
    shown
        .into_iter()
        .map(|(booking, invoice, status, minor, currency, pdf, made)| {
            let amount = reference::major(minor, &currency);
            let pdf = if pdf.is_empty() { "-" } else { &pdf };
            format!("{booking} {invoice} {status} {amount} {currency} {pdf} {made}")
        })
        .collect()
}

#[test]
fn invoices_and_sessions_end_as_the_reference_says_in_every_order() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::new());
    try_all(HISTORIES, USUAL, sayings(), |said, arrivals| {
        let bodies: Vec<_> = said.iter().map(|said| said.event().bytes()).collect();
        let expected = lines(reference::shown(said, None));
        let given_back: Vec<String> = reference::given_back(said)
            .into_iter()
            .map(|(invoice, (refunded, credited))| format!("{invoice} {refunded} {credited}"))
            .collect();
        let mut states = Vec::new();
        for (index, arrival) in arrivals.iter().enumerate() {
            runtime.block_on(async {
                lab.wipe().await;
                Box::pin(run(&lab, &bodies, &arrival.units(), 1 + index % 2)).await;
                let seen = (lab.invoices().await, lab.given_back().await);
                states.push((seen, lab.state().await));
            });
        }
        for ((invoices, seen), state) in &states {
            prop_assert_eq!(invoices, &expected);
            prop_assert_eq!(seen, &given_back);
            prop_assert_eq!(state, &states[0].1);
        }
        Ok(())
    });
}

#[test]
fn bookings_that_appear_at_any_moment_show_what_the_reference_says_after_every_step() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::with_bookings(&[]));
    try_all(HISTORIES, USUAL, sayings(), |said, arrivals| {
        let bodies: Vec<_> = said.iter().map(|said| said.event().bytes()).collect();
        for arrival in arrivals {
            runtime.block_on(async {
                lab.wipe().await;
                let delete = r#"DELETE FROM "Booking""#;
                lab.client.batch_execute(delete).await.unwrap();
            });
            let (mut taken, mut booked) = (BTreeSet::new(), BTreeSet::new());
            for step in &arrival.steps {
                let seen = runtime.block_on(async {
                    match step {
                        // What was taken before is a duplicate then.
                        Step::Take(range) | Step::Replay(range) => {
                            let unit = &arrival.order[range.clone()];
                            taken.extend(unit.iter().copied());
                            Box::pin(run(&lab, &bodies, &[unit], 1)).await;
                        }
                        Step::Book(booking) => {
                            booked.insert(*booking);
                            lab.book(*booking).await;
                            lab.project_pending().await;
                        }
                    }
                    lab.invoices().await
                });
                let told: Vec<_> = taken.iter().map(|place| said[*place].clone()).collect();
                prop_assert_eq!(seen, lines(reference::shown(&told, Some(&booked))));
            }
        }
        Ok(())
    });
}

#[test]
fn hosts_end_as_the_reference_says_in_every_order() {
    let runtime = runtime();
    let lab = runtime.block_on(Lab::new());
    try_all(HISTORIES, USUAL, signs(), |signs, arrivals| {
        let bodies: Vec<_> = signs
            .iter()
            .map(|sign| sign.event("acct_a").bytes())
            .collect();
        let (status, can_sell, winner) = reference::host(signs);
        let expected = format!("{status} {can_sell} {}", winner.as_deref().unwrap_or("-"));
        let mut states = Vec::new();
        for (index, arrival) in arrivals.iter().enumerate() {
            let seen = runtime.block_on(async {
                lab.wipe().await;
                Box::pin(run(&lab, &bodies, &arrival.units(), 1 + index % 2)).await;
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
    });
}
