//! Why a unit of work did not commit, and what that asks for.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::pooled_connection::bb8::RunError;

use crate::stored::StoreError;

/// Why a unit did not commit.
#[derive(Debug)]
pub enum Failure {
    /// The database cannot be used by anyone now: wait, and hold everything.
    Away(Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else was in the way: try again.
    Contended(Error),
    /// A rule of the database refuses a value: no retry helps.
    Refused {
        /// The rule in words.
        kind: &'static str,
        /// What Postgres said.
        source: Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(_) => f.write_str("the database cannot be used"),
            Self::Contended(_) => f.write_str("the database could not commit now"),
            Self::Refused { kind, .. } => write!(f, "the database refused a value: {kind}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Away(error) => Some(error.as_ref()),
            Self::Contended(error) | Self::Refused { source: error, .. } => Some(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Error::DatabaseError(kind, _) = &error else {
            return match error {
                Error::RollbackErrorOnCommit { .. } | Error::BrokenTransactionManager => {
                    Self::Away(Box::new(error))
                }
                error => Self::Contended(error),
            };
        };
        match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => Self::Away(Box::new(error)),
            DatabaseErrorKind::NotNullViolation => refused("a column that may not be null", error),
            DatabaseErrorKind::CheckViolation => refused("a check constraint", error),
            DatabaseErrorKind::ExclusionViolation => refused("an exclusion constraint", error),
            // Unique and foreign keys can be another writer's doing, and
            // Diesel does not tell the rest apart (a full disk, a lock that
            // was not had in time, a shutdown): all of them may pass.
            _ => Self::Contended(error),
        }
    }
}

fn refused(kind: &'static str, source: Error) -> Failure {
    Failure::Refused { kind, source }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Unreadable(_) => Self::Contended(Error::DeserializationError(error.into())),
        }
    }
}

/// The error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Away(Box::new(error))
    }
}
