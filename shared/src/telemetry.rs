//! Logs, and how an error is written into them.

use crate::config::{ConfigError, Env, Held};
use std::error::Error;
use std::fmt::Write as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// lapin's own lines are never shown: its returned-message and frame lines
/// hold whole bodies, and what matters is reported by us, once, where it is
/// handled.
const SILENCED: &str = "lapin=off";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What `LOG_FORMAT` and `RUST_LOG` ask for.
#[derive(Debug)]
pub struct Telemetry {
    format: Format,
    filter: EnvFilter,
}

impl Telemetry {
    /// Reads `LOG_FORMAT` (default `text`) and `RUST_LOG` (default `info`).
    ///
    /// # Errors
    /// One of them holds something else.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let format = env.parsed("LOG_FORMAT", "json or text", |value| match value {
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            _ => None,
        })?;
        const FILTER: &str = "a tracing filter such as info or ingest=debug,info";
        let filter = env.parsed("RUST_LOG", FILTER, |value| EnvFilter::try_new(value).ok())?;
        let filter = match filter {
            Some(filter) => filter,
            None => EnvFilter::new(DEFAULT_FILTER),
        };
        let silenced: Directive = SILENCED
            .parse()
            .map_err(|_| ConfigError::new("RUST_LOG", Held::Nothing, FILTER))?;
        Ok(Self {
            format: format.unwrap_or(Format::Text),
            filter: filter.add_directive(silenced),
        })
    }

    /// Writes the process's logs to standard error from here on. A second
    /// call in one process changes nothing.
    pub fn start(self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(std::io::stderr)
            .with_ansi(false);
        // Fails only when a subscriber is there already, as in tests.
        let _already_started = match self.format {
            Format::Text => lines.try_init(),
            Format::Json => lines.json().flatten_event(true).try_init(),
        };
    }
}

/// An error and all its causes in one line, each said once: a `Display` that
/// already holds its cause is not repeated.
#[must_use]
pub fn report(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.ends_with(&said) {
            let _ = write!(line, ": {said}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Format, Telemetry, report};
    use crate::config::Env;
    use std::io;

    #[test]
    fn defaults_are_text_and_info() {
        let telemetry = Telemetry::from_env(&Env::default()).unwrap();
        assert_eq!(telemetry.format, Format::Text);
        let filter = telemetry.filter.to_string();
        assert!(
            filter.contains("info") && filter.contains("lapin=off"),
            "{filter}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (name, value) in [("LOG_FORMAT", "xml"), ("RUST_LOG", "info,=,,x=loud")] {
            let error = Telemetry::from_env(&Env::from_pairs([(name, value)])).unwrap_err();
            assert_eq!(error.variable, name);
        }
    }

    #[test]
    fn lapin_stays_silent_whatever_is_asked() {
        let env = Env::from_pairs([("RUST_LOG", "trace,lapin=trace")]);
        let filter = Telemetry::from_env(&env).unwrap().filter.to_string();
        assert!(
            filter.contains("lapin=off") && !filter.contains("lapin=trace"),
            "{filter}"
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn a_cause_is_said_once() {
        assert_eq!(report(&Outer(io::Error::other("inner"))), "outer: inner");
        assert_eq!(
            report(&Repeating(io::Error::other("inner"))),
            "outer: inner"
        );
    }
}
