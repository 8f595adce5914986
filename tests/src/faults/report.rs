//! What is told of runs: a table for people, JSON for programs.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::oracle::Findings;

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// From which all that was random followed.
    pub seed: u64,
    /// Events that were sent.
    pub events: usize,
    /// How long they flowed, their retries included.
    pub seconds: f64,
    /// Processes that were killed or stopped.
    pub kills: usize,
    /// How often each fault struck.
    pub strikes: BTreeMap<&'static str, usize>,
    /// Services that ended by themselves and were started again.
    pub ended_by_themselves: usize,
    /// Deliveries answered 200.
    pub accepted: usize,
    /// Deliveries answered 503.
    pub refused: usize,
    /// Deliveries without an answer.
    pub unanswered: usize,
    /// Genuine deliveries with another answer.
    pub strange: usize,
    /// Genuine deliveries by their answer.
    pub answers: BTreeMap<u16, usize>,
    /// What the oracle found.
    #[serde(flatten)]
    pub findings: Findings,
    /// The longest time without an answer 200.
    pub outage: Duration,
    /// The longest time from a mended fault to full speed, and the fault, of those
    /// where nothing else was broken and no other fault cut it short.
    pub recovery: Option<(Duration, &'static str)>,
    /// How many of them there were.
    pub measured_recoveries: usize,
    /// The longest time from the end of something that the main app does with its tables
    /// until no row was pending that was then, of those where no other fault came before.
    pub rows_right: Option<Duration>,
    /// First tries answered 200: one in a hundred took longer.
    pub p99: Duration,
    /// The longest of them.
    pub worst: Duration,
    /// What else was measured.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether nothing is lost, doubled or wrong, and no genuine delivery was
    /// answered in a strange way.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_clean() && self.strange == 0
    }

    fn cells(&self) -> [String; 14] {
        let Findings {
            lost,
            doubled,
            wrong,
            ..
        } = self.findings;
        [
            self.name.clone(),
            self.events.to_string(),
            self.strikes.values().sum::<usize>().to_string(),
            self.kills.to_string(),
            lost.to_string(),
            doubled.to_string(),
            wrong.to_string(),
            self.accepted.to_string(),
            self.refused.to_string(),
            self.unanswered.to_string(),
            self.strange.to_string(),
            seconds(self.outage),
            self.recovery
                .map_or("-".to_owned(), |(time, _)| seconds(time)),
            self.rows_right.map_or("-".to_owned(), seconds),
        ]
    }
}

const HEADINGS: [&str; 14] = [
    "faults",
    "events",
    "strikes",
    "kills",
    "lost",
    "doubled",
    "wrong",
    "200",
    "503",
    "unanswered",
    "other",
    "longest outage",
    "time to recover",
    "rows right",
];

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The table of several runs, and below it what is wrong and what else was
/// measured.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEADINGS);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for outcome in outcomes {
        table.add_row(outcome.cells());
    }
    let mut lines = vec![table.to_string(), totals(outcomes)];
    for outcome in outcomes {
        let name = &outcome.name;
        lines.extend(outcome.notes.iter().map(|note| format!("{name}: {note}")));
        if let Some((_, fault)) = outcome.recovery.filter(|_| outcome.strikes.len() > 1) {
            let count = outcome.measured_recoveries;
            lines.push(format!("{name}: slowest of {count} recoveries: {fault}"));
        }
        if outcome.ended_by_themselves > 0 {
            let count = outcome.ended_by_themselves;
            lines.push(format!(
                "{name}: services ended by themselves {count} times"
            ));
        }
        let examples = outcome.findings.examples.iter();
        lines.extend(examples.map(|what| format!("{name}: WRONG: {what}")));
    }
    lines.join("\n")
}

fn totals(outcomes: &[Outcome]) -> String {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    format!(
        "in all: {} events, {} kills; {} lost, {} doubled, {} wrong; {} strange answers",
        sum(|outcome| outcome.events),
        sum(|outcome| outcome.kills),
        sum(|outcome| outcome.findings.lost),
        sum(|outcome| outcome.findings.doubled),
        sum(|outcome| outcome.findings.wrong),
        sum(|outcome| outcome.strange),
    )
}
