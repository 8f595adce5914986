//! What is counted while events flow, and what follows from it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The time is counted in steps of this length.
const STEP: Duration = Duration::from_millis(20);
/// Full speed is looked for over this time.
const WINDOW: Duration = Duration::from_secs(1);
/// Full speed is this share of the wanted rate, in hundredths: the sender's own
/// retries are spread at random.
const FULL: usize = 90;

/// Counts of one run.
#[derive(Debug)]
pub struct Tally {
    start: Instant,
    paused: AtomicBool,
    in_flight: AtomicUsize,
    counts: Mutex<Counts>,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Answers by status.
    pub answers: BTreeMap<u16, usize>,
    /// Deliveries that got no answer.
    pub unanswered: usize,
    /// Answers to a signature of the far future.
    pub early: BTreeMap<u16, usize>,
    /// Time from a delivery's due time to its 200, first tries alone.
    pub latencies: Vec<Duration>,
    /// Answers 200, by step.
    accepted: Vec<usize>,
    /// Whether a step is to be left out: nothing was sent.
    left_out: Vec<bool>,
    /// When commits were seen.
    commits: Vec<Duration>,
    /// Looks at the rows of the main app's that are pending: when, and since when the
    /// oldest of them is; `None` where none is.
    pending: Vec<(Duration, Option<Duration>)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            paused: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }
}

impl Tally {
    /// A genuine delivery was answered.
    pub fn answer(&self, status: u16, latency: Option<Duration>) {
        let step = self.step();
        let mut counts = self.lock();
        *counts.answers.entry(status).or_default() += 1;
        if status == 200 {
            if counts.accepted.len() <= step {
                counts.accepted.resize(step + 1, 0);
            }
            counts.accepted[step] += 1;
            counts.latencies.extend(latency);
        }
    }

    /// A delivery signed for the far future was answered.
    pub fn early(&self, status: u16) {
        *self.lock().early.entry(status).or_default() += 1;
    }

    /// A delivery got no answer.
    pub fn unanswered(&self) {
        self.lock().unanswered += 1;
    }

    /// A commit of a worker was seen.
    pub fn commit(&self) {
        let now = self.start.elapsed();
        self.lock().commits.push(now);
    }

    /// The oldest row that is pending has been so for this long; `None` where none is.
    pub fn pending(&self, oldest: Option<Duration>) {
        let now = self.start.elapsed();
        let since = oldest.map(|oldest| now.saturating_sub(oldest));
        self.lock().pending.push((now, since));
    }

    /// Nothing is sent from now on, or again: that is no outage.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether nothing is to be sent now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Deliveries that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Tells how many deliveries wait for their answer.
    pub fn set_in_flight(&self, count: usize) {
        self.in_flight.store(count, Ordering::Relaxed);
    }

    /// To be called often: notes which steps are left out.
    pub fn tick(&self) {
        if self.is_paused() {
            let step = self.step();
            let mut counts = self.lock();
            if counts.left_out.len() <= step {
                counts.left_out.resize(step + 1, false);
            }
            counts.left_out[step] = true;
        }
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn step(&self) -> usize {
        steps(self.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Answers 200 in all.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.answers.get(&200).copied().unwrap_or(0)
    }

    /// Genuine deliveries that were answered neither 200 nor 503, and those
    /// signed for the far future that were not answered 400.
    #[must_use]
    pub fn strange(&self) -> usize {
        let others = |answers: &BTreeMap<u16, usize>, right: &[u16]| -> usize {
            let strange = answers.iter().filter(|(status, _)| !right.contains(status));
            strange.map(|(_, count)| count).sum()
        };
        others(&self.answers, &[200, 503]) + others(&self.early, &[400])
    }

    /// The longest time without an answer 200 until `end`.
    #[must_use]
    pub fn longest_outage(&self, end: Duration) -> Duration {
        let (mut longest, mut current) = (0, 0);
        for step in 0..steps(end) {
            let is_quiet = self.accepted.get(step).copied().unwrap_or(0) == 0;
            let is_left_out = self.left_out.get(step).copied().unwrap_or(false);
            current = if is_quiet && !is_left_out {
                current + 1
            } else {
                0
            };
            longest = longest.max(current);
        }
        STEP * u32::try_from(longest).unwrap_or(u32::MAX)
    }

    /// How long after `repaired` answers came at the full rate and a worker
    /// committed; `None` if that did not happen before `end`.
    #[must_use]
    pub fn recovery(&self, repaired: Duration, end: Duration, rate: usize) -> Option<Duration> {
        let window = steps(WINDOW);
        let first = steps(repaired);
        let last = steps(end).checked_sub(window)?;
        let wanted = rate * FULL / 100;
        let is_full = |step: &usize| {
            let seen = self.accepted.iter().skip(*step).take(window);
            seen.sum::<usize>() >= wanted
        };
        let full = (first..last).find(is_full)? - first;
        let answers = STEP * u32::try_from(full).unwrap_or(u32::MAX);
        let commit = self.commits.iter().find(|at| **at >= repaired)?;
        Some(answers.max(*commit - repaired))
    }

    /// How long after `repaired` no row was pending any more that was then; `None` where
    /// that was not seen before `end`.
    #[must_use]
    pub fn rows_right(&self, repaired: Duration, end: Duration) -> Option<Duration> {
        let mut looks = self.pending.iter();
        let is_right = |since: &Option<Duration>| since.is_none_or(|since| since > repaired);
        let (at, _) = looks.find(|(at, since)| *at >= repaired && is_right(since))?;
        (*at < end).then(|| *at - repaired)
    }

    /// The latency below which so many of a hundred lie.
    #[must_use]
    pub fn latency(&self, hundredths: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = sorted.len() * hundredths / 100;
        let last = sorted.len().saturating_sub(1);
        sorted.get(place.min(last)).copied().unwrap_or_default()
    }
}

fn steps(time: Duration) -> usize {
    usize::try_from(time.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Counts, STEP};
    use std::time::Duration;

    fn counts(accepted: &[usize]) -> Counts {
        Counts {
            accepted: accepted.to_vec(),
            commits: vec![Duration::from_millis(100)],
            ..Counts::default()
        }
    }

    #[test]
    fn the_longest_outage_leaves_pauses_out() {
        let mut counts = counts(&[1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(counts.longest_outage(STEP * 7), STEP * 3);
        counts.left_out = vec![false, false, true];
        assert_eq!(counts.longest_outage(STEP * 7), STEP * 2);
        assert_eq!(counts.longest_outage(STEP * 10), STEP * 5);
    }

    #[test]
    fn rows_are_right_when_none_is_pending_that_was() {
        let second = Duration::from_secs;
        let counts = Counts {
            pending: vec![
                (second(1), None),
                (second(2), Some(second(1))),
                (second(5), Some(second(1))),
                (second(6), Some(second(4))),
            ],
            ..Counts::default()
        };
        let end = second(60);
        assert_eq!(counts.rows_right(second(3), end), Some(second(3)));
        assert_eq!(counts.rows_right(second(5), end), None, "it stays");
        assert_eq!(counts.rows_right(second(3), second(6)), None, "too late");
        assert_eq!(counts.rows_right(second(7), end), None, "nobody looked");
    }

    #[test]
    fn recovered_is_who_answers_at_the_full_rate_and_commits() {
        let mut accepted = vec![0; 10];
        accepted.extend([10; 100]);
        let counts = counts(&accepted);
        let end = STEP * 110;
        assert_eq!(counts.recovery(Duration::ZERO, end, 500), Some(STEP * 5));
        assert_eq!(counts.recovery(STEP, end, 10), Some(STEP * 4));
        assert_eq!(counts.recovery(Duration::ZERO, end, 5_000), None);
        assert_eq!(counts.recovery(STEP * 6, end, 500), None, "no commit since");
    }
}
