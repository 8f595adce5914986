//! Live or test: one deployment serves one of Stripe's two modes.

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
    /// The mode that `name` names, as `STRIPE_MODE` does: `live` or `test`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "live" => Some(Self::Live),
            "test" => Some(Self::Test),
            _ => None,
        }
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

    #[test]
    fn only_the_two_names_are_read() {
        assert_eq!(Mode::parse("live"), Some(Mode::Live));
        assert_eq!(Mode::parse("test"), Some(Mode::Test));
        for wrong in ["", "Live", " test", "sandbox"] {
            assert_eq!(Mode::parse(wrong), None, "{wrong:?}");
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
