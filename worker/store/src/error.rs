//! Why a statement failed, and what that asks for.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::bb8::RunError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement or a transaction failed; nothing of it was committed.
#[derive(Debug)]
pub enum Error {
    /// Nobody can use the database now: wait, and try again.
    Unavailable(Source),
    /// Somebody else was in the way: try again.
    Contended(Source),
    /// A rule of the database refuses a value: no retry helps.
    Refused {
        /// The rule in words.
        rule: &'static str,
        /// What Postgres said.
        source: Source,
    },
    /// A row was not written, and Postgres did not say why.
    LeftOut,
    /// The code that used the database panicked.
    Panicked,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(_) => f.write_str("the database cannot be used"),
            Self::Contended(_) => f.write_str("the statement failed"),
            Self::Refused { rule, .. } => write!(f, "the database refused a value: {rule}"),
            Self::Panicked => f.write_str("a handler panicked"),
            Self::LeftOut => f.write_str(
                "the row was not written: it is gone, or a trigger or a policy left it out",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Contended(source) | Self::Refused { source, .. } => {
                Some(source.as_ref())
            }
            Self::LeftOut | Self::Panicked => None,
        }
    }
}

impl Error {
    /// Whether nobody can use the database now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, information) = &error else {
            return match error {
                DieselError::RollbackErrorOnCommit { .. }
                | DieselError::BrokenTransactionManager => Self::Unavailable(error.into()),
                error => Self::Contended(error.into()),
            };
        };
        let rule = match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => return Self::Unavailable(error.into()),
            DatabaseErrorKind::NotNullViolation => "a column that may not be null",
            DatabaseErrorKind::CheckViolation => "a check constraint",
            DatabaseErrorKind::ExclusionViolation => "an exclusion constraint",
            _ if is_of_a_value(information.message()) => "a value that Postgres cannot keep",
            // Unique and foreign keys can be another writer's doing, and Diesel does
            // not tell the rest apart (a full disk, a lock that was not had in time, a
            // shutdown): all of them may pass.
            _ => return Self::Contended(error.into()),
        };
        let source = error.into();
        Self::Refused { rule, source }
    }
}

/// Whether Postgres says that it cannot keep a value, whichever statement brings it. Diesel
/// does not tell the SQLSTATE; the sessions ask for messages in English.
fn is_of_a_value(message: &str) -> bool {
    const SAID: [&str; 6] = [
        "invalid byte sequence",
        "unsupported Unicode escape",
        "out of range",
        "value too long",
        "row is too big",
        "exceeds btree",
    ];
    SAID.iter().any(|said| message.contains(said))
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// A connection could not be opened, or is not fit for the worker.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers, or whoever answers refuses us.
    #[error("the database cannot be reached")]
    Unreachable(#[from] diesel::ConnectionError),
    /// The session cannot be set to what the worker's promise needs.
    #[error("the database does not keep the settings of a session: {0}")]
    Settings(String),
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// A row holds what this worker did not write: another release may read it.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Contended(DieselError::DeserializationError(error.into()).into())
    }
}

/// The error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
