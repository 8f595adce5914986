//! The services' binaries as processes.

mod options;

use std::{fs, path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

pub use self::options::ServiceOptions;
use crate::{
    checkout, http, leaks,
    process::{self, Process},
    wait::{self, Seen},
};

/// Bound for becoming ready: connecting twice and migrating an empty database.
pub const READY_BOUND: Duration = Duration::from_secs(60);
/// Bound for ending after SIGTERM: the services finish what they have begun.
pub const END_BOUND: Duration = Duration::from_secs(45);

/// A service's process; killed when dropped, unless told to stay.
///
/// When it is dropped, its log is searched for secrets and personal data.
///
/// # Panics
/// Dropping it panics if the log holds some, or if the log is gone.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    process: Process,
    /// Whether it was started here, so that its log is ours to answer for.
    watched: bool,
}

impl Service {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not become ready: the error holds its last answer and the
    /// end of its log.
    pub async fn start(options: ServiceOptions) -> Result<Self> {
        let mut service = Self::spawn(options)?;
        service.until_ready(READY_BOUND).await?;
        Ok(service)
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When the binary is not there or cannot be run.
    pub fn spawn(options: ServiceOptions) -> Result<Self> {
        let process = spawn(&options)?;
        Ok(Self {
            options,
            process,
            watched: true,
        })
    }

    /// The one that an earlier program started with these options, where it runs.
    #[must_use]
    pub fn find(options: ServiceOptions) -> Option<Self> {
        let process = Process::find(&options.name, &options.record(), &options.log())?;
        Some(Self {
            options,
            process,
            watched: false,
        })
    }

    /// Waits until `/readyz` of its admin listener answers 200.
    ///
    /// # Errors
    /// When it does not within `bound`.
    pub async fn until_ready(&mut self, bound: Duration) -> Result<()> {
        let url = format!("{}/readyz", self.admin_url());
        let name = self.options.name.clone();
        let ready = wait::until(format!("{name} to be ready"), bound, async || {
            if let Some(why) = self.process.why_dead() {
                return Seen::Never(why);
            }
            match http::get(&url).await {
                Ok(answer) if answer.status.is_success() => Seen::Reached(()),
                Ok(answer) => Seen::NotYet(format!("{} {}", answer.status, answer.text())),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        });
        let ready = ready.await;
        ready.with_context(|| format!("the log of {name} ends:\n{}", self.process.log_tail()))
    }

    /// Address of its public listener.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn url(&self) -> String {
        let port = self
            .options
            .port
            .expect("this service has a public listener");
        format!("http://127.0.0.1:{port}")
    }

    /// Address of its admin listener.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.admin_port)
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &ServiceOptions {
        &self.options
    }

    /// Its process, to pause or to look at.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.options.log()).unwrap_or_default()
    }

    /// Kills it at once (SIGKILL).
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        self.process.terminate(Signal::TERM, END_BOUND).await?;
        Ok(self.process.exit_status())
    }

    /// Starts it once more with the same options, if it does not run, and waits
    /// until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_again(&mut self) -> Result<()> {
        self.restart()?;
        self.until_ready(READY_BOUND).await
    }

    /// Starts it once more with the same options, if it does not run, without
    /// waiting.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn restart(&mut self) -> Result<()> {
        if !self.process.is_alive() {
            self.process = spawn(&self.options)?;
        }
        Ok(())
    }

    /// Keeps it running when this value goes.
    pub fn leave_running(&mut self) {
        self.watched = false;
        self.process.leave_running();
    }

    /// The first line of its log with something that must not be logged.
    fn leak(&self) -> Option<String> {
        let Ok(log) = fs::read(self.options.log()) else {
            return Some("the log is gone".to_owned());
        };
        let log = String::from_utf8_lossy(&log);
        let mut lines = log.lines();
        lines.find_map(|line| Some(format!("{} in: {line}", leaks::find(line)?)))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.watched {
            return;
        }
        self.process.kill();
        let name = &self.options.name;
        match self.leak() {
            // A second panic would end the process without a word.
            Some(leak) if std::thread::panicking() => eprintln!("log of {name}: {leak}"),
            Some(leak) => panic!("log of {name}: {leak}"),
            None => {}
        }
    }
}

fn spawn(options: &ServiceOptions) -> Result<Process> {
    for (name, value) in &options.environment {
        leaks::plant_variable(name, &value.to_string_lossy());
    }
    checkout::make_folder(&options.folder)?;
    let binary = options.find_binary()?;
    let mut command = process::command(&binary);
    if !options.inherit {
        command.env_clear();
        for name in ["PATH", "HOME", "RUST_BACKTRACE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
    }
    command.envs(
        options
            .environment
            .iter()
            .map(|(name, value)| (name, value)),
    );
    let marker = binary.display().to_string();
    Process::spawn(
        &options.name,
        &mut command,
        &marker,
        &options.record(),
        &options.log(),
    )
}

/// A binary of this workspace, of the same profile as this program: the one that
/// `INGEST_BINARY` or `WORKER_BINARY` names, else the one in the folder that
/// cargo built this program into.
///
/// # Errors
/// When it is not there.
pub fn binary(name: &str) -> Result<PathBuf> {
    let variable = format!("{}_BINARY", name.to_uppercase());
    if let Some(path) = std::env::var_os(&variable) {
        return Ok(PathBuf::from(path));
    }
    let here = std::env::current_exe().context("cannot tell where this program lies")?;
    // Tests lie one folder below the programs.
    for folder in here.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "there is no program {name} beside {}: run `cargo build --workspace --bins`, or set {variable}",
        here.display()
    )
}
