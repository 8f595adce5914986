//! What processes have used, from `/proc`.

use std::{collections::BTreeMap, fs, time::Duration};

/// Linux counts processor time in hundredths of a second for every program,
/// whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used by a process since it began, and by all below it, those
/// that have ended included.
pub(crate) fn cpu_with_children(pid: i32) -> Duration {
    let everyone: BTreeMap<i32, Stat> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect();
    let mut total = 0;
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let Some(stat) = everyone.get(&pid) else {
            continue;
        };
        total += stat.own + stat.ended_children;
        let children = everyone.iter().filter(|(_, stat)| stat.parent == pid);
        open.extend(children.map(|(pid, _)| *pid));
    }
    ticks(total)
}

/// The load averages over 1, 5 and 15 minutes, as Linux writes them.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

struct Stat {
    parent: i32,
    own: u32,
    ended_children: u32,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets, with any bytes in it.
        let fields: Vec<&str> = text
            .get(text.rfind(')')? + 1..)?
            .split_whitespace()
            .collect();
        let number = |place: usize| fields.get(place)?.parse::<u32>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            ended_children: number(13)? + number(14)?,
        })
    }
}

fn ticks(count: u32) -> Duration {
    TICK * count
}
