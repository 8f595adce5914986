//! Load and limits, each in a process of its own: this program once more.
//!
//! The parent writes the job as a line of JSON. The child makes ready and says
//! so, waits for `go`, warms up, says `begin`, measures, says `end`, and writes
//! what it found.

use std::{
    io::{StdinLock, stdin},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child as Process, ChildStdin, ChildStdout, Command},
};

use crate::{limit::publish, load};

/// What a child can be asked to do.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Job {
    Closed(load::closed::Closed),
    Open(load::open::Open),
    Publish(publish::Publish),
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    commands: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a child and waits until it is ready.
    pub(crate) async fn ready(job: &Job) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let mut process = Command::new(program)
            .arg("child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a child")?;
        let (Some(commands), Some(words)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("a child without pipes")
        };
        let words = BufReader::new(words).lines();
        let mut child = Self {
            process,
            commands,
            words,
        };
        child.tell(&serde_json::to_string(job)?).await?;
        child.hear("ready").await?;
        Ok(child)
    }

    /// Number of the process.
    pub(crate) fn pid(&self) -> i32 {
        let pid = self.process.id().unwrap_or_default();
        i32::try_from(pid).unwrap_or_default()
    }

    /// Has it begin, and waits until its warming up is over.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.tell("go").await?;
        self.hear("begin").await
    }

    /// Waits until it has measured.
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.hear("end").await
    }

    /// What it found. It is gone then.
    pub(crate) async fn result<T: DeserializeOwned>(mut self) -> Result<T> {
        let line = self.line().await?;
        self.process.wait().await?;
        serde_json::from_str(&line).with_context(|| format!("a child said {line:?}"))
    }

    /// A job from its beginning to its end, where nothing is looked at meanwhile.
    pub(crate) async fn run<T: DeserializeOwned>(job: &Job) -> Result<T> {
        let mut child = Self::ready(job).await?;
        child.begin().await?;
        child.end().await?;
        child.result().await
    }

    async fn tell(&mut self, line: &str) -> Result<()> {
        self.commands.write_all(line.as_bytes()).await?;
        self.commands.write_all(b"\n").await?;
        Ok(())
    }

    async fn hear(&mut self, word: &str) -> Result<()> {
        match self.line().await? {
            line if line == word => Ok(()),
            line => bail!("a child said {line:?} and not {word:?}"),
        }
    }

    async fn line(&mut self) -> Result<String> {
        let line = self.words.next_line().await?;
        line.context("a child ended before its time; see above")
    }
}

/// The child's end.
pub(crate) struct Parent {
    commands: std::io::Lines<StdinLock<'static>>,
}

impl Parent {
    /// Says that all is ready and waits for the parent's word.
    pub(crate) fn ready(&mut self) -> Result<()> {
        println!("ready");
        match self.commands.next().transpose()? {
            Some(line) if line == "go" => Ok(()),
            other => bail!("the parent said {other:?}"),
        }
    }

    /// Says that measuring begins.
    pub(crate) fn begin(&self) {
        println!("begin");
    }

    /// Says that measuring is over.
    pub(crate) fn end(&self) {
        println!("end");
    }
}

/// Does what the parent asks.
pub(crate) async fn serve() -> Result<()> {
    let mut commands = stdin().lines();
    let job = commands.next().transpose()?.context("no job")?;
    let mut parent = Parent { commands };
    let result = match serde_json::from_str(&job).context("a job")? {
        Job::Closed(job) => serde_json::to_string(&job.run(&mut parent).await?)?,
        Job::Open(job) => serde_json::to_string(&job.run(&mut parent).await?)?,
        Job::Publish(job) => serde_json::to_string(&job.run(&mut parent).await?)?,
    };
    println!("{result}");
    Ok(())
}
