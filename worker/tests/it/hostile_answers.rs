//! Answers that Stripe should not give: none of them may make a second account or session, or a
//! wrong row.

use harness::{
    stripe::Event,
    stripe_api::{Fault, Gate, Kind},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use worker::{
    commands::command::Name,
    config::commands::AccountsApi,
    jobs::read_accounts::ReadAccounts,
    metrics::{Metrics, stripe::ApiMetrics},
    stripe::{client::Client, config::ApiConfig},
};

use crate::support::{desk::Desk, shop::Shop};

/// A server that gives the same answer to every request.
async fn always(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 16_384];
            let _ = stream.read(&mut head).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    base
}

/// A client of such a server.
async fn always_answering(body: &'static str) -> Client {
    let config = ApiConfig {
        pause: std::time::Duration::from_millis(1),
        ..ApiConfig::new(
            "sk_test_double".into(),
            always(body).await,
            event::Mode::Test,
        )
    };
    Client::new(config, ApiMetrics::default(), None).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_strange_shapes_make_no_account_and_no_wrong_row() {
    for body in [
        "",
        "null",
        "[]",
        "7",
        "{}",
        "<html></html>",
        r#"{"id":null}"#,
        r#"{"id":{"id":"acct_1"}}"#,
        r#"{"id":"cus_1"}"#,
        r#"{"id":"acct_1/../acct_2"}"#,
        "{\"id\":\"acct_\\u0000\"}",
        r#"{"object":"list","data":{},"has_more":false}"#,
        r#"{"object":"list","data":[{"id":7,"metadata":{"hostId":"42"}}]}"#,
        r#"{"object":"list","data":[null,[],{"metadata":[]}],"has_more":true}"#,
    ] {
        for api in [AccountsApi::V2, AccountsApi::V1] {
            let mut desk = Desk::with(Default::default(), |set| set.accounts_api = api).await;
            desk.service.client = Some(always_answering(body).await);
            let error = desk.onboard("42").await.unwrap_err();
            assert!(error.retryable, "{body}: {error:?}");
            assert!(desk.hosts().await.is_empty(), "{body}");
            let done = "SELECT key FROM stripe.command WHERE state = 'done'";
            assert!(desk.lab.rows(done).await.is_empty(), "{body}");
        }
    }
}

/// An event can name an account in any way; what is asked of Stripe is about accounts alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_an_id_that_is_none_of_stripes_is_never_asked_for() {
    let desk = Desk::new().await;
    let id = "acct_1/login_links?x=";
    let host = harness::stripe::Account::fresh(id, "42");
    desk.lab
        .take_one(&Event::new("evt_1", "account.updated", host).of_account(id))
        .await;
    let authorized = Event::new(
        "evt_2",
        "account.application.authorized",
        json!({ "id": "ca_1" }),
    );
    desk.lab.take_one(&authorized.of_account(id)).await;
    let (pool, client) = (
        desk.service.pool.clone(),
        desk.service.client.clone().unwrap(),
    );
    let mut job = ReadAccounts::new(pool, client, Metrics::default().accounts_read);
    let _refused = job.read_all().await;
    desk.adopt("42", id).await;
    let commands = [
        (Name::HostInvoicing, json!({ "hostId": "42" })),
        (Name::HostDashboard, json!({ "hostId": "42" })),
    ];
    for (name, data) in commands {
        let error = desk.run(name, data).await.unwrap_err();
        assert_eq!(error.code, "not_found_at_stripe", "{name:?}");
    }
    assert!(desk.requests("/v1/accounts/").is_empty());
}

/// A list that cannot be read to its end does not say that a session is missing: a guest could
/// pay by one that is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_taken_for_missing_by_a_list_that_cannot_be_read() {
    for body in [
        r#"{"data":[{"id":7,"metadata":{"dialoomBookingId":"7"}}]}"#,
        r#"{"data":[{"id":"cs_1/expire","metadata":{"dialoomBookingId":"7"}}]}"#,
        r#"{"data":[null,[],{"metadata":[]}],"has_more":true}"#,
        r#"{"data":[],"has_more":true}"#,
    ] {
        let mut shop = Shop::new().await;
        // One command died while Stripe made its session.
        let gate = Gate::new();
        let held = Kind::HeldAfter(gate.clone());
        let fault = Fault::post("/v1/checkout/sessions", held);
        shop.desk.api.fault(fault);
        tokio::select! {
            answer = shop.checkout(7) => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        shop.desk.service.client = Some(always_answering(body).await);
        // One that the app made itself would be among them.
        for booking in [7, 8] {
            let error = shop.checkout(booking).await.unwrap_err();
            assert!(error.retryable, "{body}: {error:?}");
        }
        assert_eq!(
            shop.desk.records().await,
            [
                "booking.checkout:7 1 in_progress taken_over f",
                "host.onboard:42 1 done t"
            ],
            "{body}"
        );
    }
}
