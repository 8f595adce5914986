//! An account whose making was interrupted, failed or was refused in between: the attempt that
//! began it ends it.

use std::collections::BTreeSet;

use futures_util::future::join;
use harness::stripe_api::{Fault, Gate, Kind, Options, Recorded, RestrictedKey};
use serde_json::json;
use store::command::{self, Attempt, End};
use tokio_util::sync::CancellationToken;
use worker::{
    commands::{command::Name, finish::FinishCommands, host::known},
    config::commands::AccountsApi,
};

use crate::support::desk::{Desk, account, client, impatient, onboard};

/// Where accounts of version 2 are made.
const ACCOUNTS: &str = "/v2/core/accounts";

/// Where accounts are made.
fn path(api: AccountsApi) -> &'static str {
    match api {
        AccountsApi::V2 => ACCOUNTS,
        AccountsApi::V1 | AccountsApi::V1Type => "/v1/accounts",
    }
}

type Held = fn(Gate) -> Kind;

/// The command for host 42 is dropped where its process would die: while Stripe holds its
/// request to this path, until the gate is opened.
async fn dies(desk: &Desk, path: &str, held: Held) -> Gate {
    let gate = Gate::new();
    desk.api.fault(Fault::post(path, held(gate.clone())));
    tokio::select! {
        answer = desk.onboard("42") => panic!("{path}: {answer:?}"),
        () = gate.reached() => {}
    }
    gate
}

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

/// Nobody asks again: the job finishes it all the same, or finds that nothing was made.
#[tokio::test(flavor = "multi_thread")]
async fn what_interrupted_commands_began_is_finished_by_the_job() {
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for held in [before, after] {
        let desk = Desk::new().await;
        dies(&desk, ACCOUNTS, held).await.release_all();
        let job = FinishCommands {
            service: desk.service.clone(),
            client: desk.service.client.clone().unwrap(),
        };
        let stop = CancellationToken::new();
        // It was begun just now: whoever did so may be at it.
        let now = shared::clock::now_utc();
        let earlier = now - chrono::TimeDelta::minutes(2);
        job.finish(earlier, &stop).await.unwrap();
        assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
        let later = now + chrono::TimeDelta::minutes(2);
        job.finish(later, &stop).await.unwrap();
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
        assert_eq!(desk.api.accounts().len(), 1);
    }
}

/// Each try may read through Stripe's lists, so an attempt that Stripe does not finish is tried less
/// and less often, also by a worker that was started anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_does_not_finish_is_tried_less_and_less_often() {
    let desk = Desk::new().await;
    let failing = Kind::Status500 { took_effect: false };
    desk.api
        .fault(Fault::post(ACCOUNTS, failing.clone()).times(1000));
    let _ = desk.onboard("42").await.unwrap_err();
    let now = shared::clock::now_utc();
    let mut tried = Vec::new();
    for minute in 0..250 {
        let before = desk.api.requests().len();
        let job = FinishCommands {
            service: desk.service.clone(),
            client: desk.service.client.clone().unwrap(),
        };
        let at = now + chrono::TimeDelta::minutes(minute);
        job.finish(at, &CancellationToken::new()).await.unwrap();
        if desk.api.requests().len() > before {
            tried.push(minute);
        }
    }
    assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    // Another attempt begins with the first pause.
    desk.begun_before(40 * 24 * 60).await;
    desk.onboard("42").await.unwrap_err();
    let fresh = "SELECT concat_ws(' ', attempt, finish_tries, finish_at) FROM stripe.command";
    assert_eq!(desk.lab.rows(fresh).await, ["2 0"]);
}

/// The reads of the job leave room for those of accounts, which leave room for commands.
#[tokio::test(flavor = "multi_thread")]
async fn what_interrupted_commands_began_is_finished_within_the_allowance_for_reads() {
    let desk = Desk::new().await;
    dies(&desk, ACCOUNTS, Kind::HeldAfter).await.release_all();
    let is_made = |one: &Recorded| one.path == ACCOUNTS && one.status == Some(200);
    desk.api.wait_for_requests(1, is_made).await.unwrap();
    let job = FinishCommands {
        service: desk.service.clone(),
        client: desk.service.client.clone().unwrap(),
    };
    let now = shared::clock::now_utc();
    let finish = async |minutes| {
        let at = now + chrono::TimeDelta::minutes(minutes);
        job.finish(at, &CancellationToken::new()).await.unwrap();
    };
    let used = async |reads: i64| {
        let used = "INSERT INTO stripe.api_read (day, reads) VALUES (now(), $1) \
            ON CONFLICT (day) DO UPDATE SET reads = $1";
        desk.lab.client.execute(used, &[&reads]).await.unwrap();
    };
    let asked = desk.api.requests().len();
    used(8000).await;
    finish(2).await;
    assert_eq!(desk.api.requests().len(), asked);
    assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
    used(7999).await;
    finish(3).await;
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

/// The account is made, and the worker dies before the main app has a row of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_made_gets_its_row_without_another_call() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    let held = Kind::HeldBefore(gate.clone());
    desk.api.fault(Fault::get("/v1/accounts/", held));
    tokio::select! {
        answer = desk.onboard("42") => panic!("{answer:?}"),
        () = gate.reached() => {}
    }
    gate.release_all();
    assert!(desk.hosts().await.is_empty());
    let job = FinishCommands {
        service: desk.service.clone(),
        client: desk.service.client.clone().unwrap(),
    };
    let later = shared::clock::now_utc() + chrono::TimeDelta::minutes(2);
    job.finish(later, &CancellationToken::new()).await.unwrap();
    assert_eq!(desk.hosts().await, ["42 INCOMPLETE f"]);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    assert_eq!(desk.api.accounts().len(), 1);
}

/// The account is made, and Stripe does not give it: the attempt ends when the main app has a row
/// of it, although nobody asks again.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_could_not_be_read_gets_its_row_without_another_call() {
    let failing = || Kind::Status500 { took_effect: false };
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        // As often as each read is tried, by the command and by a run of the job.
        let tries = 20;
        desk.api
            .fault(Fault::get("/v1/accounts/", failing()).times(tries));
        let error = desk.onboard("42").await.unwrap_err();
        assert_eq!((error.code, error.retryable), ("stripe_unavailable", true));
        let job = FinishCommands {
            service: desk.service.clone(),
            client: desk.service.client.clone().unwrap(),
        };
        let later = shared::clock::now_utc() + chrono::TimeDelta::minutes(2);
        let stop = CancellationToken::new();
        job.finish(later, &stop).await.unwrap();
        assert!(desk.hosts().await.is_empty());
        desk.api.clear_faults();
        let later = later + chrono::TimeDelta::minutes(1);
        job.finish(later, &stop).await.unwrap();
        assert_eq!(desk.hosts().await, ["42 INCOMPLETE f"]);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
        assert_eq!(desk.api.accounts().len(), 1);
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
