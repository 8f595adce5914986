//! Attackers in a hurry.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Aim, Attack};
use crate::{client::Client, random};

/// Requests that one attacker sends in all.
const ENOUGH: usize = 3_200;
/// Requests in one go of a pipeline.
const PIPELINE: usize = 100;
/// Bytes in a giant head.
const GIANT: usize = 1024 * 1024;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two requests that are not meant to be many.
const PAUSE: Duration = Duration::from_millis(50);

/// One attacker, until it has had enough.
pub(super) async fn flood(attack: Attack, aim: &Aim, number: usize) {
    let mut sent = 0;
    while sent < ENOUGH {
        match once(attack, aim, number, &mut sent).await {
            Ok(()) => {}
            Err(_) => {
                aim.spoils.note("connections lost");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One connection.
async fn once(attack: Attack, aim: &Aim, number: usize, sent: &mut usize) -> Result<()> {
    let forged = format!("t={},v1={}", crate::stripe::now(), random::hex(32));
    let body = &aim.overheard.0;
    match attack {
        Attack::Forged => {
            let request = request(&forged, "", body);
            let mut client = Client::connect(aim.address).await?;
            while *sent < ENOUGH {
                aim.spoils.answered(client.exchange(&request).await?);
                *sent += 1;
            }
            Ok(())
        }
        Attack::Pipelined => {
            *sent += PIPELINE;
            raw(aim, &request(&forged, "", body).repeat(PIPELINE)).await
        }
        Attack::GiantHeads => {
            *sent += 1;
            let giant = format!("x-giant: {}\r\n", "a".repeat(GIANT));
            raw(aim, &request(&forged, &giant, body)).await
        }
        Attack::Compressed => {
            *sent += 1;
            // The head of a gzip file and rubbish: nobody is to look inside.
            let bomb = [&[0x1f, 0x8b, 8, 0][..], &[0; 4096]].concat();
            raw(aim, &request(&forged, "content-encoding: gzip\r\n", &bomb)).await
        }
        Attack::LyingLengths => {
            *sent += 1;
            raw(aim, &lie(&forged, body, number + *sent)).await
        }
        _ => {
            *sent += 1;
            raw(aim, &request(&aim.overheard.1, "", body)).await
        }
    }
}

fn request(signature: &str, further: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n{further}", body.len());
    with_length(signature, &length, body)
}

fn with_length(signature: &str, length: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         stripe-signature: {signature}\r\n{length}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A length that is not the body's: too long, too short, twice, negative, or
/// beside chunks.
fn lie(signature: &str, body: &[u8], number: usize) -> Vec<u8> {
    let length = body.len();
    let lie = match number % 5 {
        0 => format!("content-length: {}\r\n", length + 1000),
        1 => format!("content-length: {}\r\n", length / 2),
        2 => format!(
            "content-length: {length}\r\ncontent-length: {}\r\n",
            length - 1
        ),
        3 => "content-length: -1\r\n".to_owned(),
        _ => format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
    };
    with_length(signature, &lie, body)
}

/// Sends bytes, says that nothing more comes, and reads what is answered.
async fn raw(aim: &Aim, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(aim.address).await?;
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut answer).await
    };
    let _ = timeout(PATIENCE, exchange).await;
    let answer = String::from_utf8_lossy(&answer);
    let statuses = answer.lines().filter_map(|line| {
        let status = line.strip_prefix("HTTP/1.1 ")?;
        status.get(..3)?.parse().ok()
    });
    statuses.for_each(|status| aim.spoils.answered(status));
    sleep(PAUSE).await;
    Ok(())
}
