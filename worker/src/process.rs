//! One unit of work: a set of events, one transaction, a verdict for each.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::try_join;

use crate::{
    events::{
        Event, Fact, Header, Rejected,
        account::Sign,
        fields::moment,
        onboarding::{Status, onboarding},
        place::waits_for,
        rejection::Rejection,
        rejudge::rejudged,
        verdict::{Judgement, Outcome, Verdict, dead, judge},
        version::Change,
        world::{Again, World},
    },
    failure::Failure,
    hands,
    keep::{self, Keep, Sheet},
    rejudge,
    store::{
        account::{self, Transition},
        kept,
        ledger::{self, Entry, Known, Source, Standing},
        replay::{self, Ticket},
        stored::{Bookings, Stored},
        transaction,
    },
};

/// One delivery, read.
#[derive(Clone, Debug)]
pub struct Item {
    /// What the event says, or why it cannot be read.
    pub reading: Result<Event, Rejected>,
    /// When ingest received it.
    pub received_at: Option<DateTime<Utc>>,
    /// The W3C trace id of its delivery.
    pub trace_id: Option<String>,
    /// What an operator's replay has marked it with.
    pub ticket: Option<Ticket>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Item {
    /// The event's id, where it could be read.
    pub fn event_id(&self) -> Option<&str> {
        header(&self.reading).map(|header| header.id.as_str())
    }
}

/// A set of deliveries, and objects to look at again.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// The deliveries.
    pub items: &'a [Item],
    /// Objects whose missing part may be there now.
    pub again: &'a Again,
    /// Whether the bytes of what is applied are kept.
    pub keep: Keep,
}

/// What came of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// A verdict for each delivery, in their order.
    pub verdicts: Vec<Verdict>,
    /// How many earlier events turned out to be refused.
    pub refused_late: usize,
}

/// Takes a unit: all of its effects and the rows that say so are committed
/// together, or nothing is.
///
/// # Errors
/// [`Failure`]; nothing was changed.
pub async fn process(
    conn: &mut AsyncPgConnection,
    bookings: Bookings<'_>,
    unit: Unit<'_>,
    now: DateTime<Utc>,
) -> Result<Done, Failure> {
    conn.transaction(async |conn| apply(conn, bookings, unit, now).await)
        .await
}

async fn apply(
    conn: &AsyncPgConnection,
    bookings: Bookings<'_>,
    unit: Unit<'_>,
    now: DateTime<Utc>,
) -> Result<Done, Failure> {
    let said = unit.items.iter().flat_map(|item| &item.reading);
    let mut world = World::around(said, unit.again);
    let mut stored = Stored::default();
    // All in one round trip. What is polled first is sent first, and Postgres
    // answers in that order: what is read is read after the turn has come.
    let ((), fresh, ()) = try_join!(
        async { Ok::<_, Failure>(transaction::take_turn(conn).await?) },
        fresh(conn, unit.items),
        async { Ok(stored.fill(conn, &mut world, bookings).await?) },
    )?;
    let joined: Vec<Result<Change, Rejection>> = events(unit.items, &fresh)
        .map(|event| world.join(event))
        .collect();
    stored.fill(conn, &mut world, bookings).await?;

    let owners = world.owners();
    let placed = world.place(&owners);
    let mut joined = joined.into_iter();
    let verdicts: Vec<Judgement> = unit
        .items
        .iter()
        .zip(&fresh)
        .map(|(item, fresh)| match (&item.reading, fresh) {
            (_, Freshness::Duplicate) => (Verdict::Duplicate, None),
            (Err(rejected), _) => dead(rejected.rejection.clone()),
            (Ok(event), fresh) => {
                let change = joined.next().unwrap_or(Ok(Change::Unchanged));
                let object = event.kind().zip(event.object_id());
                let waiting = object.and_then(|(kind, id)| waits_for(&placed, kind, id));
                judge(event, change, &owners, waiting, fresh.is_again())
            }
        })
        .collect();

    let rejudged = rejudged(&world, stored.claims(), &placed, &owners);
    let again = accounts_again(unit.items, &fresh);
    let transitions = transitions(events(unit.items, &fresh));
    let kept = kept(unit, &fresh, &verdicts);
    let sheets = keep::lay_out(&kept, now);
    let entries = entries(unit.items, &verdicts, &sheets);
    // No two of these touch the same row in a way that their order would show.
    let (.., refused_late, ()) = try_join!(
        async { Ok(stored.write(conn, &world, &placed, &again, now).await?) },
        async { Ok(account::note(conn, &transitions).await?) },
        async { Ok(ledger::write(conn, &entries).await?) },
        hands::note(conn, unit.items, &fresh, &verdicts),
        rejudge::write(conn, &rejudged, now),
        store_pages(conn, &sheets),
    )?;
    drop((placed, rejudged));
    // Thousands of small pieces: freed while Postgres commits.
    tokio::spawn(async move { drop((world, stored)) });
    Ok(Done {
        verdicts: verdicts.into_iter().map(|(verdict, _)| verdict).collect(),
        refused_late,
    })
}

/// Whether an event still has to have its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It is seen for the first time.
    New,
    /// It was dead or for nobody, and is judged again.
    Again {
        /// Whether its bytes were kept then.
        is_kept: bool,
    },
    /// It had its effect, and an operator wants it judged again.
    Asked,
    /// It had its effect, or has it earlier in this unit.
    Duplicate,
}

impl Freshness {
    /// Whether it was judged before and is judged again.
    pub(crate) fn is_again(self) -> bool {
        matches!(self, Self::Again { .. } | Self::Asked)
    }
}

async fn fresh(conn: &AsyncPgConnection, items: &[Item]) -> Result<Vec<Freshness>, Failure> {
    let ids: Vec<&str> = items
        .iter()
        .filter_map(|item| Some(header(&item.reading)?.id.as_str()))
        .collect();
    let tickets: Vec<&Ticket> = items
        .iter()
        .filter_map(|item| item.ticket.as_ref())
        .collect();
    let known = ledger::known(conn, &ids).await?;
    let unused = replay::unused(conn, &tickets).await?;
    let readable: BTreeSet<&str> = items
        .iter()
        .filter_map(|item| Some(item.reading.as_ref().ok()?.header.id.as_str()))
        .collect();
    let mut judged = BTreeSet::new();
    Ok(items
        .iter()
        .map(|item| {
            let Some(header) = header(&item.reading) else {
                return Freshness::New;
            };
            let asked = item
                .ticket
                .as_ref()
                .is_some_and(|ticket| unused.contains(ticket));
            // Two endpoints can bring one event in two API versions.
            if item.reading.is_err() && readable.contains(header.id.as_str()) {
                return Freshness::Duplicate;
            }
            let is_for_us = !matches!(&item.reading, Ok(event) if event.is_ignored());
            let freshness = match known.get(&header.id) {
                None => Freshness::New,
                Some(Known { standing, is_kept }) => match standing {
                    Standing::Dead => Freshness::Again { is_kept: *is_kept },
                    // Another mode or an older release took it for nobody's.
                    Standing::Ignored if is_for_us => Freshness::Again { is_kept: *is_kept },
                    _ if asked => Freshness::Asked,
                    Standing::Ignored | Standing::Settled => Freshness::Duplicate,
                },
            };
            if freshness != Freshness::Duplicate && !judged.insert(&header.id) {
                return Freshness::Duplicate;
            }
            freshness
        })
        .collect())
}

pub(crate) fn header(reading: &Result<Event, Rejected>) -> Option<&Header> {
    match reading {
        Ok(event) => Some(&event.header),
        Err(rejected) => rejected.header.as_deref(),
    }
}

/// The events that were read and are not duplicates, in the order of the items.
fn events<'a>(items: &'a [Item], fresh: &'a [Freshness]) -> impl Iterator<Item = &'a Event> {
    items
        .iter()
        .zip(fresh)
        .filter(|(_, fresh)| **fresh != Freshness::Duplicate)
        .filter_map(|(item, _)| item.reading.as_ref().ok())
}

/// The accounts of events that were judged before.
fn accounts_again<'a>(items: &'a [Item], fresh: &[Freshness]) -> BTreeSet<&'a str> {
    let again = items
        .iter()
        .zip(fresh)
        .filter(|(_, fresh)| fresh.is_again());
    again
        .filter_map(|(item, _)| match &item.reading.as_ref().ok()?.fact {
            Fact::Account(fact) => Some(fact.id.as_str()),
            Fact::Invoice(_) | Fact::Session(_) | Fact::Ignored(_) => None,
        })
        .collect()
}

/// The events whose bytes are to be kept: not those that are not for us, which
/// nobody asks for again, nor those that are kept already.
fn kept<'a>(
    unit: Unit<'a>,
    fresh: &[Freshness],
    verdicts: &[Judgement],
) -> Vec<(&'a str, &'a [u8])> {
    let judged = unit.items.iter().zip(fresh).zip(verdicts);
    judged
        .filter(|_| unit.keep == Keep::Compressed)
        .filter_map(|((item, fresh), (verdict, _))| match (fresh, verdict) {
            // One that is dead for its claim alone may be accepted after all, and
            // refused again, whatever becomes of its dead letter meanwhile.
            (
                Freshness::New | Freshness::Again { is_kept: false },
                Verdict::Settled(Outcome::Applied | Outcome::Stale | Outcome::Waiting)
                | Verdict::Dead(Rejection::BookingClaimedByOtherAccount { .. }),
            ) => Some((item.event_id()?, item.body.as_slice())),
            _ => None,
        })
        .collect()
}

/// Compresses the pages while Postgres works on what it was sent before.
async fn store_pages(conn: &AsyncPgConnection, sheets: &[Sheet<'_>]) -> Result<(), Failure> {
    tokio::task::yield_now().await;
    for sheet in sheets {
        match sheet.compress() {
            Ok(page) => kept::store(conn, sheet.id, &page).await?,
            // Compressing to memory does not fail. Without the bytes the events
            // could only not be replayed.
            Err(error) => tracing::error!(%error, "the bytes of events are not kept"),
        }
    }
    Ok(())
}

fn entries(items: &[Item], verdicts: &[Judgement], sheets: &[Sheet<'_>]) -> Vec<Entry> {
    let pages: HashMap<&str, i64> = sheets
        .iter()
        .flat_map(|sheet| sheet.ids().map(|id| (id, sheet.id)))
        .collect();
    items
        .iter()
        .zip(verdicts)
        .filter_map(|(item, (verdict, reason))| {
            let outcome = match verdict {
                Verdict::Settled(outcome) => *outcome,
                Verdict::Dead(_) => Outcome::Dead,
                Verdict::Duplicate => return None,
            };
            let header = header(&item.reading)?;
            let event = item.reading.as_ref().ok();
            Some(Entry {
                id: header.id.clone(),
                event_type: header.event_type.clone(),
                account: header.account.clone(),
                api_version: header.api_version.clone(),
                livemode: header.livemode,
                created: moment(header.created),
                object_id: event.and_then(|event| event.object_id().map(str::to_owned)),
                booking: event.and_then(Event::claim).and_then(|claim| claim.booking),
                outcome,
                reason: *reason,
                received_at: item.received_at,
                trace_id: item.trace_id.clone(),
                kept_in: pages.get(header.id.as_str()).copied(),
                source: match item.ticket {
                    Some(_) => Source::Replay,
                    None => Source::Webhook,
                },
            })
        })
        .collect()
}

fn transitions<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Transition> {
    events
        .filter_map(|event| {
            let Fact::Account(fact) = &event.fact else {
                return None;
            };
            let mut transition = Transition {
                account_id: fact.id.clone(),
                event_created: moment(event.header.created),
                event_id: event.header.id.clone(),
                sign: "authorized",
                status: None,
                can_sell: None,
                disabled_reason: None,
                deadline: None,
            };
            match &fact.sign {
                Sign::Authorized => {}
                Sign::Deauthorized => {
                    transition.sign = "deauthorized";
                    transition.status = Some(Status::Disconnected.as_str());
                    transition.can_sell = Some(false);
                }
                Sign::Updated(candidate) => {
                    let shown = onboarding(&Default::default(), &candidate.after);
                    transition.sign = "updated";
                    transition.status = Some(shown.status.as_str());
                    transition.can_sell = Some(shown.can_sell);
                    transition.disabled_reason =
                        candidate.after.requirements.disabled_reason.clone();
                    transition.deadline = shown.deadline.map(moment);
                }
            }
            Some(transition)
        })
        .collect()
}
