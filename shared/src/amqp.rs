//! The connection to the broker.
//!
//! lapin's own recovery stays off: what must happen when a connection is lost
//! differs between the two services, and each heals by itself.

mod url;

pub use url::AmqpUrl;

use lapin::tcp::AsyncTcpStream;
use lapin::types::LongString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long connecting may take, from the name look-up to the AMQP handshake,
/// where `connection_timeout` in the URL says nothing.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest frame of a connection that takes messages, in bytes: the broker's
/// own default. It does not cut a message's properties into frames of our size,
/// and a frame that is too large for us would end the connection each time.
const TAKEN_FRAME_MAX: u32 = 128 * 1024;

/// The largest frame of a connection that only publishes, in bytes. lapin keeps
/// two buffers of 32 frames each.
const SENT_FRAME_MAX: u32 = 32 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not connected within the timeout.
    #[error("the broker did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Refused, unreachable, wrong credentials, failed TLS and so on.
    #[error("cannot connect to the broker")]
    Failed(#[source] lapin::Error),
}

/// Shuts a connection's socket down at once, without the AMQP close handshake,
/// which waits for the broker. Dropping it does nothing.
#[derive(Debug, Default)]
pub struct SocketShutdown(Arc<OnceLock<TcpStream>>);

impl SocketShutdown {
    /// Shuts both directions of the socket down. lapin then fails everything
    /// that is in flight and ends its thread. Does nothing if the connection
    /// has no socket yet or none any more.
    pub fn shut_down(&self) {
        if let Some(socket) = self.0.get() {
            let _already_down = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Connects under a name that the broker's operators see, to take messages.
///
/// # Errors
/// See [`ConnectError`]; no error shows the password.
pub async fn connect(url: &AmqpUrl, name: &str) -> Result<Connection, ConnectError> {
    let (connection, _socket) = open(url, name, TAKEN_FRAME_MAX).await?;
    Ok(connection)
}

/// Connects as [`connect`] does, to publish, and returns the means to shut the
/// connection's socket down.
pub async fn connect_with_socket_shutdown(
    url: &AmqpUrl,
    name: &str,
) -> Result<(Connection, SocketShutdown), ConnectError> {
    open(url, name, SENT_FRAME_MAX).await
}

async fn open(
    url: &AmqpUrl,
    name: &str,
    frame_max: u32,
) -> Result<(Connection, SocketShutdown), ConnectError> {
    install_crypto();
    let socket = SocketShutdown::default();
    let timeout = url.connect_timeout();
    match tokio::time::timeout(timeout, handshake(url, name, frame_max, &socket)).await {
        Ok(Ok(connection)) => Ok((connection, socket)),
        Ok(Err(error)) => Err(ConnectError::Failed(error)),
        Err(_elapsed) => {
            // lapin would wait for the rest of the handshake, with a thread
            // and its buffers, for as long as the peer keeps the socket open.
            socket.shut_down();
            Err(ConnectError::Timeout(timeout))
        }
    }
}

async fn handshake(
    url: &AmqpUrl,
    name: &str,
    frame_max: u32,
    socket: &SocketShutdown,
) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
    let socket = Arc::clone(&socket.0);
    let tls = url.tls();
    let timeout = url.connect_timeout();
    Connection::connector(
        url.uri(frame_max),
        lapin::runtime::default_runtime()?,
        async move |uri: AMQPUri, runtime| {
            let host = uri.authority.host.as_str();
            let addresses = tokio::net::lookup_host((host, uri.authority.port)).await?;
            let stream = dial(addresses.collect(), timeout, async |address| {
                AsyncTcpStream::connect(&runtime, vec![address]).await
            })
            .await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let same = plain.get_ref().as_fd().try_clone_to_owned()?;
                let _first_dial = socket.set(TcpStream::from(same));
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => Ok(stream.into_tls(host, tls.as_ref()).await?),
            }
        },
        properties,
    )
    .await
}

/// Connects to the first of these addresses that lets us. Where there are several,
/// one that says nothing must not use up the time of all: each has its share of
/// it, and the handshake one.
async fn dial<T>(
    addresses: Vec<SocketAddr>,
    time: Duration,
    connect: impl AsyncFn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let shares = match addresses.len() {
        0 | 1 => 1,
        several => u32::try_from(several).unwrap_or(u32::MAX).saturating_add(1),
    };
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match tokio::time::timeout(time / shares, connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_elapsed) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// Makes ring the process's provider of cryptography, once. rustls demands a
/// choice as soon as two crates in the tree could make different ones.
pub fn install_crypto() {
    let _already_chosen = rustls::crypto::ring::default_provider().install_default();
}

/// Reads a PEM file of certificates.
fn read_pem(path: &str) -> io::Result<String> {
    let pem = std::fs::read_to_string(path)?;
    if pem.contains("-----BEGIN CERTIFICATE-----") {
        Ok(pem)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no certificate in PEM format",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::dial;
    use std::io;
    use std::time::Duration;

    /// A broker's name with an address that leads nowhere.
    #[tokio::test]
    async fn a_silent_address_leaves_time_for_the_others() {
        let [silent, refusing, good] = [1, 2, 3].map(|port| ([127, 0, 0, 1], port).into());
        let time = Duration::from_millis(200);
        let connect = async |address: std::net::SocketAddr| match address.port() {
            1 => std::future::pending().await,
            2 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            port => Ok(port),
        };
        let all = vec![silent, refusing, good];
        let dialled = tokio::time::timeout(10 * time, dial(all, time, connect)).await;
        assert_eq!(dialled.unwrap().unwrap(), 3);

        let error = dial(vec![silent], time, connect).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = dial(vec![silent, refusing], time, connect)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = dial(Vec::new(), time, connect).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
