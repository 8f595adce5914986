//! A kept connection to `ingest`, as cheap as it can be: the load must not take
//! the processor from what is measured.

use std::{net::SocketAddr, str};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The head of a delivery as Stripe sends it, up to the value of its signature.
pub const HEAD: &[u8] = b"POST /webhooks/stripe HTTP/1.1\r\n\
    host: 127.0.0.1\r\n\
    user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n\
    accept: */*; q=0.5, application/xml\r\n\
    cache-control: no-cache\r\n\
    content-type: application/json; charset=utf-8\r\n\
    stripe-signature: ";

/// The longest answer: `ingest` sends some hundred bytes.
const MAX_ANSWER: usize = 4 * 1024;

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    /// Opens a connection.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to ingest at {address}"))?;
        stream.set_nodelay(true)?;
        let answer = vec![0; MAX_ANSWER];
        Ok(Self { stream, answer })
    }

    /// Sends one request and gives the status of its answer.
    ///
    /// # Errors
    /// When no answer comes, or one that is not HTTP.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let rest = self.answer.get_mut(filled..).unwrap_or_default();
            let count = self.stream.read(rest).await?;
            ensure!(count > 0, "ingest closed a connection");
            filled += count;
            let seen = self.answer.get(..filled).unwrap_or_default();
            if let Some((status, length)) = read(seen)? {
                ensure!(filled <= length, "ingest answered more than was asked");
                if filled == length {
                    return Ok(status);
                }
            }
        }
    }
}

/// Status and whole length of an answer, once its head is there.
fn read(answer: &[u8]) -> Result<Option<(u16, usize)>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = answer.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let text = str::from_utf8(answer.get(..head).unwrap_or_default())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some((status, head + END.len() + length))),
        _ => bail!("ingest answered {text:?}"),
    }
}
