//! What is made of the counts of a run.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use super::{
    oracle::Findings,
    report::Outcome,
    run::Plan,
    stage::Stage,
    striking::{Struck, whole_again},
    tally::Counts,
};

/// A run that is over.
pub(super) struct Measured<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stage: &'a Stage,
    /// Events or bookings.
    pub(super) events: usize,
    /// How long they flowed.
    pub(super) flow: Duration,
    pub(super) struck: &'a [Struck],
    /// Services that ended by themselves.
    pub(super) ended_by_themselves: usize,
    /// Answers to deliveries.
    pub(super) deliveries: &'a Counts,
    /// What tells full speed from an outage.
    pub(super) pace: &'a Counts,
}

impl Measured<'_> {
    /// The outcome, with what the oracle found.
    pub(super) fn outcome(&self, findings: Findings, notes: Vec<String>) -> Outcome {
        let (plan, deliveries, pace) = (self.plan, self.deliveries, self.pace);
        let recoveries = self.recoveries();
        let mut strikes: BTreeMap<&'static str, usize> = BTreeMap::new();
        for strike in self.struck {
            *strikes.entry(strike.fault.name()).or_default() += 1;
        }
        Outcome {
            name: plan.name.clone(),
            seed: plan.seed,
            events: self.events,
            seconds: self.flow.as_secs_f64(),
            kills: self.stage.kills.load(Ordering::Relaxed),
            strikes,
            ended_by_themselves: self.ended_by_themselves,
            accepted: deliveries.accepted(),
            refused: deliveries.answers.get(&503).copied().unwrap_or(0),
            unanswered: deliveries.unanswered,
            strange: deliveries.strange(),
            answers: deliveries.answers.clone(),
            findings,
            outage: pace.longest_outage(self.flow),
            recovery: recoveries.iter().max().copied(),
            measured_recoveries: recoveries.len(),
            rows_right: self.rows_right(),
            p99: pace.latency(99),
            worst: pace.latency(100),
            notes,
        }
    }

    fn recoveries(&self) -> Vec<(Duration, &'static str)> {
        let rate = usize::try_from(self.plan.rate).unwrap_or(usize::MAX);
        let whole = whole_again(self.struck, self.flow);
        let recoveries = whole.filter_map(|(strike, until)| {
            let time = self.pace.recovery(strike.mended, until, rate)?;
            Some((time, strike.fault.name()))
        });
        recoveries.collect()
    }

    fn rows_right(&self) -> Option<Duration> {
        let struck = self.struck;
        let of_main_app = struck.iter().filter(|strike| strike.fault.is_of_main_app());
        let rows_right = of_main_app.filter_map(|strike| {
            // The next strike puts something in the way again.
            let next = struck.iter().map(|next| next.begun);
            let next = next.filter(|begun| *begun > strike.mended).min();
            self.pace
                .rows_right(strike.mended, next.unwrap_or(Duration::MAX))
        });
        rows_right.max()
    }
}
