//! The client side of `/readyz`, for the binaries' `healthcheck` command.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the answer may take: container runtimes ask every few seconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 4096;

/// Why a service is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nobody listens there, or the answer broke off.
    #[error("cannot ask {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// No answer within three seconds.
    #[error("{0} did not answer in time")]
    Timeout(SocketAddr),
    /// It answered that it is not ready; the text is its reason.
    #[error("not ready: {0}")]
    NotReady(String),
}

/// Asks `/readyz` of the admin listener at `address`.
///
/// # Errors
/// The service is not there or not ready.
pub async fn healthcheck(address: SocketAddr) -> Result<(), ProbeError> {
    let address = reachable(address);
    let asked = tokio::time::timeout(TIMEOUT, ask(address)).await;
    let answer = asked
        .map_err(|_| ProbeError::Timeout(address))?
        .map_err(|error| ProbeError::Unreachable(address, error))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    match status {
        "200" => Ok(()),
        status => Err(ProbeError::NotReady(format!("{status} {}", body.trim()))),
    }
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A listener on every address is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
