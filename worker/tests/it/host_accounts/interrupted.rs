//! An account whose making was interrupted, by a death of the worker, a caller who left or an answer
//! that came late: the attempt that began it ends it.

use std::collections::BTreeSet;

use futures_util::future::join;
use harness::stripe_api::{Fault, Gate, Kind, Options};
use serde_json::json;
use store::command::{self, Attempt, End};
use worker::{commands::command::Name, commands::host::known, config::commands::AccountsApi};

use super::{ACCOUNTS, Held, dies, path};
use crate::support::desk::{Desk, account, impatient, onboard};

/// The future is dropped where the process would die: before Stripe acts, after it, and
/// while the link is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_dies_anywhere_is_finished_by_the_next_one() {
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for (path, held) in [
        (ACCOUNTS, before),
        (ACCOUNTS, after),
        ("/v2/core/account_links", before),
        ("/v2/core/account_links", after),
    ] {
        let desk = Desk::new().await;
        dies(&desk, path, held).await.release_all();
        let answer = desk.onboard("42").await.unwrap();
        let accounts = desk.api.accounts();
        assert_eq!(accounts.len(), 1, "{path}");
        assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// The host cuts the connection before the account was read: it is noted as made, and the host
/// can get another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_left_before_it_was_read_does_not_hold_up_its_host() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    let held = Kind::HeldBefore(gate.clone());
    desk.api.fault(Fault::get("/v1/accounts/", held));
    let leave = async {
        gate.reached().await;
        let id = desk.api.accounts()[0]["id"].as_str().unwrap().to_owned();
        desk.api.deauthorize(&id);
        gate.release_all();
        id
    };
    let (answer, left) = join(desk.onboard("42"), leave).await;
    assert_eq!(answer.unwrap_err().code, "stripe_permission");
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    desk.take_events().await;
    let second = account(&desk.onboard("42").await.unwrap());
    assert_ne!(second, left);
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
}

/// Stripe's version 2 knows a key for 30 days, its version 1 for one. Until then the attempt goes on
/// under its key, whatever lists show; afterwards what it may have made is looked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_goes_on_under_its_key_for_as_long_as_stripe_knows_it() {
    const HOUR: i32 = 60;
    const DAY: i32 = 24 * HOUR;
    for (api, minutes, attempt) in [
        (AccountsApi::V1, 22 * HOUR, 1),
        (AccountsApi::V1, 24 * HOUR, 2),
        (AccountsApi::V2, 24 * HOUR, 1),
        (AccountsApi::V2, 28 * DAY, 1),
        (AccountsApi::V2, 30 * DAY, 2),
    ] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let gate = dies(&desk, path(api), Kind::HeldAndLost).await;
        gate.release_all();
        desk.begun_before(minutes).await;
        desk.onboard("42").await.unwrap();
        let record = format!("host.onboard:42 {attempt} done t");
        assert_eq!(desk.records().await, [record], "{api:?} {minutes}");
        let asked = desk.requests(path(api)).into_iter();
        let asked = asked.filter(|one| one.method == "POST" && one.path == path(api));
        let keys: BTreeSet<_> = asked.map(|one| one.idempotency_key).collect();
        assert_eq!(i32::try_from(keys.len()), Ok(attempt), "{api:?} {minutes}");
    }
}

/// Stripe answers when the worker waits no more.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_makes_no_second_account() {
    let late = std::time::Duration::from_millis(1500);
    for api in [AccountsApi::V1, AccountsApi::V2] {
        for kind in [Kind::Slow(late), Kind::SlowAfter(late)] {
            let mut desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
            desk.service.client = Some(impatient(&desk.api));
            desk.api.fault(Fault::post(path(api), kind));
            let answer = loop {
                match desk.onboard("42").await {
                    Ok(answer) => break answer,
                    Err(error) => assert!(error.retryable, "{error:?}"),
                }
            };
            let accounts = desk.api.accounts();
            assert_eq!(accounts.len(), 1);
            assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
            assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
        }
    }
}

/// Whoever began an attempt ends it unasked only where nobody else has gone on with it: his
/// request may be on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_somebody_has_taken_over_is_not_ended_by_who_began_it() {
    let desk = Desk::new().await;
    let conn = desk.service.pool.get().await.unwrap();
    let request = json!({});
    let key = known::key("42");
    let attempt = Attempt {
        key: &key,
        idempotency_key: "dialoom-1",
        payload_hash: &[7; 32],
        api: "v2",
        account: None,
        request: &request,
        cancels: None,
    };
    let take_over = async |number| command::take_over(&conn, &key, number).await.unwrap();
    let end = async |number| {
        let ended = command::end(&conn, &key, number, End::Unasked("expired")).await;
        ended.unwrap()
    };
    command::begin(&conn, &attempt).await.unwrap();
    assert!(end(1).await);
    assert_eq!(desk.records().await, ["host.onboard:42 1 failed expired t"]);
    assert!(!take_over(1).await, "it has ended");
    command::begin_again(&conn, 1, &attempt).await.unwrap();
    assert!(take_over(2).await);
    assert!(!end(2).await);
    let taken = ["host.onboard:42 2 in_progress taken_over f"];
    assert_eq!(desk.records().await, taken);
    let made = command::end(&conn, &key, 2, End::Made("acct_1")).await;
    assert!(made.unwrap());
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
}

/// Whoever sent the command waits no more when Stripe would be asked: nothing is made, then or
/// later.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_after_the_deadline() {
    let desk = Desk::new().await;
    let late = desk.service.until(tokio::time::Instant::now());
    let error = late
        .run(Name::HostOnboard, onboard("42"))
        .await
        .unwrap_err();
    assert_eq!((error.code, error.retryable), ("expired", true));
    assert_eq!(desk.records().await, ["host.onboard:42 1 failed expired t"]);
    assert!(desk.api.requests().is_empty());
    // The same command again is in time.
    let id = account(&desk.onboard("42").await.unwrap());
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
    let session = json!({ "hostId": "42", "components": ["payments"] });
    let error = late.run(Name::HostSession, session).await.unwrap_err();
    assert_eq!(error.code, "expired");
    // What only reads is answered all the same.
    let status = late.run(Name::HostStatus, json!({ "hostId": "42" })).await;
    assert_eq!(account(&status.unwrap()), id);
}

/// While an account is being made its event may come, and another account's holder may write
/// the host's id into its metadata: Stripe's answer says which it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_names_the_host_is_not_taken_for_the_one_that_is_made() {
    let desk = Desk::new().await;
    let gate = dies(&desk, ACCOUNTS, Kind::HeldAfter).await;
    let id = desk.api.accounts()[0]["id"].as_str().unwrap().to_owned();
    let forged = desk.api.enabled_account("ES", &json!({ "hostId": "42" }));
    let status = async || {
        let data = json!({ "hostId": "42" });
        desk.run(Name::HostStatus, data).await
    };
    for account in [&forged, &id] {
        desk.api.finish_onboarding(account);
    }
    desk.take_events().await;
    let error = status().await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("in_progress", true));
    assert_eq!(
        desk.records().await,
        ["host.onboard:42 1 in_progress taken_over f"]
    );
    gate.release_all();
    let known = loop {
        match status().await {
            Ok(known) => break known,
            Err(error) => assert_eq!(error.code, "in_progress"),
        }
    };
    assert_eq!(known["stripeAccountId"], *id);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    assert_eq!(account(&desk.onboard("42").await.unwrap()), id);
}
