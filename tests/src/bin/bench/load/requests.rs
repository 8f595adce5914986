//! The requests, signed ahead of the measurement.
//!
//! What is kept of each is its signature alone: a body is a function of its
//! number, and writing it again costs less than a microsecond.

use harness::{client::HEAD, stripe};

use crate::events::{Events, Stream};

/// Signed events, ready to be sent.
#[derive(Debug)]
pub(super) struct Requests {
    stream: Stream,
    first: u64,
    signatures: Vec<Box<str>>,
}

impl Requests {
    /// Signs all of them, with the time of now.
    pub(super) fn sign(events: &Events, secret: &str) -> Self {
        let stream = Stream::of(events);
        let mut body = Vec::new();
        let signatures = events.range.clone().map(|number| {
            body.clear();
            stream.write_body(&stream.event(number), &mut body);
            stripe::sign(secret, stripe::now(), &body).into_boxed_str()
        });
        let signatures = signatures.collect();
        Self {
            first: events.range.start,
            stream,
            signatures,
        }
    }

    /// Writes the request at this place into the buffer; `None` past the last.
    pub(super) fn write(&self, place: usize, buffer: &mut Buffer) -> Option<()> {
        let signature = self.signatures.get(place)?;
        let number = self.first + u64::try_from(place).ok()?;
        let Buffer { request, body } = buffer;
        body.clear();
        self.stream.write_body(&self.stream.event(number), body);
        request.clear();
        request.extend_from_slice(HEAD);
        request.extend_from_slice(signature.as_bytes());
        request.extend_from_slice(b"\r\ncontent-length: ");
        request.extend_from_slice(body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(body);
        Some(())
    }

    /// The id of the event at this place.
    pub(super) fn id(&self, place: usize) -> String {
        let number = self.first + u64::try_from(place).unwrap_or_default();
        self.stream.id(&self.stream.event(number))
    }
}

/// Room for one request, used again and again.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) request: Vec<u8>,
    body: Vec<u8>,
}
