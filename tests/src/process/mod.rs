//! Processes that outlive the program that started them.
//!
//! A process is known by its number *and* the time it started, and its command
//! line has to hold a marker of ours (a folder or an address). A number that the
//! kernel has given to another process since is thus never mistaken for ours.

mod identity;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};

pub use self::identity::Identity;
use self::identity::descendants;
use crate::{
    checkout,
    wait::{self, Seen},
};

/// How long the kernel is given to clear a killed process away.
const GONE_BOUND: Duration = Duration::from_secs(10);

/// A process that was started here, or by an earlier program and found again.
///
/// Killed when dropped, unless it is told to [stay](Process::leave_running).
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Identity,
    child: Option<Child>,
    record: PathBuf,
    log: PathBuf,
    stays: AtomicBool,
}

impl Process {
    /// Starts a [`command`] in a process group of its own, so that a ctrl-c in the
    /// terminal does not reach it, with its output appended to `log`; writes it
    /// down in the file `record`.
    ///
    /// # Errors
    /// When the program cannot be started or the record cannot be written.
    pub fn spawn(
        name: &str,
        command: &mut Command,
        marker: &str,
        record: &Path,
        log: &Path,
    ) -> Result<Self> {
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)
            .with_context(|| format!("cannot open the log {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let identity = i32::try_from(child.id())
            .ok()
            .and_then(|pid| Identity::of(pid, marker));
        let Some(identity) = identity else {
            let status = child.wait()?;
            bail!(
                "{name} ended at once: {status}\n{}",
                checkout::tail(log, 20)
            );
        };
        let process = Self {
            name: name.to_owned(),
            identity,
            child: Some(child),
            record: record.to_owned(),
            log: log.to_owned(),
            stays: AtomicBool::new(false),
        };
        process.identity.write(record)?;
        Ok(process)
    }

    /// The process that an earlier program wrote down, where it still runs.
    #[must_use]
    pub fn find(name: &str, record: &Path, log: &Path) -> Option<Self> {
        let identity = Identity::read(record)?;
        identity.is_alive().then(|| Self {
            name: name.to_owned(),
            identity,
            child: None,
            record: record.to_owned(),
            log: log.to_owned(),
            stays: AtomicBool::new(false),
        })
    }

    /// Number of the process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.identity.is_alive()
    }

    /// How it ended, where it has and was started by this program.
    pub fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        checkout::tail(&self.log, 30)
    }

    /// Why it is not running, with the end of its log; `None` while it runs.
    pub fn why_dead(&mut self) -> Option<String> {
        if self.is_alive() {
            return None;
        }
        let status = self
            .exit_status()
            .map_or("ended".to_owned(), |status| status.to_string());
        Some(format!(
            "{} {status}; its log ends:\n{}",
            self.name,
            self.log_tail()
        ))
    }

    /// Keeps it running when this value goes.
    pub fn leave_running(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }

    /// Stops its clock (SIGSTOP): it answers nothing, and its connections stay open.
    pub fn pause(&self) {
        self.identity.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.identity.signal(Signal::CONT);
    }

    /// Stops the clocks of it and of all below it.
    pub fn pause_all(&self) {
        // First the one that could start others.
        self.pause();
        for process in descendants(self.pid()) {
            process.signal(Signal::STOP);
        }
    }

    /// Lets all go on after [`pause_all`](Self::pause_all).
    pub fn resume_all(&self) {
        for process in descendants(self.pid()) {
            process.signal(Signal::CONT);
        }
        self.resume();
    }

    /// Kills it and all below it (SIGKILL), as a crash would, and waits until it
    /// is gone.
    pub fn kill(&mut self) {
        let below = descendants(self.pid());
        match &mut self.child {
            // Whatever program it has become meanwhile.
            Some(child) => drop(child.kill()),
            None => self.identity.signal(Signal::KILL),
        }
        for process in &below {
            process.signal(Signal::KILL);
        }
        let everyone = || below.iter().chain([&self.identity]);
        let start = std::time::Instant::now();
        while everyone().any(Identity::is_alive) && start.elapsed() < GONE_BOUND {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.clear();
    }

    /// Asks it to end with `signal` and waits `bound` for it; then kills it.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn terminate(&mut self, signal: Signal, bound: Duration) -> Result<()> {
        self.identity.signal(signal);
        let ended = wait::until(format!("the end of {}", self.name), bound, async || {
            if self.is_alive() {
                Seen::NotYet("it runs".to_owned())
            } else {
                Seen::Reached(())
            }
        })
        .await;
        if ended.is_err() {
            self.kill();
        }
        self.clear();
        ended
    }

    /// Takes the exit status and the record of an ended process away, unless the
    /// record is another process's by now.
    fn clear(&mut self) {
        let ended = !self.identity.is_alive();
        if let Some(child) = &mut self.child {
            // Its first thread can be gone a moment before the last one: only then
            // is there a status to take.
            let start = std::time::Instant::now();
            while matches!(child.try_wait(), Ok(None)) && ended && start.elapsed() < GONE_BOUND {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if Identity::read(&self.record).as_ref() == Some(&self.identity) {
            let _ = fs::remove_file(&self.record);
        }
    }
}

/// A command to run a program whose files only their owner can read, whatever the
/// caller's umask is. Arguments that are added are the program's.
///
/// A shell sets the umask and then becomes the program. Setting the umask of this
/// process would change the files of everything else that runs in it.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"umask 077 && exec "$0" "$@""#])
        .arg(program);
    command
}

/// Lets this process, and those that it starts, open as many files as the
/// machine's administrator allows.
pub fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, what needs more says so itself.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The most memory that a process ever held, in bytes.
#[must_use]
pub fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.stays.load(Ordering::Relaxed) {
            self.kill();
        }
    }
}
