//! Counts the statements that a client sends to PostgreSQL.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use url::Url;

/// The number in the first message of a client that asks for TLS.
const TLS_WANTED: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// A proxy that counts what is executed.
pub struct Counter {
    pub url: String,
    executed: Arc<AtomicUsize>,
}

impl Counter {
    /// Starts one in front of the server of this URL.
    pub async fn before(url: &str) -> Self {
        let mut through = Url::parse(url).unwrap();
        let server = (
            through.host_str().unwrap().to_owned(),
            through.port().unwrap_or(5432),
        );
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(port)).unwrap();
        let executed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&executed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server.clone()).await.unwrap();
                let (mut from_server, to_server) = server.into_split();
                let (from_client, mut to_client) = client.into_split();
                tokio::spawn(forward(from_client, to_server, Arc::clone(&count)));
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_server, &mut to_client).await },
                );
            }
        });
        Self {
            url: through.into(),
            executed,
        }
    }

    /// How many statements were executed since the last call.
    pub fn take(&self) -> usize {
        self.executed.swap(0, Ordering::SeqCst)
    }
}

/// Forwards what a client sends: a first message without a type, or two where it asks for TLS,
/// then messages with a type.
async fn forward(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    executed: Arc<AtomicUsize>,
) -> Option<()> {
    while rest(&mut client, &mut server)
        .await?
        .starts_with(&TLS_WANTED)
    {}
    loop {
        let kind = client.read_u8().await.ok()?;
        server.write_u8(kind).await.ok()?;
        // Execute, and a simple query.
        if matches!(kind, b'E' | b'Q') {
            executed.fetch_add(1, Ordering::SeqCst);
        }
        rest(&mut client, &mut server).await?;
    }
}

/// Forwards the length of a message and its content, which it gives back.
async fn rest(client: &mut OwnedReadHalf, server: &mut OwnedWriteHalf) -> Option<Vec<u8>> {
    let length = client.read_u32().await.ok()?;
    let mut content = vec![0; usize::try_from(length).ok()? - 4];
    client.read_exact(&mut content).await.ok()?;
    server.write_u32(length).await.ok()?;
    server.write_all(&content).await.ok()?;
    Some(content)
}
