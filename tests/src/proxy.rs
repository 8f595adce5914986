//! A TCP proxy that can be cut, stalled in either direction, slowed down,
//! broken off in the middle of a message, pointed elsewhere, and restored.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::Instant,
};
use url::Url;

/// The most pieces that a slow wire holds in one direction.
const PIECES: usize = 256;

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
    /// Half of the next piece that either end says; then the connection is
    /// reset.
    Severed,
    /// Everything, later by this.
    Slow(Duration),
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

/// What passes, and how often connections were cut so far: one that is restored
/// at once is a cut as well.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    cuts: u64,
}

impl Mode {
    fn holds(self, from: From) -> bool {
        match self {
            Self::Open | Self::Cut | Self::Severed | Self::Slow(_) => false,
            Self::Stalled => true,
            Self::ClientStalled => from == From::Client,
            Self::ServerStalled => from == From::Server,
        }
    }

    fn delay(self) -> Duration {
        match self {
            Self::Slow(delay) => delay,
            _ => Duration::ZERO,
        }
    }
}

/// Servers, in the order in which they are tried.
type Targets = Arc<Mutex<Vec<(String, u16)>>>;

/// A proxy on a free port of 127.0.0.1. It ends with the runtime.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    state: watch::Sender<State>,
    targets: Targets,
    default_port: u16,
}

impl Proxy {
    /// A proxy to the server of this URL; `default_port` is used where the URL
    /// names none.
    ///
    /// # Errors
    /// When the URL has no host or no port is free.
    pub async fn before(url: &str, default_port: u16) -> Result<Self> {
        let mut through = Url::parse(url).context("the URL of the server")?;
        let targets: Targets = Arc::new(Mutex::new(vec![target(url, default_port)?]));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let port = listener.local_addr()?.port();
        let state = watch::Sender::new(State {
            mode: Mode::Open,
            cuts: 0,
        });
        tokio::spawn(accept(listener, Arc::clone(&targets), state.clone()));
        through.set_host(Some("127.0.0.1"))?;
        let _ = through.set_port(Some(port));
        Ok(Self {
            url: through.into(),
            state,
            targets,
            default_port,
        })
    }

    /// Leads new connections to the first of these servers that takes them.
    ///
    /// # Errors
    /// When a URL has no host.
    pub fn point_at(&self, urls: &[String]) -> Result<()> {
        let targets = urls.iter().map(|url| target(url, self.default_port));
        let targets = targets.collect::<Result<_>>()?;
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        Ok(())
    }

    /// The URL through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections, and new ones at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Cut;
            state.cuts += 1;
        });
    }

    /// Lets nothing pass, and keeps it for later.
    pub fn stall(&self) {
        self.set(Mode::Stalled);
    }

    /// Keeps what the client says, and lets the server speak.
    pub fn stall_client(&self) {
        self.set(Mode::ClientStalled);
    }

    /// Keeps what the server says, and lets the client speak.
    pub fn stall_server(&self) {
        self.set(Mode::ServerStalled);
    }

    /// Lets everything pass, but later by this in each direction.
    pub fn slow(&self, delay: Duration) {
        self.set(Mode::Slow(delay));
    }

    /// Breaks every connection off in the middle of the next thing that is said
    /// on it, until it is restored.
    pub fn sever(&self) {
        self.set(Mode::Severed);
    }

    /// Lets everything pass, first what was kept.
    pub fn restore(&self) {
        self.set(Mode::Open);
    }

    fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }
}

fn target(url: &str, default_port: u16) -> Result<(String, u16)> {
    let url = Url::parse(url).context("the URL of the server")?;
    let host = url.host_str().context("the URL has no host")?;
    Ok((host.to_owned(), url.port().unwrap_or(default_port)))
}

async fn accept(listener: TcpListener, targets: Targets, state: watch::Sender<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let (targets, state) = (Arc::clone(&targets), state.subscribe());
        tokio::spawn(async move {
            if state.borrow().mode == Mode::Cut {
                return;
            }
            let Some(server) = connect(&targets).await else {
                return;
            };
            // What is small is not to wait for more.
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let (client_in, mut client_out) = client.into_split();
            let (server_in, mut server_out) = server.into_split();
            // Either end closes both.
            let end = tokio::select! {
                end = pass(From::Client, client_in, &mut server_out, state.clone()) => end,
                end = pass(From::Server, server_in, &mut client_out, state.clone()) => end,
            };
            if end == End::Reset {
                for half in [&client_out, &server_out] {
                    let _ = half.as_ref().set_zero_linger();
                }
            }
        });
    }
}

async fn connect(targets: &Targets) -> Option<TcpStream> {
    let targets = targets
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for target in targets {
        if let Ok(stream) = TcpStream::connect(target).await {
            return Some(stream);
        }
    }
    None
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// Passes bytes on while the mode allows it.
async fn pass(
    from: From,
    mut source: OwnedReadHalf,
    sink: &mut OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> End {
    let cuts = state.borrow().cuts;
    let mut buffer = vec![0; 64 * 1024];
    // What is late, with the time that it is due.
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let due = late.front().map(|(due, _)| *due);
        let read = tokio::select! {
            read = source.read(&mut buffer), if late.len() < PIECES => read,
            () = is_cut(&mut state, cuts) => return End::Closed,
            () = at(due) => {
                if let Some((_, piece)) = late.pop_front()
                    && sink.write_all(&piece).await.is_err()
                {
                    return End::Closed;
                }
                continue;
            }
        };
        let Ok(count @ 1..) = read else {
            return End::Closed;
        };
        let piece = &buffer[..count];
        let passes = |state: &State| state.cuts != cuts || !state.mode.holds(from);
        let now = match state.wait_for(passes).await {
            Ok(state) if state.cuts != cuts => Mode::Cut,
            Ok(state) => state.mode,
            Err(_) => Mode::Open,
        };
        let written: io::Result<()> = match now {
            Mode::Cut => return End::Closed,
            Mode::Severed => {
                let _ = sink.write_all(&piece[..count / 2]).await;
                return End::Reset;
            }
            now if late.is_empty() && now.delay().is_zero() => sink.write_all(piece).await,
            now => {
                late.push_back((Instant::now() + now.delay(), piece.to_vec()));
                Ok(())
            }
        };
        if written.is_err() {
            return End::Closed;
        }
    }
}

async fn is_cut(state: &mut watch::Receiver<State>, cuts: u64) {
    let _ = state.wait_for(|state| state.cuts != cuts).await;
}

/// Waits until then; forever if there is no such moment.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
