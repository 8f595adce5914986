//! Every schedule of a broker that delivers, of the decoding and of a worker that takes
//! batches and stops at some moment.

use super::{Batch, BatchReader, Read, decode_all, next_batch};
use crate::pipeline::delivery::Decoder;
use domain::{
    event::{Event, Rejected},
    rejection::Rejection,
    rules::Rules,
};
use event::Mode;
use futures_util::{StreamExt, stream};
use harness::schedules::{Task, every, turn};
use lapin::{
    BasicProperties, Error, ErrorKind,
    message::Delivery as Message,
    types::{AMQPValue, FieldTable},
};
use std::{cell::RefCell, rc::Rc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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

type Decode = fn(&[u8], &Rules) -> Result<Event, Rejected>;

fn decoder(decode: Decode) -> Decoder {
    Decoder {
        rules: Rules {
            mode: Mode::Test,
            booking_key: "dialoomBookingId".into(),
            client_reference: false,
            application: None,
        },
        decode,
    }
}

/// What the worker has seen: tags taken, tags crashed, and errors.
#[derive(Debug, Default)]
struct Seen {
    batches: Vec<Vec<u64>>,
    crashed: Vec<u64>,
    errors: usize,
}

impl Seen {
    fn note(&mut self, batch: lapin::Result<Batch>) {
        match batch {
            Ok(batch) => {
                let taken = batch.deliveries.iter();
                self.batches
                    .push(taken.map(|delivery| delivery.tag).collect());
                let crashed = batch.crashed.iter();
                self.crashed.extend(crashed.map(|message| message.tag));
            }
            Err(_) => self.errors += 1,
        }
    }
}

/// Runs every schedule with so many deliveries, then an error of the broker, if
/// any; the worker takes at most `takes` batches and stops.
fn explore(decode: Decode, count: u64, fails: bool, takes: usize, check: impl Fn(&Seen)) -> usize {
    let ends: RefCell<Vec<Rc<RefCell<Seen>>>> = RefCell::default();
    let schedules = every(|| {
        let seen = Rc::<RefCell<Seen>>::default();
        ends.borrow_mut().push(Rc::clone(&seen));
        let (deliver, mut delivered) = mpsc::unbounded_channel();
        let delivered = stream::poll_fn(move |cx| delivered.poll_recv(cx));
        let (sender, mut decoded) = mpsc::unbounded_channel();
        let broker: Task<'_> = Box::pin(async move {
            for tag in 1..=count {
                let body = tag.to_string().into_bytes();
                let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
                let delivery = Message::mock(tag, exchange, key, false, body);
                // Nobody listens once the worker has stopped.
                let _gone = deliver.send(Ok(delivery));
                turn().await;
            }
            if fails {
                let error = Error::from(ErrorKind::InvalidChannel(1));
                let _gone = deliver.send(Err(error));
            }
        });
        let reading = Box::pin(decode_all(delivered, decoder(decode), sender));
        let worker = Box::pin(async move {
            for _ in 0..takes {
                let Some(batch) = next_batch(&mut decoded).await else {
                    return;
                };
                seen.borrow_mut().note(batch);
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
        assert_eq!(seen.batches.concat(), [1, 2, 3, 4]);
        assert!(seen.crashed.is_empty() && seen.errors == 0);
    });
    println!("{schedules} schedules");
    assert!(schedules > 1000, "{schedules}");
}

#[test]
fn a_delivery_that_crashes_its_handler_is_given_back() {
    explore(crashing, 2, false, usize::MAX, |seen| {
        assert_eq!((seen.batches.concat(), &seen.crashed), (vec![1], &vec![2]));
    });
}

#[test]
fn a_batch_is_what_is_there_when_it_is_taken() {
    let cuts = RefCell::new(Vec::new());
    explore(reader, 2, false, usize::MAX, |seen| {
        cuts.borrow_mut().push(seen.batches.len());
    });
    // One by one, and both at once.
    assert!(cuts.borrow().contains(&1) && cuts.borrow().contains(&2));
}

/// What was in the set with it comes again: it could not be acked any more.
#[test]
fn the_brokers_error_is_seen_once_and_nothing_is_taken_behind_it() {
    explore(reader, 3, true, usize::MAX, |seen| {
        let taken = seen.batches.concat();
        assert_eq!(taken, [1, 2, 3][..taken.len()]);
        assert_eq!(seen.errors, 1);
    });
}

/// Whatever is not taken by then is neither lost nor taken out of order: it is
/// still the broker's.
#[test]
fn a_worker_that_stops_ends_the_reading() {
    explore(reader, 3, false, 1, |seen| {
        let taken: Vec<u64> = seen.batches.concat();
        let first: Vec<u64> = (1..=taken.len() as u64).collect();
        assert_eq!(taken, first);
        assert!(seen.batches.len() <= 1);
    });
}

/// The sizes of the batches in which bodies of these sizes are taken.
async fn batches(bodies: &[usize]) -> Vec<usize> {
    let (sender, mut decoded) = mpsc::unbounded_channel();
    for size in bodies {
        let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
        let message = Message::mock(1, exchange, key, false, vec![b' '; *size]);
        let delivery = decoder(reader).delivery(message);
        sender.send(Ok(delivery.into())).unwrap();
    }
    drop(sender);
    let mut sizes = Vec::new();
    while let Some(batch) = next_batch(&mut decoded).await {
        sizes.push(batch.unwrap().deliveries.len());
    }
    sizes
}

#[tokio::test]
async fn a_batch_is_bounded_in_number_and_in_bytes() {
    assert_eq!(batches(&[1; 501]).await, [500, 1]);
    assert_eq!(batches(&[6 << 20; 5]).await, [3, 2]);
    assert_eq!(batches(&[16 << 20, 1]).await, [1, 1]);
}

#[tokio::test]
async fn nothing_is_read_for_a_worker_that_is_gone() {
    let decoding = tokio::spawn(std::future::pending::<()>());
    let (sender, decoded) = mpsc::unbounded_channel();
    let mut reader = BatchReader {
        decoded,
        ended: CancellationToken::new(),
        task: decoding.abort_handle(),
    };
    let message = Message::mock(2, "x".into(), "y".into(), false, b"2".to_vec());
    let crashed = decoder(crashing).delivery(message).unwrap_err();
    sender.send(Ok(Read::Crashed(crashed))).unwrap();
    let batch = reader.next().await.unwrap().unwrap();
    assert_eq!((batch.deliveries.len(), batch.crashed.len()), (0, 1));
    drop(reader);
    assert!(decoding.await.unwrap_err().is_cancelled());
}

/// The worker may be busy with a batch that it cannot commit.
#[tokio::test]
async fn the_end_of_the_deliveries_is_seen_before_what_came_is_taken() {
    let message = Message::mock(1, "x".into(), "y".into(), false, b"1".to_vec());
    let messages = stream::iter([Ok(message)]);
    let mut reader = BatchReader::start(messages, decoder(reader));
    reader.ended().await;
    assert_eq!(reader.next().await.unwrap().unwrap().deliveries.len(), 1);
    assert!(reader.next().await.is_none());
}

/// A message whose body is its tag, and that came back so often.
fn came_back(tag: u64, times: i64) -> Message {
    let (exchange, key) = ("stripe.events".into(), "invoice.paid".into());
    let mut message = Message::mock(tag, exchange, key, true, tag.to_string().into_bytes());
    let mut headers = FieldTable::default();
    headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(times));
    message.properties = BasicProperties::default().with_headers(headers);
    message
}

/// The tags of a batch's deliveries, of those whose decoding panicked, and of those to handle
/// apart.
type Tags = (Vec<u64>, Vec<u64>, Vec<u64>);

fn tags(batch: &Batch) -> Tags {
    let suspects = batch.suspects.iter().flat_map(|one| &one.messages);
    (
        batch.deliveries.iter().map(|one| one.tag).collect(),
        batch.crashed.iter().map(|one| one.tag).collect(),
        suspects.map(|message| message.delivery_tag).collect(),
    )
}

#[tokio::test]
async fn a_suspect_is_handed_out_behind_those_before_it_and_is_not_decoded() {
    // Decoding the second one panics.
    let came = [(1, 2), (2, 3), (3, 0), (4, 7), (5, 7)];
    let messages = stream::iter(came.map(|(tag, times)| Ok(came_back(tag, times))));
    let messages = messages.chain(stream::pending());
    let mut reader = BatchReader::start(messages, decoder(crashing));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last: &Tags| !last.2.contains(&5)) {
        seen.push(tags(&reader.next().await.unwrap().unwrap()));
    }
    // What is ready when a batch is taken may be one of them or several.
    let deliveries: Vec<u64> = seen.iter().flat_map(|one| one.0.clone()).collect();
    let apart: Vec<_> = seen.iter().map(|one| one.2.clone()).collect();
    assert_eq!(deliveries, [1, 3]);
    assert_eq!(apart.concat(), [2, 4, 5]);
    // Those that are there together are handed out together.
    assert_eq!(apart.last().unwrap(), &[4, 5]);
    assert!(seen.iter().all(|one| one.1.is_empty()), "{seen:?}");
    assert!(seen.iter().all(|one| one.0 != [1, 3]), "{seen:?}");
}

#[tokio::test]
async fn suspects_that_are_handed_out_together_are_bounded_in_number() {
    let messages = stream::iter((0..250).map(|tag| Ok(came_back(tag, 3))));
    let messages = messages.chain(stream::pending());
    let mut reader = BatchReader::start(messages, decoder(reader));
    for expected in [100, 100, 50] {
        let batch = reader.next().await.unwrap().unwrap();
        assert_eq!(tags(&batch).2.len(), expected);
    }
}

#[tokio::test]
async fn nothing_is_decoded_while_a_suspect_is_handled() {
    // The second one panics where it is decoded, and the reader sees the end behind it.
    let (deliver, mut delivered) = mpsc::unbounded_channel();
    let delivered = stream::poll_fn(move |cx| delivered.poll_recv(cx));
    let mut reader = BatchReader::start(delivered, decoder(crashing));
    deliver.send(Ok(came_back(1, 3))).unwrap();
    deliver.send(Ok(came_back(2, 0))).unwrap();
    let batch = reader.next().await.unwrap().unwrap();
    assert_eq!(tags(&batch), (vec![], vec![], vec![1]));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(reader.decoded.is_empty(), "decoded beside a suspect");
    drop(batch);
    let batch = reader.next().await.unwrap().unwrap();
    assert_eq!(tags(&batch), (vec![], vec![2], vec![]));
}

#[tokio::test]
async fn the_end_is_seen_while_a_suspect_is_handled() {
    let messages = stream::iter([Ok(came_back(1, 3)), Ok(came_back(2, 0))]);
    let mut reader = BatchReader::start(messages, decoder(reader));
    let batch = reader.next().await.unwrap().unwrap();
    assert_eq!(tags(&batch), (vec![], vec![], vec![1]));
    reader.ended().await;
    drop(batch);
    // What came behind it cannot be acked any more.
    assert!(reader.next().await.is_none());

    let error = Error::from(ErrorKind::InvalidChannel(1));
    let messages = stream::iter([Ok(came_back(1, 3)), Err(error)]);
    let mut reader = BatchReader::start(messages, decoder(super::tests::reader));
    let _batch = reader.next().await.unwrap().unwrap();
    reader.ended().await;
    assert!(reader.next().await.unwrap().is_err());
}
