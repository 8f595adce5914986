//! Why a command failed, and what it exits with.

use std::{io, process::ExitCode};

use shared::{
    admin,
    config::{ConfigError, EXIT_CONFIG},
};

use store::pooler::PoolerError;

use crate::{
    replay::run::ReplayError,
    service::{PrepareError, RunError},
};

/// As shells report a program that ctrl-c ended.
const EXIT_INTERRUPTED: u8 = 130;
/// As clap reports a wrong command line.
const EXIT_USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Connect(#[from] store::ConnectError),
    #[error(transparent)]
    Pooler(#[from] PoolerError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("signals cannot be listened for")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Probe(#[from] admin::ProbeError),
    #[error("the replay ended early; what was not sent is dead as before")]
    Replay(#[from] ReplayError),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Stripe(String),
    /// The output said already what failed.
    #[error("not all went well")]
    NotAllWell,
    #[error("stopped; run the same command again for the rest")]
    Interrupted,
}

impl CliError {
    /// Whether the reader of our output has left, as `head` does.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 64: a wrong configuration. 2: a wrong command line. 130: ctrl-c. 1: the rest.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Pooler(PoolerError::Pooled(_))
            | Self::Run(
                RunError::Config(_)
                | RunError::Prepare(PrepareError::Config(_) | PrepareError::Pooled(_)),
            ) => ExitCode::from(EXIT_CONFIG),
            Self::Usage(_) => ExitCode::from(EXIT_USAGE),
            Self::Interrupted => ExitCode::from(EXIT_INTERRUPTED),
            Self::Run(_)
            | Self::Prepare(_)
            | Self::Connect(_)
            | Self::Store(_)
            | Self::Pooler(PoolerError::Connect(_))
            | Self::Signals(_)
            | Self::Probe(_)
            | Self::Replay(_)
            | Self::Output(_)
            | Self::NotFound(_)
            | Self::Stripe(_)
            | Self::NotAllWell => ExitCode::FAILURE,
        }
    }
}
