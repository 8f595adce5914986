//! Every schedule of a broker that delivers, of the reading and of a worker that
//! takes sets and stops at some moment.

use super::{Batch, BatchReader, decode_all, next_batch};
use crate::pipeline::delivery::Decoder;
use domain::{
    event::{Event, Rejected, Rules},
    rejection::Rejection,
};
use event::Mode;
use futures_util::stream;
use harness::schedules::{Task, every, turn};
use lapin::{Error, ErrorKind, message::Delivery};
use std::{cell::RefCell, rc::Rc};
use tokio::sync::mpsc;

/// Panics at the second delivery.
fn crashing(body: &[u8], rules: &Rules) -> Result<Event, Rejected> {
    assert_ne!(body, b"2", "on purpose");
    reader(body, rules)
}

fn reader(_body: &[u8], _rules: &Rules) -> Result<Event, Rejected> {
    Err(Rejected {
        header: None,
        rejection: Rejection::InvalidBookingId,
    })
}

fn reading(reader: Reader) -> Reading {
    Reading {
        rules: Rules {
            mode: Mode::Test,
            booking_key: "bookingId".into(),
        },
        reader,
    }
}

/// What the worker has seen: tags taken, tags crashed, and errors.
#[derive(Debug, Default)]
struct Seen {
    units: Vec<Vec<u64>>,
    crashed: Vec<u64>,
    errors: usize,
}

impl Seen {
    fn note(&mut self, unit: lapin::Result<Gathered>) {
        match unit {
            Ok(unit) => {
                let taken = unit.taken.iter();
                self.units
                    .push(taken.map(|(delivery, _)| delivery.delivery_tag).collect());
                let crashed = unit.crashed.iter();
                self.crashed
                    .extend(crashed.map(|delivery| delivery.delivery_tag));
            }
            Err(_) => self.errors += 1,
        }
    }
}

/// Runs every schedule with so many deliveries, then an error of the broker, if
/// any; the worker takes at most `takes` units and stops.
fn explore(reader: Reader, count: u64, fails: bool, takes: usize, check: impl Fn(&Seen)) -> usize {
    let ends: RefCell<Vec<Rc<RefCell<Seen>>>> = RefCell::default();
    let schedules = every(|| {
        let seen = Rc::<RefCell<Seen>>::default();
        ends.borrow_mut().push(Rc::clone(&seen));
        let (deliver, mut delivered) = mpsc::unbounded_channel();
        let delivered = stream::poll_fn(move |cx| delivered.poll_recv(cx));
        // Room for two, so that reading has to wait as well.
        let (ready, mut reads) = mpsc::channel(2);
        let broker: Task<'_> = Box::pin(async move {
            for tag in 1..=count {
                let body = tag.to_string().into_bytes();
                let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
                let delivery = Delivery::mock(tag, exchange, key, false, body);
                // Nobody listens once the worker has stopped.
                let _gone = deliver.send(Ok(delivery));
                turn().await;
            }
            if fails {
                let error = Error::from(ErrorKind::InvalidChannel(1));
                let _gone = deliver.send(Err(error));
            }
        });
        let reading = Box::pin(read_all(delivered, reading(reader), ready));
        let worker = Box::pin(async move {
            for _ in 0..takes {
                let Some(unit) = set(&mut reads).await else {
                    return;
                };
                seen.borrow_mut().note(unit);
                turn().await;
            }
        });
        vec![broker, reading, worker]
    });
    for seen in ends.borrow().iter() {
        check(&seen.borrow());
    }
    schedules
}

#[test]
fn every_delivery_is_taken_once_and_in_order() {
    let schedules = explore(reader, 4, false, usize::MAX, |seen| {
        assert_eq!(seen.units.concat(), [1, 2, 3, 4]);
        assert!(seen.crashed.is_empty() && seen.errors == 0);
    });
    println!("{schedules} schedules");
    assert!(schedules > 1000, "{schedules}");
}

#[test]
fn a_delivery_that_crashes_its_handler_is_given_back() {
    explore(crashing, 2, false, usize::MAX, |seen| {
        assert_eq!((seen.units.concat(), &seen.crashed), (vec![1], &vec![2]));
    });
}

#[test]
fn a_set_is_what_is_there_when_it_is_taken() {
    let cuts = RefCell::new(Vec::new());
    explore(reader, 2, false, usize::MAX, |seen| {
        cuts.borrow_mut().push(seen.units.len());
    });
    // One by one, and both at once.
    assert!(cuts.borrow().contains(&1) && cuts.borrow().contains(&2));
}

/// What was in the set with it comes again: it could not be acked any more.
#[test]
fn the_brokers_error_is_seen_once_and_nothing_is_taken_behind_it() {
    explore(reader, 3, true, usize::MAX, |seen| {
        let taken = seen.units.concat();
        assert_eq!(taken, [1, 2, 3][..taken.len()]);
        assert_eq!(seen.errors, 1);
    });
}

/// Whatever is not taken by then is neither lost nor taken out of order: it is
/// still the broker's.
#[test]
fn a_worker_that_stops_ends_the_reading() {
    explore(reader, 3, false, 1, |seen| {
        let taken: Vec<u64> = seen.units.concat();
        let first: Vec<u64> = (1..=taken.len() as u64).collect();
        assert_eq!(taken, first);
        assert!(seen.units.len() <= 1);
    });
}

/// The sizes of the units that bodies of these sizes are taken in.
async fn units(bodies: &[usize]) -> Vec<usize> {
    let (ready, mut reads) = mpsc::channel(bodies.len());
    for size in bodies {
        let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
        let mut delivery = Delivery::mock(1, exchange, key, false, vec![b' '; *size]);
        let item = reading(reader).item(&mut delivery);
        ready.send(Ok((delivery, item))).await.unwrap();
    }
    drop(ready);
    let mut sizes = Vec::new();
    while let Some(unit) = set(&mut reads).await {
        sizes.push(unit.unwrap().taken.len());
    }
    sizes
}

#[tokio::test]
async fn a_unit_is_bounded_in_number_and_in_bytes() {
    assert_eq!(units(&[1; 501]).await, [500, 1]);
    assert_eq!(units(&[6 << 20; 5]).await, [3, 2]);
    assert_eq!(units(&[16 << 20, 1]).await, [1, 1]);
}

#[tokio::test]
async fn nothing_is_read_for_a_worker_that_is_gone() {
    let reading = tokio::spawn(std::future::pending::<()>());
    let (ready, read) = mpsc::channel(1);
    let mut gathering = Gathering {
        read,
        task: reading.abort_handle(),
    };
    let delivery = Delivery::mock(1, "x".into(), "y".into(), false, Vec::new());
    ready.send(Ok((delivery, None))).await.unwrap();
    let unit = gathering.next().await.unwrap().unwrap();
    assert_eq!((unit.taken.len(), unit.crashed.len()), (0, 1));
    drop(gathering);
    assert!(reading.await.unwrap_err().is_cancelled());
}
