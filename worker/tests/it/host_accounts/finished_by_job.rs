//! What interrupted commands began, and nobody asks for again: the job finishes it.

use harness::stripe_api::{Fault, Gate, Kind, Options, Recorded};
use tokio_util::sync::CancellationToken;
use worker::config::commands::AccountsApi;

use super::{ACCOUNTS, Held, dies, job};
use crate::support::desk::Desk;

/// Nobody asks again: the job finishes it all the same, or finds that nothing was made.
#[tokio::test(flavor = "multi_thread")]
async fn what_interrupted_commands_began_is_finished_by_the_job() {
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for held in [before, after] {
        let desk = Desk::new().await;
        dies(&desk, ACCOUNTS, held).await.release_all();
        let job = job(&desk);
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
        let job = job(&desk);
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
    let job = job(&desk);
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
    let job = job(&desk);
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
        let job = job(&desk);
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
