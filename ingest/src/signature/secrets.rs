//! The signing secrets of the webhook endpoints.

use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use std::fmt;

pub(super) type HmacSha256 = Hmac<Sha256>;

/// The format of `STRIPE_WEBHOOK_SECRETS`, for error messages.
pub const EXPECTED: &str = "one or more signing secrets, separated by commas, each plain or as \
    name=secret, without spaces: connect=whsec_...,platform=whsec_...";

/// The longest name of a secret, in bytes: a metric has it as a label.
const MAX_NAME: usize = 32;

/// One or more named secrets. `Debug` shows the names only.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone)]
struct Secret {
    name: String,
    /// HMAC keyed with the whole secret, including `whsec_`.
    keyed: HmacSha256,
}

/// Why a list of secrets is refused. Shows positions of entries, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// The entry, or the secret behind its name, is blank or only `whsec_`.
    #[error("entry {0} is blank")]
    Blank(usize),
    /// The secret has a character that Stripe never uses. Mostly it is a space or a
    /// line break that was copied with it.
    #[error(
        "entry {0} holds a space, a line break or another character that is not printable ASCII"
    )]
    Unprintable(usize),
    /// The name is empty, too long or has other characters.
    #[error("the name of entry {0} is not 1 to {MAX_NAME} letters, digits, hyphens or underscores")]
    Name(usize),
    /// Two entries have the same name or the same secret.
    #[error("entries {0} and {1} have the same name or the same secret")]
    Repeated(usize, usize),
}

impl Secrets {
    /// Reads a comma-separated list of `secret` and `name=secret`.
    ///
    /// An entry that starts with `whsec_` is a secret without a name. In any other
    /// entry with a `=`, the text before the first `=` is the name. So a secret
    /// that contains a `=` and does not start with `whsec_` needs a name. A secret
    /// without a name is named by its position: `default`, `2`, `3` and so on.
    /// Stripe does not promise that secrets start with `whsec_`, so none has to.
    ///
    /// # Errors
    /// An entry is empty, unprintable, badly named or repeated. See
    /// [`SecretsError`], whose positions count from 1.
    pub fn parse(list: &str) -> Result<Self, SecretsError> {
        let mut entries: Vec<(String, &str)> = Vec::new();
        for (index, entry) in list.split(',').enumerate() {
            let position = index + 1;
            let (name, secret) = split(entry, position);
            check(&name, secret, position)?;
            let same = |(n, s): &(String, &str)| *n == name || *s == secret;
            if let Some(other) = entries.iter().position(same) {
                return Err(SecretsError::Repeated(other + 1, position));
            }
            entries.push((name, secret));
        }
        let keyed = entries.into_iter().map(|(name, secret)| Secret {
            name,
            keyed: key(secret),
        });
        Ok(Self(keyed.collect()))
    }

    /// Returns the secrets' names in the order of the list.
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

/// The prefix of Stripe's secrets.
const PREFIX: &str = "whsec_";

fn split(entry: &str, position: usize) -> (String, &str) {
    let plain = entry.starts_with(PREFIX);
    match entry.split_once('=').filter(|_| !plain) {
        Some((name, secret)) => (name.to_owned(), secret),
        None if position == 1 => ("default".to_owned(), entry),
        None => (position.to_string(), entry),
    }
}

fn check(name: &str, secret: &str, position: usize) -> Result<(), SecretsError> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // An unset variable behind the prefix leaves the prefix alone, with which anyone
    // could sign.
    if secret.trim().is_empty() || secret == PREFIX {
        return Err(SecretsError::Blank(position));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretsError::Unprintable(position));
    }
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(name_byte) {
        return Err(SecretsError::Name(position));
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
    fn blank_padded_or_repeated_secrets_are_refused() {
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
