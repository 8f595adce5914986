//! Accounts of which the events cannot tell how they are, are read from Stripe's API.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::Lab;
use event::Mode;
use harness::stripe::{Account, Event};
use serde_json::Value;
use store::outbox::Outbox;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use worker::{
    jobs::read_accounts::{self, ReadAccounts},
    metrics::{Metrics, stripe::ApiMetrics},
    stripe::{client::Client, config::ApiConfig},
};

/// A double of Stripe's API that always gives the same answer.
async fn stripe(status: u16, body: Value) -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(head.starts_with("GET /v1/accounts/acct_a"), "{head}");
            count.fetch_add(1, Ordering::SeqCst);
            let body = body.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let config = ApiConfig {
        pause: Duration::from_millis(1),
        ..ApiConfig::new("sk_test_double".into(), base, Mode::Test)
    };
    let client = Client::new(config, ApiMetrics::default(), None).unwrap();
    (client, asked)
}

/// The job on the lab's database.
fn job(lab: &Lab, client: &Client, metrics: &Metrics) -> ReadAccounts {
    let pool = lab.executor.pool.clone();
    ReadAccounts::new(pool, client.clone(), metrics.accounts_read.clone())
}

fn account(payouts: bool) -> Value {
    Account {
        id: "acct_a".into(),
        payouts_enabled: payouts,
        ..Account::default()
    }
    .value()
}

fn updated(id: &str, payouts: bool) -> Event {
    Event::new(id, "account.updated", account(payouts))
        .of_account("acct_a")
        .at(100)
}

async fn status(lab: &Lab) -> Vec<String> {
    lab.rows(
        r#"SELECT h."status" || ' ' || a.tied::text FROM "HostOnboarding" h
           JOIN stripe.account a ON a.id = h."stripeAccountId""#,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tie_is_settled_by_what_stripe_says_now() {
    let lab = Lab::new().await;
    lab.take(&[updated("evt_1", true), updated("evt_2", false)])
        .await;
    assert_eq!(status(&lab).await, ["RESTRICTED true"]);
    let (api, asked) = stripe(200, account(true)).await;
    let metrics = Metrics::default();
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asked again without need");

    // A third snapshot of that second opens the question again.
    let mut third = updated("evt_3", false);
    third.object["details_submitted"] = false.into();
    lab.take_one(&third).await;
    assert_eq!(status(&lab).await, ["INCOMPLETE true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_account_or_an_error_changes_nothing() {
    let mut other = account(true);
    other["id"] = "acct_b".into();
    let missing = serde_json::json!({ "error": { "type": "invalid_request_error" } });
    for (code, body) in [(200, other), (404, missing), (200, serde_json::json!([]))] {
        let lab = Lab::new().await;
        lab.take(&[updated("evt_1", true), updated("evt_2", false)])
            .await;
        let before = lab.state().await;
        let (api, _) = stripe(code, body).await;
        let resolved = job(&lab, &api, &Metrics::default()).read_all().await;
        assert!(resolved.is_err());
        assert_eq!(lab.state().await, before);
    }
}

fn connection(id: &str, kind: &str, at: i64) -> Event {
    let kind = format!("account.application.{kind}");
    Event::new(id, &kind, harness::stripe::application())
        .of_account("acct_a")
        .at(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_whom_only_the_connection_is_known_is_read_at_once() {
    let lab = Lab::new().await;
    let (api, asked) = stripe(200, account(true)).await;
    let metrics = Metrics::default();
    lab.take_one(&connection("evt_1", "authorized", 200)).await;
    assert_eq!(status(&lab).await, ["UNKNOWN false"]);
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asked again without need");
    assert_eq!(metrics.accounts_read.get(), 1);
    let event = "SELECT coalesce(snapshot_event_id, '-') FROM stripe.account";
    assert_eq!(lab.rows(event).await, ["-"]);

    // An event from before the answer changes nothing, a newer one counts.
    let older = updated("evt_2", false);
    lab.take_one(&older).await;
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    lab.take_one(&updated("evt_3", false).at(201)).await;
    assert_eq!(status(&lab).await, ["RESTRICTED false"]);

    // A host that left and came back is read anew.
    lab.take_one(&connection("evt_4", "deauthorized", 202))
        .await;
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(status(&lab).await, ["DISCONNECTED false"]);
    lab.take_one(&connection("evt_5", "authorized", 203)).await;
    assert_eq!(status(&lab).await, ["UNKNOWN false"]);
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// A host whose account Stripe refuses stays unknown, and the next host is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_is_asked_about_again_later_and_holds_up_no_other() {
    let lab = Lab::new().await;
    let mut next = connection("evt_2", "authorized", 100);
    next.account = Some("acct_a1".into());
    lab.take(&[connection("evt_1", "authorized", 100), next])
        .await;
    // For the first one that is no answer.
    let mut second = account(true);
    second["id"] = "acct_a1".into();
    let (api, asked) = stripe(200, second).await;
    let mut job = job(&lab, &api, &Metrics::default());
    assert!(job.read_all().await.is_err());
    let hosts = r#"SELECT "stripeAccountId" || ' ' || "status" FROM "HostOnboarding" ORDER BY 1"#;
    let expected = ["acct_a UNKNOWN", "acct_a1 ENABLED"];
    assert_eq!(lab.rows(hosts).await, expected);
    let before = asked.load(Ordering::SeqCst);
    // Its pause has not passed yet.
    job.read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), before);
    assert_eq!(lab.rows(hosts).await, expected);
}

/// Stripe tells nothing of an account that has cut the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_account_is_not_asked_about() {
    let lab = Lab::new().await;
    let cut = Event::new(
        "evt_3",
        "account.application.deauthorized",
        serde_json::json!({}),
    )
    .of_account("acct_a")
    .at(200);
    lab.take(&[updated("evt_1", true), updated("evt_2", false), cut])
        .await;
    assert_eq!(status(&lab).await, ["DISCONNECTED true"]);
    let (api, asked) = stripe(403, serde_json::json!({})).await;
    job(&lab, &api, &Metrics::default())
        .read_all()
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

/// The last tenth of what Stripe allows is for commands. Reads that nobody waits for go on when
/// there is room again, and the tables are not asked at each of them.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_nobody_waits_for_stop_before_stripes_allowance_is_used_up() {
    let lab = Lab::new().await;
    lab.take(&[updated("evt_1", true), updated("evt_2", false)])
        .await;
    let used = async |reads: i64| {
        let set = "INSERT INTO stripe.api_read VALUES ((now() AT TIME ZONE 'UTC')::date - 1, $1) \
            ON CONFLICT (day) DO UPDATE SET reads = $1";
        lab.client.execute(set, &[&reads]).await.unwrap();
    };
    let (api, asked) = stripe(200, account(true)).await;
    let metrics = Metrics::default();
    used(9_000).await;
    let mut stopped = job(&lab, &api, &metrics);
    stopped.read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(status(&lab).await, ["RESTRICTED true"]);
    used(0).await;
    stopped.read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0, "it was looked at just now");
    // A command's read goes on.
    used(9_999).await;
    let id = "acct_a".to_owned().into();
    let pool = &lab.executor.pool;
    let read = read_accounts::ask(pool, &api, &id).await.unwrap();
    let kept = read_accounts::keep(pool, &[read], Outbox::Off).await;
    kept.unwrap();
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // There is room once more, for one read: of two accounts one is read.
    used(8_999).await;
    for name in ["acct_a", "acct_ab"] {
        let mut object = account(true);
        object["id"] = name.into();
        for (number, payouts) in [(3, true), (4, false)] {
            object["payouts_enabled"] = payouts.into();
            let event = Event::new(
                &format!("evt_{name}{number}"),
                "account.updated",
                object.clone(),
            );
            lab.take_one(&event.of_account(name).at(200)).await;
        }
    }
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// What was paid counts as Stripe counts it: 500 reads for each, and no more of it is counted
/// than it takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_allowance_grows_with_what_was_paid() {
    let lab = Lab::new().await;
    let set = "INSERT INTO stripe.api_read VALUES ((now() AT TIME ZONE 'UTC')::date, 12000); \
        INSERT INTO stripe.event (id, type, created, outcome, first_seen_at) \
        SELECT 'evt_' || i, CASE WHEN i % 2 = 0 THEN 'invoice.paid' ELSE 'invoice.sent' END, \
            now(), 'applied', now() - interval '29 days' FROM generate_series(1, 60) i; \
        INSERT INTO stripe.event (id, type, created, outcome, first_seen_at) \
        SELECT 'evt_old' || i, 'invoice.paid', now(), 'applied', now() - interval '31 days' \
            FROM generate_series(1, 1000) i";
    lab.client.batch_execute(set).await.unwrap();
    let conn = lab.executor.pool.get().await.unwrap();
    let reads = store::api_read::reads(&conn).await.unwrap();
    assert_eq!((reads.sent, reads.allowed), (12_000, 15_000));
    assert_eq!(reads.room(), 1_500);
    let days = "UPDATE stripe.api_read SET day = day - 30";
    lab.client.batch_execute(days).await.unwrap();
    let reads = store::api_read::reads(&conn).await.unwrap();
    assert_eq!((reads.sent, reads.allowed), (0, 10_000));
}

/// What Stripe said is kept, and the row waits for the job that writes pending rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_row_ends_the_session_is_read_once() {
    let lab = Lab::new().await;
    lab.take(&[updated("evt_1", true), updated("evt_2", false)])
        .await;
    let end = r#"CREATE FUNCTION finish() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER finish BEFORE INSERT OR UPDATE ON "HostOnboarding"
            FOR EACH ROW EXECUTE FUNCTION finish()"#;
    lab.client.batch_execute(end).await.unwrap();
    let (api, asked) = stripe(200, account(true)).await;
    let metrics = Metrics::default();
    job(&lab, &api, &metrics).read_all().await.unwrap();
    job(&lab, &api, &metrics).read_all().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asked again without need");
    lab.project_pending().await;
    assert_eq!(lab.pending().await, ["host acct_a session_ended 1"]);
    let drop = r#"DROP TRIGGER finish ON "HostOnboarding""#;
    lab.client.batch_execute(drop).await.unwrap();
    lab.project_pending().await;
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}
