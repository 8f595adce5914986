//! A private PostgreSQL server.

mod data;
mod owner;
mod programs;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;

use self::data::State;
use super::Durability;
use crate::{
    certificates::Identity,
    checkout, ports,
    process::{self, Process},
    wait::{self, Seen},
};

/// Name of the superuser and of the database that [`Postgres::url`] leads to.
const NAME: &str = "dialoom";
/// Bound for becoming ready, a recovery after a crash included.
const READY_BOUND: Duration = Duration::from_secs(60);
/// Bound for an orderly stop: connections are cut, so it has only to write its
/// buffers.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// What a commit promises.
    pub durability: Durability,
    /// Further settings, such as `("timezone", "UTC")`.
    pub settings: Vec<(String, String)>,
    /// What it proves itself with over TLS, which it else does not speak.
    pub identity: Option<Identity>,
}

/// A private PostgreSQL server; killed when dropped, unless told to stay.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    state: State,
    options: PostgresOptions,
    process: Option<Process>,
}

impl Postgres {
    /// Starts the server of this folder, whose data is made when there is none.
    /// One that still runs is taken over as it is.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or the server does not become ready.
    pub async fn start(folder: &Path, options: PostgresOptions) -> Result<Self> {
        data::make_folder(folder)?;
        let programs = programs::find()?;
        let running = Process::find("PostgreSQL", &record(folder), &log(folder));
        let mut state = match State::read(folder) {
            Some(state) => state,
            None => data::make(folder, &programs, options.durability).await?,
        };
        if running.is_none() && !ports::is_free(state.port) {
            state.port = ports::free()?;
            state.write(folder)?;
        }
        let folder = folder.to_owned();
        let mut server = Self {
            programs,
            folder,
            state,
            options,
            process: running,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts a standby that follows this server, in a folder of its own. It
    /// takes reads until it is [promoted](Self::promote).
    ///
    /// # Errors
    /// When the data cannot be copied or the standby does not become ready.
    pub async fn standby(&self, folder: &Path) -> Result<Self> {
        data::make_folder(folder)?;
        let state = data::copy(folder, &self.programs, &self.state).await?;
        let mut standby = Self {
            programs: self.programs.clone(),
            folder: folder.to_owned(),
            state,
            options: self.options.clone(),
            process: None,
        };
        standby.start_again().await?;
        Ok(standby)
    }

    /// Makes a standby a server of its own, which takes writes.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn promote(&self) -> Result<()> {
        let client = connect(&self.url()).await?;
        let row = client.query_one("SELECT pg_promote(true, 60)", &[]).await?;
        ensure!(row.get::<_, bool>(0), "the standby was not promoted");
        Ok(())
    }

    /// Starts it on the same port and the same data, if it does not run, and
    /// waits until it answers a query.
    ///
    /// # Errors
    /// When it does not become ready; the error holds the end of its log.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.pid().is_none() {
            self.process = None;
            self.process = Some(self.spawn()?);
        }
        let maintenance = url(&self.state, "postgres");
        let process = self.process.as_mut();
        let Some(process) = process else {
            bail!("PostgreSQL has no process")
        };
        let client = wait::until("PostgreSQL to answer", READY_BOUND, async || {
            if let Some(why) = process.why_dead() {
                return Seen::Never(why);
            }
            match connect(&maintenance).await {
                Ok(client) => Seen::Reached(client),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await?;
        let exists = client
            .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&NAME])
            .await?;
        if exists.is_none() {
            client
                .batch_execute(&format!("CREATE DATABASE {NAME}"))
                .await?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        let State { area, port, .. } = &self.state;
        let data = area.join("data");
        let mut command = process::command(self.programs.join("postgres"));
        owner::run_as(&mut command, area)?;
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            // No socket file: the longest path that one may have is 107 bytes,
            // which a checkout's path can exceed.
            ("unix_socket_directories", ""),
            // Every test has services and clients of its own.
            ("max_connections", "300"),
        ];
        let identity = self.options.identity.as_ref();
        let [certificate, key] = match identity {
            Some(identity) => data::keep(area, identity)?,
            None => Default::default(),
        };
        if identity.is_some() {
            settings.extend([
                ("ssl", "on"),
                ("ssl_cert_file", certificate.as_str()),
                ("ssl_key_file", key.as_str()),
            ]);
        }
        if self.options.durability == Durability::Fast {
            settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
        }
        let further = self
            .options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in settings.into_iter().chain(further) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let marker = data.display().to_string();
        Process::spawn(
            "PostgreSQL",
            &mut command,
            &marker,
            &record(&self.folder),
            &log(&self.folder),
        )
    }

    /// Starts it again with another identity.
    ///
    /// # Errors
    /// As [`start_again`](Self::start_again).
    pub async fn start_as(&mut self, identity: Identity) -> Result<()> {
        self.stop().await?;
        self.options.identity = Some(identity);
        self.start_again().await
    }

    /// Address of its database, for a superuser.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.state, NAME)
    }

    /// Its TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.state.port
    }

    /// Number of its first process, where it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process
            .as_ref()
            .filter(|process| process.is_alive())
            .map(Process::pid)
    }

    /// Its first process, to pause or to look at; `None` once stopped.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Kills all its processes (SIGKILL), as a crash of the machine would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it in good order: open connections are cut, nothing is lost.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(Signal::INT, STOP_BOUND).await,
            None => Ok(()),
        }
    }

    /// Keeps it running when this value goes.
    pub fn leave_running(&self) {
        if let Some(process) = &self.process {
            process.leave_running();
        }
    }
}

/// Address of the server of this folder, whether or not it runs; `None` where
/// none was ever made.
#[must_use]
pub fn known_url(folder: &Path) -> Option<String> {
    Some(url(&State::read(folder)?, NAME))
}

/// Stops the server of this folder in good order and gives the number of its
/// process; `None` when none runs.
///
/// # Errors
/// When it had to be killed.
pub async fn stop(folder: &Path) -> Result<Option<i32>> {
    let Some(mut process) = Process::find("PostgreSQL", &record(folder), &log(folder)) else {
        return Ok(None);
    };
    process.terminate(Signal::INT, STOP_BOUND).await?;
    Ok(Some(process.pid()))
}

/// Removes the data of the server whose state this file holds, where it does not
/// lie beside the file; a file that holds none is passed over.
pub(crate) fn wipe_far_data(state: &Path) -> Result<()> {
    let beside = state.parent().unwrap_or(state);
    match State::parse(state) {
        Some(state) if !state.area.starts_with(beside) => checkout::remove_folder(&state.area),
        Some(_) | None => Ok(()),
    }
}

/// Opens a connection without TLS; it is served until the client is dropped.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn url(state: &State, database: &str) -> String {
    let State { port, password, .. } = state;
    format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{database}")
}

fn record(folder: &Path) -> PathBuf {
    folder.join("process.json")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("postgres.log")
}
