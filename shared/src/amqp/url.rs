//! The broker's address, from `AMQP_URL`.

use super::{CONNECT_TIMEOUT, read_pem};
use crate::config::{ConfigError, Env, Held};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::fmt;
use std::time::Duration;
use url::{Host, Url};

/// Seconds between heartbeats where the URL says nothing: a silent broker is
/// taken for dead after two of them.
const HEARTBEAT: u16 = 10;

const EXPECTED: &str = "amqp://user:password@host:port/vhost or amqps://..., \
    with ?heartbeat=, ?frame_max=, ?channel_max=, ?connection_timeout=, ?auth_mechanism= \
    or ?cacertfile= at most";

/// Parameters of RabbitMQ's URIs that are understood. Any other is refused:
/// one that is quietly ignored could be `certfile`.
const PARAMETERS: &[&str] = &[
    "auth_mechanism",
    "cacertfile",
    "channel_max",
    "connection_timeout",
    "frame_max",
    "heartbeat",
];

/// A checked broker address. Neither `Debug` nor `Display` shows the password.
#[derive(Clone)]
pub struct AmqpUrl {
    uri: AMQPUri,
    /// Certificates of a private authority, in PEM, on top of the public ones.
    authority: Option<String>,
}

impl AmqpUrl {
    /// Reads `AMQP_URL`.
    ///
    /// # Errors
    /// As [`AmqpUrl::parse`], or the variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Self::from_variable(env, "AMQP_URL")
    }

    /// As [`AmqpUrl::from_env`], from another variable.
    ///
    /// # Errors
    /// As [`AmqpUrl::from_env`].
    pub fn from_variable(env: &Env, name: &'static str) -> Result<Self, ConfigError> {
        let value = env.required(name, EXPECTED)?;
        Self::parse(value).map_err(|why| {
            ConfigError::new(name, Held::secret(value), format!("{EXPECTED}; {why}"))
        })
    }

    /// Reads and checks an address. The port defaults to 5672 (TLS: 5671),
    /// the user to `guest`, the virtual host to `/`. `cacertfile` names a PEM
    /// file with the certificate of a private authority.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the URL.
    pub fn parse(value: &str) -> Result<Self, String> {
        let url = Url::parse(value).map_err(|error| format!("this is no URL: {error}"))?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err("the scheme is neither amqp nor amqps".into());
        }
        let behind = [Some(url.path()), url.query(), url.fragment()];
        if behind.iter().flatten().any(|part| part.contains('@')) {
            // What stands before it is then a part of the password.
            return Err("special characters in the password must be percent-encoded".into());
        }
        let mut uri: AMQPUri = value
            .parse()
            .map_err(|_| String::from("a part of it cannot be read"))?;
        uri.authority.host = host(&url)?;
        uri.vhost = vhost(&url, uri.vhost);
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let authority = authority(&url)?;
        if authority.is_some() && uri.scheme != AMQPScheme::AMQPS {
            return Err("cacertfile needs amqps".into());
        }
        Ok(Self { uri, authority })
    }

    /// The address for lapin. `frame_max` is the largest frame, in bytes, where
    /// the URL says nothing.
    pub(super) fn uri(&self, frame_max: u32) -> AMQPUri {
        let mut uri = self.uri.clone();
        uri.query.frame_max.get_or_insert(frame_max);
        uri
    }

    pub(super) fn tls(&self) -> OwnedTLSConfig {
        OwnedTLSConfig {
            identity: None,
            cert_chain: self.authority.clone(),
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        let asked = self.uri.query.connection_timeout;
        asked.map_or(CONNECT_TIMEOUT, Duration::from_millis)
    }
}

/// The host, which lapin's reader takes for `localhost` where it stands in
/// brackets.
fn host(url: &Url) -> Result<String, String> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    };
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    Ok(host)
}

/// `amqp://host/` means the default virtual host as well as `amqp://host`:
/// a broker has one with an empty name only by mistake.
fn vhost(url: &Url, parsed: String) -> String {
    match url.path() {
        "" | "/" => "/".into(),
        _ => parsed,
    }
}

fn authority(url: &Url) -> Result<Option<String>, String> {
    let mut authority = None;
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&name.as_ref()) {
            return Err(format!("the parameter {name:?} is not known"));
        }
        if name == "cacertfile" {
            let pem = read_pem(&value);
            authority = Some(pem.map_err(|error| format!("cacertfile {value:?}: {error}"))?);
        }
    }
    Ok(authority)
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        write!(
            f,
            "{}://{}@{}:{}/{}",
            self.uri.scheme,
            authority.userinfo.username,
            authority.host,
            authority.port,
            self.uri.vhost
        )
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::AmqpUrl;
    use crate::config::Env;

    #[test]
    fn defaults_and_parts() {
        let shown = |url: &str| AmqpUrl::parse(url).unwrap().to_string();
        assert_eq!(shown("amqp://h"), "amqp://guest@h:5672//");
        assert_eq!(shown("amqp://h/"), "amqp://guest@h:5672//");
        assert_eq!(shown("amqp://h/%2f"), "amqp://guest@h:5672//");
        assert_eq!(shown("amqps://u:p@h/v"), "amqps://u@h:5671/v");
        assert_eq!(shown("amqp://[::1]:7/v"), "amqp://guest@::1:7/v");
        assert_eq!(shown("amqp://127.0.0.1:7"), "amqp://guest@127.0.0.1:7//");
    }

    #[test]
    fn the_password_is_never_shown() {
        let url = AmqpUrl::parse("amqp://user:hush@h/v?heartbeat=5").unwrap();
        assert!(!format!("{url} {url:?}").contains("hush"));
        for wrong in [
            "amqp://user:hush@/v",
            "http://user:hush@h",
            "amqp://user:hush@h:x/",
            "amqp://user:1?hush@h/",
            "amqp://user:1?hush=1@h/",
            "amqp://user:/hush@h/v",
            "amqp://user:12/hush@h",
            "amqp://user:1#hush@h/",
        ] {
            let env = Env::from_pairs([("AMQP_URL", wrong)]);
            let line = AmqpUrl::from_env(&env).unwrap_err().to_string();
            assert!(line.starts_with("AMQP_URL holds a secret of "), "{line}");
            assert!(!line.contains("hush"), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let wrong = [
            "",
            "h:5672",
            "amqp:h",
            "http://h",
            "amqp://h/?heartbeat=x",
            "amqp://h/?certfile=/x",
            "amqp://h/?verify=verify_none",
            "amqp://h/?cacertfile=/etc/ssl/certs/ca-certificates.crt",
            "amqps://h/?cacertfile=/nowhere.pem",
            "amqps://h/?cacertfile=/dev/null",
        ];
        for url in wrong {
            assert!(AmqpUrl::parse(url).is_err(), "{url}");
        }
    }
}
