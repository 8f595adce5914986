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
    /// A session that was open ended, or says that it takes no writes: wait, and try again. It may
    /// be the database that is away, or a row of the main app's at which Postgres ends the session.
    SessionLost(Source),
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
            Self::SessionLost(_) => f.write_str("the session can be used no more"),
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
            Self::Unavailable(source)
            | Self::SessionLost(source)
            | Self::Contended(source)
            | Self::Refused { source, .. } => Some(source.as_ref()),
            Self::LeftOut | Self::Panicked => None,
        }
    }
}

impl Error {
    /// Whether the database seems to be away.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::SessionLost(_))
    }

    /// Whether Postgres says that it waited for too long, or for somebody who waited for it: the
    /// same may succeed later. It says so in English or in a text that this does not know.
    pub fn is_of_time(&self) -> bool {
        let Self::Contended(source) = self else {
            return false;
        };
        match source.downcast_ref::<DieselError>() {
            Some(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => true,
            Some(DieselError::DatabaseError(_, said)) => {
                let said = said.message();
                SAID_OF_TIME.iter().any(|of_time| said.contains(of_time))
            }
            _ => false,
        }
    }

    /// Whether a row holds what this release cannot read: another one may.
    pub fn is_of_another_release(&self) -> bool {
        let Self::Contended(source) = self else {
            return false;
        };
        let error = source.downcast_ref::<DieselError>();
        matches!(error, Some(DieselError::DeserializationError(_)))
    }

    /// Whether a session could be opened and then used no more.
    pub fn is_session_lost(&self) -> bool {
        matches!(self, Self::SessionLost(_))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, information) = &error else {
            return match error {
                DieselError::RollbackErrorOnCommit { .. }
                | DieselError::BrokenTransactionManager => Self::SessionLost(error.into()),
                error => Self::Contended(error.into()),
            };
        };
        let rule = match kind {
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => return Self::SessionLost(error.into()),
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

/// What Postgres says where a statement waited for a lock, was cancelled, or had to give way.
const SAID_OF_TIME: [&str; 4] = [
    "canceling statement",
    "lock timeout",
    "lock not available",
    "deadlock detected",
];

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

/// The beginnings of what Postgres says that quotes names of the schema, and no value of a row.
const WITHOUT_VALUES: [&str; 17] = [
    "canceling ",
    "cannot execute ",
    "column \"",
    "connection to ",
    "could not ",
    "current transaction ",
    "database ",
    "deadlock ",
    "function ",
    "lock not available",
    "out of ",
    "permission denied ",
    "relation \"",
    "remaining connection slots ",
    "sorry, too many clients",
    "terminating connection ",
    "the database system ",
];

/// The error and its causes in one line for the log: where a cause is a statement's, it says
/// which constraint or what kind of obstacle, and quotes nothing of a row.
pub fn in_log(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        parts.push(match error.downcast_ref::<DieselError>() {
            Some(error) => of_statement(error),
            None => error.to_string(),
        });
        // What stands behind it is said in full by the one before.
        next = match error.is::<DieselError>() {
            true => None,
            false => error.source(),
        };
    }
    parts.join(": ")
}

fn of_statement(error: &DieselError) -> String {
    let said = match error {
        DieselError::DatabaseError(_, said) => said,
        // Its text can quote the value that could not be read or written.
        DieselError::DeserializationError(_) | DieselError::SerializationError(_) => {
            return "a value could not be read or written".to_owned();
        }
        error => return error.to_string(),
    };
    if let Some(constraint) = said.constraint_name() {
        let table = said.table_name().unwrap_or("an unnamed table");
        return format!("constraint {constraint} of table {table}");
    }
    let message = said.message();
    let is_plain = WITHOUT_VALUES.iter().any(|it| message.starts_with(it));
    match (is_plain, said.column_name(), said.table_name()) {
        (true, _, _) => message.to_owned(),
        (false, Some(column), Some(table)) => format!("column {column} of table {table}"),
        (false, ..) => "an error whose text may quote a row: see the database's log".to_owned(),
    }
}

/// The error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
