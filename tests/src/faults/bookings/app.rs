//! The main app: it asks for each booking until it has its session, and the guest pays.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{ORIGIN, Record, host, lock, price};
use crate::{
    caller::{Caller, asking},
    faults::{run::Plan, stage::Stage},
    stripe_api::{Payment, StandIn},
};

/// The most bookings without a session at once.
const AT_ONCE: usize = 50;
/// How often what is due is looked for.
const PACE: Duration = Duration::from_millis(4);
/// How long a command is worth doing, in milliseconds, and how long the app waits for its
/// answer: as the document's app does.
const EXPIRATION: &str = "20000";
const PATIENCE: Duration = Duration::from_secs(30);
/// A command that was answered with a retryable error is sent again after so many milliseconds.
const RETRY_AFTER: std::ops::Range<u64> = 100..1_000;
/// One booking in so many is asked for twice at once.
const TWICE: u8 = 10;
/// Pause before the broker is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// So long no booking may be sold.
const STUCK: Duration = Duration::from_secs(180);

/// What came of all commands.
#[derive(Debug, Default)]
pub(in super::super) struct Asked {
    /// Commands that the broker was given.
    pub(in super::super) sent: usize,
    /// Bookings that were asked for again because the connection was lost.
    pub(in super::super) lost: usize,
    /// Those that were because no answer came.
    pub(in super::super) silent: usize,
    /// Answers that were errors, by code; those to a booking that is paid by now left out.
    pub(in super::super) errors: BTreeMap<String, usize>,
    /// The session of each booking.
    pub(in super::super) sessions: BTreeMap<i32, String>,
    /// What must not be.
    pub(in super::super) odd: Vec<String>,
}

/// The main app and its guests.
pub(super) struct App<'a> {
    plan: &'a Plan,
    api: &'a StandIn,
    record: &'a Record,
    url: String,
    bookings: i32,
    /// The booking that is sold next, and when.
    next: i32,
    due: Instant,
    /// Bookings without a session, and when they are asked for the next time.
    open: BTreeMap<i32, Open>,
    last_sold: Instant,
    asked: Asked,
}

/// A booking without a session.
#[derive(Clone, Copy)]
struct Open {
    at: Instant,
    /// Whether a command is under way that was not answered.
    is_asked: bool,
}

impl<'a> App<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        api: &'a StandIn,
        record: &'a Record,
        url: String,
        bookings: i32,
    ) -> Self {
        Self {
            plan,
            api,
            record,
            url,
            bookings,
            next: 1,
            due: Instant::now(),
            open: BTreeMap::new(),
            last_sold: Instant::now(),
            asked: Asked::default(),
        }
    }

    /// Sells all bookings, over as many connections as it takes. New ones keep their pace, up
    /// to a bound of those without a session. `sent` is told when the last one was begun.
    ///
    /// # Errors
    /// When no booking was sold for three minutes.
    pub(super) async fn sell(mut self, mut rng: Rng, sent: impl FnOnce()) -> Result<Asked> {
        let mut sent = Some(sent);
        loop {
            if let Ok(mut caller) = Caller::connect(&self.url, &Stage::commands()).await {
                self.ask_again();
                let talked = self.talk(&mut caller, &mut rng, &mut sent).await;
                if talked.is_ok() {
                    return Ok(self.asked);
                }
            }
            if self.last_sold.elapsed() > STUCK {
                bail!("no booking was sold for {} s", STUCK.as_secs());
            }
            sleep(PAUSE).await;
        }
    }

    /// The answers to what an earlier connection asked are lost.
    fn ask_again(&mut self) {
        for open in self.open.values_mut().filter(|open| open.is_asked) {
            open.at = Instant::now();
            open.is_asked = false;
            self.asked.lost += 1;
        }
    }

    /// Asks and hears answers until all bookings are sold.
    async fn talk(
        &mut self,
        caller: &mut Caller,
        rng: &mut Rng,
        sent: &mut Option<impl FnOnce()>,
    ) -> Result<()> {
        loop {
            self.begin(caller, rng).await?;
            self.repeat(caller).await?;
            if self.next > self.bookings {
                if let Some(sent) = sent.take() {
                    sent();
                }
                if self.open.is_empty() {
                    return Ok(());
                }
            }
            // Where none comes in this time, something else may be due.
            if let Ok(answer) = timeout(PACE, caller.answer()).await {
                let (id, answer) = answer?;
                self.take(&id, &answer, rng);
            } else if self.last_sold.elapsed() > STUCK {
                bail!("no booking was sold");
            }
        }
    }

    /// Begins the bookings that are due.
    async fn begin(&mut self, caller: &Caller, rng: &mut Rng) -> Result<()> {
        let every = Duration::from_secs(1) / self.plan.rate;
        while self.next <= self.bookings && self.due <= Instant::now() {
            if self.open.len() >= AT_ONCE {
                self.due = Instant::now();
                break;
            }
            let booking = self.next;
            self.next += 1;
            self.due += every;
            lock(&self.record.begun).insert(booking, Instant::now());
            self.ask(caller, booking).await?;
            if rng.u8(..TWICE) == 0 {
                self.ask(caller, booking).await?;
            }
        }
        Ok(())
    }

    /// Asks again where it is time.
    async fn repeat(&mut self, caller: &Caller) -> Result<()> {
        let now = Instant::now();
        let due = self.open.iter().filter(|(_, open)| open.at <= now);
        let due: Vec<(i32, bool)> = due
            .map(|(booking, open)| (*booking, open.is_asked))
            .collect();
        for (booking, is_asked) in due {
            self.asked.silent += usize::from(is_asked);
            self.ask(caller, booking).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, caller: &Caller, booking: i32) -> Result<()> {
        let cents = price(booking);
        let command = json!({
            "bookingId": booking,
            "hostId": host(booking).to_string(),
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "currency": "eur",
            "description": "A call of half an hour",
            "successUrl": format!("{ORIGIN}/paid"),
            "cancelUrl": format!("{ORIGIN}/back"),
        });
        // It may be with the broker also where its confirm is lost.
        let open = Open {
            at: Instant::now() + PATIENCE,
            is_asked: true,
        };
        self.open.insert(booking, open);
        let properties = asking(&booking.to_string()).with_expiration(EXPIRATION.into());
        let body = command.to_string();
        let sent = caller.send("booking.checkout", body.as_bytes(), properties);
        timeout(PATIENCE, sent).await??;
        self.asked.sent += 1;
        Ok(())
    }

    fn take(&mut self, id: &str, answer: &Value, rng: &mut Rng) {
        let Ok(booking) = id.parse::<i32>() else {
            self.asked.odd.push(format!("an answer to {id}"));
            return;
        };
        let error = &answer["err"];
        if error.is_null() {
            let session = answer["response"]["sessionId"].as_str().unwrap_or_default();
            self.sold(booking, session);
            return;
        }
        let code = error["code"].as_str().unwrap_or_default();
        let is_sold = self.asked.sessions.contains_key(&booking);
        match (is_sold, error["retryable"] == true) {
            (true, is_retryable) => {
                if code != "booking_paid" && !is_retryable {
                    self.asked
                        .odd
                        .push(format!("{booking} is sold, but: {answer}"));
                }
            }
            (false, is_retryable) => {
                *self.asked.errors.entry(code.to_owned()).or_default() += 1;
                if !is_retryable {
                    self.asked.odd.push(format!("{booking}: {answer}"));
                }
                let pause = Duration::from_millis(rng.u64(RETRY_AFTER));
                let open = Open {
                    at: Instant::now() + pause,
                    is_asked: false,
                };
                self.open.insert(booking, open);
            }
        }
    }

    /// The guest pays at once.
    fn sold(&mut self, booking: i32, session: &str) {
        match self.asked.sessions.get(&booking) {
            Some(known) if known == session => return,
            Some(known) => {
                let odd = format!("{booking} has the sessions {known} and {session}");
                self.asked.odd.push(odd);
            }
            None => {}
        }
        self.asked.sessions.insert(booking, session.to_owned());
        self.open.remove(&booking);
        self.last_sold = Instant::now();
        if let Err(error) = self.api.pay(session, Payment::Card) {
            self.asked
                .odd
                .push(format!("{booking} cannot be paid: {error:#}"));
        }
    }
}
