//! How Stripe's API is reached.

use std::{fmt, num::NonZeroU32, time::Duration};

use event::Mode;
use secrecy::SecretString;
use shared::config::{ConfigError, Env, Held};
use url::{Host, Url};

/// Stripe itself.
pub const DEFAULT_BASE: &str = "https://api.stripe.com/";

/// The version in which every request is written and every answer is asked for. Accounts
/// that were made by another version are read as leniently as events are.
pub const API_VERSION: &str = "2026-10-28.endive";

/// How Stripe's API is reached.
#[derive(Clone)]
pub struct ApiConfig {
    /// The secret or restricted key.
    pub key: SecretString,
    /// The URL that paths are put behind, with a slash at its end.
    pub base: String,
    /// The most requests in a second.
    pub rate: NonZeroU32,
    /// The most requests in a second to one endpoint.
    pub endpoint_rate: NonZeroU32,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The longest pause before the first retry; it doubles with each one.
    pub pause: Duration,
}

impl ApiConfig {
    /// Stripe allows 25 requests in a second to one endpoint.
    pub const ENDPOINT_RATE: NonZeroU32 = NonZeroU32::new(25).unwrap();
    /// How long one attempt may take: Stripe answers most requests within a second, and those
    /// that make an account within ten.
    pub const TIMEOUT: Duration = Duration::from_secs(20);
    /// As Stripe's own libraries begin.
    pub const PAUSE: Duration = Duration::from_millis(500);

    /// Reads `STRIPE_API_KEY`, `STRIPE_API_BASE` and the limits of the rate; `None` without a
    /// key.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_env(env: &Env, mode: Mode) -> Result<Option<Self>, ConfigError> {
        const KEY: &str = "STRIPE_API_KEY";
        const BASE: &str = "STRIPE_API_BASE";
        const EXPECTED_BASE: &str =
            "a URL such as https://api.stripe.com/, without a user, or http:// on 127.0.0.1";
        let base = env.optional(BASE)?.map(|value| match is_api_base(value) {
            true => Ok(value.to_owned()),
            // It might hold a password.
            false => Err(ConfigError::new(BASE, Held::secret(value), EXPECTED_BASE)),
        });
        let base = base.transpose()?;
        let Some(key) = env.optional(KEY)? else {
            return Ok(None);
        };
        let of_other_mode = match mode {
            Mode::Live => "_test_",
            Mode::Test => "_live_",
        };
        // An account has one id in both modes: its state in the other one would be written
        // to the row of ours.
        if key
            .get(2..)
            .is_some_and(|rest| rest.starts_with(of_other_mode))
        {
            let expected = format!("a key of the mode that STRIPE_MODE names, {mode}");
            return Err(ConfigError::new(KEY, Held::secret(key), expected));
        }
        let plain = key.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || !(key.starts_with("sk_") || key.starts_with("rk_")) {
            let expected = "a secret or restricted key, sk_... or rk_...";
            return Err(ConfigError::new(KEY, Held::secret(key), expected));
        }
        let base = base.unwrap_or_else(|| DEFAULT_BASE.to_owned());
        let mut config = Self::new(SecretString::from(key), base, mode);
        config.rate = rate(env, "STRIPE_RATE_LIMIT")?.unwrap_or(config.rate);
        config.endpoint_rate =
            rate(env, "STRIPE_ENDPOINT_RATE_LIMIT")?.unwrap_or(config.endpoint_rate);
        Ok(Some(config))
    }

    /// The defaults of a mode for this key and base.
    pub fn new(key: SecretString, mut base: String, mode: Mode) -> Self {
        if !base.ends_with('/') {
            base.push('/');
        }
        Self {
            key,
            base,
            rate: Self::rate_of(mode),
            endpoint_rate: Self::ENDPOINT_RATE,
            timeout: Self::TIMEOUT,
            pause: Self::PAUSE,
        }
    }

    /// What Stripe allows in a second: 100 requests, and 25 in a sandbox.
    pub const fn rate_of(mode: Mode) -> NonZeroU32 {
        const LIVE: NonZeroU32 = NonZeroU32::new(100).unwrap();
        const SANDBOX: NonZeroU32 = NonZeroU32::new(25).unwrap();
        match mode {
            Mode::Live => LIVE,
            Mode::Test => SANDBOX,
        }
    }
}

/// The key goes there, so it is either encrypted or stays on this machine.
fn is_api_base(value: &str) -> bool {
    let Ok(url) = Url::parse(value) else {
        return false;
    };
    let without_user = url.username().is_empty() && url.password().is_none();
    let reached = match (url.scheme(), url.host()) {
        ("https", host) => host.is_some(),
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        _ => false,
    };
    without_user && reached
}

fn rate(env: &Env, name: &'static str) -> Result<Option<NonZeroU32>, ConfigError> {
    env.parsed(
        name,
        "a number of requests in a second, 1 at least",
        |value| value.parse().ok(),
    )
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
