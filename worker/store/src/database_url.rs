//! Reading `DATABASE_URL`.
//!
//! The URL is libpq's, with two additions. `sslmode` may be any of libpq's, and
//! `sslrootcert` names a file of certificates. Prisma's own parameters are
//! understood or left out, so that the main app's `DATABASE_URL` works as it
//! is: `schema` becomes the search path.

use std::{sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;

use crate::{
    database::{CONNECT_TIMEOUT, Database},
    tls::{self, Asked},
    url_error::UrlError,
};

/// Prisma's parameters that mean nothing here.
const PRISMA_ONLY: [&str; 6] = [
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "pgbouncer",
    "statement_cache_size",
    "sslidentity",
];

impl Database {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`], whose text completes "expected ...".
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        if query.contains('@') {
            return Err(UrlError::Unescaped);
        }
        let (mut kept, mut schema, mut asked) = (Vec::new(), None, Asked::default());
        for parameter in query.split('&').filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "schema" => schema = Some(value()),
                "sslmode" => asked.mode = Some(value()),
                "sslrootcert" | "sslcert" => asked.root = Some(value()),
                "sslaccept" => asked.strict = tls::is_strict(&value())?,
                name if PRISMA_ONLY.contains(&name) => {}
                _ => kept.push(parameter),
            }
        }
        if schema
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.contains(['"', '\0']))
        {
            return Err(UrlError::Schema);
        }
        let mut config: Config = format!("{base}?{}", kept.join("&"))
            .parse()
            .map_err(|_| UrlError::Parameter)?;
        let tls = tls::of(&asked, &mut config)?;
        config.application_name("dialoom-worker");
        let timeout = config.get_connect_timeout().copied();
        config.connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT));
        // A peer that vanished without a word is noticed within half a minute.
        config.keepalives_idle(Duration::from_secs(15));
        config.keepalives_interval(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(30));
        Ok(Self {
            url: url.to_owned(),
            config,
            schema,
            tls,
            seen_schema: Arc::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_not_repeated() {
        for url in ["postgres://a/db?sslmhush=1", "postgres://a:1?hush/db"] {
            let error = Database::parse(url).unwrap_err();
            let said = crate::error::chain(&error);
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn the_main_apps_url_works_as_it_is() {
        let url = "postgresql://app:secret@db.example/shop?schema=public&connection_limit=5&sslmode=require";
        let database = Database::parse(url).unwrap();
        assert_eq!(database.schema.as_deref(), Some("public"));
        assert!(!format!("{database:?}").contains("secret"));
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        for url in [
            "mysql://u:secret@h/db",
            "postgres://u:secret@h/db?sslmode=maybe",
            "postgres://u:secret@h/db?sslmode=verify-full&sslrootcert=/nowhere.pem",
            "postgres://u:secret@h/db?colour=blue",
            "postgres://u:secret@h/db?schema=a%22b",
            "postgres://u:secret@h/db?sslaccept=maybe",
            "postgres://u:p?secret@h/db",
            "",
        ] {
            let error = Database::parse(url).unwrap_err();
            assert!(!crate::error::chain(&error).contains("secret"), "{url}");
        }
    }
}
