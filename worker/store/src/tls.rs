//! TLS to Postgres, as `DATABASE_URL` asks for it.

use std::{fs, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{Config, config::SslMode};

use crate::{tls_unverified::Unverified, url_error::UrlError};

/// What the URL asks of TLS.
#[derive(Default)]
pub(crate) struct Asked {
    /// `sslmode`.
    pub(crate) mode: Option<String>,
    /// `sslrootcert`.
    pub(crate) root: Option<String>,
    /// Prisma's `sslaccept=strict`.
    pub(crate) strict: bool,
}

/// What the connections do.
#[derive(Clone)]
pub(crate) enum Tls {
    /// None.
    Off,
    /// As configured, where the server can.
    On(Arc<ClientConfig>),
}

/// Prisma's `sslaccept`: whether certificates are verified in every mode.
pub(crate) fn is_strict(value: &str) -> Result<bool, UrlError> {
    match value {
        "strict" => Ok(true),
        "accept_invalid_certs" => Ok(false),
        _ => Err(UrlError::SslAccept),
    }
}

/// What libpq's `sslmode` asks for. `allow` and `prefer` are taken as Postgres's
/// own client takes them on TLS: encrypted where the server can, unverified.
/// `verify-ca` looks at the host name as well, like `verify-full`.
pub(crate) fn of(asked: &Asked, config: &mut Config) -> Result<Tls, UrlError> {
    let root = asked.root.as_deref();
    let (wire, verify) = match asked.mode.as_deref().unwrap_or("prefer") {
        "disable" => (SslMode::Disable, false),
        "allow" | "prefer" => (SslMode::Prefer, asked.strict),
        // With a root certificate at hand, libpq's `require` verifies as well.
        "require" => (SslMode::Require, asked.strict || root.is_some()),
        "verify-ca" | "verify-full" => (SslMode::Require, true),
        _ => return Err(UrlError::SslMode),
    };
    config.ssl_mode(wire);
    if wire == SslMode::Disable {
        return Ok(Tls::Off);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| UrlError::SslMode)?;
    let client = if verify {
        builder
            .with_root_certificates(roots(root)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
            .with_no_client_auth()
    };
    Ok(Tls::On(Arc::new(client)))
}

fn roots(file: Option<&str>) -> Result<RootCertStore, UrlError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file.filter(|file| *file != "system") else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unreadable = |reason: String| UrlError::RootCert(io::Error::other(reason));
    let pem = fs::read(file).map_err(UrlError::RootCert)?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unreadable("no certificate in it".into()));
    }
    Ok(roots)
}
