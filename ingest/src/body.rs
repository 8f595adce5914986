//! Reading a request's body within its bounds: bytes, time, and the bytes held
//! by all requests together.

use crate::limits::{Limits, MAX_BODY};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How much of a body that nobody wants is read all the same, in bytes. A
/// client that is still sending when the connection closes would see a reset
/// instead of the answer.
const DISCARDED: usize = 8 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than [`MAX_BODY`].
    TooLarge,
    /// Not there within `limits.body`.
    TooSlow,
    /// Cut off, or not HTTP.
    Broken,
    /// All requests together hold too many bytes already.
    NoRoom,
}

/// A body, and its share of the bytes that may be held.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) share: Share,
}

/// A share of the bytes that may be held, given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

/// The bytes that all requests together may hold.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Semaphore::new(limits.held_bytes)))
    }

    /// Reads a whole body.
    pub(crate) async fn read(&self, body: Incoming, within: Duration) -> Result<Held, BodyError> {
        match timeout(within, self.collect(body)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(BodyError::TooSlow),
        }
    }

    async fn collect(&self, mut body: Incoming) -> Result<Held, BodyError> {
        let mut share = self.share(0)?;
        let mut collected = Collected::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Ok(data) = frame.into_data() else {
                continue; // Trailers.
            };
            if collected.len() + data.len() > MAX_BODY {
                drop((collected, share));
                discard(body).await;
                return Err(BodyError::TooLarge);
            }
            match self.share(data.len()) {
                Ok(more) => share.merge(more),
                Err(no_room) => {
                    drop((collected, share, data));
                    discard(body).await;
                    return Err(no_room);
                }
            }
            collected.push(data);
        }
        Ok(Held {
            bytes: collected.into_bytes(),
            share,
        })
    }

    fn share(&self, bytes: usize) -> Result<Share, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::NoRoom)?;
        let share = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        share.map_err(|_| BodyError::NoRoom)
    }
}

/// Body frames in one piece; a single frame is not copied.
#[derive(Default)]
enum Collected {
    #[default]
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Collected {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity(2 * (first.len() + data.len()));
                bytes.extend_from_slice(&first);
                bytes.extend_from_slice(&data);
                Self::Many(bytes)
            }
            Self::Many(mut bytes) => {
                bytes.extend_from_slice(&data);
                Self::Many(bytes)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Reads a body that nobody wants, within bounds, and keeps nothing of it.
pub(crate) async fn discard(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DISCARDED {
                break;
            }
        }
    };
    let _elapsed = timeout(DISCARD_TIMEOUT, reading).await;
}
