//! Idempotency, and what a test breaks.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::{EXPRESS, json_of, post, send, start, v2_account};
use crate::{
    http::Answer,
    stripe_api::{Fault, Gate, Kind, RateLimit, StandIn},
};

const KEY: (&str, &str) = ("idempotency-key", "key-1");

async fn make(api: &StandIn, body: &str) -> anyhow::Result<Answer> {
    send(api, Method::POST, "/v1/accounts", &[KEY], body).await
}

async fn make_v2(api: &StandIn) -> (u16, Value) {
    let body = v2_account().to_string();
    let answer = send(api, Method::POST, "/v2/core/accounts", &[KEY], &body)
        .await
        .unwrap();
    (answer.status.as_u16(), json_of(&answer))
}

#[tokio::test]
async fn a_key_gives_the_first_answer_again() {
    let api = start().await;
    let first = make(&api, EXPRESS).await.unwrap();
    let again = make(&api, EXPRESS).await.unwrap();
    assert_eq!(first.body, again.body);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(
        again.headers["original-request"],
        first.headers["request-id"]
    );
    let other = make(&api, "type=express").await.unwrap();
    assert_eq!(other.status, 400);
    assert_eq!(json_of(&other)["error"]["type"], "idempotency_error");
    assert_eq!(api.accounts().len(), 1);
    let replayed: Vec<bool> = api.requests().iter().map(|one| one.replayed).collect();
    assert_eq!(replayed, [false, true, false]);
    assert_eq!(api.requests()[0].params["metadata"]["hostId"], "host-1");
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let api = start().await;
    assert_eq!(make(&api, "type=none-such").await.unwrap().status, 400);
    assert_eq!(make(&api, EXPRESS).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_first_version_keeps_a_500_and_the_second_one_what_was_done() {
    for took_effect in [true, false] {
        let api = start().await;
        api.fault(Fault::post("/v1/accounts", Kind::Status500 { took_effect }));
        for replayed in [false, true] {
            let answer = make(&api, EXPRESS).await.unwrap();
            assert_eq!(answer.status, 500);
            assert_eq!(answer.headers.contains_key("idempotent-replayed"), replayed);
        }
        assert_eq!(api.accounts().len(), usize::from(took_effect));

        let api = start().await;
        api.fault(Fault::post(
            "/v2/core/accounts",
            Kind::Status500 { took_effect },
        ));
        assert_eq!(make_v2(&api).await.0, 500);
        let (status, account) = make_v2(&api).await;
        assert_eq!(
            (status, account["object"].as_str()),
            (200, Some("v2.core.account"))
        );
        assert_eq!(api.accounts().len(), 1);
    }
}

#[tokio::test]
async fn a_key_whose_request_runs_is_in_use() {
    let api = start().await;
    for (kind, effects) in [
        (Kind::HeldBefore as fn(Gate) -> Kind, 0),
        (Kind::HeldAfter, 1),
    ] {
        let gate = Gate::new();
        api.fault(Fault::post("/v1/accounts", kind(gate.clone())));
        let before = api.accounts().len();
        let key = (
            "idempotency-key",
            if effects == 0 { "before" } else { "after" },
        );
        let made = async || {
            send(&api, Method::POST, "/v1/accounts", &[key], EXPRESS)
                .await
                .unwrap()
        };
        let second = async {
            gate.reached().await;
            let conflict = made().await;
            assert_eq!(conflict.status, 409);
            assert_eq!(
                json_of(&conflict)["error"]["code"],
                "idempotency_key_in_use"
            );
            assert_eq!(api.accounts().len(), before + effects);
            gate.release();
        };
        let (first, ()) = tokio::join!(made(), second);
        assert_eq!(first.status, 200);
        assert_eq!(made().await.headers["idempotent-replayed"], "true");
    }
}

#[tokio::test]
async fn a_closed_connection_may_have_taken_effect() {
    for took_effect in [true, false] {
        let api = start().await;
        api.fault(Fault::post("/v1/accounts", Kind::Drop { took_effect }));
        assert!(make(&api, EXPRESS).await.is_err());
        assert_eq!(api.accounts().len(), usize::from(took_effect));
        let again = make(&api, EXPRESS).await.unwrap();
        assert_eq!(
            again.headers.contains_key("idempotent-replayed"),
            took_effect
        );
        assert_eq!(api.accounts().len(), 1);
        assert_eq!(api.requests()[0].status, None);
    }
}

#[tokio::test]
async fn a_request_that_is_lost_at_a_gate_takes_no_effect_and_begins_no_key() {
    let api = start().await;
    let gate = Gate::new();
    // Whatever comes second.
    api.fault(Fault::any(Kind::Plain));
    api.fault(Fault::any(Kind::HeldAndLost(gate.clone())));
    let missing = send(&api, Method::GET, "/v1/accounts/acct_1", &[], "").await;
    assert_eq!(missing.unwrap().status, 403);
    let other = async {
        gate.reached().await;
        assert_eq!(make(&api, EXPRESS).await.unwrap().status, 200);
        gate.release();
    };
    let (lost, ()) = tokio::join!(make(&api, EXPRESS), other);
    assert!(lost.is_err());
    assert_eq!(api.accounts().len(), 1);
}

#[tokio::test]
async fn too_many_requests_are_told_with_their_reason() {
    let api = start().await;
    for limit in RateLimit::ALL {
        let fault = Fault::post("/v1/accounts", Kind::RateLimited(limit));
        api.fault(fault.should_retry(true));
        let answer = make(&api, EXPRESS).await.unwrap();
        assert_eq!(answer.status, 429);
        let reason = answer.headers.get("stripe-rate-limited-reason");
        assert_eq!(
            reason.map(|reason| reason.to_str().unwrap()),
            limit.reason()
        );
        assert_eq!(answer.headers["stripe-should-retry"], "true");
        let code = if limit == RateLimit::LockTimeout {
            "lock_timeout"
        } else {
            "rate_limit"
        };
        assert_eq!(json_of(&answer)["error"]["code"], code);
    }
    api.fault(Fault::post("/v1/", Kind::Conflict409));
    assert_eq!(make(&api, EXPRESS).await.unwrap().status, 409);
    assert_eq!(
        make(&api, EXPRESS).await.unwrap().status,
        200,
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn slow_requests_take_effect_late_or_answer_late() {
    let api = start().await;
    let time = Duration::from_millis(100);
    for kind in [Kind::Slow(time), Kind::SlowAfter(time)] {
        api.fault(Fault::post("/v1/accounts", kind));
        let start = std::time::Instant::now();
        assert_eq!(post(&api, "/v1/accounts", EXPRESS).await.0, 200);
        assert!(start.elapsed() >= time);
    }
    let seen = api
        .wait_for_requests(2, |request| request.method == "POST")
        .await
        .unwrap();
    assert_eq!(seen[1].status, Some(200));
}

#[tokio::test]
async fn one_of_two_accounts_may_have_the_same_key() {
    let api = start().await;
    assert_eq!(make(&api, EXPRESS).await.unwrap().status, 200);
    let (status, account) = make_v2(&api).await;
    assert_eq!(status, 200, "the second version has keys of its own");
    assert_eq!(account["metadata"], json!({ "hostId": "host-2" }));
    assert_eq!(api.accounts().len(), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_undo_its_request() {
    let api = std::sync::Arc::new(start().await);
    let gate = Gate::new();
    api.fault(Fault::post("/v1/accounts", Kind::HeldBefore(gate.clone())));
    let client = std::sync::Arc::clone(&api);
    let client = tokio::spawn(async move { make(&client, EXPRESS).await });
    gate.reached().await;
    client.abort();
    assert!(client.await.is_err());
    gate.release();
    let answered = api.wait_for_requests(1, |request| request.status == Some(200));
    answered.await.unwrap();
    let again = make(&api, EXPRESS).await.unwrap();
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(api.accounts().len(), 1);
}

#[tokio::test]
async fn a_stand_in_that_is_dropped_answers_no_more() {
    let api = start().await;
    let url = format!("{}v1/accounts", api.base_url());
    assert!(crate::http::get(&url).await.is_ok());
    drop(api);
    let gone = crate::wait::until("the port to be free", Duration::from_secs(20), async || {
        match crate::http::get(&url).await {
            Err(_) => crate::wait::Seen::Reached(()),
            Ok(answer) => crate::wait::Seen::NotYet(answer.status.to_string()),
        }
    });
    gone.await.unwrap();
}
