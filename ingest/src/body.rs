//! Reads a request's body within three bounds: its size, the time it takes, and
//! the bytes that all requests together buffer.

use crate::limits::{Limits, MAX_BODY};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many bytes of a refused body are read and dropped. A client that is still
/// sending when the connection closes would see a reset instead of the response.
const MAX_DISCARDED: usize = 8 * 1024 * 1024;
/// How long reading a refused body may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The body is longer than [`MAX_BODY`].
    TooLarge,
    /// The body did not arrive within `limits.body`.
    TooSlow,
    /// The connection ended inside the body, or its framing is not valid HTTP.
    Broken,
    /// All requests together already buffer as many bytes as they may.
    OverBudget,
}

/// A complete body and its part of the budget.
#[derive(Debug)]
pub(crate) struct BufferedBody {
    pub(crate) bytes: Bytes,
    pub(crate) permit: BudgetPermit,
}

/// A part of the body budget. Dropping it returns the bytes to the budget.
pub(crate) type BudgetPermit = OwnedSemaphorePermit;

/// The number of body bytes that all requests together may buffer.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Semaphore::new(limits.buffered_bytes)))
    }

    /// Reads a whole body.
    pub(crate) async fn read(
        &self,
        body: Incoming,
        within: Duration,
    ) -> Result<BufferedBody, BodyError> {
        match timeout(within, self.collect(body)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(BodyError::TooSlow),
        }
    }

    async fn collect(&self, mut body: Incoming) -> Result<BufferedBody, BodyError> {
        let mut permit = self.acquire(0)?;
        let mut collected = Collected::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Ok(data) = frame.into_data() else {
                continue; // Trailers.
            };
            let acquired = if collected.len() + data.len() > MAX_BODY {
                Err(BodyError::TooLarge)
            } else {
                self.acquire(data.len())
            };
            match acquired {
                Ok(more) => permit.merge(more),
                Err(error) => {
                    // Other requests may use the bytes while the rest is discarded.
                    drop((collected, permit, data));
                    discard(body).await;
                    return Err(error);
                }
            }
            collected.push(data);
        }
        Ok(BufferedBody {
            bytes: collected.into_bytes(),
            permit,
        })
    }

    fn acquire(&self, bytes: usize) -> Result<BudgetPermit, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::OverBudget)?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        permit.map_err(|_| BodyError::OverBudget)
    }
}

/// The data of a body's frames, joined. A single frame is not copied.
#[derive(Default)]
enum Collected {
    #[default]
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Collected {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(data),
            Self::One(first) => {
                // More frames mostly follow: the buffer need not grow for the next.
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
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Reads and drops a refused body, up to [`MAX_DISCARDED`] bytes.
pub(crate) async fn discard(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DISCARDED {
                break;
            }
        }
    };
    let _timed_out = timeout(DISCARD_TIMEOUT, reading).await;
}
