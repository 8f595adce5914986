//! The strikes of a run: each place is broken again and again, until all was sent.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::{
    fault::{Fault, Place},
    run::Plan,
    stage::Stage,
    tally::Tally,
};

/// A strike that was mended, by the tally's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    pub(super) begun: Duration,
    pub(super) mended: Duration,
}

/// Faults of one place strike one after the other; those of different places
/// meet as they come.
pub(super) async fn strike_all(
    plan: &Plan,
    stage: &Stage,
    tally: &Tally,
    struck: &Mutex<Vec<Struck>>,
    sent: &CancellationToken,
    rng: &mut Rng,
) -> Result<()> {
    let mut places: BTreeMap<Place, Vec<Fault>> = BTreeMap::new();
    for fault in &plan.faults {
        places.entry(fault.place()).or_default().push(*fault);
    }
    let places = places.into_values().map(|faults| {
        let mut rng = rng.fork();
        async move {
            loop {
                let fault = faults[rng.usize(..faults.len())];
                let rest = fault.rest().mul_f64(plan.rests * (0.5 + rng.f64()));
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = sent.cancelled() => return Ok(()),
                }
                let begun = tally.elapsed();
                let mended = fault.strike(stage, &mut rng).await;
                mended.with_context(|| fault.name())?;
                let mended = tally.elapsed();
                let strike = Struck {
                    fault,
                    begun,
                    mended,
                };
                struck
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(strike);
            }
        }
    });
    try_join_all(places).await.map(drop)
}

/// The strikes after which everything was whole again, each with the moment until
/// which it stayed so.
pub(super) fn whole_again(
    struck: &[Struck],
    flow: Duration,
) -> impl Iterator<Item = (Struck, Duration)> {
    struck.iter().filter_map(move |strike| {
        let mended = strike.mended;
        let is_broken = |other: &Struck| other.begun <= mended && other.mended > mended;
        if struck.iter().any(is_broken) {
            return None;
        }
        let next = struck.iter().map(|next| next.begun);
        let until = next.filter(|begun| *begun > mended).min();
        Some((*strike, until.unwrap_or(flow).min(flow)))
    })
}

#[cfg(test)]
mod tests {
    use super::{Duration, Fault, Struck, whole_again};

    #[test]
    fn nothing_recovers_while_something_else_is_broken() {
        let second = Duration::from_secs;
        let strike = |begun, mended| Struck {
            fault: Fault::ALL[0],
            begun: second(begun),
            mended: second(mended),
        };
        // The second begins before the first is mended; the third comes alone.
        let struck = [strike(1, 4), strike(3, 8), strike(20, 21)];
        let seen: Vec<(Duration, Duration)> = whole_again(&struck, second(30))
            .map(|(strike, until)| (strike.mended, until))
            .collect();
        assert_eq!(seen, [(second(8), second(20)), (second(21), second(30))]);
    }
}
