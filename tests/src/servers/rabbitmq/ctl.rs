//! `rabbitmqctl`, and clusters.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Cluster, RabbitMq};

/// Bound for one `rabbitmqctl` command.
const CTL_BOUND: Duration = Duration::from_secs(120);

impl RabbitMq {
    /// Runs `rabbitmqctl` against this node and gives what it printed.
    ///
    /// # Errors
    /// When the command fails or takes longer than two minutes.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::from(self.script("rabbitmqctl"));
        command
            .arg("--quiet")
            .arg("--node")
            .arg(&self.state.node)
            .args(arguments)
            .kill_on_drop(true);
        let what = || format!("rabbitmqctl {}", arguments.join(" "));
        let output = tokio::time::timeout(CTL_BOUND, command.output())
            .await
            .with_context(|| format!("{}: not done after {} s", what(), CTL_BOUND.as_secs()))??;
        let printed = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} failed: {printed}{complaint}",
            what()
        );
        Ok(printed.into_owned())
    }

    /// What another node needs to be started as a member of this one's cluster.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    /// Makes this node, which must have been started with the other's
    /// [`cluster`](Self::cluster), a member of the other's cluster. What it held
    /// is forgotten, its user included.
    ///
    /// # Errors
    /// When a step of it fails.
    pub async fn join(&mut self, other: &Self) -> Result<()> {
        self.ctl(&["stop_app"]).await?;
        self.ctl(&["join_cluster", &other.state.node]).await?;
        self.ctl(&["start_app"]).await?;
        self.state.password.clone_from(&other.state.password);
        self.state.write(&self.folder)?;
        self.start_again().await
    }
}
