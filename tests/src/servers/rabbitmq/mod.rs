//! A private RabbitMQ node.

mod config;
mod ctl;
mod scripts;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;

use self::config::State;
use super::{Durability, epmd::Epmd};
use crate::{
    checkout,
    process::Process,
    wait::{self, Seen},
};

/// Bound for becoming ready: five to ten seconds on two idle cores, and more
/// where a build runs beside it.
const READY_BOUND: Duration = Duration::from_secs(120);
/// Bound for one try to connect.
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// Bound for an orderly stop.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// How a node is to be started.
#[derive(Clone, Debug, Default)]
pub struct RabbitMqOptions {
    /// What a confirm promises. RabbitMQ cannot be told not to wait for the disk;
    /// `Fast` only keeps its write-ahead log small.
    pub durability: Durability,
    /// Name of the node before the `@`; blank for `stack`. The nodes of one
    /// cluster need different names.
    pub name: String,
    /// The port mapper and the cookie of the node whose cluster it is to join.
    pub cluster: Option<Cluster>,
    /// Further lines for `rabbitmq.conf`.
    pub config: String,
    /// Plugins to enable, such as `rabbitmq_management`.
    pub plugins: Vec<String>,
}

/// What the nodes of a cluster share.
#[derive(Clone, Debug)]
pub struct Cluster {
    epmd: Arc<Epmd>,
    cookie: String,
}

/// A private RabbitMQ node; killed when dropped, unless told to stay.
#[derive(Debug)]
pub struct RabbitMq {
    // Before the port mapper, so that it is stopped before it.
    process: Option<Process>,
    scripts: PathBuf,
    folder: PathBuf,
    state: State,
    options: RabbitMqOptions,
    cluster: Cluster,
}

impl RabbitMq {
    /// Starts the node of this folder, whose data is made when there is none.
    /// One that still runs is taken over as it is.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or the node does not become ready.
    pub async fn start(folder: &Path, options: RabbitMqOptions) -> Result<Self> {
        checkout::make_folder(folder)?;
        let scripts = scripts::find()?;
        let mut running = Process::find("RabbitMQ", &record(folder), &log(folder));
        let mut state = State::read_or_make(folder, &options.name)?;
        let epmd_runs = options.cluster.is_some() || Epmd::runs(folder);
        if !epmd_runs {
            // A node does not return to a port mapper that was started anew.
            running = None;
        }
        if running.is_none() {
            state.leave_taken_ports(epmd_runs)?;
        }
        state.write(folder)?;
        let cluster = match options.cluster.clone() {
            Some(cluster) => cluster,
            None => Cluster {
                epmd: Arc::new(Epmd::start(folder, state.epmd_port).await?),
                cookie: state.cookie.clone(),
            },
        };
        let folder = folder.to_owned();
        let mut node = Self {
            process: running,
            scripts,
            folder,
            state,
            options,
            cluster,
        };
        node.start_again().await?;
        Ok(node)
    }

    /// Starts it on the same ports and the same data, if it does not run, and
    /// waits until a client can log in.
    ///
    /// # Errors
    /// When it does not become ready; the error holds the end of its log.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.pid().is_none() {
            self.process = None;
            self.process = Some(self.spawn()?);
        }
        let url = self.url();
        let Some(process) = self.process.as_mut() else {
            bail!("RabbitMQ has no process")
        };
        // The listener opens after everything else has started, and a login needs
        // the user and the virtual host: this is as ready as a client can tell.
        wait::until("RabbitMQ to let a client in", READY_BOUND, async || {
            if let Some(why) = process.why_dead() {
                return Seen::Never(why);
            }
            match connect(&url).await {
                Ok(_) => Seen::Reached(()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await
    }

    fn spawn(&self) -> Result<Process> {
        config::write(
            &self.folder,
            &self.state,
            &self.options,
            &self.cluster.cookie,
        )?;
        let mut command = self.script("rabbitmq-server");
        // Said to be under systemd, the script becomes the server instead of
        // watching over it: the process that we know is then the server itself.
        command.env("RUNNING_UNDER_SYSTEMD", "1");
        command.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]);
        // Erlang keeps flags that it does not know: ours marks the process.
        command.arg("-harness_folder").arg(&self.folder);
        let marker = format!("-harness_folder {}", self.folder.display());
        Process::spawn(
            "RabbitMQ",
            &mut command,
            &marker,
            &record(&self.folder),
            &log(&self.folder),
        )
    }

    /// One of RabbitMQ's scripts, told to keep to this node and this folder.
    fn script(&self, name: &str) -> Command {
        let mut command = scripts::private(&self.scripts.join(name), &self.folder);
        command
            .env("RABBITMQ_NODENAME", &self.state.node)
            .env("RABBITMQ_DIST_PORT", self.state.dist_port.to_string())
            .env("ERL_EPMD_PORT", self.cluster.epmd.port().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }

    /// Address of it, for a user with all rights.
    #[must_use]
    pub fn url(&self) -> String {
        self.state.url()
    }

    /// Name of the node, `name@localhost`.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.state.node
    }

    /// Its TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.state.port
    }

    /// Number of its process, where it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process
            .as_ref()
            .filter(|process| process.is_alive())
            .map(Process::pid)
    }

    /// Its process, to pause or to look at; `None` once stopped.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Kills it (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(Signal::TERM, STOP_BOUND).await,
            None => Ok(()),
        }
    }

    /// Keeps it, and its port mapper, running when this value goes.
    pub fn leave_running(&self) {
        self.cluster.epmd.leave_running();
        if let Some(process) = &self.process {
            process.leave_running();
        }
    }
}

/// Opens a connection.
///
/// # Errors
/// When the broker cannot be reached or refuses, or does not answer in time.
pub async fn connect(url: &str) -> Result<Connection> {
    let connection = Connection::connect(url, ConnectionProperties::default());
    Ok(tokio::time::timeout(CONNECT_BOUND, connection)
        .await
        .context("no answer in time")??)
}

/// Address of the node of this folder, whether or not it runs; `None` where none
/// was ever made.
#[must_use]
pub fn known_url(folder: &Path) -> Option<String> {
    Some(State::read(folder)?.url())
}

/// Stops the node of this folder in good order, and its port mapper with it, and
/// gives the number of its process; `None` when none runs.
///
/// # Errors
/// When it had to be killed.
pub async fn stop(folder: &Path) -> Result<Option<i32>> {
    let epmd = Epmd::find(folder);
    let Some(mut process) = Process::find("RabbitMQ", &record(folder), &log(folder)) else {
        return Ok(None);
    };
    process.terminate(Signal::TERM, STOP_BOUND).await?;
    drop(epmd);
    Ok(Some(process.pid()))
}

fn record(folder: &Path) -> PathBuf {
    folder.join("process.json")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("rabbitmq.log")
}
