//! Logs, and how an error is written into them.

use crate::config::{ConfigError, Env};
use std::error::Error;
use std::fmt::Write as _;
use std::panic::PanicHookInfo;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// The crates whose lines are written, whatever `RUST_LOG` asks for. A library
/// logs what passes through it: lapin whole frames, an HTTP client whole
/// headers. What matters of it is reported by us, once, where it is handled.
const OURS: [&str; 4] = ["ingest", "shared", "store", "worker"];

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
        // The filter's own parser panics at some text that is not ASCII, and takes
        // seconds over some patterns.
        let filter = env.parsed("RUST_LOG", FILTER, |value| {
            let ascii = value.is_ascii().then_some(value)?;
            EnvFilter::builder().with_regex(false).parse(ascii).ok()
        })?;
        let filter = match filter {
            Some(filter) => filter,
            None => EnvFilter::new(DEFAULT_FILTER),
        };
        Ok(Self {
            format: format.unwrap_or(Format::Text),
            filter,
        })
    }

    /// Writes the process's logs to standard error from here on, panics among
    /// them. A second call in one process changes nothing.
    pub fn start(self) {
        let subscriber = self.subscriber(std::io::stderr);
        if tracing::subscriber::set_global_default(subscriber).is_ok() {
            std::panic::set_hook(Box::new(log_panic));
        }
    }

    /// What [`start`](Self::start) installs, with its lines written to `writer`.
    pub fn subscriber<W>(self, writer: W) -> impl Subscriber + Send + Sync
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = fmt::layer().with_writer(writer).with_ansi(false);
        let lines = match self.format {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        let filter = filter_fn(is_ours).and(self.filter);
        tracing_subscriber::registry().with(lines.with_filter(filter))
    }
}

fn is_ours(line: &Metadata<'_>) -> bool {
    let (name, _module) = line
        .target()
        .split_once("::")
        .unwrap_or((line.target(), ""));
    OURS.contains(&name)
}

/// Says where, and not what: a panic's message can quote the text that was at
/// hand, such as a part of an event.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "panicked");
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
    use std::sync::{Arc, Mutex};

    #[test]
    fn defaults_are_text_and_info() {
        let telemetry = Telemetry::from_env(&Env::default()).unwrap();
        assert_eq!(telemetry.format, Format::Text);
        assert_eq!(telemetry.filter.to_string(), "info");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (name, value) in [
            ("LOG_FORMAT", "xml"),
            ("RUST_LOG", "info,=,,x=loud"),
            ("RUST_LOG", " [é]=info"),
        ] {
            let error = Telemetry::from_env(&Env::from_pairs([(name, value)])).unwrap_err();
            assert_eq!(error.variable, name);
        }
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of four lines, with these variables.
    fn written(variables: &[(&str, &str)]) -> String {
        let env = Env::from_pairs(variables.iter().copied());
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = Telemetry::from_env(&env)
            .unwrap()
            .subscriber(move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "worker::consume", "ours");
            tracing::trace!(target: "ingest", "ours in detail");
            tracing::error!(target: "lapin::channel", "theirs");
            tracing::error!(target: "workers", "another library's");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_our_own_lines_are_written_whatever_is_asked() {
        for asked in ["trace", "lapin=trace,trace", "lapin::channel=trace,trace"] {
            for format in ["text", "json"] {
                let lines = written(&[("RUST_LOG", asked), ("LOG_FORMAT", format)]);
                assert!(lines.contains("ours in detail"), "{asked}: {lines}");
                assert!(!lines.contains("theirs"), "{asked}: {lines}");
                assert!(!lines.contains("another library"), "{asked}: {lines}");
                assert_eq!(lines.lines().count(), 2, "{asked}: {lines}");
            }
        }
        assert_eq!(written(&[]).lines().count(), 1);
        assert_eq!(written(&[("RUST_LOG", "worker=off")]), "");
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
