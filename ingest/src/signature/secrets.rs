//! The endpoints' signing secrets.

use super::HmacSha256;
use hmac::KeyInit;
use std::fmt;

/// What `STRIPE_WEBHOOK_SECRETS` should hold.
pub const EXPECTED: &str = "one or more signing secrets, separated by commas, each plain or as \
    name=secret, without spaces: connect=whsec_...,platform=whsec_...";

/// The longest name of a secret, in bytes: it is a metric's label.
const MAX_NAME: usize = 32;

/// One or more named secrets. `Debug` shows the names only.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone)]
struct Secret {
    name: String,
    /// HMAC keyed with the whole secret, `whsec_` included.
    keyed: HmacSha256,
}

/// Why a list of secrets is refused. Shows places, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Between two commas, or behind a name, there is nothing.
    #[error("entry {0} is blank")]
    Blank(usize),
    /// A secret with a character that Stripe never uses; mostly a space or a
    /// line break that was copied along.
    #[error(
        "entry {0} holds a space, a line break or another character that is not printable ASCII"
    )]
    Unprintable(usize),
    /// A name that is no name.
    #[error("the name of entry {0} is not 1 to {MAX_NAME} letters, digits, hyphens or underscores")]
    Name(usize),
    /// A name, or a secret, that another entry has too.
    #[error("entries {0} and {1} have the same name or the same secret")]
    Repeated(usize, usize),
}

impl Secrets {
    /// Reads a comma-separated list of `secret` and `name=secret`.
    ///
    /// An entry that starts with `whsec_` is a plain secret as a whole. Any
    /// other with a `=` has its name before the first one, so a secret of
    /// another form that holds a `=` needs a name. A plain secret is named by
    /// its place: `default`, `2`, `3` and so on. Secrets need not start with
    /// `whsec_`: that is Stripe's habit, not its promise.
    ///
    /// # Errors
    /// See [`SecretsError`]; entries count from 1.
    pub fn parse(list: &str) -> Result<Self, SecretsError> {
        let mut entries: Vec<(String, &str)> = Vec::new();
        for (index, entry) in list.split(',').enumerate() {
            let place = index + 1;
            let (name, secret) = split(entry, place);
            check(&name, secret, place)?;
            let same = |(n, s): &(String, &str)| *n == name || *s == secret;
            if let Some(other) = entries.iter().position(same) {
                return Err(SecretsError::Repeated(other + 1, place));
            }
            entries.push((name, secret));
        }
        let keyed = entries.into_iter().map(|(name, secret)| Secret {
            name,
            keyed: key(secret),
        });
        Ok(Self(keyed.collect()))
    }

    /// The secrets' names, in the order of the list.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|secret| secret.name.as_str())
    }

    pub(super) fn keyed(&self) -> impl Iterator<Item = &HmacSha256> {
        self.0.iter().map(|secret| &secret.keyed)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What Stripe's secrets begin with.
const PREFIX: &str = "whsec_";

fn split(entry: &str, place: usize) -> (String, &str) {
    let plain = entry.starts_with(PREFIX);
    match entry.split_once('=').filter(|_| !plain) {
        Some((name, secret)) => (name.to_owned(), secret),
        None if place == 1 => ("default".to_owned(), entry),
        None => (place.to_string(), entry),
    }
}

fn check(name: &str, secret: &str, place: usize) -> Result<(), SecretsError> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // The prefix alone is a variable that was not set: anybody could sign with it.
    if secret.trim().is_empty() || secret == PREFIX {
        return Err(SecretsError::Blank(place));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretsError::Unprintable(place));
    }
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(name_byte) {
        return Err(SecretsError::Name(place));
    }
    Ok(())
}

#[allow(
    clippy::expect_used,
    reason = "HMAC takes a key of any length; only its interface can fail"
)]
fn key(secret: &str) -> HmacSha256 {
    HmacSha256::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::{Secrets, SecretsError};

    fn names(list: &str) -> Result<Vec<String>, SecretsError> {
        Ok(Secrets::parse(list)?.names().map(str::to_owned).collect())
    }

    #[test]
    fn plain_and_named_secrets() {
        assert_eq!(names("whsec_a").unwrap(), ["default"]);
        assert_eq!(names("whsec_a,whsec_b").unwrap(), ["default", "2"]);
        let list = "connect=whsec_a,platform=whsec_b,whsec_c";
        assert_eq!(names(list).unwrap(), ["connect", "platform", "3"]);
        assert_eq!(names("other-form").unwrap(), ["default"]);
    }

    #[test]
    fn an_equals_sign_belongs_to_the_secret() {
        assert_eq!(names("whsec_YWJj=").unwrap(), ["default"]);
        assert_eq!(names("old=whsec_YWJj==").unwrap(), ["old"]);
        assert_eq!(names("connect-old_2=whsec_a").unwrap(), ["connect-old_2"]);
    }

    #[test]
    fn what_is_blank_padded_or_repeated_is_refused() {
        use SecretsError::{Blank, Name, Repeated, Unprintable};
        let cases = [
            ("", Blank(1)),
            ("  ", Blank(1)),
            ("whsec_a,", Blank(2)),
            ("whsec_a,,whsec_b", Blank(2)),
            ("old=", Blank(1)),
            ("whsec_", Blank(1)),
            ("whsec_a,old=whsec_", Blank(2)),
            (" whsec_a", Unprintable(1)),
            ("whsec_a ", Unprintable(1)),
            ("whsec_a, whsec_b", Unprintable(2)),
            ("whsec_a\n", Unprintable(1)),
            ("old= whsec_a", Unprintable(1)),
            ("whsec_ä", Unprintable(1)),
            ("=whsec_a", Name(1)),
            ("my secret=whsec_a", Name(1)),
            ("a=whsec_a,a=whsec_b", Repeated(1, 2)),
            ("whsec_a,default=whsec_b", Repeated(1, 2)),
            ("a=whsec_a,b=whsec_a", Repeated(1, 2)),
        ];
        for (list, expected) in cases {
            let error = Secrets::parse(list).unwrap_err();
            assert_eq!(error, expected, "{list:?}");
            assert!(!error.to_string().contains("whsec"));
        }
    }

    #[test]
    fn debug_shows_names_only() {
        let shown = format!("{:?}", Secrets::parse("connect=whsec_a").unwrap());
        assert_eq!(shown, r#"{"connect"}"#);
    }
}
