//! Who used the processor while something was measured.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{proc, stage::Stage};

/// Processes whose processor time is counted from now on.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    processes: Vec<(&'static str, i32, Duration)>,
}

/// What they used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shares {
    /// What was measured.
    pub(crate) phase: String,
    /// For how long, in seconds.
    pub(crate) seconds: f64,
    /// Processors in use by each, on average.
    pub(crate) cores: BTreeMap<&'static str, f64>,
}

impl Clock {
    /// Counts the servers and these processes.
    pub(crate) fn start(stage: &Stage, ours: &[(&'static str, i32)]) -> Self {
        let servers = stage.server_pids().into_iter();
        let servers = servers.filter_map(|(name, pid)| Some((name, pid?)));
        let processes = servers.chain(ours.iter().copied());
        let processes = processes.map(|(name, pid)| (name, pid, proc::cpu_with_children(pid)));
        Self {
            processes: processes.collect(),
            start: Instant::now(),
        }
    }

    /// What was used since.
    pub(crate) fn stop(&self, phase: impl Into<String>) -> Shares {
        let seconds = self.start.elapsed().as_secs_f64();
        let cores = self.processes.iter().map(|(name, pid, before)| {
            let used = proc::cpu_with_children(*pid).saturating_sub(*before);
            (*name, used.as_secs_f64() / seconds)
        });
        Shares {
            phase: phase.into(),
            seconds,
            cores: cores.collect(),
        }
    }
}

impl Shares {
    /// Processor time of one of them, in seconds.
    pub(crate) fn used_by(&self, name: &str) -> f64 {
        self.cores.get(name).copied().unwrap_or_default() * self.seconds
    }
}
