//! Why a `DATABASE_URL` is refused.

use std::io;

/// Why a `DATABASE_URL` is refused. It never repeats the URL, which holds the
/// password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of Postgres.
    #[error("a URL postgres://user:password@host:port/database")]
    Scheme,
    /// A `@` behind the `?`: the password holds a `?` as it is.
    #[error("special characters in the password to be percent-encoded")]
    Unescaped,
    /// A parameter that neither libpq nor Prisma knows, or a wrong value. Without
    /// the driver's own words: they repeat the parameter, which in a URL that is
    /// put together wrongly can be a part of the password.
    #[error("a URL whose parameters Postgres knows")]
    Parameter,
    /// An unknown `sslmode`.
    #[error("sslmode disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// An unknown `sslaccept`.
    #[error("sslaccept strict or accept_invalid_certs")]
    SslAccept,
    /// The file of `sslrootcert` cannot be read.
    #[error("sslrootcert to name a readable file of PEM certificates")]
    RootCert(#[source] io::Error),
    /// A name that cannot be a schema's.
    #[error("schema to be one schema's name")]
    Schema,
}
