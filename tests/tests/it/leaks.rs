//! What the services log under `RUST_LOG=trace`, and that a leak would be found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::{
    http,
    leaks::PERSONAL,
    private::PrivateFolder,
    services::{Service, ServiceOptions},
    stripe::{Account, CheckoutSession, Event, Invoice, now, sign},
    test_servers::{TestBroker, TestDatabase},
    wait::{self, Seen},
};

use crate::support::{BOUND, SECRET, write_script};

/// A service that writes this to its log, and nothing else.
fn service_that_says(folder: &PrivateFolder, words: &str) -> Service {
    let binary = folder.path().join("service");
    // Runs until it is killed, so that its log is whole by then.
    let script = "#!/bin/sh\nprintf '%s\\n' \"$WORDS\"\nwhile :; do sleep 1; done\n";
    write_script(&binary, script);
    let options = ServiceOptions {
        binary: Some(binary),
        ..ServiceOptions::worker(folder.path())
            .unwrap()
            .env("STRIPE_WEBHOOK_SECRETS", "connect=not-of-stripes-form")
            .env("WORDS", words)
    };
    Service::spawn(options).unwrap()
}

#[tokio::test]
async fn a_service_that_leaks_fails_its_test() {
    let body = Event::new("evt_1", "invoice.paid", Invoice::default().value()).bytes();
    let text = String::from_utf8(body.clone()).unwrap();
    let signature = sign(SECRET, now(), &body);
    let digits = signature.split_once("v1=").unwrap().1;
    let leaks = [
        "the secret is not-of-stripes-form",
        SECRET,
        &signature,
        digits,
        &text,
        &format!("{text:?}"),
        &format!("{body:?}"),
        "guest@dialoom.example",
    ];
    for (words, leaks) in leaks
        .map(|words| (words, true))
        .into_iter()
        .chain([("all is well", false)])
    {
        let folder = PrivateFolder::make("leak").unwrap();
        let service = service_that_says(&folder, words);
        wait::until("its words", BOUND, async || match service.log() {
            log if log.is_empty() => Seen::NotYet(log),
            _ => Seen::Reached(()),
        })
        .await
        .unwrap();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(service)));
        assert_eq!(dropped.is_err(), leaks, "{words}");
    }
}

#[test]
fn what_is_looked_for_is_in_the_samples() {
    let samples = [
        Invoice::default().value(),
        CheckoutSession::default().value(),
        Account::default().value(),
    ];
    let samples = samples.map(|sample| sample.to_string()).concat();
    for personal in PERSONAL {
        assert!(samples.contains(personal), "{personal}");
    }
}

/// Both services, at their most talkative.
struct Talkative {
    ingest: Service,
    worker: Service,
    client: tokio_postgres::Client,
    _database: TestDatabase,
    _broker: TestBroker,
    _folder: PrivateFolder,
}

impl Talkative {
    async fn start(format: &str) -> Self {
        let folder = PrivateFolder::make("talkative").unwrap();
        let broker = TestBroker::new("talkative");
        let database = TestDatabase::empty("talkative").await.unwrap();
        let told = |options: ServiceOptions| {
            options
                .env("AMQP_URL", broker.url())
                .env("AMQP_PREFIX", broker.prefix())
                .env("STRIPE_MODE", "test")
                // Also what a library is asked for by name.
                .env(
                    "RUST_LOG",
                    "trace,lapin::channel=trace,hyper=trace,tokio_postgres=trace",
                )
                .env("LOG_FORMAT", format)
        };
        let ingest = told(ServiceOptions::ingest(folder.path()).unwrap());
        let ingest = ingest.env("STRIPE_WEBHOOK_SECRETS", format!("connect={SECRET}"));
        let worker = told(ServiceOptions::worker(folder.path()).unwrap());
        let worker = worker
            .env("DATABASE_URL", database.url())
            .env("STRIPE_API_KEY", "rk_test_key_of_the_platform")
            .env("STRIPE_API_BASE", "http://127.0.0.1:9/");
        Self {
            worker: Service::start(worker).await.unwrap(),
            ingest: Service::start(ingest).await.unwrap(),
            client: database.connect().await.unwrap(),
            _database: database,
            _broker: broker,
            _folder: folder,
        }
    }

    async fn deliver(&self, signature: &str, body: &[u8]) -> u16 {
        let answer = http::post_event(&self.ingest.url(), signature, body.to_vec()).await;
        answer.unwrap().status.as_u16()
    }

    async fn until(&self, query: &str, expected: &str) {
        wait::until(expected, BOUND, async || {
            let row = self.client.query_one(query, &[]).await.unwrap();
            match row.get::<_, String>(0) {
                seen if seen == expected => Seen::Reached(()),
                seen => Seen::NotYet(seen),
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_or_personal_is_logged_at_any_level() {
    for format in ["text", "json"] {
        let mut services = Talkative::start(format).await;
        let event = |id: &str, kind: &str, object: serde_json::Value| {
            Event::new(id, kind, object).of_account("acct_1").bytes()
        };
        let mut unknown = Invoice::default().value();
        unknown["status"] = "melted".into();
        let mut account = Account::default().value();
        account["id"] = "acct_1".into();
        // Two that cannot be told apart, so that the API is asked.
        let mut other = account.clone();
        other["charges_enabled"] = false.into();
        let good = [
            event("evt_1", "invoice.paid", Invoice::default().value()),
            event(
                "evt_2",
                "checkout.session.completed",
                CheckoutSession::default().value(),
            ),
            event("evt_3", "account.updated", account),
            event("evt_4", "account.updated", other),
            event("evt_5", "invoice.paid", unknown),
            event("evt_6", "invoice.paid", serde_json::json!("Sample guest")),
            event("evt_7", "customer.created", Invoice::default().value()),
        ];
        for body in &good {
            let signature = sign(SECRET, now(), body);
            assert_eq!(services.deliver(&signature, body).await, 200);
        }
        // Refused: forged, stale, and authentic but no event.
        let body = &good[0];
        let forged = sign("whsec_of_somebody_else", now(), body);
        assert_eq!(services.deliver(&forged, body).await, 400);
        assert_eq!(services.deliver(&sign(SECRET, 1, body), body).await, 400);
        for wrong in [
            &body[..body.len() / 2],
            b"Sample guest",
            b"{\"id\":\"Sample guest\"}",
        ] {
            let signature = sign(SECRET, now(), wrong);
            assert_eq!(services.deliver(&signature, wrong).await, 400);
        }
        let settled = "SELECT count(*) || ' ' || (SELECT count(*) FROM stripe.dead_letter) \
            FROM stripe.event";
        services.until(settled, "6 2").await;
        // The database refuses a whole row, with a detail that quotes it.
        let add = r#"ALTER TABLE "HostOnboarding" ADD CONSTRAINT "none" CHECK ("country" <> 'ES') NOT VALID"#;
        services.client.execute(add, &[]).await.unwrap();
        let mut refused = Account::default().value();
        refused["metadata"] = serde_json::json!({ "hostId": "Sample guest" });
        let id = refused["id"].as_str().unwrap().to_owned();
        let refused = Event::new("evt_8", "account.updated", refused)
            .of_account(&id)
            .bytes();
        let signature = sign(SECRET, now(), &refused);
        assert_eq!(services.deliver(&signature, &refused).await, 200);
        services.until(settled, "7 2").await;
        let pending = "SELECT coalesce(min(reason), '-') FROM stripe.pending_projection";
        services.until(pending, "check").await;
        // So does one of the worker's own tables.
        let add = "ALTER TABLE stripe.account ADD CONSTRAINT none CHECK (id = '') NOT VALID";
        services.client.execute(add, &[]).await.unwrap();
        let mut changed = Account::default().value();
        changed["charges_enabled"] = false.into();
        let changed = Event::new("evt_9", "account.updated", changed)
            .of_account(&id)
            .bytes();
        let signature = sign(SECRET, now(), &changed);
        assert_eq!(services.deliver(&signature, &changed).await, 200);
        services.until(settled, "8 3").await;
        // And is away for a moment.
        let kill = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        services.client.query_one(kill, &[]).await.unwrap();
        let signature = sign(SECRET, now(), body);
        assert_eq!(services.deliver(&signature, body).await, 200);
        services.ingest.terminate().await.unwrap();
        services.worker.terminate().await.unwrap();

        // They did talk: dropping them looks through what they said.
        let (ingest, worker) = (services.ingest.log(), services.worker.log());
        for words in ["accepted", "refused", "not an event", "evt_1"] {
            assert!(ingest.contains(words), "{words}: {ingest}");
        }
        for words in ["dead letter", "evt_5", "check constraint"] {
            assert!(worker.contains(words), "{words}: {worker}");
        }
    }
}
