//! Configuration: environment variables, read once, checked at start.

use event::Mode;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Exit code of a process whose configuration is missing or wrong
/// (`EX_USAGE` of sysexits).
pub const EXIT_CONFIG: u8 = 64;

/// A value longer than this is cut in an error line, in characters.
const SHOWN: usize = 80;

/// The environment variables of the process, or of a test.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, OsString>,
}

impl Env {
    /// Reads the process's environment. The one place that does.
    #[must_use]
    pub fn from_process() -> Self {
        let named = std::env::vars_os()
            // A name that is not UTF-8 is none of ours.
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: named.collect(),
        }
    }

    /// An environment of exactly these variables.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        let pairs = pairs.into_iter().map(|(n, v)| (n.into(), v.into()));
        Self {
            variables: pairs.collect(),
        }
    }

    /// The value of a variable that may be missing. An empty value counts as
    /// missing: that is what Compose passes for a variable without one.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn optional(&self, name: &'static str) -> Result<Option<&str>, ConfigError> {
        match self.variables.get(name).map(OsString::as_os_str) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => text(name, value).map(Some),
        }
    }

    /// The value of a variable that must be there; `expected` says what for.
    ///
    /// # Errors
    /// The variable is missing, empty or not UTF-8.
    pub fn required(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<&str, ConfigError> {
        self.optional(name)?
            .ok_or_else(|| ConfigError::new(name, Held::Nothing, expected))
    }

    /// A value that may be missing, put through `read`.
    ///
    /// # Errors
    /// `read` finds the value wrong (gives `None`), or it is not UTF-8.
    pub fn parsed<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.optional(name)? else {
            return Ok(None);
        };
        match read(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::new(name, Held::value(value), expected)),
        }
    }
}

/// Reads `STRIPE_MODE`. It has no default: a wrong guess would write test data
/// into live tables.
///
/// # Errors
/// The variable is missing or neither `live` nor `test`.
pub fn mode(env: &Env) -> Result<Mode, ConfigError> {
    const NAME: &str = "STRIPE_MODE";
    const EXPECTED: &str = "live or test";
    env.required(NAME, EXPECTED)?;
    let mode = env.parsed(NAME, EXPECTED, Mode::parse)?;
    mode.ok_or_else(|| ConfigError::new(NAME, Held::Nothing, EXPECTED))
}

fn text<'a>(name: &'static str, value: &'a OsStr) -> Result<&'a str, ConfigError> {
    value
        .to_str()
        .ok_or_else(|| ConfigError::new(name, Held::NotText, "UTF-8 text"))
}

impl fmt::Debug for Env {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// What a variable held, in words that an error line may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// The variable is not set, or empty.
    Nothing,
    /// This value, which is no secret.
    Value(String),
    /// A secret of so many characters.
    Secret(usize),
    /// Bytes that are not UTF-8.
    NotText,
}

impl Held {
    /// A value that may be shown.
    #[must_use]
    pub fn value(value: &str) -> Self {
        Self::Value(value.to_owned())
    }

    /// A value of which only the length may be shown.
    #[must_use]
    pub fn secret(value: &str) -> Self {
        Self::Secret(value.chars().count())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Secret(characters) => write!(f, "a secret of {characters} characters"),
            Self::NotText => f.write_str("bytes that are not UTF-8"),
            // Escaped, so that the error stays on one line.
            Self::Value(value) => match value.char_indices().nth(SHOWN) {
                None => write!(f, "{value:?}"),
                Some((end, _)) => write!(f, "{:?}...", &value[..end]),
            },
        }
    }
}

/// A variable that is missing or wrong. Its `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} holds {held}; expected {expected}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What it held.
    pub held: Held,
    /// What it should hold.
    pub expected: Cow<'static, str>,
}

impl ConfigError {
    /// An error about `variable`.
    pub fn new(variable: &'static str, held: Held, expected: impl Into<Cow<'static, str>>) -> Self {
        Self {
            variable,
            held,
            expected: expected.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, Env, Held, mode};
    use event::Mode;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn an_empty_value_counts_as_missing() {
        let env = Env::from_pairs([("A", "")]);
        assert_eq!(env.optional("A"), Ok(None));
        let error = env.required("A", "a word").unwrap_err();
        assert_eq!(error.to_string(), "A holds nothing; expected a word");
    }

    #[test]
    fn a_wrong_value_is_shown_escaped_and_cut() {
        let env = Env::from_pairs([("A", format!("x\n{}", "y".repeat(200)))]);
        let read = |value: &str| value.parse::<u16>().ok();
        let line = env.parsed("A", "a number", read).unwrap_err().to_string();
        assert!(line.starts_with(r#"A holds "x\nyyy"#), "{line}");
        assert!(line.ends_with("...; expected a number"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_value_that_is_not_text_is_an_error() {
        let env = Env::from_pairs([("A", OsString::from_vec(vec![0xff]))]);
        let error = env.optional("A").unwrap_err();
        assert_eq!(error.held, Held::NotText);
    }

    #[test]
    fn the_mode_has_no_default() {
        let read = |value: &str| mode(&Env::from_pairs([("STRIPE_MODE", value)]));
        assert_eq!(read("live"), Ok(Mode::Live));
        assert_eq!(read("test"), Ok(Mode::Test));
        for wrong in ["", "Live", " test", "sandbox"] {
            let line = read(wrong).unwrap_err().to_string();
            assert!(line.contains("expected live or test"), "{line}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let error = ConfigError::new("A", Held::secret("whsec_abc"), "a secret");
        assert!(!error.to_string().contains("abc"));
        let env = Env::from_pairs([("A", "whsec_abc")]);
        assert!(!format!("{env:?}").contains("abc"));
    }
}
