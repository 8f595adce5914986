//! A booking that is canceled cannot be paid by anything that was asked for before, also where a
//! worker dies meanwhile; what is asked for afterwards is sold.

use harness::{
    caller::{Caller, asking},
    stripe_api::{Fault, Gate, Kind},
    test_servers::TestBroker,
};
use lapin::BasicProperties;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::commands::finish::FinishCommands;

use crate::support::{
    desk_queue::Answering,
    running::BOUND,
    shop::{Shop, checkout, session},
};

/// A checkout looks, and finds nothing; the booking is canceled; then the checkout makes its
/// session. Nobody can pay by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_began_before_a_cancel_ends_as_canceled() {
    let shop = Shop::new().await;
    for (booking, path, get) in [
        // Before it notes what it makes, and after.
        (7, "/v1/checkout/sessions", true),
        (8, "/v1/checkout/sessions", false),
        (9, "/v1/checkout/sessions/", true),
    ] {
        let gate = Gate::new();
        let held = Kind::HeldBefore(gate.clone());
        shop.desk.api.fault(match get {
            true => Fault::get(path, held),
            false => Fault::post(path, held),
        });
        let checkout = shop.checkout(booking);
        let cancel = async {
            gate.reached().await;
            loop {
                let answer = shop.cancel(booking).await;
                gate.release_all();
                match answer {
                    Ok(answer) => break answer,
                    // Stripe is making the session.
                    Err(error) => assert_eq!(error.code, "in_progress"),
                }
            }
        };
        let (error, canceled) = tokio::join!(checkout, cancel);
        assert_eq!(canceled["canceled"], true);
        let error = error.unwrap_err();
        assert_eq!((error.code, error.retryable), ("canceled", false));
        assert!(shop.open(booking).is_empty());
        // To sell it again is the app's to say.
        let sold = session(&shop.checkout(booking).await.unwrap());
        assert_eq!(shop.open(booking), [sold]);
    }
}

/// Where a checkout of booking 7 is held at Stripe.
type Held = fn(Gate) -> Fault;

const BEFORE_IT_IS_NOTED: Held = |gate| Fault::get("/v1/checkout/sessions", Kind::HeldBefore(gate));
const BEFORE_IT_IS_MADE: Held = |gate| Fault::post("/v1/checkout/sessions", Kind::HeldBefore(gate));
const AFTER_IT_IS_MADE: Held = |gate| Fault::post("/v1/checkout/sessions", Kind::HeldAfter(gate));
const BEFORE_THE_LAST_LOOK: Held =
    |gate| Fault::get("/v1/checkout/sessions/", Kind::HeldBefore(gate));

/// A shop with a broker, over which a worker takes a checkout and dies.
struct Counter {
    shop: Shop,
    broker: TestBroker,
    caller: Caller,
}

impl Counter {
    async fn new() -> Self {
        let (shop, broker) = (Shop::new().await, TestBroker::new("cancels"));
        let declaring = Answering::start(&broker, &shop.desk.service);
        let caller = Caller::new(&broker).await.unwrap();
        declaring.stop().await;
        Self {
            shop,
            broker,
            caller,
        }
    }

    /// A worker takes a checkout of booking 7 and dies while it is held there.
    async fn checkout_dies(&self, held: Held) {
        let dying = Answering::start(&self.broker, &self.shop.desk.service);
        let gate = self.hold(held);
        self.ask(asking("1")).await;
        gate.reached().await;
        dying.die();
        gate.release_all();
    }

    async fn ask(&self, properties: BasicProperties) {
        let body = checkout(7).to_string();
        let sent = self
            .caller
            .send("booking.checkout", body.as_bytes(), properties);
        sent.await.unwrap();
    }

    fn hold(&self, held: Held) -> Gate {
        let gate = Gate::new();
        self.shop.desk.api.fault(held(gate.clone()));
        gate
    }

    async fn cancel(&self) {
        loop {
            match self.shop.cancel(7).await {
                Ok(answer) => return assert_eq!(answer["canceled"], true),
                // Stripe is making the session.
                Err(error) => assert_eq!(error.code, "in_progress"),
            }
        }
    }

    /// What the next worker answers.
    async fn answer(&mut self) -> Value {
        let next = Answering::start(&self.broker, &self.shop.desk.service);
        let (_, answer) = self.caller.answer().await.unwrap();
        next.stop().await;
        answer
    }
}

/// The app hears that the booking is canceled. Then the checkout comes again whose worker died.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_comes_again_after_a_cancel_leaves_nothing_to_pay_by() {
    for held in [
        BEFORE_IT_IS_NOTED,
        BEFORE_IT_IS_MADE,
        AFTER_IT_IS_MADE,
        BEFORE_THE_LAST_LOOK,
    ] {
        let mut counter = Counter::new().await;
        counter.checkout_dies(held).await;
        counter.cancel().await;
        let answer = counter.answer().await;
        assert_eq!(answer["err"]["code"], "canceled", "{answer}");
        assert_eq!(answer["err"]["retryable"], false, "{answer}");
        assert!(counter.shop.open(7).is_empty());
        // To sell it again is the app's to say.
        let sold = session(&counter.shop.checkout(7).await.unwrap());
        assert_eq!(counter.shop.open(7), [sold]);
    }
}

/// It is sold after the cancel, and the worker dies when that checkout is noted.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_after_a_cancel_is_answered_also_where_it_comes_again() {
    for held in [BEFORE_IT_IS_MADE, AFTER_IT_IS_MADE, BEFORE_THE_LAST_LOOK] {
        let mut counter = Counter::new().await;
        counter.cancel().await;
        counter.checkout_dies(held).await;
        let answer = loop {
            match counter.answer().await {
                mut answer if answer["err"].is_null() => break answer["response"].take(),
                answer => assert_eq!(answer["err"]["code"], "in_progress"),
            }
            counter.ask(asking("1")).await;
        };
        assert_eq!(counter.shop.open(7), [session(&answer)]);
    }
}

/// By how old a command can be that comes again, a checkout knows which cancels it may be older
/// than.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_again_is_not_given_more_time() {
    let (mut counter, other) = (Counter::new().await, Counter::new().await);
    let short = || asking("1").with_expiration("300".into());
    let dying = Answering::start(&counter.broker, &counter.shop.desk.service);
    let gate = counter.hold(BEFORE_IT_IS_NOTED);
    counter.ask(short()).await;
    gate.reached().await;
    // One that nobody takes, and that is given the same time, says when it is over.
    other.ask(short()).await;
    let expired = format!("{}.expired", other.broker.commands());
    let until = other.broker.until_depth(&expired, 1, BOUND).await;
    until.unwrap();
    dying.die();
    gate.release_all();
    let answer = counter.answer().await;
    assert_eq!(answer["err"]["code"], "expired", "{answer}");
    assert!(counter.shop.open(7).is_empty());
}

/// The booking was sold at another price after the cancel.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_comes_again_leaves_what_was_sold_since_a_cancel() {
    let mut counter = Counter::new().await;
    counter.checkout_dies(BEFORE_IT_IS_NOTED).await;
    counter.cancel().await;
    let mut dearer = checkout(7);
    dearer["amount"] = json!("60.00");
    let sold = session(&counter.shop.ask(dearer).await.unwrap());
    let answer = counter.answer().await;
    assert_eq!(answer["err"]["code"], "canceled", "{answer}");
    assert_eq!(counter.shop.open(7), [sold]);
}

/// The checkout goes on after the cancel, and after another one like it.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_a_cancel_overtook_leaves_what_was_sold_since() {
    let counter = Counter::new().await;
    let gate = counter.hold(BEFORE_IT_IS_NOTED);
    let others = async {
        gate.reached().await;
        counter.cancel().await;
        let sold = counter.shop.checkout(7).await.unwrap();
        gate.release_all();
        session(&sold)
    };
    let (overtaken, sold) = tokio::join!(counter.shop.checkout(7), others);
    assert_eq!(overtaken.unwrap_err().code, "canceled");
    assert_eq!(counter.shop.open(7), [sold]);
}

/// A checkout that a cancel overtook makes its session, and its worker dies. It does not come
/// again: the job ends the session.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_ends_a_session_that_was_asked_for_before_a_cancel() {
    let counter = Counter::new().await;
    let (desk, listed) = (&counter.shop.desk, counter.hold(BEFORE_IT_IS_NOTED));
    let made = Gate::new();
    let others = async {
        listed.reached().await;
        counter.cancel().await;
        desk.api.fault(AFTER_IT_IS_MADE(made.clone()));
        listed.release_all();
        made.reached().await;
    };
    let dies = async {
        tokio::select! {
            answer = counter.shop.checkout(7) => panic!("{answer:?}"),
            () = others => {}
        }
    };
    dies.await;
    made.release_all();
    assert_eq!(counter.shop.open(7).len(), 1);
    let job = FinishCommands {
        service: desk.service.clone(),
        client: desk.service.client.clone().unwrap(),
    };
    let later = shared::clock::now_utc() + chrono::TimeDelta::minutes(2);
    job.finish(later, &CancellationToken::new()).await.unwrap();
    assert!(counter.shop.open(7).is_empty());
}
