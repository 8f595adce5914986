//! A TCP proxy that can be cut, stalled in either direction, and restored.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use url::Url;

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Everything.
    Open,
    /// Nothing; connections stay, and new ones are accepted.
    Stalled,
    /// What the server says, but not what the client says.
    ClientStalled,
    /// What the client says, but not what the server says.
    ServerStalled,
    /// Nothing: connections are closed, new ones at once.
    Cut,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

impl Mode {
    fn holds(self, from: From) -> bool {
        match self {
            Self::Open | Self::Cut => false,
            Self::Stalled => true,
            Self::ClientStalled => from == From::Client,
            Self::ServerStalled => from == From::Server,
        }
    }
}

/// A proxy on a free port of 127.0.0.1. It ends with the runtime.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy to the server of this URL; `default_port` is used where the URL
    /// names none.
    ///
    /// # Errors
    /// When the URL has no host or no port is free.
    pub async fn before(url: &str, default_port: u16) -> Result<Self> {
        let mut through = Url::parse(url).context("the URL of the server")?;
        let host = through.host_str().context("the URL has no host")?;
        let target = (host.to_owned(), through.port().unwrap_or(default_port));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let port = listener.local_addr()?.port();
        let mode = watch::Sender::new(Mode::Open);
        tokio::spawn(accept(listener, target, mode.clone()));
        through.set_host(Some("127.0.0.1"))?;
        let _ = through.set_port(Some(port));
        Ok(Self {
            url: through.into(),
            mode,
        })
    }

    /// The URL through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections, and new ones at once.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Lets nothing pass, and keeps it for later.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stalled);
    }

    /// Keeps what the client says, and lets the server speak.
    pub fn stall_client(&self) {
        self.mode.send_replace(Mode::ClientStalled);
    }

    /// Keeps what the server says, and lets the client speak.
    pub fn stall_server(&self) {
        self.mode.send_replace(Mode::ServerStalled);
    }

    /// Lets everything pass, first what was kept.
    pub fn restore(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn accept(listener: TcpListener, target: (String, u16), mode: watch::Sender<Mode>) {
    let target = Arc::new(target);
    while let Ok((client, _)) = listener.accept().await {
        let (target, mode) = (Arc::clone(&target), mode.subscribe());
        tokio::spawn(async move {
            if *mode.borrow() == Mode::Cut {
                return;
            }
            let Ok(server) = TcpStream::connect(&*target).await else {
                return;
            };
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            // Either end closes both.
            tokio::select! {
                () = pass(From::Client, client_in, server_out, mode.clone()) => {}
                () = pass(From::Server, server_in, client_out, mode.clone()) => {}
            }
        });
    }
}

/// Passes bytes on while the mode allows it.
async fn pass(
    from: From,
    mut source: OwnedReadHalf,
    mut sink: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = source.read(&mut buffer) => read,
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => return,
        };
        let Ok(count @ 1..) = read else {
            return;
        };
        let mode = mode.wait_for(|mode| !mode.holds(from)).await;
        if mode.is_ok_and(|mode| *mode == Mode::Cut) {
            return;
        }
        if sink.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
