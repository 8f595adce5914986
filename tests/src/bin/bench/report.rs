//! What is said about a run: a table for people, JSON for programs.

use std::{fmt::Write as _, path::PathBuf, time::Instant};

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use harness::checkout;
use serde::Serialize;

use crate::{figures::Figure, proc, shares::Shares};

/// Measuring a limit twice gives nearly the same on a quiet machine.
const NOISY: f64 = 0.20;

/// All that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether sizes and times were the small ones.
    is_quick: bool,
    cores: usize,
    /// Load averages over 1, 5 and 15 minutes when the run began.
    load_average: String,
    figures: Vec<Figure>,
    shares: Vec<Shares>,
    warnings: Vec<String>,
    /// How long all of it took, in seconds.
    seconds: f64,
    #[serde(skip)]
    start: Instant,
}

impl Report {
    pub(crate) fn new(is_quick: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let report = Self {
            is_quick,
            cores,
            load_average: proc::load_average(),
            figures: Vec::new(),
            shares: Vec::new(),
            warnings: Vec::new(),
            seconds: 0.0,
            start: Instant::now(),
        };
        let load = &report.load_average;
        report.progress(&format!("{cores} processors, load average {load}"));
        report
    }

    /// Tells whoever waits what is going on.
    pub(crate) fn progress(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.start.elapsed().as_secs_f64());
    }

    pub(crate) fn add(&mut self, figures: impl IntoIterator<Item = Figure>) {
        self.figures.extend(figures);
    }

    pub(crate) fn shares(&mut self, shares: impl IntoIterator<Item = Shares>) {
        self.shares.extend(shares);
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.progress(&format!("warning: {text}"));
        self.warnings.push(text);
    }

    /// The better of a limit's two measurements; they should be about the same.
    pub(crate) fn better_limit(&mut self, what: &str, before: f64, after: f64) -> f64 {
        let (less, more) = (before.min(after), before.max(after));
        if less < more * (1.0 - NOISY) {
            self.warn(format!(
                "{what}: {less:.0} a second once, and {more:.0} another time. Something else \
                 uses this machine; only the ratios of a quiet run mean much"
            ));
        }
        more
    }

    /// Writes the JSON to `.dev/bench.json` and gives both forms.
    pub(crate) fn finish(mut self) -> Result<(String, String)> {
        self.seconds = self.start.elapsed().as_secs_f64();
        let json = serde_json::to_string_pretty(&self)?;
        checkout::write_private(&file()?, &json)?;
        Ok((self.table(), json))
    }

    fn table(&self) -> String {
        let mut figures = table(["", "ours", "limit", "ratio", "goal", "reached"]);
        let mut section = "";
        for figure in &self.figures {
            if figure.section != section {
                section = figure.section;
                figures.add_row([section.to_uppercase()]);
            }
            figures.add_row(figure.cells());
        }
        let names = ["ingest", "worker", "PostgreSQL", "RabbitMQ", "load"];
        let mut shares = table(["processors in use"].into_iter().chain(names));
        for share in &self.shares {
            let cores = names.map(|name| {
                let cores = share.cores.get(name);
                cores.map(|cores| format!("{cores:.2}")).unwrap_or_default()
            });
            shares.add_row([share.phase.clone()].into_iter().chain(cores));
        }
        let mut text = format!("{figures}\n{shares}\n");
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        let _ = writeln!(
            text,
            "{} processors, load average {} at the start; {:.0} s in all",
            self.cores, self.load_average, self.seconds
        );
        text
    }
}

fn file() -> Result<PathBuf> {
    Ok(checkout::dev_folder()?.join("bench.json"))
}

fn table(headings: impl IntoIterator<Item = &'static str>) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
