//! Attacks by events of a host's own, and what one further event, and one look for bookings,
//! costs afterwards: it is counted by the rows that Postgres reads and writes.
//!
//! The usual run sends a fiftieth of an attack. `make hostile` sends all of it, and prints
//! the times as well.

use std::time::{Duration, Instant};

use super::{Lab, delivery};
use harness::{
    stripe::{Event, Invoice},
    test_servers::roles,
    wait::{self, Seen},
};
use shared::config::Env;
use store::{Database, archive_page::ArchivePolicy};
use tokio_util::sync::CancellationToken;
use worker::{
    jobs::project_pending::ProjectPending,
    pipeline::{
        delivery::Delivery,
        executor::{BatchExecutor, Disposition},
    },
};

/// Events in one batch of the attack.
const BATCH: usize = 500;
/// Bookings that the main app has. Those of the attacks are behind them, or far behind.
const BOOKINGS: i32 = 1000;
/// A booking that only a stranger names is this one, or one after it.
const STRANGERS: usize = 900;
/// Numbers of events that come after an attack: no attack has so many.
pub const LATER: usize = 1_000_000;
/// The pages of one look for bookings, as the job makes it.
const PAGES: usize = 10;
/// An attack is looked at after so many events at the earliest: what is bounded by a
/// constant has reached it.
const LEAST: usize = 120;
/// The newest bookings, and a few rows beside them.
pub const NEWEST: i64 = 250;
/// Those, and two rows for each object of ten pages.
pub const TEN_PAGES: i64 = 10_000 + NEWEST;
/// How often each thing is timed.
const TIMES: usize = 60;

/// What hosts do, and how the deployment is set up.
#[derive(Clone, Copy)]
pub struct Attack {
    pub name: &'static str,
    /// How many events.
    pub events: usize,
    /// The nth of them.
    pub event: fn(usize) -> Event,
    pub owner_query: Option<&'static str>,
    /// The most rows that one look for bookings may read.
    pub look: i64,
}

/// An event by which a host's invoice names a booking, or none.
pub fn named(number: usize, invoice: &str, booking: Option<usize>) -> Event {
    let object = Invoice {
        id: invoice.to_owned(),
        booking: booking.map(|booking| booking.to_string()),
        ..Invoice::default()
    };
    let event = Event::new(&format!("evt_{number}"), "invoice.updated", object.value());
    let at = event.created + i64::try_from(number).unwrap();
    event.of_account("acct_hostile").at(at)
}

/// An event of somebody else, of a booking of its own.
fn of_stranger(number: usize) -> Event {
    let booking = STRANGERS + number % 100;
    let mut event = named(number, &format!("in_stranger_{number}"), Some(booking));
    event.id = format!("evt_stranger_{number}");
    event.of_account("acct_stranger")
}

/// How many events an attack has in this run.
fn share(all: usize) -> usize {
    match is_whole() {
        true => all,
        false => all / 50,
    }
}

/// Whether this run is the long one.
pub fn is_whole() -> bool {
    let env = Env::from_process();
    env.optional("HOSTILE").unwrap() == Some("whole")
}

/// What the database did.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Rows that were read or written.
    pub rows: i64,
    /// Pages of tables and indexes that were looked at.
    pub pages: i64,
}

impl Cost {
    async fn so_far(lab: &Lab) -> Self {
        let row = lab
            .client
            .query_one(
                "SELECT (SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins \
                    + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables), \
                 (SELECT coalesce(sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit, 0) \
                    + coalesce(idx_blks_read, 0)), 0)::bigint FROM pg_statio_user_tables)",
                &[],
            )
            .await
            .unwrap();
        Self {
            rows: row.get(0),
            pages: row.get(1),
        }
    }

    /// What the work of one executor costs. A session hands its counts over when it ends.
    async fn of(lab: &Lab, attack: &Attack, work: impl AsyncFnOnce(BatchExecutor)) -> Self {
        let before = Self::so_far(lab).await;
        work(executor(lab, attack)).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid() \
                AND backend_type = 'client backend'";
        wait::until("no session", Duration::from_secs(20), async || {
            match lab.client.query_one(sessions, &[]).await.unwrap().get(0) {
                0_i64 => Seen::Reached(()),
                left => Seen::NotYet(format!("{left} sessions")),
            }
        })
        .await
        .unwrap();
        let after = Self::so_far(lab).await;
        Self {
            rows: after.rows - before.rows,
            pages: after.pages - before.pages,
        }
    }
}

fn executor(lab: &Lab, attack: &Attack) -> BatchExecutor {
    let pool = Database::parse(lab.worker_url()).unwrap().pool();
    let owner_query = attack.owner_query.map(str::to_owned);
    BatchExecutor::new(pool, owner_query, ArchivePolicy::Compressed)
}

async fn take(executor: &BatchExecutor, events: &[Event]) {
    let bodies: Vec<Vec<u8>> = events.iter().map(Event::bytes).collect();
    let deliveries: Vec<Delivery> = bodies.iter().map(|body| delivery(body)).collect();
    let stop = CancellationToken::new();
    let done = executor.execute(&deliveries, &stop).await.unwrap();
    let is_acked = |one: &Disposition| matches!(one, Disposition::Ack(_));
    assert!(done.iter().all(is_acked), "{done:?}");
}

/// What one further event of the host, one of a stranger, and one look for bookings cost.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    pub host: Cost,
    pub stranger: Cost,
    pub look: Cost,
}

impl Costs {
    pub async fn after(lab: &Lab, attack: &Attack, number: usize) -> Self {
        let host = (attack.event)(LATER + number);
        let stop = CancellationToken::new();
        Self {
            host: Cost::of(lab, attack, async |one| take(&one, &[host]).await).await,
            stranger: Cost::of(lab, attack, async |one| {
                take(&one, &[of_stranger(number)]).await;
            })
            .await,
            look: Cost::of(lab, attack, async |one| {
                ProjectPending::new(one).poll(PAGES, &stop).await.unwrap();
            })
            .await,
        }
    }
}

/// A migrated database with the main app's bookings, of which nobody has told anything.
pub async fn empty() -> Lab {
    let lab = Lab::with_bookings(&[]).await;
    let book = format!(r#"INSERT INTO "Booking" SELECT generate_series(1, {BOOKINGS})"#);
    // A session of its own: the rows that it wrote are counted when it ends.
    let client = lab.database.connect().await.unwrap();
    client.batch_execute(&book).await.unwrap();
    roles::grant(&lab.client).await.unwrap();
    lab
}

/// Has the host tell a tenth of it and then the rest, and looks what everything costs in
/// between and afterwards.
pub async fn attacked(attack: &Attack) -> (Lab, Costs, Costs) {
    let lab = empty().await;
    let events = share(attack.events);
    let numbers: Vec<usize> = (0..events).collect();
    let (tenth, rest) = numbers.split_at((events / 10).max(LEAST));
    for numbers in tenth.chunks(BATCH) {
        let events: Vec<Event> = numbers.iter().map(|one| (attack.event)(*one)).collect();
        Cost::of(&lab, attack, async |one| take(&one, &events).await).await;
    }
    let early = Costs::after(&lab, attack, 0).await;
    for numbers in rest.chunks(BATCH) {
        let events: Vec<Event> = numbers.iter().map(|one| (attack.event)(*one)).collect();
        Cost::of(&lab, attack, async |one| take(&one, &events).await).await;
    }
    let late = Costs::after(&lab, attack, 1).await;
    println!("{}: {events} events", attack.name);
    let tenth = tenth.len();
    println!("  after {tenth} of them {early:?}\n  after all of them {late:?}");
    (lab, early, late)
}

/// Times of one further event of the host, one of a stranger, and one look.
struct Timer {
    executor: BatchExecutor,
    job: ProjectPending,
    times: [Vec<Duration>; 3],
}

impl Timer {
    fn new(lab: &Lab, attack: &Attack) -> Self {
        let executor = executor(lab, attack);
        Self {
            job: ProjectPending::new(executor.clone()),
            executor,
            times: Default::default(),
        }
    }

    async fn measure(&mut self, attack: &Attack, number: usize) {
        let events = [(attack.event)(LATER + number), of_stranger(number)];
        for (place, event) in events.iter().enumerate() {
            let start = Instant::now();
            take(&self.executor, std::slice::from_ref(event)).await;
            self.times[place].push(start.elapsed());
        }
        let start = Instant::now();
        let stop = CancellationToken::new();
        self.job.poll(PAGES, &stop).await.unwrap();
        self.times[2].push(start.elapsed());
    }

    fn medians(mut self) -> [Duration; 3] {
        self.times.each_mut().map(|all| {
            all.sort_unstable();
            all[all.len() / 2]
        })
    }
}

/// Prints how the times compare with those of an empty database. Both take turns, so that
/// both find the same machine.
pub async fn print_times(lab: &Lab, attack: &Attack) {
    if !is_whole() {
        return;
    }
    let empty = empty().await;
    let (mut ours, mut theirs) = (Timer::new(lab, attack), Timer::new(&empty, attack));
    for number in 10..TIMES + 10 {
        ours.measure(attack, number).await;
        theirs.measure(attack, number).await;
    }
    let what = ["one of the host", "one of a stranger", "one look"];
    let medians = ours.medians().into_iter().zip(theirs.medians());
    for (what, (ours, theirs)) in what.into_iter().zip(medians) {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("  {what}: {ours:.2?}, empty {theirs:.2?}, ratio {ratio:.2}");
    }
}

/// The bytes of the largest state of an invoice, and the rows of claims.
pub async fn kept(lab: &Lab) -> (i32, i64) {
    let kept = "SELECT coalesce(max(octet_length(by_claim::text)), 0), \
        (SELECT count(*) FROM stripe.booking_claim) FROM stripe.invoice";
    let row = lab.client.query_one(kept, &[]).await.unwrap();
    println!("  bytes of the largest by_claim {}", row.get::<_, i32>(0));
    println!("  rows of claims {}", row.get::<_, i64>(1));
    (row.get(0), row.get(1))
}

/// At most a fifth more, and two rows.
#[track_caller]
fn assert_flat(early: Costs, late: Costs) {
    for (early, late) in [(early.host, late.host), (early.stranger, late.stranger)] {
        let (early, late) = (early.rows, late.rows);
        assert!(late * 5 <= early * 6 + 10, "{late} rows after {early}");
    }
}

/// Runs an attack, and gives back what is kept of it.
pub async fn withstood(attack: Attack) -> (Lab, i32, i64) {
    let (lab, early, late) = attacked(&attack).await;
    assert_flat(early, late);
    let read = late.look.rows;
    assert!(read <= attack.look, "a look reads {read} rows");
    let (bytes, claims) = kept(&lab).await;
    print_times(&lab, &attack).await;
    (lab, bytes, claims)
}
