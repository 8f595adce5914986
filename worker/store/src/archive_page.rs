//! The bytes of events: laid out on pages, compressed, and back. Pure but for the
//! random part of a page's number.
//!
//! The events of one batch go onto one page. They resemble each other, so that a
//! page is compressed faster, and to a third of the size, than its events one by
//! one; and it is one row.

use std::io::{self, Read};

use chrono::{DateTime, Utc};

/// Events are a few kilobytes of JSON. Higher levels take several times as long
/// for a tenth less.
const LEVEL: i32 = 1;
/// The bytes after which a page is full, so that one event can be read back in
/// little memory.
const FULL: usize = 4 * 1024 * 1024;
/// The most bytes that are read back from one page: a full one, and an event of
/// the largest size that brokers take.
const MOST: u64 = 132 * 1024 * 1024;

/// Whether the bytes of events are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchivePolicy {
    /// `KEEP_EVENTS_DAYS=0`.
    Never,
    /// For as long as pruning leaves them.
    Compressed,
}

/// Events that go onto one page.
#[derive(Debug)]
pub struct PageBuilder<'a> {
    /// The page's number.
    pub id: i64,
    /// Ids and bytes.
    events: Vec<(&'a str, &'a [u8])>,
}

/// A page as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePage {
    /// The ids of its events, in order.
    pub event_ids: Vec<String>,
    /// Where each event but the last ends.
    pub ends: Vec<i32>,
    /// The events' bytes one behind the other, compressed.
    pub bytes: Vec<u8>,
}

/// Lays events out on as many pages as it takes.
pub fn paginate<'a>(events: &[(&'a str, &'a [u8])], now: DateTime<Utc>) -> Vec<PageBuilder<'a>> {
    let mut pages: Vec<PageBuilder<'a>> = Vec::new();
    let mut room = 0;
    for (id, body) in events {
        match pages.last_mut() {
            Some(page) if body.len() <= room => page.events.push((id, body)),
            _ => {
                room = FULL;
                pages.push(PageBuilder {
                    id: number(now),
                    events: vec![(id, body)],
                });
            }
        }
        room = room.saturating_sub(body.len());
    }
    pages
}

/// Milliseconds since 1970, then 20 random bits: pages are stored one behind the
/// other, and two workers hardly ever choose the same. Should they, one batch
/// fails and is tried again.
fn number(now: DateTime<Utc>) -> i64 {
    now.timestamp_millis() << 20 | i64::from(fastrand::u32(..1 << 20))
}

impl<'a> PageBuilder<'a> {
    /// The ids of its events.
    pub fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.events.iter().map(|(id, _)| *id)
    }

    /// The page to store.
    pub fn compress(&self) -> io::Result<ArchivePage> {
        let length = self.events.iter().map(|(_, body)| body.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        let mut ends = Vec::with_capacity(self.events.len());
        for (_, body) in &self.events {
            bytes.extend_from_slice(body);
            ends.push(i32::try_from(bytes.len()).map_err(io::Error::other)?);
        }
        ends.pop();
        Ok(ArchivePage {
            event_ids: self.ids().map(str::to_owned).collect(),
            ends,
            bytes: zstd::bulk::compress(&bytes, LEVEL)?,
        })
    }
}

impl ArchivePage {
    /// The page without some of its events, and how many these are; `None` where no event is
    /// left.
    ///
    /// # Errors
    /// As [`ArchivePage::events`].
    pub fn without(
        &self,
        is_erased: impl Fn(&str, &[u8]) -> bool,
    ) -> io::Result<(Option<Self>, usize)> {
        let events = self.events()?;
        let left = events.iter().filter(|(id, body)| !is_erased(id, body));
        let left: Vec<(&str, &[u8])> = left.map(|(id, body)| (*id, body.as_slice())).collect();
        let erased = events.len() - left.len();
        if left.is_empty() {
            return Ok((None, erased));
        }
        let builder = PageBuilder {
            id: 0,
            events: left,
        };
        Ok((Some(builder.compress()?), erased))
    }

    /// Its events: ids, and the bytes as Stripe signed them.
    ///
    /// # Errors
    /// The page is not what [`PageBuilder::compress`] made.
    pub fn events(&self) -> io::Result<Vec<(&str, Vec<u8>)>> {
        let mut bytes = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(self.bytes.as_slice())?;
        decoder.take(MOST).read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let mut start = 0;
        let mut events = Vec::with_capacity(self.event_ids.len());
        for (index, id) in self.event_ids.iter().enumerate() {
            let length = match self.ends.get(index) {
                Some(end) => {
                    let end = usize::try_from(*end).map_err(io::Error::other)?;
                    let length = end.checked_sub(start);
                    start = end;
                    length.ok_or(io::ErrorKind::InvalidData)?
                }
                None => rest.len(),
            };
            let (body, behind) = rest
                .split_at_checked(length)
                .ok_or(io::ErrorKind::InvalidData)?;
            events.push((id.as_str(), body.to_vec()));
            rest = behind;
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_come_back() {
        let bodies: Vec<(String, Vec<u8>)> = (0..200)
            .map(|n| {
                let body = format!(r#"{{"id": "evt_{n}", "object": "event", "livemode": true}}"#);
                (format!("evt_{n}"), body.into_bytes())
            })
            .collect();
        let events: Vec<(&str, &[u8])> = bodies
            .iter()
            .map(|(id, body)| (id.as_str(), body.as_slice()))
            .collect();
        let pages = paginate(&events, DateTime::UNIX_EPOCH);
        assert_eq!(pages.len(), 1);
        let page = pages[0].compress().unwrap();
        let length: usize = bodies.iter().map(|(_, body)| body.len()).sum();
        assert!(page.bytes.len() < length / 5);
        let back: Vec<(String, Vec<u8>)> = page
            .events()
            .unwrap()
            .into_iter()
            .map(|(id, body)| (id.to_owned(), body))
            .collect();
        assert_eq!(back, bodies);
        assert!(paginate(&[], DateTime::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn a_full_page_is_followed_by_another() {
        let large = vec![b'x'; FULL - 1];
        let events: [(&str, &[u8]); 5] = [
            ("evt_1", b"{}"),
            ("evt_2", &large),
            ("evt_3", b"1"),
            ("evt_4", b"2"),
            ("evt_5", &[b'y'; FULL + 1]),
        ];
        let pages = paginate(&events, DateTime::UNIX_EPOCH);
        let ids: Vec<Vec<&str>> = pages.iter().map(|page| page.ids().collect()).collect();
        assert_eq!(
            ids,
            [
                vec!["evt_1"],
                vec!["evt_2", "evt_3"],
                vec!["evt_4"],
                vec!["evt_5"]
            ]
        );
        for builder in &pages {
            let page = builder.compress().unwrap();
            for ((id, body), (back_id, back)) in builder.events.iter().zip(page.events().unwrap()) {
                assert_eq!((*id, *body), (back_id, back.as_slice()));
            }
        }
    }

    #[test]
    fn a_page_without_some_events_has_the_others() {
        let events: [(&str, &[u8]); 3] = [("evt_1", b"{}"), ("evt_2", b"two"), ("evt_3", b"3")];
        let page = paginate(&events, DateTime::UNIX_EPOCH)[0]
            .compress()
            .unwrap();
        let (left, erased) = page
            .without(|id, body| id == "evt_1" || body == b"3")
            .unwrap();
        let left = left.unwrap();
        assert_eq!(left.events().unwrap(), [("evt_2", b"two".to_vec())]);
        assert_eq!(erased, 2);
        assert_eq!(page.without(|_, _| true).unwrap(), (None, 3));
        assert_eq!(page.without(|_, _| false).unwrap(), (Some(page.clone()), 0));
    }

    #[test]
    fn what_nobody_made_is_refused() {
        let events: [(&str, &[u8]); 2] = [("evt_1", b"{}"), ("evt_2", b"{}")];
        let page = paginate(&events, DateTime::UNIX_EPOCH)[0]
            .compress()
            .unwrap();
        for ends in [vec![9], vec![-1]] {
            assert!(
                ArchivePage {
                    ends,
                    ..page.clone()
                }
                .events()
                .is_err()
            );
        }
        let bytes = b"not zstd".to_vec();
        assert!(ArchivePage { bytes, ..page }.events().is_err());
    }
}
