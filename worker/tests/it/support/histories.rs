//! Histories to try the rules on: small sets of events in which nearly
//! everything collides, and the ways in which they can arrive.

mod sayings;
mod signs;

pub use sayings::sayings;
pub use signs::signs;

use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use shared::config::Env;

/// The first second in which anything happens.
pub const START: i64 = 1_760_000_000;

/// A runner for so many histories as the variable says, else `usual`, where one
/// set of events makes `arrivals` of them. The seed is in `MODEL_SEED`, else a
/// new one each time.
fn runner(variable: &'static str, usual: u32, arrivals: usize) -> (TestRunner, u64) {
    let env = Env::from_process();
    let histories = env.parsed(variable, "a number", |text| text.parse().ok());
    let seed = env.parsed("MODEL_SEED", "a number", |text| text.parse().ok());
    let seed: u64 = seed.unwrap().unwrap_or_else(|| fastrand::u64(..));
    let histories: u32 = histories.unwrap().unwrap_or(usual);
    let config = ProptestConfig {
        cases: histories.div_ceil(u32::try_from(arrivals).unwrap()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (TestRunner::new_with_rng(config, rng), seed)
}

/// Tries `check` on sets of events with several arrivals each. Says how many
/// histories that were, and of which seed.
pub fn try_all<T: std::fmt::Debug + Clone>(
    variable: &'static str,
    usual: u32,
    events: impl Strategy<Value = Vec<T>>,
    check: impl Fn(&[T], &[Arrival]) -> Result<(), TestCaseError>,
) {
    let (mut runner, seed) = runner(variable, usual, ARRIVALS);
    let tried = std::cell::Cell::new(0);
    let all = with_arrivals(events, ARRIVALS);
    let result = runner.run(&all, |(events, arrivals)| {
        tried.set(tried.get() + arrivals.len());
        check(&events, &arrivals)
    });
    eprintln!("{} histories of seed {seed}", tried.get());
    if let Err(error) = result {
        panic!("MODEL_SEED={seed}: {error}");
    }
}

/// Each set of events arrives in so many ways, which must end the same.
const ARRIVALS: usize = 3;

/// What happens to the worker.
#[derive(Clone, Debug)]
pub enum Step {
    /// It takes these events as one unit.
    Take(Range<usize>),
    /// The main app makes a booking.
    Book(i32),
    /// An operator has these events judged again.
    Replay(Range<usize>),
}

/// An order of arrival, and the steps over it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Places of events, some of them twice.
    pub order: Vec<usize>,
    /// Ranges are of `order`; together the units are all of it.
    pub steps: Vec<Step>,
}

/// The events shuffled, some twice, cut into units, with bookings and replays
/// in between.
fn arrival(count: usize) -> impl Strategy<Value = Arrival> {
    let twice: Vec<usize> = (0..count).chain(0..count / 2).collect();
    let step = (1..6_usize, prop::option::weighted(0.2, any::<bool>()));
    (
        Just(twice).prop_shuffle(),
        prop::collection::vec(step, 1..40),
    )
        .prop_map(|(order, cuts)| {
            let mut steps = Vec::new();
            let mut bookings = 1..=3;
            let mut start = 0;
            for (length, between) in cuts.iter().cycle() {
                if start == order.len() {
                    break;
                }
                let end = (start + length).min(order.len());
                steps.push(Step::Take(start..end));
                match between {
                    Some(true) => steps.extend(bookings.next().map(Step::Book)),
                    Some(false) => steps.push(Step::Replay(0..end)),
                    None => {}
                }
                start = end;
            }
            Arrival { order, steps }
        })
}

impl Arrival {
    /// The units, each as places of events.
    pub fn units(&self) -> Vec<&[usize]> {
        let units = self.steps.iter().filter_map(|step| match step {
            Step::Take(range) => Some(&self.order[range.clone()]),
            Step::Book(_) | Step::Replay(_) => None,
        });
        units.collect()
    }
}

/// Sets of events, each with several arrivals.
fn with_arrivals<T: std::fmt::Debug + Clone>(
    events: impl Strategy<Value = Vec<T>>,
    arrivals: usize,
) -> impl Strategy<Value = (Vec<T>, Vec<Arrival>)> {
    events.prop_flat_map(move |events| {
        let arrivals = prop::collection::vec(arrival(events.len()), arrivals);
        (Just(events), arrivals)
    })
}
