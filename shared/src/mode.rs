//! Live or test: one deployment serves one of Stripe's two modes.

use crate::config::{ConfigError, Env};
use std::fmt;

/// The mode that this deployment serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Stripe's test mode and its sandboxes.
    Test,
}

impl Mode {
    /// Reads `STRIPE_MODE`. It has no default: a wrong guess would write test
    /// data into live tables.
    ///
    /// # Errors
    /// The variable is missing or neither `live` nor `test`.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        const NAME: &str = "STRIPE_MODE";
        const EXPECTED: &str = "live or test";
        env.required(NAME, EXPECTED)?;
        let mode = env.parsed(NAME, EXPECTED, |value| match value {
            "live" => Some(Self::Live),
            "test" => Some(Self::Test),
            _ => None,
        })?;
        mode.ok_or_else(|| ConfigError::new(NAME, crate::config::Held::Nothing, EXPECTED))
    }

    /// Whether an event with this `livemode` is of this mode. An event that
    /// does not say is taken as of our own.
    #[must_use]
    pub fn accepts(self, livemode: Option<bool>) -> bool {
        livemode.is_none_or(|live| live == (self == Self::Live))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Test => "test",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;
    use crate::config::Env;

    #[test]
    fn only_the_two_words_are_read() {
        let read = |value: &str| Mode::from_env(&Env::from_pairs([("STRIPE_MODE", value)]));
        assert_eq!(read("live"), Ok(Mode::Live));
        assert_eq!(read("test"), Ok(Mode::Test));
        for wrong in ["", "Live", " test", "sandbox"] {
            let line = read(wrong).unwrap_err().to_string();
            assert!(line.contains("expected live or test"), "{line}");
        }
    }

    #[test]
    fn an_event_of_the_other_mode_is_not_ours() {
        assert!(Mode::Live.accepts(Some(true)));
        assert!(!Mode::Live.accepts(Some(false)));
        assert!(Mode::Test.accepts(Some(false)));
        assert!(!Mode::Test.accepts(Some(true)));
        assert!(Mode::Live.accepts(None) && Mode::Test.accepts(None));
    }
}
