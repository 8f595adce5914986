//! Attackers who take their time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::Aim;

/// A head that never ends.
pub(super) const HEAD: &[u8] = b"POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ";
/// A head whose body never ends.
pub(super) const HEAD_OF_BODY: &[u8] = b"POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1\r\n\
    stripe-signature: t=1,v1=00\r\ncontent-length: 100000\r\n\r\n";

/// Not all at the same moment.
async fn stagger(number: usize) {
    let millis = u64::try_from(number % 1000).unwrap_or(0);
    sleep(Duration::from_millis(millis)).await;
}

/// Sends a beginning, and then a byte a second until the connection is closed;
/// then once more.
pub(super) async fn drip(aim: &Aim, beginning: &[u8], number: usize) {
    const PAUSE: Duration = Duration::from_secs(1);
    stagger(number).await;
    loop {
        if let Ok(mut stream) = TcpStream::connect(aim.address).await
            && stream.write_all(beginning).await.is_ok()
        {
            aim.spoils.note("slow requests");
            while stream.write_all(b"a").await.is_ok() {
                sleep(PAUSE).await;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Holds a connection until it is closed; then another.
pub(super) async fn idle(aim: &Aim, number: usize) {
    const PAUSE: Duration = Duration::from_millis(500);
    stagger(number).await;
    loop {
        match TcpStream::connect(aim.address).await {
            Ok(mut stream) => {
                aim.spoils.note("idle connections");
                let _ = stream.read(&mut [0; 1]).await;
            }
            Err(_) => aim.spoils.note("idle connections refused"),
        }
        sleep(PAUSE).await;
    }
}
