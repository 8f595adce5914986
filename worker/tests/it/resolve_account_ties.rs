//! Accounts whose last snapshot the events cannot tell are read from Stripe's API.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::Lab;
use harness::stripe::{Account, Event};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use worker::{
    jobs::resolve_account_ties::ResolveAccountTies,
    metrics::Metrics,
    stripe::client::{ApiConfig, Client},
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
        key: "sk_test_double".into(),
        base,
    };
    (Client::new(&config).unwrap(), asked)
}

/// The job on the lab's database.
fn job(lab: &Lab, client: &Client, metrics: &Metrics) -> ResolveAccountTies {
    ResolveAccountTies {
        pool: lab.executor.pool.clone(),
        client: client.clone(),
        resolved: metrics.account_ties_resolved.clone(),
    }
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
    job(&lab, &api, &metrics).resolve_all().await.unwrap();
    assert_eq!(status(&lab).await, ["ENABLED false"]);
    job(&lab, &api, &metrics).resolve_all().await.unwrap();
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
        let resolved = job(&lab, &api, &Metrics::default()).resolve_all().await;
        assert!(resolved.is_err());
        assert_eq!(lab.state().await, before);
    }
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
        .resolve_all()
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
