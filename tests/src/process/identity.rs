//! What a process is known by.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::checkout;

/// The longest command line that is looked at: RabbitMQ's is the longest, with some
/// kilobytes.
const LONGEST_COMMAND_LINE: usize = 64 * 1024;

/// What is written down about a process, so that a later program finds it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Number of the process.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    /// Text that its command line holds.
    marker: String,
}

impl Identity {
    /// The identity of a process that runs now.
    #[must_use]
    pub fn of(pid: i32, marker: &str) -> Option<Self> {
        let started = Stat::read(pid)?.started;
        let marker = marker.to_owned();
        Some(Self {
            pid,
            started,
            marker,
        })
    }

    /// Reads a record; `None` where there is none or it is not one.
    #[must_use]
    pub fn read(record: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(record).ok()?).ok()
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, record: &Path) -> Result<()> {
        checkout::write_private(record, &serde_json::to_string(self)?)
    }

    /// Whether the process still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Some(stat) = Stat::read(self.pid) else {
            return false;
        };
        let command_line = command_line(self.pid);
        // For a moment while a program is loaded, the line is empty.
        let is_marked = command_line.is_empty() || command_line.contains(&self.marker);
        stat.started == self.started && stat.state != 'Z' && is_marked
    }

    /// Sends a signal to the process, if it still runs.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.is_alive()
        {
            // It may end between the look and the signal: then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The command line of a process, its parts joined by blanks.
fn command_line(pid: i32) -> String {
    // In one read: a process can become another program between two reads, and the
    // parts of two command lines would be joined.
    let mut line = vec![0; LONGEST_COMMAND_LINE];
    let length = File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|mut file| file.read(&mut line))
        .unwrap_or_default();
    line.truncate(length);
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// The fields of `/proc/PID/stat` that are needed here.
struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets, with any bytes in it.
        let fields: Vec<&str> = text
            .get(text.rfind(')')? + 1..)?
            .split_whitespace()
            .collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// All processes below this one, children before grandchildren.
pub(super) fn descendants(pid: i32) -> Vec<Identity> {
    let everyone: Vec<(i32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect();
    let mut parents = vec![pid];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        for (pid, stat) in everyone.iter().filter(|(_, stat)| stat.parent == parent) {
            parents.push(*pid);
            found.push(Identity {
                pid: *pid,
                started: stat.started,
                marker: String::new(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, time::Duration};

    use super::command_line;
    use crate::{private::PrivateFolder, process::Process};

    /// Becomes a shell with a longer command line and back, and then `tail`.
    const CHANGING: &str = r#"
        if [ "$1" -gt 0 ]; then
            exec /bin/sh -c 'exec /bin/sh "$0" "$1"' "$0" $(($1 - 1))
        fi
        exec tail -f "$0"
    "#;

    #[tokio::test]
    async fn a_process_that_becomes_another_program_is_alive_all_the_time() {
        let folder = PrivateFolder::make("identity").unwrap();
        let script = folder.path().join("script");
        fs::write(&script, CHANGING).unwrap();
        let marker = script.display().to_string();
        let mut program = Command::new("/bin/sh");
        program.arg(&script).arg("300");
        let [record, log] = ["script.json", "script.log"].map(|file| folder.path().join(file));
        let process = Process::spawn("a script", &mut program, &marker, &record, &log).unwrap();
        let ended = async {
            while !command_line(process.pid()).starts_with("tail") {
                assert!(process.is_alive());
                tokio::task::yield_now().await;
            }
        };
        let bound = Duration::from_secs(60);
        tokio::time::timeout(bound, ended).await.unwrap();
    }
}
