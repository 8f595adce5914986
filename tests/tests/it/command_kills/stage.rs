//! A worker that can be killed at a step of a command, and what is right afterwards.

use harness::{
    caller::{Caller, asking},
    proxy::Proxy,
    services::Service,
    stripe_api::{Fault, Gate, Kind, Options, Order, StandIn},
};
use serde_json::{Value, json};

use super::{Moment, Step, steps, writes};
use crate::support::{BOUND, Deployment, SECRET};

/// What the caller asks for. Each command is about a subject of its own: the host or the booking
/// of that number.
pub(super) enum Asked {
    /// `host.onboard`.
    Onboard,
    /// `booking.checkout` of the host with this account.
    Checkout { account: String },
}

impl Asked {
    fn name(&self) -> &'static str {
        match self {
            Self::Onboard => "host.onboard",
            Self::Checkout { .. } => "booking.checkout",
        }
    }

    fn body(&self, subject: i32) -> Value {
        match self {
            Self::Onboard => json!({
                "hostId": subject, "email": "anna@example.org", "country": "ES",
                "refreshUrl": "https://app.example.com/again",
                "returnUrl": "https://app.example.com/done",
            }),
            Self::Checkout { .. } => json!({
                "bookingId": subject, "hostId": HOST, "amount": "45.99", "currency": "eur",
                "description": "A call of an hour",
                "successUrl": "https://app.example.com/paid",
                "cancelUrl": "https://app.example.com/back",
            }),
        }
    }
}

/// The host that sells.
const HOST: i32 = 1000;

/// A deployment with one worker, which reaches the broker through a proxy.
pub(super) struct Stage {
    /// Its log is read when it goes, from the deployment's folder.
    worker: Service,
    dialoom: Deployment,
    api: StandIn,
    proxy: Proxy,
    caller: Caller,
    asked: Asked,
    /// How many requests a command makes that nothing disturbs.
    requests: usize,
}

impl Stage {
    /// With accounts of this version.
    pub(super) async fn new(label: &str, accounts: &str, asked: Asked) -> Self {
        let dialoom = Deployment::start(label).await;
        let api = StandIn::start(Options::default()).await.unwrap();
        let proxy = Proxy::before(dialoom.broker.url(), 5672).await.unwrap();
        let options = dialoom
            .commanding(&api)
            .env("AMQP_URL", proxy.url())
            .env("STRIPE_ACCOUNTS_API", accounts);
        let worker = Service::start(options).await.unwrap();
        let caller = Caller::new(&dialoom.broker).await.unwrap();
        Self {
            worker,
            dialoom,
            api,
            proxy,
            caller,
            asked,
            requests: 0,
        }
    }

    /// A host can sell, and bookings are asked for from now on.
    pub(super) async fn sell(&mut self) {
        self.send(HOST).await;
        let account = self.answer(HOST).await["stripeAccountId"].take();
        let account = account.as_str().unwrap().to_owned();
        self.api.finish_onboarding(&account);
        let ingest = self.dialoom.ingest.url();
        let delivered = self.api.deliver(&ingest, SECRET, Order::AsMade).await;
        // Until then a job may ask Stripe how the account is.
        let settled = r#"SELECT concat_ws(' ', (SELECT count(*) FROM stripe.event),
            (SELECT count(*) FROM stripe.account WHERE api_needed), "canSell") FROM "HostOnboarding""#;
        let expected = format!("{} 0 t", delivered.unwrap().len());
        self.dialoom.until(settled, &expected).await;
        self.asked = Asked::Checkout { account };
    }

    /// The steps of a command that nothing disturbs.
    pub(super) async fn undisturbed(&mut self) -> Vec<Step> {
        self.api.forget_requests();
        writes::watch(&self.dialoom).await;
        self.send(1).await;
        let answer = self.answer(1).await;
        self.check(1, &answer, "nothing was disturbed").await;
        let requests = self.api.requests();
        self.requests = requests.len();
        let key = self.record(1, "idempotency_key").await;
        let writes = writes::count(&self.dialoom).await;
        let steps = steps(&requests, &key, writes);
        let is_late = |step: &&Step| {
            let late = Moment::Late;
            matches!(step, Step::Request { moment, .. } if *moment == late)
        };
        assert_eq!(steps.iter().filter(is_late).count(), 1, "{requests:?}");
        assert!(requests.len() >= 3 && writes >= 3, "{writes} {requests:?}");
        steps
    }

    /// Sends a command and kills its worker at this step. Gives what the next one answers.
    pub(super) async fn kill_at(&mut self, subject: i32, step: Step) -> Value {
        match step {
            Step::Request { number, moment } => self.kill_at_request(subject, number, moment).await,
            Step::Write { number, is_written } => {
                writes::hold(&self.dialoom, number).await;
                self.send(subject).await;
                let session = writes::reached(&self.dialoom).await;
                self.worker.kill9();
                writes::let_go(&self.dialoom, session, is_written).await;
                self.worker.restart().unwrap();
            }
            Step::Answered => self.kill_before_the_ack(subject).await,
        }
        self.answer(subject).await
    }

    async fn kill_at_request(&mut self, subject: i32, number: usize, moment: Moment) {
        let gate = self.hold(
            number,
            match moment {
                Moment::Lost => Kind::HeldAndLost,
                Moment::Before | Moment::Late => Kind::HeldBefore,
                Moment::After => Kind::HeldAfter,
            },
        );
        self.send(subject).await;
        self.reached(&gate).await;
        self.worker.kill9();
        if moment == Moment::Late {
            let state = self.record(subject, "state").await;
            assert_eq!(state, "in_progress", "it is noted before Stripe is asked");
            let key = self.record(subject, "idempotency_key").await;
            self.worker.restart().unwrap();
            let again = self.api.wait_for_requests(1, |request| {
                request.idempotency_key.as_ref() == Some(&key) && request.status == Some(409)
            });
            again.await.unwrap();
            gate.release_all();
        } else {
            gate.release_all();
            self.worker.restart().unwrap();
        }
    }

    /// The broker passes the answer on and hears no ack: what it says itself, that it has the
    /// answer, does not arrive.
    async fn kill_before_the_ack(&mut self, subject: i32) {
        let gate = self.hold(self.requests - 1, Kind::HeldAfter);
        self.send(subject).await;
        self.reached(&gate).await;
        self.proxy.stall_server();
        gate.release_all();
        let answer = self.answer(subject).await;
        self.worker.kill9();
        self.check(subject, &answer, "the first answer").await;
        let broker = &self.dialoom.broker;
        let commands = broker.commands();
        broker.until_depth(&commands, 1, BOUND).await.unwrap();
        self.proxy.restore();
        self.worker.restart().unwrap();
    }

    /// Holds the request after the next `number` ones.
    fn hold(&self, number: usize, held: fn(Gate) -> Kind) -> Gate {
        let gate = Gate::new();
        self.api.fault(Fault::any(Kind::Plain).times(number));
        self.api.fault(Fault::any(held(gate.clone())));
        gate
    }

    async fn reached(&self, gate: &Gate) {
        let reached = tokio::time::timeout(BOUND, gate.reached()).await;
        reached.unwrap_or_else(|_| {
            let requests = self.api.requests();
            let last = requests[requests.len().saturating_sub(10)..].iter();
            let last: Vec<String> = last
                .map(|one| format!("{} {} {:?}", one.method, one.path, one.status))
                .collect();
            panic!("the request does not come; the last ones: {last:#?}")
        });
    }

    async fn send(&self, subject: i32) {
        let body = self.asked.body(subject).to_string();
        let properties = asking(&subject.to_string());
        let sent = self
            .caller
            .send(self.asked.name(), body.as_bytes(), properties);
        sent.await.unwrap();
    }

    /// What the command of this subject is answered, which is sent again where an error passes.
    async fn answer(&mut self, subject: i32) -> Value {
        loop {
            let (id, mut answer) = self.caller.answer().await.unwrap();
            if id != subject.to_string() {
                continue;
            }
            if answer["err"].is_null() {
                return answer["response"].take();
            }
            assert_eq!(answer["err"]["retryable"], true, "{answer}");
            self.send(subject).await;
        }
    }

    async fn record(&self, subject: i32, column: &str) -> String {
        let key = format!("{}:{subject}", self.asked.name());
        let query = format!("SELECT ({column})::text FROM stripe.command WHERE key = '{key}'");
        self.dialoom.read(&query).await
    }

    /// There is one of what was asked for, and the answer, the record and the rows name it.
    pub(super) async fn check(&self, subject: i32, answer: &Value, step: &str) {
        let (id, made, row) = match &self.asked {
            Asked::Onboard => {
                let named = subject.to_string();
                let mut accounts = self.api.accounts();
                accounts.retain(|account| account["metadata"]["hostId"] == named);
                let row = format!(
                    r#"SELECT concat_ws(' ', "stripeAccountId", "status", "canSell")
                       FROM "HostOnboarding" WHERE "hostId" = '{subject}'"#
                );
                (&answer["stripeAccountId"], accounts, (row, "INCOMPLETE f"))
            }
            Asked::Checkout { account } => {
                let named = subject.to_string();
                let mut sessions = self.api.objects(account, "checkout.session");
                sessions.retain(|session| session["metadata"]["dialoomBookingId"] == named);
                sessions.retain(|session| session["status"] == "open");
                let row = format!(
                    "SELECT concat_ws(' ', s.id, s.status) FROM stripe.checkout_session s \
                     JOIN stripe.booking_claim c ON c.object_id = s.id \
                     WHERE c.booking_id = {subject}"
                );
                (&answer["sessionId"], sessions, (row, "open"))
            }
        };
        let made: Vec<&Value> = made.iter().map(|one| &one["id"]).collect();
        assert_eq!(made, [id], "{step}: {answer}");
        let id = id.as_str().unwrap();
        assert!(answer["url"].is_string(), "{step}: {answer}");
        let (query, expected) = row;
        let seen = self.dialoom.read(&query).await;
        assert_eq!(seen, format!("{id} {expected}"), "{step}");
        let record = "concat_ws(' ', state, object_id, request IS NULL)";
        let seen = self.record(subject, record).await;
        assert_eq!(seen, format!("done {id} t"), "{step}");
    }

    /// Nothing is left over.
    pub(super) async fn end(mut self) {
        let ended = self.worker.terminate().await.unwrap();
        assert!(ended.unwrap().success());
        let broker = &self.dialoom.broker;
        assert_eq!(broker.depth(&broker.commands()).await.unwrap(), 0);
        assert_eq!(broker.depth(&broker.dead()).await.unwrap(), 0);
        let dead = "SELECT count(*)::text FROM stripe.dead_letter";
        assert_eq!(self.dialoom.read(dead).await, "0");
        let open = "SELECT count(*)::text FROM stripe.command WHERE state <> 'done'";
        assert_eq!(self.dialoom.read(open).await, "0");
    }
}
