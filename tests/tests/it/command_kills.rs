//! A command whose worker is killed at any of its steps is finished by the next worker: one
//! account a host, one session by which a booking can be paid, and an answer that names it.
//!
//! The steps are taken from a command that nothing disturbs: each request that Stripe gets, each
//! row that is written, and the answer. So a further request is tried as well.

mod stage;
mod writes;

use harness::stripe_api::Recorded;

use self::stage::{Asked, Stage};

/// When the worker is killed.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// At a request, which is the first one where `number` is 0.
    Request { number: usize, moment: Moment },
    /// While the database is at a row, which is written or not.
    Write { number: i64, is_written: bool },
    /// After the caller has the answer, while the broker has no ack of the command.
    Answered,
}

/// How far a request is when the worker is killed, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It has arrived, and takes no effect.
    Lost,
    /// It has arrived, and takes effect when the worker is dead.
    Before,
    /// It has arrived, and takes effect when the next worker has asked for the same.
    Late,
    /// It took effect, and is not answered.
    After,
}

/// The steps of a command that made these requests, one of them under the key of its record,
/// and wrote so many rows.
fn steps(requests: &[Recorded], key: &str, writes: i64) -> Vec<Step> {
    let requests = requests.iter().enumerate().flat_map(|(number, request)| {
        let is_making = request.idempotency_key.as_deref() == Some(key);
        let late = is_making.then_some(Moment::Late);
        let moments = [Moment::Lost, Moment::Before, Moment::After];
        let moments = moments.into_iter().chain(late);
        moments.map(move |moment| Step::Request { number, moment })
    });
    let writes = (0..writes)
        .flat_map(|number| [true, false].map(|is_written| Step::Write { number, is_written }));
    let steps = requests.chain(writes).chain([Step::Answered]);
    steps.collect()
}

/// Kills the worker at each step of one such command after the other.
async fn kill_at_each_step(mut stage: Stage) {
    let steps = stage.undisturbed().await;
    for (subject, step) in (2..).zip(steps) {
        let answer = stage.kill_at(subject, step).await;
        stage.check(subject, &answer, &format!("{step:?}")).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_one_account_at_whatever_step_its_worker_is_killed() {
    kill_at_each_step(Stage::new("kills-v2", "v2", Asked::Onboard).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_version_1_gets_one_account_at_whatever_step_its_worker_is_killed() {
    kill_at_each_step(Stage::new("kills-v1", "v1", Asked::Onboard).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_by_type_gets_one_account_at_whatever_step_its_worker_is_killed() {
    kill_at_each_step(Stage::new("kills-v1-type", "v1-type", Asked::Onboard).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_has_one_session_to_pay_by_at_whatever_step_its_worker_is_killed() {
    let mut stage = Stage::new("kills-sale", "v2", Asked::Onboard).await;
    stage.sell().await;
    kill_at_each_step(stage).await;
}
