//! A pooler in transaction mode, small: the sessions that its clients log in with are
//! everybody's, and a transaction gets one that is free.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, Notify},
};
use url::Url;

/// Which of the free sessions a transaction gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one that was used last, as PgBouncer does unless it is told otherwise.
    LastUsed,
    /// The one that was used first.
    FirstUsed,
}

/// Sessions that nobody is in a transaction on.
struct Free {
    sessions: Mutex<VecDeque<TcpStream>>,
    freed: Notify,
    order: Order,
}

impl Free {
    async fn take(&self) -> TcpStream {
        loop {
            let freed = self.freed.notified();
            let mut sessions = self.sessions.lock().await;
            let session = match self.order {
                Order::LastUsed => sessions.pop_back(),
                Order::FirstUsed => sessions.pop_front(),
            };
            drop(sessions);
            match session {
                Some(session) => return session,
                None => freed.await,
            }
        }
    }

    async fn give(&self, session: TcpStream) {
        self.sessions.lock().await.push_back(session);
        self.freed.notify_one();
    }
}

/// Starts one in front of the server of this URL. Gives back the URL of the pooler.
pub async fn before(url: &str, order: Order) -> String {
    let mut through = Url::parse(url).unwrap();
    let server = (
        through.host_str().unwrap().to_owned(),
        through.port().unwrap_or(5432),
    );
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let free = Arc::new(Free {
        sessions: Mutex::default(),
        freed: Notify::new(),
        order,
    });
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, free) = (server.clone(), Arc::clone(&free));
            tokio::spawn(async move {
                let _ended = serve(client, server, &free).await;
            });
        }
    });
    through.set_host(Some("127.0.0.1")).unwrap();
    through.set_port(Some(port)).unwrap();
    through.set_query(Some("sslmode=disable"));
    through.into()
}

/// Serves one client until it leaves.
async fn serve(mut client: TcpStream, server: (String, u16), free: &Free) -> std::io::Result<()> {
    let mut session = TcpStream::connect(server).await?;
    // The start-up message has no type.
    let length = client.read_u32().await?;
    session.write_u32(length).await?;
    pass_rest(&mut client, &mut session, length).await?;
    log_in(&mut client, &mut session).await?;
    free.give(session).await;
    loop {
        let first = client.read_u8().await?;
        if first == b'X' {
            return Ok(());
        }
        let mut session = free.take().await;
        transaction(&mut client, &mut session, first).await?;
        free.give(session).await;
    }
}

/// Passes a message on, type and all. Gives back its type and its first byte.
async fn pass(from: &mut TcpStream, to: &mut TcpStream, kind: u8) -> std::io::Result<u8> {
    to.write_u8(kind).await?;
    let length = from.read_u32().await?;
    to.write_u32(length).await?;
    pass_rest(from, to, length).await
}

async fn pass_rest(from: &mut TcpStream, to: &mut TcpStream, length: u32) -> std::io::Result<u8> {
    let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
    from.read_exact(&mut rest).await?;
    to.write_all(&rest).await?;
    Ok(rest.first().copied().unwrap_or_default())
}

/// The server asks and the client answers, until the session is ready.
async fn log_in(client: &mut TcpStream, session: &mut TcpStream) -> std::io::Result<()> {
    loop {
        tokio::select! {
            kind = session.read_u8() => {
                let kind = kind?;
                pass(session, client, kind).await?;
                if kind == b'Z' {
                    return Ok(());
                }
            }
            kind = client.read_u8() => {
                let kind = kind?;
                pass(client, session, kind).await?;
            }
        }
    }
}

/// Passes messages both ways until the server is outside of a transaction and has answered
/// all that the client sent.
async fn transaction(
    client: &mut TcpStream,
    session: &mut TcpStream,
    first: u8,
) -> std::io::Result<()> {
    // A simple query or a sync asks for one answer that ends with the session being ready.
    let asks = |kind: u8| u32::from(kind == b'Q' || kind == b'S');
    pass(client, session, first).await?;
    let mut asked = asks(first);
    loop {
        tokio::select! {
            kind = client.read_u8() => {
                let kind = kind?;
                if kind == b'X' {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                pass(client, session, kind).await?;
                asked += asks(kind);
            }
            kind = session.read_u8() => {
                let kind = kind?;
                let status = pass(session, client, kind).await?;
                if kind == b'Z' {
                    asked -= 1;
                    if asked == 0 && status == b'I' {
                        return Ok(());
                    }
                }
            }
        }
    }
}
