//! The worker's binary as an operator uses it.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use harness::test_servers::TestBroker;
use serde_json::Value;
use tokio::process::{Child, Command};

/// Bound for any command.
const BOUND: Duration = Duration::from_secs(120);

/// What a command left behind.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The lines of its output as JSON.
    pub fn objects(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// It went well.
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }
}

/// Somebody with a shell and the deployment's environment.
pub struct Operator {
    environment: Vec<(String, String)>,
}

impl Operator {
    pub fn new(database_url: &str, broker: &TestBroker) -> Self {
        let environment = [
            ("DATABASE_URL", database_url),
            ("AMQP_URL", broker.url()),
            ("AMQP_PREFIX", broker.prefix()),
            ("USER", "ada"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            environment: environment.map(owned).to_vec(),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, not started yet. Its arguments are separated by spaces.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts a command in the background.
    pub fn spawn(&self, line: &str) -> Child {
        self.command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a command to its end.
    pub async fn run(&self, line: &str) -> Done {
        let output = tokio::time::timeout(BOUND, self.command(line).output());
        done(&output.await.expect("the command ends").unwrap())
    }
}

/// What a process left behind.
pub fn done(output: &Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
