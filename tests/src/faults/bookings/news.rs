//! What the main app hears.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;

use super::{Record, lock};
use crate::{
    faults::{stage::PREFIX, tally::Tally},
    news::Listener,
};

/// The kind of news that a booking is paid.
const PAID: &str = "booking.invoice.paid";
/// Pause before the broker is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// The news so far.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Heard {
    /// Each by its id, as it came first.
    news: BTreeMap<String, Value>,
    /// Bookings that are paid, each with the ids of the news that says so.
    pub(in super::super) paid: BTreeMap<i64, BTreeSet<String>>,
    /// The greatest version of each booking.
    versions: BTreeMap<i64, i64>,
    /// News that came again.
    pub(in super::super) repeats: usize,
    /// What must not be.
    pub(in super::super) odd: Vec<String>,
}

impl Heard {
    /// How much news there is, repeats left out.
    pub(in super::super) fn by_id(&self) -> usize {
        self.news.len()
    }

    /// How many bookings are paid.
    pub(in super::super) fn paid(&self) -> usize {
        self.paid.len()
    }

    /// Takes in a message; the booking where it is the first news that it is paid.
    fn take(&mut self, news: &Value) -> Option<i64> {
        let id = news["id"].as_str().unwrap_or_default();
        if let Some(first) = self.news.get(id) {
            self.repeats += 1;
            if first != news {
                self.odd.push(format!("{id} came with other words: {news}"));
            }
            return None;
        }
        self.news.insert(id.to_owned(), news.clone());
        let (booking, version) = (news["bookingId"].as_i64()?, news["rowVersion"].as_i64()?);
        let greatest = self.versions.entry(booking).or_default();
        if version <= *greatest {
            self.odd
                .push(format!("news came behind version {greatest}: {news}"));
        }
        *greatest = version.max(*greatest);
        match news["kind"].as_str() {
            Some(PAID) => {
                let ids = self.paid.entry(booking).or_default();
                ids.insert(id.to_owned());
                (ids.len() == 1).then_some(booking)
            }
            Some("booking.invoice.draft" | "booking.invoice.sent") => None,
            _ => {
                self.odd
                    .push(format!("nothing of the kind happened: {news}"));
                None
            }
        }
    }
}

/// Hears news, over as many connections as it takes.
pub(super) async fn hear(url: String, record: Arc<Record>, tally: Arc<Tally>) {
    loop {
        // Whatever ends it, what was not handled comes again.
        let _lost: Result<()> = session(&url, &record, &tally).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn session(url: &str, record: &Record, tally: &Tally) -> Result<()> {
    let mut listener = Listener::connect(url, PREFIX, "booking.invoice.*").await?;
    loop {
        let news = listener.next().await?;
        if let Some(booking) = lock(&record.heard).take(&news.data) {
            let begun = i32::try_from(booking).ok();
            let begun = begun.and_then(|booking| lock(&record.begun).get(&booking).copied());
            tally.answer(200, begun.map(|begun| begun.elapsed()));
        }
        news.handled().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, PAID};
    use serde_json::json;

    #[test]
    fn repeats_are_told_by_their_id_and_a_second_paid_is_not_one() {
        let news = |id: &str, version: i64| json!({ "id": id, "kind": PAID, "bookingId": 7, "rowVersion": version });
        let mut heard = Heard::default();
        assert_eq!(heard.take(&news("1", 2)), Some(7));
        assert_eq!(heard.take(&news("1", 2)), None);
        assert_eq!((heard.repeats, heard.paid(), heard.odd.len()), (1, 1, 0));
        assert_eq!(heard.take(&news("2", 1)), None);
        assert_eq!((heard.paid[&7].len(), heard.odd.len()), (2, 1));
        heard.take(&news("1", 3));
        assert_eq!(heard.odd.len(), 2, "{:?}", heard.odd);
    }
}
