//! An account whose making failed or was refused, while an earlier try may still be under way.

use std::collections::BTreeSet;

use futures_util::future::join;
use harness::stripe_api::{Fault, Gate, Kind, Options, Recorded, RestrictedKey};
use serde_json::json;
use worker::{commands::command::Name, config::commands::AccountsApi};

use super::{ACCOUNTS, dies, path};
use crate::support::desk::{Desk, account, client, impatient, onboard};

/// A refusal says nothing of an earlier try that is still under way, nor does one that is not
/// Stripe's.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_a_try_without_an_answer_does_not_end_the_attempt() {
    const STRIPES: &str = r#"{"error":{"type":"invalid_request_error","message":"No."}}"#;
    const BLOCKED: &str = r#"{"error":{"code":"accounts_v2_access_blocked","message":"No."}}"#;
    const HTML: &str = "<html><h1>Denied</h1></html>";
    for (api, status, body, code) in [
        (AccountsApi::V1, 401, STRIPES, "stripe_key_refused"),
        (AccountsApi::V2, 403, STRIPES, "accounts_v2_unavailable"),
        (AccountsApi::V1, 400, STRIPES, "stripe_refused"),
        (AccountsApi::V2, 400, BLOCKED, "accounts_v2_unavailable"),
        (AccountsApi::V1, 402, STRIPES, "stripe_refused"),
        (AccountsApi::V1, 403, HTML, "stripe_unavailable"),
        (AccountsApi::V2, 404, HTML, "stripe_unavailable"),
        (AccountsApi::V1, 408, HTML, "stripe_unavailable"),
    ] {
        let mut desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        desk.service.client = Some(impatient(&desk.api));
        let gate = Gate::new();
        let (held, refused) = (
            Kind::HeldBefore(gate.clone()),
            Kind::Answered { status, body },
        );
        desk.api.fault(Fault::post(path(api), held));
        desk.api.fault(Fault::post(path(api), refused));
        let error = desk.onboard("42").await.unwrap_err();
        assert_eq!(error.code, code, "{status} {body}");
        assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
        gate.release_all();
        let answer = loop {
            match desk.onboard("42").await {
                Ok(answer) => break answer,
                Err(error) => assert_eq!(error.code, "in_progress"),
            }
        };
        let accounts = desk.api.accounts();
        assert_eq!(accounts.len(), 1, "{status} {body}");
        assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// A worker died while Stripe was asked, and Stripe refuses the same request now: whether it
/// took effect the first time is not known before it is over, and the next caller, who may ask
/// for something else, hears that it is being done.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_of_an_interrupted_request_ends_it_once_nothing_is_under_way() {
    let mut wrong = onboard("42");
    wrong["country"] = "ZZ".into();
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let gate = Gate::new();
        let lost = Kind::HeldAndLost(gate.clone());
        desk.api.fault(Fault::post(path(api), lost));
        tokio::select! {
            answer = desk.run(Name::HostOnboard, wrong.clone()) => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        let error = desk.onboard("42").await.unwrap_err();
        assert_eq!((error.code, error.retryable), ("in_progress", true));
        let taken_over = ["host.onboard:42 1 in_progress taken_over f"];
        assert_eq!(desk.records().await, taken_over);
        desk.begun_before(6).await;
        desk.onboard("42").await.unwrap();
        assert_eq!(desk.api.accounts().len(), 1);
        assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
    }
}

/// Stripe says that the key came with another request before. That one may be under way for as
/// long as any request is, and then the attempt is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_request_ends_the_attempt_once_nothing_is_under_way() {
    const OTHER: &str = r#"{"error":{"type":"idempotency_error","message":"No."}}"#;
    let answered = Kind::Answered {
        status: 400,
        body: OTHER,
    };
    let taken_over = ["host.onboard:42 1 in_progress taken_over f"];
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let refuse = || desk.api.fault(Fault::post(path(api), answered.clone()));
        let gate = dies(&desk, path(api), Kind::HeldBefore).await;
        refuse();
        let error = desk.onboard("42").await.unwrap_err();
        assert_eq!((error.code, error.retryable), ("in_progress", true));
        assert_eq!(desk.records().await, taken_over);
        // The first one took effect after all.
        gate.release_all();
        let is_made = |one: &Recorded| one.path == path(api) && one.status == Some(200);
        desk.api.wait_for_requests(1, is_made).await.unwrap();
        refuse();
        let answer = desk.onboard("42").await.unwrap();
        let accounts = desk.api.accounts();
        assert_eq!(accounts.len(), 1);
        assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);

        // Nothing came of it, and it cannot be under way any more.
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let gate = dies(&desk, path(api), Kind::HeldAndLost).await;
        gate.release_all();
        desk.begun_before(6).await;
        desk.api.fault(Fault::post(path(api), answered.clone()));
        desk.onboard("42").await.unwrap();
        assert_eq!(desk.api.accounts().len(), 1);
        assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
    }
}

/// A 500 that Stripe does not mark as kept says nothing of the key: another caller's request
/// under it is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_its_key_does_not_keep_begins_no_other_attempt() {
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let gate = Gate::new();
        let held = Kind::HeldBefore(gate.clone());
        desk.api.fault(Fault::post(path(api), held));
        desk.api
            .fault(Fault::post(path(api), Kind::Unkept500).times(3));
        let other = async {
            gate.reached().await;
            let error = desk.onboard("42").await.unwrap_err();
            assert_eq!((error.code, error.retryable), ("stripe_unavailable", true));
            assert_eq!(
                desk.records().await,
                ["host.onboard:42 1 in_progress taken_over f"]
            );
            gate.release_all();
        };
        let (answer, ()) = join(desk.onboard("42"), other).await;
        assert_eq!(
            desk.api.accounts()[0]["id"],
            answer.unwrap()["stripeAccountId"]
        );
        assert_eq!(desk.api.accounts().len(), 1);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// Stripe's second version carries out what failed when it comes again. So a failure begins no
/// other attempt: the key of the first is the only one that can make an account.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_second_version_leaves_the_attempt_open() {
    let desk = Desk::new().await;
    let failing = Kind::Status500 { took_effect: false };
    desk.api.fault(Fault::post(ACCOUNTS, failing).times(20));
    let error = desk.onboard("42").await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("stripe_unavailable", true));
    assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
    desk.api.clear_faults();
    let both = join(desk.onboard("42"), desk.onboard("42")).await;
    let answered = [both.0, both.1].into_iter().filter_map(Result::ok);
    assert!(answered.count() > 0);
    assert_eq!(desk.api.accounts().len(), 1);
    let made = desk.requests(ACCOUNTS).into_iter();
    let made = made.filter(|one| one.path == ACCOUNTS && one.method == "POST");
    let keys: BTreeSet<_> = made.map(|one| one.idempotency_key).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

/// A worker died while Stripe made the account; the next one has a key that may not go on. What
/// was made is not forgotten over that.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_go_on_does_not_end_the_attempt() {
    let options = Options {
        restricted_keys: vec![RestrictedKey::new("rk_test_1", &["events_read"])],
        ..Options::default()
    };
    for (key, code) in [
        ("rk_test_1", "stripe_permission"),
        ("sk_test_wrong", "stripe_key_refused"),
    ] {
        let mut desk = Desk::with(options.clone(), |_| {}).await;
        dies(&desk, ACCOUNTS, Kind::HeldAfter).await.release_all();
        let right = desk.service.client.replace(client(&desk.api, key, None));
        let error = loop {
            match desk.onboard("42").await.unwrap_err() {
                error if error.code == "in_progress" => {}
                error => break error,
            }
        };
        assert_eq!(error.code, code, "{error:?}");
        assert_eq!(
            desk.records().await,
            ["host.onboard:42 1 in_progress taken_over f"]
        );
        desk.service.client = right;
        desk.onboard("42").await.unwrap();
        assert_eq!(desk.api.accounts().len(), 1);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// After a failure the account is looked for; one that names the host, and that somebody else
/// made meanwhile, is not it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_somebody_else_is_not_found_for_the_one_that_failed() {
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let forged = desk.api.enabled_account("ES", &json!({ "hostId": "42" }));
        let failing = Kind::Status500 { took_effect: false };
        desk.api.fault(Fault::post(path(api), failing));
        let answer = loop {
            match desk.onboard("42").await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.retryable, "{error:?}"),
            }
        };
        assert_ne!(account(&answer), forged);
        assert_eq!(desk.api.accounts().len(), 2);
    }
}
